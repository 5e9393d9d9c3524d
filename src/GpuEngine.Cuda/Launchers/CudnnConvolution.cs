using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>One of cuDNN's algorithms for a convolution.</summary>
/// <param name="Algorithm">Its number in the enumeration of its role.</param>
/// <param name="Math">What it may multiply with.</param>
internal readonly record struct CudnnAlgorithm(int Algorithm, cudnnMathType_t Math);

/// <summary>
/// One of the three convolutions by cuDNN: its descriptors, its admitted algorithms, its calls. Admitted is what is deterministic,
/// multiplies what it is given (no Fourier or Winograd transform, whose rounding errors are several times larger) and fits the
/// workspace. f32 products are f32; TF32 only when asked for.
/// </summary>
internal sealed unsafe class CudnnConvolution : IDisposable
{
    /// <summary>Workspace bytes that an algorithm may use; most of those admitted need little or nothing.</summary>
    public const long Budget = 64L << 20;

    /// <summary>More than there are algorithms times math types.</summary>
    private const int Most = 24;

    private readonly ConvProblem _problem;
    private readonly DType _dtype;
    private readonly bool _allowTf32;
    private CudnnTensorDescriptor _x;
    private CudnnTensorDescriptor _y;
    private CudnnFilterDescriptor _w;
    private CudnnConvolutionDescriptor _conv;
    private readonly ConvEpilogue? _epilogue;
    private CudnnTensorDescriptor _bias;
    private CudnnActivationDescriptor _activation;

    public CudnnConvolution(ConvProblem problem, DType dtype, bool allowTf32, ConvEpilogue? epilogue = null)
    {
        (_problem, _dtype, _allowTf32, _epilogue) = (problem, dtype, allowTf32, epilogue);
        var compute = dtype == DType.F64 ? cudnnDataType_t.CUDNN_DATA_DOUBLE : cudnnDataType_t.CUDNN_DATA_FLOAT;
        var (x, w, y, g) = (problem.X, problem.W, problem.Y, problem.Geometry);
        Cudnn.cudnnCreateTensorDescriptor(out _x).ThrowIfFailed();
        Cudnn.cudnnSetTensor4dDescriptor(_x, Format, Type, x[0], x[1], x[2], x[3]).ThrowIfFailed();
        Cudnn.cudnnCreateTensorDescriptor(out _y).ThrowIfFailed();
        Cudnn.cudnnSetTensor4dDescriptor(_y, Format, Type, y[0], y[1], y[2], y[3]).ThrowIfFailed();
        Cudnn.cudnnCreateFilterDescriptor(out _w).ThrowIfFailed();
        Cudnn.cudnnSetFilter4dDescriptor(_w, Type, Format, w[0], w[1], w[2], w[3]).ThrowIfFailed();
        Cudnn.cudnnCreateConvolutionDescriptor(out _conv).ThrowIfFailed();
        Cudnn.cudnnSetConvolution2dDescriptor(
            _conv, g.Padding[0], g.Padding[1], g.Stride[0], g.Stride[1], g.Dilation[0], g.Dilation[1],
            cudnnConvolutionMode_t.CUDNN_CROSS_CORRELATION, compute).ThrowIfFailed();
        Cudnn.cudnnSetConvolutionGroupCount(_conv, g.Groups).ThrowIfFailed();
        Cudnn.cudnnSetConvolutionMathType(_conv, Wanted).ThrowIfFailed();
        if (epilogue is null) return;
        Cudnn.cudnnCreateTensorDescriptor(out _bias).ThrowIfFailed();
        Cudnn.cudnnSetTensor4dDescriptor(_bias, Format, Type, 1, w[0], 1, 1).ThrowIfFailed();
        Cudnn.cudnnCreateActivationDescriptor(out _activation).ThrowIfFailed();
        Cudnn.cudnnSetActivationDescriptor(
            _activation, epilogue.Relu ? cudnnActivationMode_t.CUDNN_ACTIVATION_RELU : cudnnActivationMode_t.CUDNN_ACTIVATION_IDENTITY,
            cudnnNanPropagation_t.CUDNN_PROPAGATE_NAN, 0).ThrowIfFailed();
    }

