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
        Kernel(
            "bias_act.cu", "bias_act_naive", "one element per thread: the second oracle", "bias_act",
            "T* y, const T* x, const T* bias, const T* residual, const i64* state, i64 outer, i64 channels, i64 length",
            Walks("RESIDUAL")),
        Kernel(
            "bias_act.cu", "bias_act", "residual + dropout(activation(x + bias)), with counts per channel", "bias_act",
            "T* y, i64* positive, i64* nonfinite, u32* partial, u32* counters, const T* x, const T* bias, const T* residual, " +
            "const i64* state, i64 outer, i64 channels, i64 length, i64 piece",
            Walks("RESIDUAL", "BIAS", "COUNTS")),
        Kernel(
            "bias_act_backward.cu", "bias_act_backward_naive", "one block per channel: the second oracle", "bias_act",
            "T* dx, T* dbias, const T* dy, const T* value, const T* bias, const T* added, const i64* state, i64 outer, i64 channels, " +
            "i64 length",
            Walks("")),
        Kernel(
            "bias_act_backward.cu", "bias_act_backward", "dx and dbias in one launch", "bias_act",
            "T* dx, T* dbias, float* partial, u32* counters, const T* dy, const T* value, const T* bias, const T* added, " +
            "const i64* state, i64 outer, i64 channels, i64 length, i64 piece",
            Walks("ADDS", "ADD_BIAS", "SUMS")),
        Kernel(
            "channel_activation.cu", "prelu_forward", "leaky relu with a learned slope per channel", "prelu",
            "T* y, const T* x, const T* weight, i64 outer, i64 channels, i64 length, i64 piece",
            Channels()),
        Kernel(
            "channel_activation.cu", "prelu_backward", "its gradients in one launch", "prelu",
            "T* dx, T* dweight, float* partial, u32* counters, const T* dy, const T* x, const T* weight, i64 outer, i64 channels, i64 length, " +
            "i64 piece",
            Channels()),
        Kernel(
            "channel_activation.cu", "prelu_backward_naive", "one block per channel: the second oracle", "prelu",
            "T* dx, T* dweight, const T* dy, const T* x, const T* weight, i64 outer, i64 channels, i64 length",
            Channels()),
        Kernel(
            "channel_activation.cu", "srelu_forward", "three linear pieces per channel", "srelu",
            "T* y, const T* x, const T* t_r, const T* a_r, const T* t_l, const T* a_l, i64 outer, i64 channels, i64 length, " +
            "i64 piece",
            Channels()),
        Kernel(
            "channel_activation.cu", "srelu_backward", "its gradients in one launch", "srelu",
            "T* dx, T* dt_r, T* da_r, T* dt_l, T* da_l, float* partial, u32* counters, const T* dy, const T* x, const T* t_r, " +
            "const T* a_r, const T* t_l, const T* a_l, i64 outer, i64 channels, i64 length, i64 piece",
            Channels()),
        Kernel(
            "channel_activation.cu", "srelu_backward_naive", "one block per channel: the second oracle", "srelu",
            "T* dx, T* dt_r, T* da_r, T* dt_l, T* da_l, const T* dy, const T* x, const T* t_r, const T* a_r, const T* t_l, " +
            "const T* a_l, i64 outer, i64 channels, i64 length",
            Channels()),
        Kernel(
            "clip_grad_norm.cu", "clip_grad_norm_sum", "sum of squares of one gradient", "clip_grad_norm",
            "double* partial, const T* grad, i64 count",
            Storage()),
        Kernel(
            "clip_grad_norm.cu", "clip_grad_norm_finish", "norm, clip factor and finite flag", "clip_grad_norm",
            "float* norm, float* factor, u8* finite, const double* partial, i64 partials",
            Storage()),
        Kernel(
            "cross_entropy.cu", "cross_entropy_forward", "loss, log-sum-exp and divisor in one launch", "cross_entropy",
            "T* loss, T* maximum, T* log_sum, T* divisor, float* partial, u32* counter, const T* x, const Index* target, " +
            "const T* weight, i64 lines, i64 classes, i64 length",
            Losses()),
        Kernel(
            "cross_entropy.cu", "cross_entropy_backward", "gradient of the logits", "cross_entropy",
            "T* dx, const T* dloss, const T* x, const Index* target, const T* weight, const T* maximum, " +
            "const T* log_sum, const T* divisor, i64 lines, i64 classes, i64 length",
            Losses()),
        Kernel(
            "dropout.cu", "dropout_naive", "one element per thread: the second oracle", "dropout",
            "T* y, const T* x, const i64* state, i64 count",
            Dropouts()),
        Kernel(
            "dropout.cu", "dropout", "mask drawn from Philox, forward and backward", "dropout",
            "T* y, const T* x, const i64* state, i64 count",
            Dropouts()),
        Kernel(
            "maxout.cu", "maxout_forward", "maximum over neighbouring channels, and where it was", "maxout",
            "T* y, u8* index, const T* x, i64 count, i64 length",
            Pieces()),
        Kernel(
            "maxout.cu", "maxout_forward_naive", "one result per thread: the second oracle", "maxout",
            "T* y, u8* index, const T* x, i64 count, i64 length",
            Pieces()),
        Kernel(
            "maxout.cu", "maxout_backward", "its gradient, from the index", "maxout",
            "T* dx, const T* dy, const u8* index, i64 count, i64 length",
            Pieces()),
        Kernel(
            "maxout.cu", "maxout_backward_naive", "one result per thread: the second oracle", "maxout",
            "T* dx, const T* dy, const u8* index, i64 count, i64 length",
            Pieces()),
        Kernel(
            "optimizers.cu", "optimizer_step_0", "a step of a rule without state", "sgd",
            "P* param, const P* old_param, const G* grad, const Rate* lr, const i64* step, const float* clip, i64 count",
            Steps("Sgd", ("MOMENTUM", "0.0"))),
        Kernel(
            "optimizers.cu", "optimizer_step_1", "a step of a rule with one state", "sgd",
            "P* param, S* state0, const P* old_param, const G* grad, const S* old_state0, const Rate* lr, " +
            "const i64* step, const float* clip, i64 count",
            Steps("Sgd", ("MOMENTUM", "0.9"))),
        Kernel(
            "optimizers.cu", "optimizer_step_2", "a step of a rule with two states", "adam",
            "P* param, S* state0, S* state1, const P* old_param, const G* grad, const S* old_state0, " +
            "const S* old_state1, const Rate* lr, const i64* step, const float* clip, i64 count",
            Steps("Adam", ("AMSGRAD", "0"))),
        Kernel(
            "optimizers.cu", "optimizer_step_3", "a step of a rule with three states", "adam",
            "P* param, S* state0, S* state1, S* state2, const P* old_param, const G* grad, const S* old_state0, " +
            "const S* old_state1, const S* old_state2, const Rate* lr, const i64* step, const float* clip, i64 count",
            Steps("Adam", ("AMSGRAD", "1"))),
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
            "softmax.cu", "softmax_forward_naive", "softmax and log_softmax of lines that are read twice", "softmax",
            "T* y, const T* x, i64 lines, i64 classes, i64 length",
            Lines()),
        Kernel(
            "softmax.cu", "softmax_forward_rows", "a row in registers", "softmax",
            "T* y, const T* x, i64 rows, i64 classes",
            HeldLines()),
        Kernel(
            "softmax.cu", "softmax_forward_places", "a line across places in registers", "softmax",
            "T* y, const T* x, i64 vectors, i64 length",
            HeldLines()),
        Kernel(
            "softmax.cu", "softmax_backward_naive", "gradient of lines that are read twice", "softmax",
            "T* dx, const T* dy, const T* y, i64 lines, i64 classes, i64 length",
            Lines()),
        Kernel(
            "softmax.cu", "softmax_backward_rows", "gradient of a row in registers", "softmax",
            "T* dx, const T* dy, const T* y, i64 rows, i64 classes",
            HeldLines()),
        Kernel(
            "softmax.cu", "softmax_backward_places", "gradient of a line in registers", "softmax",
            "T* dx, const T* dy, const T* y, i64 vectors, i64 length",
            HeldLines()),
        Kernel(
            "transpose.cu", "transpose", "swaps two axes through shared memory", "",
            "T* out, const T* in, i64 batch, i64 rows, i64 columns",
            Elements()),
    ];

    private static CatalogKernel Kernel(
        string file, string entry, string summary, string op, string parameters, IReadOnlyList<KernelVariant> variants) =>
        new(file, entry, summary) { Parameters = parameters.Split(", "), Variants = variants, Op = op, DTypes = [DType.F32, DType.BF16] };

    private static KernelVariant Variant(string name, DType dtype, params ReadOnlySpan<(string, string)> defines) =>
        new($"{dtype.Label()} {name}".Trim(), [KernelRequest.Define("DTYPE", dtype), .. defines]);

    private static (string, string) Define(string name, long value) => KernelRequest.Define(name, value);

    private static (string, string) Width(DType dtype) => Define("VECTOR", 16 / dtype.Size());

    private static KernelVariant[] Elements() =>
        [.. new[] { DType.F32, DType.F64, DType.BF16, DType.I32, DType.I64, DType.U8 }.Select(dtype => Variant("", dtype))];

    private static KernelVariant[] Storage() =>
    [
        Variant("", DType.F32, Width(DType.F32)), Variant("", DType.BF16, Width(DType.BF16)), Variant("unaligned", DType.F32, Define("VECTOR", 1)),
    ];

    private static KernelVariant[] Dropouts() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("", dtype, Width(dtype), Define("DROPOUT", 1)), Variant("unaligned", dtype, Width(dtype), Define("ALIGNED", 0), Define("DROPOUT", 1)),
        }),
    ];

    /// <summary>The walks of element-wise kernels; flat ones have the first option alone, those along channels all of them.</summary>
    private static KernelVariant[] Walks(string first, params string[] perChannel)
    {
        (string, string)[] all = [.. perChannel.Prepend(first).Where(name => name.Length > 0).Select(name => Define(name, 1))];
        return
        [
            .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
            {
                Variant("flat", dtype, Width(dtype)),
                Variant("flat unaligned dropout", dtype, [Width(dtype), Define("ALIGNED", 0), Define("DROPOUT", 1), .. all.Take(first.Length > 0 ? 1 : 0)]),
                Variant("columns relu", dtype, [Width(dtype), Define("LAYOUT", 1), .. all, .. ActivationMacros.Of(new Relu())!]),
                Variant("columns gelu dropout", dtype, [Width(dtype), Define("LAYOUT", 1), Define("GROUPS", 32), Define("DROPOUT", 1), .. all, .. ActivationMacros.Of(new Gelu(), dtype)!]),
                Variant("planes silu dropout", dtype, [Width(dtype), Define("LAYOUT", 2), Define("DROPOUT", 1), .. all, .. ActivationMacros.Of(new Silu(), dtype)!]),
                Variant("narrow columns", dtype, [Define("VECTOR", 1), Define("LAYOUT", 1), Define("GROUPS", 1), Define("DROPOUT", 1), .. all]),
            }),
        ];
    }

    private static KernelVariant[] Channels() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("columns", dtype, Define("VECTOR", 4), Define("LAYOUT", 1)), Variant("planes", dtype, Width(dtype), Define("LAYOUT", 2)),
        }),
    ];

    private static KernelVariant[] Pieces() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("adjacent", dtype, Width(dtype), Define("PIECES", 2), Define("ADJACENT", 1)), Variant("planes", dtype, Width(dtype), Define("PIECES", 5)),
            Variant("single", dtype, Define("VECTOR", 1), Define("PIECES", 3)),
        }),
    ];

    private static KernelVariant[] Activations() =>
    [
        .. Storage(),
        .. new Activation[]
        {
            new Relu(), new LeakyRelu(), new Elu(), new Gelu(), new Gelu(true), new Silu(), new Mish(), new Softplus(), new Softsign(), new Sigmoid(),
            new LogSigmoid(), new Tanh(), new Hardtanh(), new Hardsigmoid(), new Hardswish(),
        }.SelectMany(a => new[] { DType.F32, DType.BF16 }.Select(
            dtype => Variant(a.ToString().Split(' ')[0], dtype, [Width(dtype), .. ActivationMacros.Of(a, dtype)!]))),
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

    private static KernelVariant[] HeldLines() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("warp", dtype, Width(dtype), Define("HELD", 8)), Variant("block log", dtype, Width(dtype), Define("LANES", 512), Define("THREADS", 512), Define("HELD", 8), Define("LOG", 1)),
            Variant("short", dtype, Define("VECTOR", 1), Define("LANES", 8), Define("HELD", 3)),
        }),
    ];

    private static KernelVariant[] Losses() =>
    [
        .. Lines()[..^1], Variant("sum i32", DType.F32, Define("REDUCTION", 1), ("INDEX_DTYPE", "i32")),
        Variant("none weighted smooth", DType.F32, Define("REDUCTION", 2), Define("WEIGHTED", 1), ("SMOOTHING", "0.1f")),
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

    private static KernelVariant[] Steps(string rule, (string, string) option) =>
    [
        new($"{rule} f32", [("RULE", rule), option]),
        new($"{rule} bf16 clipped", [("RULE", rule), option, ("PARAM_DTYPE", "bf16"), ("GRAD_DTYPE", "bf16"), Define("VECTOR", 8), Define("CLIPPED", 1)]),
    ];
}
