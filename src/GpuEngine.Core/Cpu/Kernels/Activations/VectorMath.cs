using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Elementary functions of a register of floats or doubles, accurate to a few units in the last place, results near 0 included,
/// and the same bits on every processor: everything is made of correctly rounded operations. The type tests are constants to
/// the JIT. Where the hardware has narrower registers, the runtime splits a Vector512 in halves.
/// </summary>
internal static partial class VectorMath
{
    /// <summary>A constant in every lane; for values that are not constants see <see cref="Scalar{T}"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> All<T>(double value) where T : unmanaged => typeof(T) == typeof(float)
        ? Vector512.Create((float)value).As<float, T>()
        : Vector512.Create(value).As<double, T>();

    /// <summary>
    /// The value as a T. What is not a constant is converted once, outside the loop: the conversion instruction merges into its
    /// old target, so in a loop each turn would wait for the one before.
    /// </summary>
    public static T Scalar<T>(double value) where T : unmanaged =>
        typeof(T) == typeof(float) ? Unsafe.BitCast<float, T>((float)value) : Unsafe.BitCast<double, T>(value);

    /// <summary>a b + c, rounded once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Fma<T>(Vector512<T> a, Vector512<T> b, Vector512<T> c) where T : unmanaged => typeof(T) == typeof(float)
        ? Vector512.FusedMultiplyAdd(a.AsSingle(), b.AsSingle(), c.AsSingle()).As<float, T>()
        : Vector512.FusedMultiplyAdd(a.AsDouble(), b.AsDouble(), c.AsDouble()).As<double, T>();

    /// <summary>max(x, floor); NaN, as the second operand, passes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> AtLeast<T>(Vector512<T> x, double floor) where T : unmanaged => Vector512.MaxNative(All<T>(floor), x);

    /// <summary>min(x, ceiling); NaN, as the second operand, passes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> AtMost<T>(Vector512<T> x, double ceiling) where T : unmanaged => Vector512.MinNative(All<T>(ceiling), x);

    /// <summary>e^x, with gradual underflow.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Exp<T>(Vector512<T> x) where T : unmanaged =>
        typeof(T) == typeof(float) ? Exp(x.AsSingle()).As<float, T>() : Exp(x.AsDouble()).As<double, T>();

    /// <summary>e^x - 1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Expm1<T>(Vector512<T> x) where T : unmanaged =>
        typeof(T) == typeof(float) ? Expm1(x.AsSingle()).As<float, T>() : Expm1(x.AsDouble()).As<double, T>();

    /// <summary>log(1 + u) for u in [0, 1]: twice the series of artanh(s), s = u / (2 + u), after a halving of 1 + u above sqrt(2).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Log1pUnit<T>(Vector512<T> u) where T : unmanaged =>
        typeof(T) == typeof(float) ? Log1pUnit(u.AsSingle()).As<float, T>() : Log1pUnit(u.AsDouble()).As<double, T>();

    /// <summary>1 / (1 + e^-x) and what is missing to 1, both to full relative accuracy.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Sigmoid<T>(Vector512<T> x, out Vector512<T> complement) where T : unmanaged
    {
        var e = Exp(-Vector512.Abs(x));
        var large = Vector512<T>.One / (e + Vector512<T>.One);
        var small = e * large;
        var positive = Vector512.GreaterThan(x, Vector512<T>.Zero);
        complement = Vector512.ConditionalSelect(positive, small, large);
        return Vector512.ConditionalSelect(positive, large, small);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Tanh<T>(Vector512<T> x) where T : unmanaged
    {
        var size = Vector512.Abs(x);
        var m = Expm1(-(size + size));
        return -m / (m + All<T>(2)) | (x & All<T>(-0.0));
    }

    /// <summary>max(x, 0) + log(1 + e^-|x|) = log(1 + e^x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Softplus<T>(Vector512<T> x) where T : unmanaged =>
        Vector512.MaxNative(Vector512<T>.Zero, x) + Log1pUnit(Exp(-Vector512.Abs(x)));

    /// <summary>erf(x): the Taylor series times x below 1/2, 1 - erfc beyond.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Erf<T>(Vector512<T> x) where T : unmanaged
    {
        var z = Vector512.Abs(x);
        // At 6 and beyond, erf is 1 to the last bit of a double.
        var capped = AtMost(z, 6);
        var square = capped * capped;
        var rest = Fma(capped, capped, -square);
        var large = Vector512<T>.One - Exp(-square) * (Vector512<T>.One - rest) * ErfcScaled(capped);
        return Vector512.ConditionalSelect(Vector512.LessThan(z, All<T>(0.5)), z * ErfSeries(square), large) | (x & All<T>(-0.0));
    }

    /// <summary>
    /// The normal distribution function Phi(x) = erfc(-x / sqrt(2)) / 2 and the density exp(-x^2 / 2) / sqrt(2 pi), with one
    /// exponential for both; the lower tail keeps its relative accuracy.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Phi<T>(Vector512<T> x, out Vector512<T> density) where T : unmanaged
    {
        // Beyond 40 both are 0; the square of a larger number could overflow.
        var z = AtMost(Vector512.Abs(x), 40);
        var square = z * z;
        var half = All<T>(-0.5);
        // What the square has lost to rounding, as a factor.
        var e = Exp(half * square) * Fma(Fma(z, z, -square), half, Vector512<T>.One);
        density = e * All<T>(0.39894228040143268);
        var tail = All<T>(0.5) * e * ErfcScaled(z * All<T>(0.70710678118654752));
        return Vector512.ConditionalSelect(Vector512.GreaterThan(x, Vector512<T>.Zero), Vector512<T>.One - tail, tail);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> ErfcScaled<T>(Vector512<T> x) where T : unmanaged =>
        typeof(T) == typeof(float) ? ErfcScaled(x.AsSingle()).As<float, T>() : ErfcScaled(x.AsDouble()).As<double, T>();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> ErfSeries<T>(Vector512<T> square) where T : unmanaged =>
        typeof(T) == typeof(float) ? ErfSeries(square.AsSingle()).As<float, T>() : ErfSeries(square.AsDouble()).As<double, T>();
}
