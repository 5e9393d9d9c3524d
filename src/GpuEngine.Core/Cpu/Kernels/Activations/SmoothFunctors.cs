using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;
using static GpuEngine.Core.Cpu.Kernels.VectorMath;

namespace GpuEngine.Core.Cpu.Kernels;

internal readonly struct SigmoidFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => Sigmoid(x, out _);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x) => Sigmoid(x, out var complement) * complement;
}

internal readonly struct LogSigmoidFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => -Softplus(-x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x)
    {
        Sigmoid(x, out var complement);
        return complement;
    }
}

internal readonly struct TanhFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => Tanh(x);

    /// <summary>1 - tanh^2 as 4 s (1 - s) with s = sigmoid(2x): nothing cancels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x) => All<T>(4) * Sigmoid(x + x, out var complement) * complement;
}

internal readonly struct EluFunctor<T>(Elu op) : IActivationFunctor<T> where T : unmanaged
{
    private readonly T _scale = Scalar<T>(op.Scale);
    private readonly T _input = Scalar<T>(op.InputScale);
    private readonly T _negative = Scalar<T>(op.Alpha * op.Scale);
    private readonly T _slope = Scalar<T>(op.Alpha * op.Scale * op.InputScale);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => Vector512.ConditionalSelect(
        Vector512.GreaterThan(x, Vector512<T>.Zero), x * Vector512.Create(_scale), Expm1(x * Vector512.Create(_input)) * Vector512.Create(_negative));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x) => Vector512.ConditionalSelect(
        Vector512.GreaterThan(x, Vector512<T>.Zero), Vector512.Create(_scale), Exp(x * Vector512.Create(_input)) * Vector512.Create(_slope));
}

internal readonly struct GeluFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => x * Phi(x, out _);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x) => Phi(x, out var density) + x * density;
}

/// <summary>With s = (1 + tanh(u)) / 2 = sigmoid(2u): y = x s, and its derivative s + 2 x s (1 - s) du/dx.</summary>
internal readonly struct TanhGeluFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    private const double Cubic = 0.044715;
    private const double TwiceRootTwoOverPi = 1.5957691216057308;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => x * Sigmoid(Twice(Clamp(x)), out _);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x)
    {
        var c = Clamp(x);
        var s = Sigmoid(Twice(c), out var complement);
        return s + c * s * complement * Fma(c * c, All<T>(3 * Cubic * TwiceRootTwoOverPi), All<T>(TwiceRootTwoOverPi));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> Twice(Vector512<T> x) => x * Fma(x * x, All<T>(Cubic * TwiceRootTwoOverPi), All<T>(TwiceRootTwoOverPi));

    /// <summary>As in <see cref="Gelu"/>: beyond 10 nothing changes but the cube, which could overflow.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> Clamp(Vector512<T> x) => AtMost(AtLeast(x, -10), 10);
}

internal readonly struct SiluFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => x * Sigmoid(x, out _);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x)
    {
        var s = Sigmoid(x, out var complement);
        return s * Fma(x, complement, Vector512<T>.One);
    }
}

internal readonly struct SoftplusFunctor<T>(Softplus op) : IActivationFunctor<T> where T : unmanaged
{
    private readonly T _beta = Scalar<T>(op.Beta);
    private readonly T _inverse = Scalar<T>(1 / op.Beta);
    private readonly T _threshold = Scalar<T>(op.Threshold);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x)
    {
        var z = x * Vector512.Create(_beta);
        return Vector512.ConditionalSelect(Vector512.GreaterThan(z, Vector512.Create(_threshold)), x, Softplus(z) * Vector512.Create(_inverse));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x)
    {
        var z = x * Vector512.Create(_beta);
        return Vector512.ConditionalSelect(Vector512.GreaterThan(z, Vector512.Create(_threshold)), Vector512<T>.One, Sigmoid(z, out _));
    }
}

/// <summary>
/// tanh(softplus(x)) without a logarithm: with e = exp(-|x|) it is (1 + 2e) / (1 + 2e + 2e^2) for x > 0 and
/// (2e + e^2) / (2 + 2e + e^2) for x &lt;= 0.
/// </summary>
internal readonly struct MishFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x)
    {
        var e = Exp(-Vector512.Abs(x));
        Parts(x, e, out var numerator, out var denominator);
        return x * (numerator / denominator);
    }

    /// <summary>
    /// t + x (1 - t^2) sigmoid(x); the product of the two last factors is 4 e^2 (1 + e) / d^2 for x > 0 and 4 e (1 + e) / d^2 for
    /// x &lt;= 0, d being the denominator above.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x)
    {
        var e = Exp(-Vector512.Abs(x));
        Parts(x, e, out var numerator, out var denominator);
        var inverse = Vector512<T>.One / denominator;
        var slope = All<T>(4) * e * (e + Vector512<T>.One) * inverse * inverse;
        slope = Vector512.ConditionalSelect(Vector512.GreaterThan(x, Vector512<T>.Zero), slope * e, slope);
        return Fma(x, slope, numerator * inverse);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Parts(Vector512<T> x, Vector512<T> e, out Vector512<T> numerator, out Vector512<T> denominator)
    {
        var positive = Vector512.GreaterThan(x, Vector512<T>.Zero);
        var twice = e + e;
        var square = e * e;
        numerator = twice + Vector512.ConditionalSelect(positive, Vector512<T>.One, square);
        denominator = numerator + Vector512.ConditionalSelect(positive, square + square, All<T>(2));
    }
}
