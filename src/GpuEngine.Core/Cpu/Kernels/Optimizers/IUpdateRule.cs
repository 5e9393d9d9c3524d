using System.Numerics;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Optimizers;

/// <summary>What one step knows besides the tensors: read from device memory once per launch.</summary>
internal readonly record struct StepScalars(double LearningRate, long Step)
{
    /// <summary>torch's step: 1 at the first.</summary>
    public double Count => Step + 1;
}

/// <summary>
/// The arithmetic of one optimizer on one vector of elements; scalars are derived when it is made. Products that torch's
/// CPU kernels contract into a fused multiply-add are contracted here too, so that f32 steps round alike.
/// </summary>
internal interface IUpdateRule<TSelf, T> where TSelf : struct, IUpdateRule<TSelf, T> where T : unmanaged
{
    static abstract TSelf Create(OptimizerOp op, StepScalars scalars);

    /// <summary>
    /// Updates the parameter and up to three states in the order of the op's state names; the gradient is clipped and has
    /// its sign.
    /// </summary>
    void Apply(ref Vector<T> param, Vector<T> grad, ref Vector<T> a, ref Vector<T> b, ref Vector<T> c);
}

/// <summary>Shorthands that the rules share.</summary>
internal static class Lanes
{
    /// <summary>A scalar computed in double, rounded once to the computing type.</summary>
    public static Vector<T> Of<T>(double value) where T : unmanaged, INumberBase<T> => new(T.CreateTruncating(value));

    /// <summary>x y + z with one rounding.</summary>
    public static Vector<T> Fma<T>(Vector<T> x, Vector<T> y, Vector<T> z) where T : unmanaged => typeof(T) == typeof(float)
        ? Vector.FusedMultiplyAdd(x.As<T, float>(), y.As<T, float>(), z.As<T, float>()).As<float, T>()
        : Vector.FusedMultiplyAdd(x.As<T, double>(), y.As<T, double>(), z.As<T, double>()).As<double, T>();
}
