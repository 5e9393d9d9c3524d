using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Optimizers;

/// <summary>See <see cref="SgdOp"/>.</summary>
internal struct SgdRule<T> : IUpdateRule<SgdRule<T>, T> where T : unmanaged, INumberBase<T>
{
    private Vector<T> _decay;
    private Vector<T> _momentum;
    private Vector<T> _share;
    private Vector<T> _rate;
    private Vector<T> _minusRate;
    private Vector<T> _momentumLessRate;
    private bool _hasDecay;
    private bool _hasMomentum;
    private bool _first;
    private bool _nesterov;
    private MomentumForm _form;

    public static SgdRule<T> Create(OptimizerOp op, StepScalars scalars)
    {
        var sgd = (SgdOp)op;
        return new SgdRule<T>
        {
            _decay = Lanes.Of<T>(sgd.WeightDecay),
            _momentum = Lanes.Of<T>(sgd.Momentum),
            _share = Lanes.Of<T>(1 - sgd.Dampening),
            _rate = Lanes.Of<T>(scalars.LearningRate),
            _minusRate = Lanes.Of<T>(-scalars.LearningRate),
            _momentumLessRate = Lanes.Of<T>(sgd.Momentum - scalars.LearningRate),
            _hasDecay = sgd.WeightDecay != 0,
            _hasMomentum = sgd.Momentum != 0,
            _first = scalars.Step == 0,
            _nesterov = sgd.Nesterov,
            _form = sgd.Form,
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Apply(ref Vector<T> param, Vector<T> grad, ref Vector<T> a, ref Vector<T> b, ref Vector<T> c)
    {
        if (_hasDecay) grad = Lanes.Fma(param, _decay, grad);
        if (_form == MomentumForm.RateInside) grad *= _rate;
        var old = a;
        if (_hasMomentum) a = _first ? grad : Lanes.Fma(grad, _share, a * _momentum);
        var move = _hasMomentum ? a : grad;
        if (_nesterov) move = Lanes.Fma(a, _momentum, grad);
        param = _form switch
        {
            MomentumForm.RateInside => param - move,
            MomentumForm.LiteralNesterov => Lanes.Fma(a, _momentumLessRate, param - old * _momentum),
            _ => Lanes.Fma(move, _minusRate, param),
        };
    }
}
