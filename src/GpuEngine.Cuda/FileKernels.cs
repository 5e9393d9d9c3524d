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
            "batch_norm.cu", "batch_norm_mask_naive", "sign bits from y: the second oracle", "batch_norm",
            "u8* mask, T* y, i64 batch, i64 channels, i64 length, i64 bytes",
            Norms(true)),
        Kernel(
            "batch_norm.cu", "batch_norm_statistics", "moments of pieces, merged by the last block of a slice", "batch_norm",
            "float* mean, float* invstd, float* new_mean, float* new_var, float* scratch, u32* counters, " +
            "const T* x, const float* running_mean, const float* running_var, i64 batch, i64 channels, " +
            "i64 length, i64 piece",
            Norms(true)),
        Kernel(
            "batch_norm.cu", "batch_norm_apply", "y from given statistics", "batch_norm",
            "T* y, float* mean, float* invstd, float* new_mean, float* new_var, u8* mask, const T* x, " +
            "const P* weight, const P* bias, const float* running_mean, const float* running_var, " +
            "const T* residual, i64 batch, i64 channels, i64 length, i64 piece",
            Norms(true)),
        Kernel(
            "batch_norm_backward.cu", "batch_norm_backward_naive", "one block per channel: the second oracle", "batch_norm",
            "T* dx, float* dweight, float* dbias, T* dresidual, const T* dy, const T* x, const float* mean, " +
            "const float* invstd, const P* weight, const P* bias, const T* residual, const u8* mask, " +
            "i64 batch, i64 channels, i64 length",
            Norms(false)),
        Kernel(
            "batch_norm_backward.cu", "batch_norm_backward_sums", "sums of pieces, added by the last block of a slice; dx too in evaluation", "batch_norm",
            "T* dx, float* dweight, float* dbias, T* dresidual, float* scratch, u32* counters, const T* dy, " +
            "const T* x, const float* mean, const float* invstd, const P* weight, const P* bias, " +
            "const T* residual, const u8* mask, i64 batch, i64 channels, i64 length, i64 piece",
            Norms(false)),
        Kernel(
            "batch_norm_backward.cu", "batch_norm_backward_apply", "dx from given sums", "batch_norm",
            "T* dx, T* dresidual, float* scratch, const T* dy, const T* x, const float* mean, " +
            "const float* invstd, const P* weight, const P* bias, const T* residual, i64 batch, i64 channels, " +
            "i64 length, i64 piece",
            Norms(false)),
        Kernel(
            "batch_norm_backward_one_read.cu", "batch_norm_backward_one_read", "one cooperative launch, slices held in shared memory", "batch_norm",
            "T* dx, float* dweight, float* dbias, T* dresidual, float* scratch, u32* counters, const T* dy, " +
            "const T* x, const float* mean, const float* invstd, const P* weight, const P* bias, " +
            "const T* residual, const u8* mask, i64 batch, i64 channels, i64 length, i64 members, i64 share, " +
            "i64 resident, i64 turns",
            Norms(false)),
        Kernel(
            "batch_norm_backward_small.cu", "batch_norm_backward_small", "one launch, a slice in the registers of a cluster", "batch_norm",
            "T* dx, float* dweight, float* dbias, T* dresidual, const T* dy, const T* x, const float* mean, " +
            "const float* invstd, const P* weight, const P* bias, const T* residual, const u8* mask, " +
            "i64 batch, i64 channels, i64 length, i64 share",
            Norms(false)),
        Kernel(
            "batch_norm_one_read.cu", "batch_norm_one_read", "one cooperative launch, slices held in shared memory", "batch_norm",
            "T* y, float* mean, float* invstd, float* new_mean, float* new_var, u8* mask, float* scratch, " +
            "u32* counters, const T* x, const P* weight, const P* bias, const float* running_mean, " +
            "const float* running_var, const T* residual, i64 batch, i64 channels, i64 length, i64 members, " +
            "i64 share, i64 resident, i64 turns",
            Norms(true)),
        Kernel(
            "batch_norm_small.cu", "batch_norm_small", "one launch, a slice in the registers of a cluster", "batch_norm",
            "T* y, float* mean, float* invstd, float* new_mean, float* new_var, u8* mask, const T* x, " +
            "const P* weight, const P* bias, const float* running_mean, const float* running_var, " +
            "const T* residual, i64 batch, i64 channels, i64 length, i64 share",
            Norms(true)),
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
            "dropout.cu", "dropout", "mask drawn from Philox, forward and backward", "dropout",
            "T* y, const T* x, const i64* state, i64 count",
            Dropouts()),
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
            "softmax.cu", "softmax_forward", "softmax and log_softmax of lines", "softmax",
            "T* y, const T* x, i64 lines, i64 classes, i64 length",
            Lines()),
        Kernel(
            "softmax.cu", "softmax_backward", "gradient of softmax and log_softmax", "softmax",
            "T* dx, const T* dy, const T* y, i64 lines, i64 classes, i64 length",
            Lines()),
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
            Variant("rows", dtype, Width(dtype)),
            Variant("rows relu residual", dtype, [Width(dtype), .. ActivationMacros.Of(new Relu())!, Define("RESIDUAL", forward ? 1 : 0), Define("MASK", 1), Define("PACK", 8), Define("HELD", forward ? 1 : 2)]),
            Variant("rows silu residual", dtype, [Width(dtype), .. ActivationMacros.Of(new Silu())!, Define("RESIDUAL", 1), Define("WIDTH", 4), Define("CLUSTER", 4)]),
            Variant("planes relu", dtype, [Width(dtype), .. ActivationMacros.Of(new Relu())!, Define("PLANES", 1), Define("HELD", 2)]),
            Variant("evaluation bare", dtype, Define("VECTOR", 1), Define("TRAINING", 0), Define("AFFINE", 0), Define("WIDTH", 32)),
        }),
    ];

    private static KernelVariant[] Lines() =>
    [
        .. new[] { 1, 32, 256 }.SelectMany(lanes => new[] { DType.F32, DType.BF16 }.Select(dtype => Variant($"{lanes} lanes", dtype, Define("LANES", lanes)))),
        Variant("log", DType.F32, Define("LOG", 1)),
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
