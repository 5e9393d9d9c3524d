using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>The convolution triple of cuDNN: choose (Get: estimated, Find: timed), ask for workspace, run.</summary>
internal static unsafe partial class Cudnn
{
    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(
        CudnnHandle handle, CudnnTensorDescriptor xDesc, CudnnFilterDescriptor wDesc, CudnnConvolutionDescriptor conv,
        CudnnTensorDescriptor yDesc, int requested, out int returned,
        CudnnConvolutionAlgoPerf<cudnnConvolutionFwdAlgo_t>* results);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnFindConvolutionForwardAlgorithmEx(
        CudnnHandle handle, CudnnTensorDescriptor xDesc, CUdeviceptr x, CudnnFilterDescriptor wDesc, CUdeviceptr w,
        CudnnConvolutionDescriptor conv, CudnnTensorDescriptor yDesc, CUdeviceptr y, int requested, out int returned,
        CudnnConvolutionAlgoPerf<cudnnConvolutionFwdAlgo_t>* results, CUdeviceptr workspace, nuint workspaceBytes);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(
        CudnnHandle handle, CudnnTensorDescriptor xDesc, CudnnFilterDescriptor wDesc, CudnnConvolutionDescriptor conv,
        CudnnTensorDescriptor yDesc, cudnnConvolutionFwdAlgo_t algo, out nuint bytes);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnConvolutionForward(
        CudnnHandle handle, void* alpha, CudnnTensorDescriptor xDesc, CUdeviceptr x, CudnnFilterDescriptor wDesc, CUdeviceptr w,
        CudnnConvolutionDescriptor conv, cudnnConvolutionFwdAlgo_t algo, CUdeviceptr workspace, nuint workspaceBytes,
        void* beta, CudnnTensorDescriptor yDesc, CUdeviceptr y);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
        CudnnHandle handle, CudnnFilterDescriptor wDesc, CudnnTensorDescriptor dyDesc, CudnnConvolutionDescriptor conv,
        CudnnTensorDescriptor dxDesc, int requested, out int returned,
        CudnnConvolutionAlgoPerf<cudnnConvolutionBwdDataAlgo_t>* results);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnFindConvolutionBackwardDataAlgorithmEx(
        CudnnHandle handle, CudnnFilterDescriptor wDesc, CUdeviceptr w, CudnnTensorDescriptor dyDesc, CUdeviceptr dy,
        CudnnConvolutionDescriptor conv, CudnnTensorDescriptor dxDesc, CUdeviceptr dx, int requested, out int returned,
        CudnnConvolutionAlgoPerf<cudnnConvolutionBwdDataAlgo_t>* results, CUdeviceptr workspace, nuint workspaceBytes);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
        CudnnHandle handle, CudnnFilterDescriptor wDesc, CudnnTensorDescriptor dyDesc, CudnnConvolutionDescriptor conv,
        CudnnTensorDescriptor dxDesc, cudnnConvolutionBwdDataAlgo_t algo, out nuint bytes);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnConvolutionBackwardData(
        CudnnHandle handle, void* alpha, CudnnFilterDescriptor wDesc, CUdeviceptr w, CudnnTensorDescriptor dyDesc, CUdeviceptr dy,
        CudnnConvolutionDescriptor conv, cudnnConvolutionBwdDataAlgo_t algo, CUdeviceptr workspace, nuint workspaceBytes,
        void* beta, CudnnTensorDescriptor dxDesc, CUdeviceptr dx);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
        CudnnHandle handle, CudnnTensorDescriptor xDesc, CudnnTensorDescriptor dyDesc, CudnnConvolutionDescriptor conv,
        CudnnFilterDescriptor dwDesc, int requested, out int returned,
        CudnnConvolutionAlgoPerf<cudnnConvolutionBwdFilterAlgo_t>* results);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnFindConvolutionBackwardFilterAlgorithmEx(
        CudnnHandle handle, CudnnTensorDescriptor xDesc, CUdeviceptr x, CudnnTensorDescriptor dyDesc, CUdeviceptr dy,
        CudnnConvolutionDescriptor conv, CudnnFilterDescriptor dwDesc, CUdeviceptr dw, int requested, out int returned,
        CudnnConvolutionAlgoPerf<cudnnConvolutionBwdFilterAlgo_t>* results, CUdeviceptr workspace, nuint workspaceBytes);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
        CudnnHandle handle, CudnnTensorDescriptor xDesc, CudnnTensorDescriptor dyDesc, CudnnConvolutionDescriptor conv,
        CudnnFilterDescriptor dwDesc, cudnnConvolutionBwdFilterAlgo_t algo, out nuint bytes);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnConvolutionBackwardFilter(
        CudnnHandle handle, void* alpha, CudnnTensorDescriptor xDesc, CUdeviceptr x, CudnnTensorDescriptor dyDesc, CUdeviceptr dy,
        CudnnConvolutionDescriptor conv, cudnnConvolutionBwdFilterAlgo_t algo, CUdeviceptr workspace, nuint workspaceBytes,
        void* beta, CudnnFilterDescriptor dwDesc, CUdeviceptr dw);

    /// <summary>y = act(alpha1 * conv(x, w) + alpha2 * z + bias).</summary>
    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnConvolutionBiasActivationForward(
        CudnnHandle handle, void* alpha1, CudnnTensorDescriptor xDesc, CUdeviceptr x, CudnnFilterDescriptor wDesc,
        CUdeviceptr w, CudnnConvolutionDescriptor conv, cudnnConvolutionFwdAlgo_t algo, CUdeviceptr workspace,
        nuint workspaceBytes, void* alpha2, CudnnTensorDescriptor zDesc, CUdeviceptr z, CudnnTensorDescriptor biasDesc,
        CUdeviceptr bias, CudnnActivationDescriptor activation, CudnnTensorDescriptor yDesc, CUdeviceptr y);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnConvolutionBackwardBias(
        CudnnHandle handle, void* alpha, CudnnTensorDescriptor dyDesc, CUdeviceptr dy, void* beta,
        CudnnTensorDescriptor dbDesc, CUdeviceptr db);
}