    public void Dispose()
    {
        // Host objects whose destruction only fails for a handle that is none.
        if (_x.Value != 0) _ = Cudnn.cudnnDestroyTensorDescriptor(_x);
        if (_y.Value != 0) _ = Cudnn.cudnnDestroyTensorDescriptor(_y);
        if (_w.Value != 0) _ = Cudnn.cudnnDestroyFilterDescriptor(_w);
        if (_conv.Value != 0) _ = Cudnn.cudnnDestroyConvolutionDescriptor(_conv);
        if (_bias.Value != 0) _ = Cudnn.cudnnDestroyTensorDescriptor(_bias);
        if (_activation.Value != 0) _ = Cudnn.cudnnDestroyActivationDescriptor(_activation);
        (_x, _y, _w, _conv, _bias, _activation) = (default, default, default, default, default, default);
    }

    /// <summary>The admitted algorithms, in the order of cuDNN's own estimate; why there is none in <paramref name="reason"/>.</summary>
    public IReadOnlyList<CudnnAlgorithm> Algorithms(CudnnHandle handle, out string reason)
    {
        int count;
        cudnnStatus_t status;
        switch (_problem.Role)
        {
            case ConvRole.Forward:
                var forward = stackalloc CudnnConvolutionAlgoPerf<cudnnConvolutionFwdAlgo_t>[Most];
                status = Cudnn.cudnnGetConvolutionForwardAlgorithm_v7(handle, _x, _w, _conv, _y, Most, out count, forward);
                return Admitted(status, forward, count, MayRun, out reason);
            case ConvRole.Input:
                var data = stackalloc CudnnConvolutionAlgoPerf<cudnnConvolutionBwdDataAlgo_t>[Most];
                status = Cudnn.cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, _w, _y, _conv, _x, Most, out count, data);
                return Admitted(status, data, count, a => a <= cudnnConvolutionBwdDataAlgo_t.CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, out reason);
            default:
                var filter = stackalloc CudnnConvolutionAlgoPerf<cudnnConvolutionBwdFilterAlgo_t>[Most];
                status = Cudnn.cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, _x, _y, _conv, _w, Most, out count, filter);
                return Admitted(
                    status, filter, count, a => a is cudnnConvolutionBwdFilterAlgo_t.CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0
                        or cudnnConvolutionBwdFilterAlgo_t.CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1
                        or cudnnConvolutionBwdFilterAlgo_t.CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3,
                    out reason);
        }
    }

    /// <summary>Queues the convolution.</summary>
    /// <param name="handle">On the stream that it is to run on.</param>
    /// <param name="algorithm">An admitted one.</param>
    /// <param name="output">What is computed.</param>
    /// <param name="inputs">Those of the op; with an epilogue the bias and then the residual behind them.</param>
    /// <param name="workspace"><see cref="Budget"/> bytes.</param>
    public cudnnStatus_t Run(CudnnHandle handle, CudnnAlgorithm algorithm, DevicePointer output, ReadOnlySpan<DevicePointer> inputs, DevicePointer workspace)
    {
        double one64 = 1, zero64 = 0;
        float one32 = 1, zero32 = 0;
        void* one = _dtype == DType.F64 ? &one64 : &one32;
        void* zero = _dtype == DType.F64 ? &zero64 : &zero32;
        var (y, a, b, scratch, bytes) = (output.Raw, inputs[0].Raw, inputs[1].Raw, workspace.Raw, (nuint)Budget);
        Cudnn.cudnnSetConvolutionMathType(_conv, algorithm.Math).ThrowIfFailed();
        if (_epilogue is { } epilogue)
        {
            // Without a residual y stands in for it, times zero.
            var z = epilogue.Residual ? inputs[3].Raw : y;
            return Cudnn.cudnnConvolutionBiasActivationForward(
                handle, one, _x, a, _w, b, _conv, (cudnnConvolutionFwdAlgo_t)algorithm.Algorithm, scratch, bytes, epilogue.Residual ? one : zero,
                _y, z, _bias, inputs[2].Raw, _activation, _y, y);
        }

        return _problem.Role switch
        {
            ConvRole.Forward => Cudnn.cudnnConvolutionForward(
                handle, one, _x, a, _w, b, _conv, (cudnnConvolutionFwdAlgo_t)algorithm.Algorithm, scratch, bytes, zero, _y, y),
            ConvRole.Input => Cudnn.cudnnConvolutionBackwardData(
                handle, one, _w, b, _y, a, _conv, (cudnnConvolutionBwdDataAlgo_t)algorithm.Algorithm, scratch, bytes, zero, _x, y),
            _ => Cudnn.cudnnConvolutionBackwardFilter(
                handle, one, _x, b, _y, a, _conv, (cudnnConvolutionBwdFilterAlgo_t)algorithm.Algorithm, scratch, bytes, zero, _w, y),
        };
    }

    /// <summary>Whether a status says that this cannot be done, which is an answer; anything else is an error.</summary>
    public static bool IsRefusal(cudnnStatus_t status) => (int)status / 1000 == 3;

    /// <summary>An identity behind the sum goes with one algorithm alone (cuDNN's API reference, cudnnConvolutionBiasActivationForward).</summary>
    private bool MayRun(cudnnConvolutionFwdAlgo_t algorithm) => _epilogue is { Relu: false }
        ? algorithm == cudnnConvolutionFwdAlgo_t.CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM
        : algorithm <= cudnnConvolutionFwdAlgo_t.CUDNN_CONVOLUTION_FWD_ALGO_GEMM;

    private cudnnDataType_t Type => _dtype switch
    {
        DType.F64 => cudnnDataType_t.CUDNN_DATA_DOUBLE,
        DType.BF16 => cudnnDataType_t.CUDNN_DATA_BFLOAT16,
        _ => cudnnDataType_t.CUDNN_DATA_FLOAT,
    };

    private cudnnTensorFormat_t Format =>
        _problem.IsChannelsLast ? cudnnTensorFormat_t.CUDNN_TENSOR_NHWC : cudnnTensorFormat_t.CUDNN_TENSOR_NCHW;

    private cudnnMathType_t Wanted => _dtype switch
    {
        DType.BF16 => cudnnMathType_t.CUDNN_TENSOR_OP_MATH,
        DType.F32 when !_allowTf32 => cudnnMathType_t.CUDNN_FMA_MATH,
        _ => cudnnMathType_t.CUDNN_DEFAULT_MATH,
    };

    private List<CudnnAlgorithm> Admitted<TAlgo>(
        cudnnStatus_t status, CudnnConvolutionAlgoPerf<TAlgo>* found, int count, Func<TAlgo, bool> multiplies, out string reason)
        where TAlgo : unmanaged, Enum
    {
        var admitted = new List<CudnnAlgorithm>();
        reason = "it has none for these extents";
        if (IsRefusal(status)) return admitted;
        status.ThrowIfFailed($"cudnnGet...Algorithm_v7 for a convolution of {_problem.X}");
        for (var i = 0; i < count; i++)
        {
            ref var candidate = ref found[i];
            if (candidate.status != cudnnStatus_t.CUDNN_STATUS_SUCCESS || !multiplies(candidate.algo)) continue;
            var usesTensorCores = candidate.mathType is cudnnMathType_t.CUDNN_TENSOR_OP_MATH
                or cudnnMathType_t.CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION;
            if (Wanted == cudnnMathType_t.CUDNN_FMA_MATH && usesTensorCores) continue;
            if (candidate.determinism != cudnnDeterminism_t.CUDNN_DETERMINISTIC)
            {
                reason = "what it has is not deterministic";
                continue;
            }

            if ((long)candidate.memory > Budget)
            {
                reason = $"what it has needs {(long)candidate.memory >> 20} MiB of workspace, and {Budget >> 20} MiB are allowed";
                continue;
            }

            // f32 keeps the math type that forbids TF32, whatever the estimate was made for.
            var algorithm = new CudnnAlgorithm(
                Convert.ToInt32(candidate.algo), Wanted == cudnnMathType_t.CUDNN_FMA_MATH ? Wanted : candidate.mathType);
            if (!admitted.Contains(algorithm)) admitted.Add(algorithm);
        }

        return admitted;
    }
}
