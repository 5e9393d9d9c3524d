using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static GpuEngine.Core.Cpu.Kernels.VectorMath;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Up to four learned numbers of a channel, or their gradients, one register each.</summary>
internal struct ChannelNumbers<T> where T : unmanaged
{
    public Vector512<T> A;
    public Vector512<T> B;
    public Vector512<T> C;
    public Vector512<T> D;
}

/// <summary>An activation with learned numbers per channel, on a register.</summary>
internal interface IChannelFunctor<T> where T : unmanaged
{
    /// <summary>How many of the four numbers there are.</summary>
    static abstract int Count { get; }

    static abstract Vector512<T> Forward(Vector512<T> x, in ChannelNumbers<T> p);

    /// <summary>dx, and the elements' contributions to the gradients of the numbers.</summary>
    static abstract Vector512<T> Backward(Vector512<T> dy, Vector512<T> x, in ChannelNumbers<T> p, out ChannelNumbers<T> gradients);
}

internal readonly struct PReluFunctor<T> : IChannelFunctor<T> where T : unmanaged
{
    public static int Count => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Forward(Vector512<T> x, in ChannelNumbers<T> p) => Vector512.ConditionalSelect(Vector512.GreaterThan(x, Vector512<T>.Zero), x, x * p.A);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Backward(Vector512<T> dy, Vector512<T> x, in ChannelNumbers<T> p, out ChannelNumbers<T> gradients)
    {
        var positive = Vector512.GreaterThan(x, Vector512<T>.Zero);
        gradients = default;
        gradients.A = Vector512.AndNot(dy * x, positive);
        return Vector512.ConditionalSelect(positive, dy, dy * p.A);
    }
}

/// <summary>The numbers in the op's order: t_r, a_r, t_l, a_l.</summary>
internal readonly struct SReluFunctor<T> : IChannelFunctor<T> where T : unmanaged
{
    public static int Count => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Forward(Vector512<T> x, in ChannelNumbers<T> p)
    {
        var left = Vector512.ConditionalSelect(Vector512.LessThanOrEqual(x, p.C), Fma(p.D, x - p.C, p.C), x);
        return Vector512.ConditionalSelect(Vector512.GreaterThanOrEqual(x, p.A), Fma(p.B, x - p.A, p.A), left);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Backward(Vector512<T> dy, Vector512<T> x, in ChannelNumbers<T> p, out ChannelNumbers<T> gradients)
    {
        var right = Vector512.GreaterThanOrEqual(x, p.A);
        var left = Vector512.AndNot(Vector512.LessThanOrEqual(x, p.C), right);
        gradients.A = dy * (Vector512<T>.One - p.B) & right;
        gradients.B = dy * (x - p.A) & right;
        gradients.C = dy * (Vector512<T>.One - p.D) & left;
        gradients.D = dy * (x - p.C) & left;
        return Vector512.ConditionalSelect(right, dy * p.B, Vector512.ConditionalSelect(left, dy * p.D, dy));
    }
}
