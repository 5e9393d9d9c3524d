using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Cuda;

/// <summary>The entries of <c>kernels/</c> with the constants that each is compiled for in the gate: every path, not every combination.</summary>
internal static class FileKernels
{
    public static IReadOnlyList<CatalogKernel> All { get; } =
    [
        Kernel(
            "activation.cu", "activation_forward", "y = f(x)", "",
            "T* y, const T* x, i64 count",
            Activations()),
        Kernel(
            "activation.cu", "activation_backward", "dx = dy f'(x)", "",
            "T* dx, const T* dy, const T* x, i64 count",
            Activations()),
        Kernel(
            "activation.cu", "prelu_forward", "leaky relu with a learned slope per channel", "prelu",
            "T* y, const T* x, const T* weight, i64 count, i64 channels, i64 length",
            Activations()),
        Kernel(
            "activation.cu", "prelu_backward", "gradients of prelu", "prelu",
            "T* dx, T* dweight, const T* dy, const T* x, const T* weight, i64 count, i64 channels, i64 length",
            Activations()),
        Kernel(
            "activation.cu", "srelu_forward", "three linear pieces per channel", "srelu",
            "T* y, const T* x, const T* t_r, const T* a_r, const T* t_l, const T* a_l, i64 count, i64 channels, " +
            "i64 length",
            Activations()),
        Kernel(
            "activation.cu", "srelu_backward", "gradients of srelu", "srelu",
            "T* dx, T* dt_r, T* da_r, T* dt_l, T* da_l, const T* dy, const T* x, const T* t_r, const T* a_r, " +
            "const T* t_l, const T* a_l, i64 count, i64 channels, i64 length",
            Activations()),
        Kernel(
            "activation.cu", "maxout_forward", "maximum over neighbouring channels", "maxout",
            "T* y, const T* x, i64 count, i64 length",
            Activations()),
        Kernel(
            "activation.cu", "maxout_backward", "gradient of maxout", "maxout",
            "T* dx, const T* dy, const T* x, i64 count, i64 length",
            Activations()),
        Kernel(
            "batch_norm.cu", "batch_norm_naive", "one block per channel: the second oracle", "batch_norm",
            "T* y, float* mean, float* invstd, float* new_mean, float* new_var, const T* x, const P* weight, " +
            "const P* bias, const float* running_mean, const float* running_var, const T* residual, i64 batch, " +
            "i64 channels, i64 length",
            Norms(true)),
        Kernel(
            "batch_norm.cu", "batch_norm_forward", "one launch, a slice of channels held in registers", "batch_norm",
            "T* y, float* mean, float* invstd, float* new_mean, float* new_var, const T* x, const P* weight, " +
            "const P* bias, const float* running_mean, const float* running_var, const T* residual, i64 batch, " +
            "i64 channels, i64 length",
            Norms(true)),
        Kernel(
            "batch_norm.cu", "batch_norm_statistics", "moments of pieces, merged by the last block", "batch_norm",
            "float* mean, float* invstd, float* new_mean, float* new_var, float* partial, u32* counter, const T* x, " +
            "const float* running_mean, const float* running_var, i64 batch, i64 channels, i64 length, i64 piece",
            Norms(true)),
        Kernel(
            "batch_norm.cu", "batch_norm_apply", "y from given statistics", "batch_norm",
            "T* y, float* mean, float* invstd, float* new_mean, float* new_var, const T* x, const P* weight, " +
            "const P* bias, const float* running_mean, const float* running_var, const T* residual, i64 batch, " +
            "i64 channels, i64 length, i64 piece",
            Norms(true)),
        Kernel(
            "batch_norm_backward.cu", "batch_norm_backward_naive", "one block per channel: the second oracle", "batch_norm",
            "T* dx, float* dweight, float* dbias, T* dresidual, const T* dy, const T* x, const float* mean, " +
            "const float* invstd, const P* weight, const P* bias, const T* residual, i64 batch, i64 channels, i64 length",
            Norms(false)),
        Kernel(
            "batch_norm_backward.cu", "batch_norm_backward", "one launch, a slice of channels held in registers", "batch_norm",
            "T* dx, float* dweight, float* dbias, T* dresidual, const T* dy, const T* x, const float* mean, " +
            "const float* invstd, const P* weight, const P* bias, const T* residual, i64 batch, i64 channels, i64 length",
            Norms(false)),
        Kernel(
            "batch_norm_backward.cu", "batch_norm_backward_sums", "sums of pieces, added by the last block", "batch_norm",
            "float* sums, float* dweight, float* dbias, float* partial, u32* counter, const T* dy, const T* x, " +
            "const float* mean, const float* invstd, const P* weight, const P* bias, const T* residual, i64 batch, " +
            "i64 channels, i64 length, i64 piece",
            Norms(false)),
        Kernel(
            "batch_norm_backward.cu", "batch_norm_backward_apply", "dx from given sums", "batch_norm",
            "T* dx, T* dresidual, const float* sums, const T* dy, const T* x, const float* mean, const float* invstd, " +
            "const P* weight, const P* bias, const T* residual, i64 batch, i64 channels, i64 length, i64 piece",
            Norms(false)),
        .. LossKernels.All,
        Kernel(
            "dropout.cu", "dropout", "mask drawn from Philox, forward and backward", "dropout",
            "T* y, const T* x, const i64* state, i64 count",
            Dropouts()),
        .. OptimizerKernels.All,
        Kernel(
            "row_norm.cu", "row_norm_forward", "layer, group, instance and rms norm", "layer_norm",
            "T* y, float* mean, float* invstd, const T* x, const P* weight, const P* bias, i64 rows, i64 groups, " +
            "i64 units, i64 inner",
            Rows()),
        Kernel(
            "row_norm.cu", "row_norm_backward", "their gradient of x", "layer_norm",
            "T* dx, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias, " +
            "i64 rows, i64 groups, i64 units, i64 inner",
            Rows()),
        Kernel(
            "row_norm.cu", "row_norm_parameters", "their gradients of weight and bias", "layer_norm",
            "float* dweight, float* dbias, float* partial, u32* counter, const T* dy, const T* x, const float* mean, " +
            "const float* invstd, const P* weight, const P* bias, i64 batch, i64 parameters, i64 inner, i64 groups, " +
            "i64 units, i64 piece",
            Rows()),
        Kernel(
            "softmax.cu", "softmax_forward", "softmax and log_softmax of lines", "softmax",
            "T* y, const T* x, i64 lines, i64 classes, i64 length",
            Lines()),
        Kernel(
            "softmax.cu", "softmax_backward", "gradient of softmax and log_softmax", "softmax",
            "T* dx, const T* dy, const T* y, i64 lines, i64 classes, i64 length",
            Lines()),
        Kernel(
            "sync_batch_norm.cu", "sync_batch_norm_stats", "statistics of a batch from those of its shares", "sync_batch_norm_stats",
            "float* mean, float* invstd, float* count, float* new_mean, float* new_var, const float* rows, " +
            "const float* running_mean, const float* running_var, i64 ranks, i64 channels",
            Totals()) with { DTypes = [DType.F32] },
        Kernel(
            "sync_batch_norm.cu", "sync_batch_norm_sums", "sums of a batch from those of its shares", "sync_batch_norm_sums",
            "float* sums, const float* rows, i64 ranks, i64 channels",
            Totals()) with { DTypes = [DType.F32] },
        Kernel(
            "transpose.cu", "transpose", "swaps two axes through shared memory", "",
            "T* out, const T* in, i64 batch, i64 rows, i64 columns",
            Elements()),
    ];

