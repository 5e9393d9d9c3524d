using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;
using static GpuEngine.Core.Cpu.Kernels.VectorMath;

namespace GpuEngine.Core.Cpu.Kernels;

internal readonly struct IdentityFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => x;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x) => Vector512<T>.One;
}

internal readonly struct ReluFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    // "Not below or at 0" instead of "above": NaN stays NaN and passes the gradient.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => Vector512.AndNot(x, Vector512.LessThanOrEqual(x, Vector512<T>.Zero));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x) => Vector512.AndNot(Vector512<T>.One, Vector512.LessThanOrEqual(x, Vector512<T>.Zero));
}

internal readonly struct LeakyReluFunctor<T>(LeakyRelu op) : IActivationFunctor<T> where T : unmanaged
{
    private readonly T _slope = Scalar<T>(op.NegativeSlope);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => Vector512.ConditionalSelect(Vector512.GreaterThan(x, Vector512<T>.Zero), x, x * Vector512.Create(_slope));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x) => Vector512.ConditionalSelect(Vector512.GreaterThan(x, Vector512<T>.Zero), Vector512<T>.One, Vector512.Create(_slope));
}

internal readonly struct HardtanhFunctor<T>(Hardtanh op) : IActivationFunctor<T> where T : unmanaged
{
    private readonly T _low = Scalar<T>(op.MinVal);
    private readonly T _high = Scalar<T>(op.MaxVal);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => Vector512.MinNative(Vector512.Create(_high), Vector512.MaxNative(Vector512.Create(_low), x));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x) =>
        Vector512<T>.One & Vector512.GreaterThan(x, Vector512.Create(_low)) & Vector512.LessThan(x, Vector512.Create(_high));
}

internal readonly struct HardsigmoidFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => AtMost(AtLeast(x + All<T>(3), 0), 6) / All<T>(6);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x) =>
        All<T>(1.0 / 6) & Vector512.GreaterThan(x, All<T>(-3)) & Vector512.LessThan(x, All<T>(3));
}

internal readonly struct HardswishFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => x * AtMost(AtLeast(x + All<T>(3), 0), 6) / All<T>(6);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x)
    {
        var above = Vector512.ConditionalSelect(Vector512.LessThan(x, All<T>(3)), x / All<T>(3) + All<T>(0.5), Vector512<T>.One);
        return Vector512.AndNot(above, Vector512.LessThan(x, All<T>(-3)));
    }
}

internal readonly struct SoftsignFunctor<T> : IActivationFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Forward(Vector512<T> x) => x / (Vector512<T>.One + Vector512.Abs(x));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x)
    {
        var r = Vector512<T>.One / (Vector512<T>.One + Vector512.Abs(x));
        return r * r;
    }
}
