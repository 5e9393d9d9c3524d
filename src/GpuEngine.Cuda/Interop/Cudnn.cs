using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>
/// cuDNN 9: handles, descriptors and the legacy convolution API (cudnn_ops.h and cudnn_cnn.h of 9.6). The graph API needs
/// hundreds of lines of descriptors per operation; the legacy calls reach the same engines for plain convolutions.
/// Tensor arguments are device addresses, alpha and beta host addresses.
/// </summary>
internal static unsafe partial class Cudnn
{
    public const string Library = "cudnn";

    [LibraryImport(Library)]
    public static partial nuint cudnnGetVersion();

    [LibraryImport(Library)]
    public static partial nuint cudnnGetCudartVersion();

    [LibraryImport(Library)]
    public static partial byte* cudnnGetErrorString(cudnnStatus_t status);

    [LibraryImport(Library)]
    public static partial void cudnnGetLastErrorString(byte* message, nuint bytes);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnCreate(out CudnnHandle handle);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnDestroy(CudnnHandle handle);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnSetStream(CudnnHandle handle, CUstream stream);

    // Descriptors.

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnCreateTensorDescriptor(out CudnnTensorDescriptor descriptor);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnDestroyTensorDescriptor(CudnnTensorDescriptor descriptor);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnSetTensor4dDescriptor(
        CudnnTensorDescriptor descriptor, cudnnTensorFormat_t format, cudnnDataType_t type, int n, int c, int h, int w);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnSetTensor4dDescriptorEx(
        CudnnTensorDescriptor descriptor, cudnnDataType_t type, int n, int c, int h, int w,
        int nStride, int cStride, int hStride, int wStride);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnCreateFilterDescriptor(out CudnnFilterDescriptor descriptor);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnDestroyFilterDescriptor(CudnnFilterDescriptor descriptor);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnSetFilter4dDescriptor(
        CudnnFilterDescriptor descriptor, cudnnDataType_t type, cudnnTensorFormat_t format, int k, int c, int h, int w);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnCreateConvolutionDescriptor(out CudnnConvolutionDescriptor descriptor);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnDestroyConvolutionDescriptor(CudnnConvolutionDescriptor descriptor);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnSetConvolution2dDescriptor(
        CudnnConvolutionDescriptor descriptor, int padH, int padW, int strideH, int strideW, int dilationH,
        int dilationW, cudnnConvolutionMode_t mode, cudnnDataType_t computeType);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnSetConvolutionGroupCount(
        CudnnConvolutionDescriptor descriptor, int groupCount);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnSetConvolutionMathType(
        CudnnConvolutionDescriptor descriptor, cudnnMathType_t mathType);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(
        CudnnConvolutionDescriptor conv, CudnnTensorDescriptor input, CudnnFilterDescriptor filter,
        out int n, out int c, out int h, out int w);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnCreateActivationDescriptor(out CudnnActivationDescriptor descriptor);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnDestroyActivationDescriptor(CudnnActivationDescriptor descriptor);

    [LibraryImport(Library)]
    public static partial cudnnStatus_t cudnnSetActivationDescriptor(
        CudnnActivationDescriptor descriptor, cudnnActivationMode_t mode, cudnnNanPropagation_t nan, double coef);
}
