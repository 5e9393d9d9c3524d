using System.Runtime.CompilerServices;
using GpuEngine.Cuda.Interop;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// Sizes and offsets as gcc reports them (sizeof, offsetof, x86-64) for the vendor's own headers: cuda.h, cublasLt.h and
/// cudnn_cnn.h of CUDA 12.6 with cuDNN 9.6, nccl.h of 2.30. The bindings that cudarc 0.18 generates from CUDA 13.0 have the
/// same fields.
/// </summary>
public unsafe class LayoutTests
{
    [Fact]
    public void Handles_are_one_word_and_a_device_is_one_int()
    {
        Assert.Equal(4, sizeof(CUdevice));
        Assert.Equal(8, sizeof(CUdeviceptr));
        Assert.All(
            new[]
            {
                sizeof(CUcontext), sizeof(CUstream), sizeof(CUevent), sizeof(CUmodule), sizeof(CUfunction), sizeof(CUgraph),
                sizeof(CUgraphExec), sizeof(CUgraphNode), sizeof(NvrtcProgram), sizeof(CublasHandle), sizeof(CublasLtHandle),
                sizeof(CublasLtMatmulDesc), sizeof(CublasLtMatrixLayout), sizeof(CublasLtMatmulPreference),
                sizeof(CudnnHandle), sizeof(CudnnTensorDescriptor), sizeof(CudnnFilterDescriptor),
                sizeof(CudnnConvolutionDescriptor), sizeof(CudnnActivationDescriptor), sizeof(NcclComm),
            },
            size => Assert.Equal(sizeof(nint), size));
    }

    [Fact]
    public void CUuuid_and_ncclUniqueId_are_plain_bytes()
    {
        Assert.Equal(16, sizeof(CUuuid));
        Assert.Equal(128, sizeof(ncclUniqueId));
    }

    [Fact]
    public void CUlaunchConfig()
    {
        CUlaunchConfig x = default;
        Assert.Equal(56, sizeof(CUlaunchConfig));
        Assert.Equal(0, Offset(&x, &x.gridDimX));
        Assert.Equal(4, Offset(&x, &x.gridDimY));
        Assert.Equal(8, Offset(&x, &x.gridDimZ));
        Assert.Equal(12, Offset(&x, &x.blockDimX));
        Assert.Equal(16, Offset(&x, &x.blockDimY));
        Assert.Equal(20, Offset(&x, &x.blockDimZ));
        Assert.Equal(24, Offset(&x, &x.sharedMemBytes));
        Assert.Equal(32, Offset(&x, &x.hStream));
        Assert.Equal(40, Offset(&x, &x.attrs));
        Assert.Equal(48, Offset(&x, &x.numAttrs));
    }

    [Fact]
    public void CUlaunchAttribute_is_an_id_and_a_union_of_64_bytes()
    {
        CUlaunchAttribute x = default;
        Assert.Equal(72, sizeof(CUlaunchAttribute));
        Assert.Equal(8, AlignmentOf<CUlaunchAttribute>());
        Assert.Equal(0, Offset(&x, &x.id));
        Assert.Equal(8, Offset(&x, &x.cooperative));
        Assert.Equal(8, Offset(&x, &x.clusterDimX));
        Assert.Equal(12, Offset(&x, &x.clusterDimY));
        Assert.Equal(16, Offset(&x, &x.clusterDimZ));
        Assert.Equal(8, Offset(&x, &x.programmaticStreamSerializationAllowed));
        Assert.Equal(8, Offset(&x, &x.priority));
    }

    [Fact]
    public void CUgraphExecUpdateResultInfo()
    {
        CUgraphExecUpdateResultInfo x = default;
        Assert.Equal(24, sizeof(CUgraphExecUpdateResultInfo));
        Assert.Equal(0, Offset(&x, &x.result));
        Assert.Equal(8, Offset(&x, &x.errorNode));
        Assert.Equal(16, Offset(&x, &x.errorFromNode));
    }

    [Fact]
    public void CublasLtMatmulHeuristicResult()
    {
        CublasLtMatmulHeuristicResult x = default;
        Assert.Equal(64, sizeof(CublasLtMatmulAlgo));
        Assert.Equal(96, sizeof(CublasLtMatmulHeuristicResult));
        Assert.Equal(0, Offset(&x, &x.algo));
        Assert.Equal(64, Offset(&x, &x.workspaceSize));
        Assert.Equal(72, Offset(&x, &x.state));
        Assert.Equal(76, Offset(&x, &x.wavesCount));
    }

    [Fact]
    public void CudnnConvolutionAlgoPerf_is_the_same_for_all_three_convolutions()
    {
        CheckPerf<cudnnConvolutionFwdAlgo_t>();
        CheckPerf<cudnnConvolutionBwdDataAlgo_t>();
        CheckPerf<cudnnConvolutionBwdFilterAlgo_t>();
    }

    private static void CheckPerf<TAlgo>() where TAlgo : unmanaged, Enum
    {
        CudnnConvolutionAlgoPerf<TAlgo> x = default;
        Assert.Equal(48, sizeof(CudnnConvolutionAlgoPerf<TAlgo>));
        Assert.Equal(0, Offset(&x, &x.algo));
        Assert.Equal(4, Offset(&x, &x.status));
        Assert.Equal(8, Offset(&x, &x.time));
        Assert.Equal(16, Offset(&x, &x.memory));
        Assert.Equal(24, Offset(&x, &x.determinism));
        Assert.Equal(28, Offset(&x, &x.mathType));
    }

    private static int Offset(void* start, void* field) => (int)((byte*)field - (byte*)start);

    private static int AlignmentOf<T>() where T : unmanaged => Unsafe.SizeOf<Padded<T>>() - Unsafe.SizeOf<T>();

    private readonly record struct Padded<T>(byte First, T Value) where T : unmanaged;
}