    internal static CatalogKernel Kernel(
        string file, string entry, string summary, string op, string parameters, IReadOnlyList<KernelVariant> variants) =>
        new(file, entry, summary) { Parameters = parameters.Split(", "), Variants = variants, Op = op, DTypes = [DType.F32, DType.BF16] };

    internal static KernelVariant Variant(string name, DType dtype, params ReadOnlySpan<(string, string)> defines) =>
        new($"{dtype.Label()} {name}".Trim(), [KernelRequest.Define("DTYPE", dtype), .. defines]);

    private static (string, string) Define(string name, long value) => KernelRequest.Define(name, value);

    private static (string, string) Width(DType dtype) => Define("VECTOR", 16 / dtype.Size());

    private static KernelVariant[] Elements() =>
        [.. new[] { DType.F32, DType.F64, DType.BF16, DType.I32, DType.I64, DType.U8 }.Select(dtype => Variant("", dtype))];

    internal static KernelVariant[] Storage() =>
    [
        Variant("", DType.F32, Width(DType.F32)), Variant("", DType.BF16, Width(DType.BF16)), Variant("unaligned", DType.F32, Define("VECTOR", 1)),
    ];

    private static KernelVariant[] Dropouts() => [Variant("", DType.F32), Variant("", DType.BF16), Variant("unaligned", DType.F32, Define("VECTOR", 1))];

    private static KernelVariant[] Activations() =>
    [
        .. Storage(),
        .. new Activation[]
        {
            new Relu(), new LeakyRelu(), new Elu(), new Gelu(), new Gelu(true), new Silu(), new Mish(), new Softplus(), new Softsign(), new Sigmoid(),
            new LogSigmoid(), new Tanh(), new Hardtanh(), new Hardsigmoid(), new Hardswish(),
        }.Select(a => Variant(a.ToString().Split(' ')[0], DType.F32, [Width(DType.F32), .. ActivationMacros.Of(a)!])),
    ];

    private static KernelVariant[] Norms(bool forward) =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("columns", dtype, Width(dtype)),
            Variant("columns relu residual", dtype, [Width(dtype), .. ActivationMacros.Of(new Relu())!, Define("RESIDUAL", 1), Define("HELD", forward ? 16 : 8), Define("THREADS", 512)]),
            Variant("planes relu", dtype, [Width(dtype), .. ActivationMacros.Of(new Relu())!, Define("PLANES", 1), Define("GROUPS", 1)]),
            Variant("evaluation bare", dtype, Define("VECTOR", 1), Define("TRAINING", 0), Define("AFFINE", 0), Define("GROUPS", 8)),
        }),
    ];

    private static KernelVariant[] Lines() =>
    [
        .. new[] { 1, 32, 256 }.SelectMany(lanes => new[] { DType.F32, DType.BF16 }.Select(dtype => Variant($"{lanes} lanes", dtype, Define("LANES", lanes)))),
        Variant("log", DType.F32, Define("LOG", 1)),
    ];

    private static KernelVariant[] Rows() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("layer", dtype, Width(dtype), Define("ROW_VECTOR", 16 / dtype.Size())),
            Variant("wide layer gelu", dtype, [Width(dtype), Define("ROW_VECTOR", 16 / dtype.Size()), Define("LANES", 256), Define("HELD", 8), .. ActivationMacros.Of(new Gelu())!]),
            Variant("group", dtype, Width(dtype), Define("ROW_VECTOR", 16 / dtype.Size()), Define("INNER_IS_1", 0), Define("PLANES", 1), Define("GROUPS", 1)),
            Variant("rms", dtype, Define("VECTOR", 1), Define("ROW_VECTOR", 1), Define("CENTRED", 0)),
        }),
    ];

    private static KernelVariant[] Totals() => [new("f32 gathered", []), new("f32 peers", [Define("PEERS", 1)])];
}
