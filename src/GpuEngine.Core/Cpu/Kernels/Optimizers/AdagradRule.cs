using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Optimizers;

/// <summary>See <see cref="AdagradOp"/>.</summary>
internal struct AdagradRule<T> : IUpdateRule<AdagradRule<T>, T> where T : unmanaged, INumberBase<T>
{
    private Vector<T> _decay;
    private Vector<T> _minusRate;
    private Vector<T> _eps;
    private bool _hasDecay;
    private bool _epsInside;

    public static AdagradRule<T> Create(OptimizerOp op, StepScalars scalars)
    {
        var adagrad = (AdagradOp)op;
        return new AdagradRule<T>
        {
            _decay = Lanes.Of<T>(adagrad.WeightDecay),
            _minusRate = Lanes.Of<T>(-(scalars.LearningRate / (1 + scalars.Step * adagrad.LrDecay))),
            _eps = Lanes.Of<T>(adagrad.Eps),
            _hasDecay = adagrad.WeightDecay != 0,
            _epsInside = adagrad.EpsInside,
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Apply(ref Vector<T> param, Vector<T> grad, ref Vector<T> a, ref Vector<T> b, ref Vector<T> c)
    {
        if (_hasDecay) grad = Lanes.Fma(param, _decay, grad);
        a = Lanes.Fma(grad, grad, a);
        var root = _epsInside ? Vector.SquareRoot(a + _eps) : Vector.SquareRoot(a) + _eps;
        param += grad * _minusRate / root;
    }
}
