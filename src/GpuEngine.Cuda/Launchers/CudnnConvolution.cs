using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// One of the three convolutions by cuDNN: the fastest algorithm by its own estimate that is deterministic, multiplies what it
/// is given (no Fourier or Winograd transform, whose rounding errors are several times larger) and fits the workspace. Where
/// there is none, the generated kernel runs. f32 products are f32; TF32 only when asked for.
/// </summary>
internal sealed unsafe class CudnnConvolution : CudaKernel
{
    /// <summary>What an algorithm may use; most of those admitted need little or nothing.</summary>
    private const long Budget = 64L << 20;

    private const int Candidates = 8;
    private readonly CudaKernel _direct;
    private readonly ConvProblem _problem;
    private readonly bool _allowTf32;
    private CudnnTensorDescriptor _xDesc;
    private CudnnTensorDescriptor _yDesc;
    private CudnnFilterDescriptor _wDesc;
    private CudnnConvolutionDescriptor _conv;
    private int _algorithm = -1;

    /// <param name="limits">What the device has.</param>
    /// <param name="direct">What runs where cuDNN has no algorithm.</param>
    /// <param name="problem">Not an empty one.</param>
    public CudnnConvolution(CudaLimits limits, CudaKernel direct, ConvProblem problem) : base(direct.Node)
    {
        (_direct, _problem) = (direct, problem);
        _allowTf32 = limits.AllowTf32;
    }

    public override long WorkspaceBytes => Math.Max(Budget, _direct.WorkspaceBytes);

    public override string Decision => $"cudnn, else {_direct.Decision}";

    public override IReadOnlyList<KernelRequest> Requests => _direct.Requests;

    /// <summary>Whether cuDNN has an algorithm; known once bound.</summary>
    internal bool UsesCudnn => _algorithm >= 0;

    public override void Launch(CudaStream stream)
    {
        if (_algorithm < 0)
        {
            _direct.Launch(stream);
            return;
        }

        var handle = Library!.Cudnn(stream);
        var f64 = Node.Outputs[0].DType == DType.F64;
        double one64 = 1, zero64 = 0;
        float one32 = 1, zero32 = 0;
        void* one = f64 ? &one64 : &one32;
        void* zero = f64 ? &zero64 : &zero32;
        var (output, first, second, scratch) = (Out(0).Raw, In(0).Raw, In(1).Raw, Workspace.Raw);
        var status = _problem.Role switch
        {
            ConvRole.Forward => Cudnn.cudnnConvolutionForward(
                handle, one, _xDesc, first, _wDesc, second, _conv, (cudnnConvolutionFwdAlgo_t)_algorithm, scratch, (nuint)Budget,
                zero, _yDesc, output),
            ConvRole.Input => Cudnn.cudnnConvolutionBackwardData(
                handle, one, _wDesc, second, _yDesc, first, _conv, (cudnnConvolutionBwdDataAlgo_t)_algorithm, scratch, (nuint)Budget,
                zero, _xDesc, output),
            _ => Cudnn.cudnnConvolutionBackwardFilter(
                handle, one, _xDesc, second, _yDesc, first, _conv, (cudnnConvolutionBwdFilterAlgo_t)_algorithm, scratch, (nuint)Budget,
                zero, _wDesc, output),
        };
        status.ThrowIfFailed($"cuDNN {Node.Op.Name}, algorithm {_algorithm}");
    }

    public override void Dispose()
    {
        // Host objects whose destruction only fails for a handle that is none.
        if (_xDesc.Value != 0) _ = Cudnn.cudnnDestroyTensorDescriptor(_xDesc);
        if (_yDesc.Value != 0) _ = Cudnn.cudnnDestroyTensorDescriptor(_yDesc);
        if (_wDesc.Value != 0) _ = Cudnn.cudnnDestroyFilterDescriptor(_wDesc);
        if (_conv.Value != 0) _ = Cudnn.cudnnDestroyConvolutionDescriptor(_conv);
        _direct.Dispose();
        base.Dispose();
    }

