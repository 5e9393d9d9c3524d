using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Optimizers;

/// <summary>See <see cref="RmsPropOp"/>. The states are square_avg, then those of grad_avg and momentum_buffer that there are.</summary>
internal struct RmsPropRule<T> : IUpdateRule<RmsPropRule<T>, T> where T : unmanaged, INumberBase<T>
{
    private Vector<T> _decay;
    private Vector<T> _alpha;
    private Vector<T> _share;
    private Vector<T> _eps;
    private Vector<T> _momentum;
    private Vector<T> _minusRate;
    private bool _hasDecay;
    private bool _hasMomentum;
    private bool _centered;
    private bool _epsInside;

    public static RmsPropRule<T> Create(OptimizerOp op, StepScalars scalars)
    {
        var rms = (RmsPropOp)op;
        return new RmsPropRule<T>
        {
            _decay = Lanes.Of<T>(rms.WeightDecay),
            _alpha = Lanes.Of<T>(rms.Alpha),
            _share = Lanes.Of<T>(1 - rms.Alpha),
            _eps = Lanes.Of<T>(rms.Eps),
            _momentum = Lanes.Of<T>(rms.Momentum),
            _minusRate = Lanes.Of<T>(-scalars.LearningRate),
            _hasDecay = rms.WeightDecay != 0,
            _hasMomentum = rms.Momentum != 0,
            _centered = rms.Centered,
            _epsInside = rms.EpsInside,
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Apply(ref Vector<T> param, Vector<T> grad, ref Vector<T> a, ref Vector<T> b, ref Vector<T> c)
    {
        if (_hasDecay) grad = Lanes.Fma(param, _decay, grad);
        a = Lanes.Fma(grad * _share, grad, a * _alpha);
        var variance = a;
        if (_centered)
        {
            b = Lanes.Fma(grad, _share, b * _alpha);
            variance = Lanes.Fma(-b, b, a);
        }

        var root = _epsInside ? Vector.SquareRoot(variance + _eps) : Vector.SquareRoot(variance) + _eps;
        if (!_hasMomentum)
        {
            param += grad * _minusRate / root;
        }
        else if (_centered)
        {
            c = c * _momentum + grad / root;
            param = Lanes.Fma(c, _minusRate, param);
        }
        else
        {
            b = b * _momentum + grad / root;
            param = Lanes.Fma(b, _minusRate, param);
        }
    }
}
