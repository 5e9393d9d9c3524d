using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

internal readonly record struct CudnnHandle(nint Value);

internal readonly record struct CudnnTensorDescriptor(nint Value);

internal readonly record struct CudnnFilterDescriptor(nint Value);

internal readonly record struct CudnnConvolutionDescriptor(nint Value);

internal readonly record struct CudnnActivationDescriptor(nint Value);

/// <summary>
/// One timed or estimated algorithm. cuDNN has three of these structures that differ only in the type of
/// <c>algo</c>, which is an int in all three.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CudnnConvolutionAlgoPerf<TAlgo> where TAlgo : unmanaged, Enum
{
    public TAlgo algo;
    public cudnnStatus_t status;

    /// <summary>Milliseconds; negative when estimated.</summary>
    public float time;

    /// <summary>Workspace bytes.</summary>
    public nuint memory;
    public cudnnDeterminism_t determinism;
    public cudnnMathType_t mathType;
    private readonly int _reserved0;
    private readonly int _reserved1;
    private readonly int _reserved2;
}
