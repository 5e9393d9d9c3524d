using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Optimizers;

/// <summary>See <see cref="AdamOp"/>.</summary>
internal struct AdamRule<T> : IUpdateRule<AdamRule<T>, T> where T : unmanaged, INumberBase<T>
{
    private Vector<T> _decay;
    private Vector<T> _beta1;
    private Vector<T> _share1;
    private Vector<T> _beta2;
    private Vector<T> _share2;
    private Vector<T> _eps;
    private Vector<T> _correction1;
    private Vector<T> _correction2;
    private Vector<T> _rootCorrection2;
    private Vector<T> _minusRate;
    private bool _shrinks;
    private bool _penalises;
    private bool _amsgrad;
    private bool _epsInside;
    private bool _storesCorrected;

    public static AdamRule<T> Create(OptimizerOp op, StepScalars scalars)
    {
        var adam = (AdamOp)op;
        var correction1 = 1 - Math.Pow(adam.Beta1, scalars.Count);
        var correction2 = 1 - Math.Pow(adam.Beta2, scalars.Count);
        var decays = adam.WeightDecay != 0;
        return new AdamRule<T>
        {
            _decay = Lanes.Of<T>(adam.Decoupled ? 1 - scalars.LearningRate * adam.WeightDecay : adam.WeightDecay),
            _beta1 = Lanes.Of<T>(adam.Beta1),
            _share1 = Lanes.Of<T>(1 - adam.Beta1),
            _beta2 = Lanes.Of<T>(adam.Beta2),
            _share2 = Lanes.Of<T>(1 - adam.Beta2),
            _eps = Lanes.Of<T>(adam.Eps),
            _correction1 = Lanes.Of<T>(correction1),
            _correction2 = Lanes.Of<T>(correction2),
            _rootCorrection2 = Lanes.Of<T>(Math.Sqrt(correction2)),
            _minusRate = Lanes.Of<T>(adam.StoreCorrected ? -scalars.LearningRate : -(scalars.LearningRate / correction1)),
            _shrinks = decays && adam.Decoupled,
            _penalises = decays && !adam.Decoupled,
            _amsgrad = adam.Amsgrad,
            _epsInside = adam.EpsInside,
            _storesCorrected = adam.StoreCorrected,
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Apply(ref Vector<T> param, Vector<T> grad, ref Vector<T> a, ref Vector<T> b, ref Vector<T> c)
    {
        if (_shrinks) param *= _decay;
        if (_penalises) grad = Lanes.Fma(param, _decay, grad);
        a = Lanes.Fma(grad, _share1, a * _beta1);
        b = Lanes.Fma(grad * _share2, grad, b * _beta2);
        Vector<T> denominator;
        if (_storesCorrected)
        {
            a /= _correction1;
            b /= _correction2;
            denominator = Vector.SquareRoot(b + _eps);
        }
        else
        {
            if (_amsgrad) c = Vector.Max(c, b);
            var second = _amsgrad ? c : b;
            denominator = _epsInside
                ? Vector.SquareRoot(second / _correction2 + _eps)
                : Vector.SquareRoot(second) / _rootCorrection2 + _eps;
        }

        param += a * _minusRate / denominator;
    }
}