    protected override void Bound()
    {
        _direct.Bind(Library!, [Out(0)], [In(0), In(1)], Workspace, Counters);
        var dtype = Node.Outputs[0].DType;
        var type = dtype switch
        {
            DType.F64 => cudnnDataType_t.CUDNN_DATA_DOUBLE,
            DType.BF16 => cudnnDataType_t.CUDNN_DATA_BFLOAT16,
            _ => cudnnDataType_t.CUDNN_DATA_FLOAT,
        };
        var compute = dtype == DType.F64 ? cudnnDataType_t.CUDNN_DATA_DOUBLE : cudnnDataType_t.CUDNN_DATA_FLOAT;
        var format = _problem.IsChannelsLast ? cudnnTensorFormat_t.CUDNN_TENSOR_NHWC : cudnnTensorFormat_t.CUDNN_TENSOR_NCHW;
        var (x, w, y, g) = (_problem.X, _problem.W, _problem.Y, _problem.Geometry);
        Cudnn.cudnnCreateTensorDescriptor(out _xDesc).ThrowIfFailed();
        Cudnn.cudnnSetTensor4dDescriptor(_xDesc, format, type, x[0], x[1], x[2], x[3]).ThrowIfFailed();
        Cudnn.cudnnCreateTensorDescriptor(out _yDesc).ThrowIfFailed();
        Cudnn.cudnnSetTensor4dDescriptor(_yDesc, format, type, y[0], y[1], y[2], y[3]).ThrowIfFailed();
        Cudnn.cudnnCreateFilterDescriptor(out _wDesc).ThrowIfFailed();
        Cudnn.cudnnSetFilter4dDescriptor(_wDesc, type, format, w[0], w[1], w[2], w[3]).ThrowIfFailed();
        Cudnn.cudnnCreateConvolutionDescriptor(out _conv).ThrowIfFailed();
        Cudnn.cudnnSetConvolution2dDescriptor(
            _conv, g.Padding[0], g.Padding[1], g.Stride[0], g.Stride[1], g.Dilation[0], g.Dilation[1],
            cudnnConvolutionMode_t.CUDNN_CROSS_CORRELATION, compute).ThrowIfFailed();
        Cudnn.cudnnSetConvolutionGroupCount(_conv, g.Groups).ThrowIfFailed();
        Cudnn.cudnnSetConvolutionMathType(_conv, MathType(dtype)).ThrowIfFailed();
        _algorithm = Choose();
    }

    private cudnnMathType_t MathType(DType dtype) => dtype switch
    {
        DType.BF16 => cudnnMathType_t.CUDNN_TENSOR_OP_MATH,
        DType.F32 when !_allowTf32 => cudnnMathType_t.CUDNN_FMA_MATH,
        _ => cudnnMathType_t.CUDNN_DEFAULT_MATH,
    };

    private int Choose()
    {
        var handle = Library!.Cudnn(null);
        int count;
        cudnnStatus_t status;
        switch (_problem.Role)
        {
            case ConvRole.Forward:
                var forward = stackalloc CudnnConvolutionAlgoPerf<cudnnConvolutionFwdAlgo_t>[Candidates];
                status = Cudnn.cudnnGetConvolutionForwardAlgorithm_v7(
                    handle, _xDesc, _wDesc, _conv, _yDesc, Candidates, out count, forward);
                return First(status, forward, count, a => a <= cudnnConvolutionFwdAlgo_t.CUDNN_CONVOLUTION_FWD_ALGO_GEMM);
            case ConvRole.Input:
                var data = stackalloc CudnnConvolutionAlgoPerf<cudnnConvolutionBwdDataAlgo_t>[Candidates];
                status = Cudnn.cudnnGetConvolutionBackwardDataAlgorithm_v7(
                    handle, _wDesc, _yDesc, _conv, _xDesc, Candidates, out count, data);
                return First(
                    status, data, count, a => a <= cudnnConvolutionBwdDataAlgo_t.CUDNN_CONVOLUTION_BWD_DATA_ALGO_1);
            default:
                var filter = stackalloc CudnnConvolutionAlgoPerf<cudnnConvolutionBwdFilterAlgo_t>[Candidates];
                status = Cudnn.cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                    handle, _xDesc, _yDesc, _conv, _wDesc, Candidates, out count, filter);
                return First(
                    status, filter, count, a => a <= cudnnConvolutionBwdFilterAlgo_t.CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1);
        }
    }

    private int First<TAlgo>(
        cudnnStatus_t status, CudnnConvolutionAlgoPerf<TAlgo>* found, int count, Func<TAlgo, bool> multiplies)
        where TAlgo : unmanaged, Enum
    {
        // "Not supported" is an answer: the generated kernel runs. Anything else is an error.
        if ((int)status / 1000 == 3) return -1;
        status.ThrowIfFailed($"cudnnGet...Algorithm_v7 for {Node.Op.Name}");
        var wanted = MathType(Node.Outputs[0].DType);
        for (var i = 0; i < count; i++)
        {
            ref var candidate = ref found[i];
            if (candidate.status != cudnnStatus_t.CUDNN_STATUS_SUCCESS || (long)candidate.memory > Budget) continue;
            if (candidate.determinism != cudnnDeterminism_t.CUDNN_DETERMINISTIC || !multiplies(candidate.algo)) continue;
            var usesTensorCores = candidate.mathType is cudnnMathType_t.CUDNN_TENSOR_OP_MATH
                or cudnnMathType_t.CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION;
            if (wanted == cudnnMathType_t.CUDNN_FMA_MATH && usesTensorCores) continue;
            // The estimate holds for its own math type; f32 keeps the one that forbids TF32.
            if (wanted != cudnnMathType_t.CUDNN_FMA_MATH)
                Cudnn.cudnnSetConvolutionMathType(_conv, candidate.mathType).ThrowIfFailed();
            return Convert.ToInt32(candidate.algo);
        }

        return -1;
    }
}
