namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// A contiguous stretch of elements with the statistics of one row or channel, for <see cref="RunPasses{T, TVec, TSimd,
/// TActivation, TResidual, TElements}"/>. Pointers show its first element.
/// </summary>
internal unsafe struct Run<T> where T : unmanaged
{
    public T* X;
    public T* Dy;

    /// <summary>y, or dx.</summary>
    public T* Result;
    public T* Residual;
    public T* DResidual;
    public nint Length;

    public T Mean;

    /// <summary>weight / sqrt(var + eps); without the weight where each element has its own.</summary>
    public T Scale;

    /// <summary>The bias, where all elements share it.</summary>
    public T Bias;

    /// <summary>a of dx = scale dz + a + (x - mean) b.</summary>
    public T Offset;

    /// <summary>b of dx = scale dz + a + (x - mean) b.</summary>
    public T Factor;

    /// <summary>Weights of the elements, where each has its own.</summary>
    public T* Weights;
    public T* Biases;

    /// <summary>Sums that the elements' shares of dweight and dbias are added to.</summary>
    public T* DWeights;
    public T* DBiases;
}
