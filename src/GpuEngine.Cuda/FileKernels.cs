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
            "avg_pool.cu", "avg_pool_forward", "means over windows", "avg_pool2d",
            "T* y, const T* x, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 columns",
            Averages()),
        Kernel(
            "avg_pool.cu", "avg_pool_backward", "each place gathers from the windows that hold it", "avg_pool2d",
            "T* dx, const T* dy, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 columns",
            Averages()),
        Kernel(
            "avg_pool.cu", "avg_pool_planes", "means over planes, channels first", "adaptive_avg_pool2d",
            "T* y, const T* x, i64 planes, i64 length, i64 by",
            Averages()),
        Kernel(
            "avg_pool.cu", "avg_pool_places", "means over planes, channels last", "adaptive_avg_pool2d",
            "T* y, const T* x, i64 images, i64 length, i64 channels, i64 by",
            Averages()),
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
            "batch_norm.cu", "batch_norm_count_naive", "values of y above 0 by channel: the second oracle", "batch_norm",
            "i64* positive, T* y, i64 batch, i64 channels, i64 length",
            Norms(true)),
        Kernel(
            "batch_norm.cu", "batch_norm_statistics", "moments of pieces, merged by the last block of a slice", "batch_norm",
            "float* mean, float* invstd, float* new_mean, float* new_var, i64* positive, float* scratch, u32* counters, " +
            "const T* x, const float* running_mean, const float* running_var, i64 batch, i64 channels, " +
            "i64 length, i64 piece",
            Norms(true)),
        Kernel(
            "batch_norm.cu", "batch_norm_apply", "y from given statistics", "batch_norm",
            "T* y, float* mean, float* invstd, float* new_mean, float* new_var, u8* mask, i64* positive, const T* x, " +
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
            "T* y, float* mean, float* invstd, float* new_mean, float* new_var, u8* mask, i64* positive, float* scratch, " +
            "u32* counters, const T* x, const P* weight, const P* bias, const float* running_mean, " +
            "const float* running_var, const T* residual, i64 batch, i64 channels, i64 length, i64 members, " +
            "i64 share, i64 resident, i64 turns",
            Norms(true)),
        Kernel(
            "batch_norm_small.cu", "batch_norm_small", "one launch, a slice in the registers of a cluster", "batch_norm",
            "T* y, float* mean, float* invstd, float* new_mean, float* new_var, u8* mask, i64* positive, const T* x, " +
            "const P* weight, const P* bias, const float* running_mean, const float* running_var, " +
            "const T* residual, i64 batch, i64 channels, i64 length, i64 share",
            Norms(true)),
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
        .. LossKernels.All,
        .. ImageKernels.All,
        Kernel(
            "dropout.cu", "dropout_naive", "one element per thread: the second oracle", "dropout",
            "T* y, const T* x, const i64* state, i64 count",
            Dropouts()),
        Kernel(
            "dropout.cu", "dropout", "mask drawn from Philox, forward and backward", "dropout",
            "T* y, const T* x, const i64* state, i64 count",
            Dropouts()),
        Kernel(
            "max_pool.cu", "max_pool_forward", "maxima of windows and where they were", "max_pool2d",
            "T* y, i32* index, const T* x, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 columns",
            Pools()),
        Kernel(
            "max_pool.cu", "max_pool_backward", "each place gathers from the windows it won", "max_pool2d",
            "T* dx, const T* dy, const i32* index, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 columns",
            Pools()),
        Kernel(
            "im2col.cu", "im2col", "patches of images as a matrix", "conv2d",
            "T* columns, const T* x, i64 first, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 places, i64 groups",
            Patches()),
        Kernel(
            "im2col.cu", "col2im", "images from the sums of their patches", "conv2d",
            "T* x, const Sum* columns, i64 first, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 places, i64 groups",
            Patches()),
        Kernel(
            "im2col.cu", "sum_parts", "parts of a weight gradient, added in a fixed order", "conv2d",
            "T* out, const Sum* parts, i64 count, i64 number",
            [.. new[] { DType.F32, DType.BF16, DType.F64 }.Select(dtype => Variant("", dtype))]),
        Kernel(
            "local_response_norm.cu", "local_response_norm_forward", "divides by a power of the energy in neighbouring channels", "local_response_norm",
            "T* y, const T* x, i64 images, i64 channels, i64 length",
            Responses()),
        Kernel(
            "local_response_norm.cu", "local_response_norm_backward", "its gradient", "local_response_norm",
            "T* dx, const T* dy, const T* x, i64 images, i64 channels, i64 length",
            Responses()),
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
            "group_norm_nhwc.cu", "group_norm_nhwc_forward", "channels last: one read, a slice of groups held in shared memory", "group_norm",
            "T* y, float* mean, float* invstd, const T* x, const P* weight, const P* bias, i64 positions, i64 channels, i64 piece",
            RowKernels.Slices("one_read", false)),
        Kernel(
            "group_norm_nhwc.cu", "group_norm_nhwc_statistics", "channels last: statistics, by parts of a group", "group_norm",
            "float* mean, float* invstd, float* parts, u32* counters, const T* x, i64 batch, i64 positions, i64 channels, i64 piece",
            RowKernels.Slices("two_read", false)),
        Kernel(
            "group_norm_nhwc.cu", "group_norm_nhwc_apply", "channels last: y from what they found", "group_norm",
            "T* y, const float* found, const T* x, const P* weight, const P* bias, i64 positions, i64 channels, i64 piece",
            RowKernels.Slices("two_read", false)),
        Kernel(
            "group_norm_nhwc_backward.cu", "group_norm_nhwc_backward", "channels last: the gradients in one read", "group_norm",
            "T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, " +
            "const P* bias, i64 positions, i64 channels, i64 piece",
            RowKernels.Slices("one_read", true)),
        Kernel(
            "group_norm_nhwc_backward.cu", "group_norm_nhwc_backward_sums", "channels last: sums of parts", "group_norm",
            "float* partial, float* parts, u32* counters, const T* dy, const T* x, const float* mean, const float* invstd, " +
            "const P* weight, const P* bias, i64 positions, i64 channels, i64 piece",
            RowKernels.Slices("two_read", true)),
        Kernel(
            "group_norm_nhwc_backward.cu", "group_norm_nhwc_backward_apply", "channels last: dx from the sums", "group_norm",
            "T* dx, const float* partial, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, " +
            "const P* bias, i64 positions, i64 channels, i64 piece",
            RowKernels.Slices("two_read", true)),
        Kernel(
            "group_norm_nhwc_naive.cu", "group_norm_nhwc_naive_forward", "channels last: the second oracle", "group_norm",
            "T* y, float* mean, float* invstd, const T* x, const P* weight, const P* bias, i64 positions, i64 channels, i64 width",
            RowKernels.Slices("naive", false)),
        Kernel(
            "group_norm_nhwc_naive.cu", "group_norm_nhwc_naive_backward", "channels last: gradient of x", "group_norm",
            "T* dx, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias, " +
            "i64 positions, i64 channels, i64 width",
            RowKernels.Slices("naive", true)),
        Kernel(
            "group_norm_nhwc_naive.cu", "group_norm_nhwc_naive_parameters", "channels last: gradients of weight and bias", "group_norm",
            "float* dweight, float* dbias, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, " +
            "const P* bias, i64 batch, i64 positions, i64 channels, i64 width",
            RowKernels.Slices("naive", true)),
        Kernel(
            "conv_weight_gradient.cu", "conv_weight_gradient", "weight gradients of 3 x 3 windows, the sum split over blocks", "conv2d",
            "float* parts, const T* dy, const T* x, i64 images, i64 channels, i64 height, i64 width, i64 filters, i64 rows, i64 columns, i64 splits",
            [.. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[] { Variant("16 channels", dtype), Variant("tiles of 32", dtype, Tile(16, 16, 8, 8)), Variant("3 channels", dtype, Tile(2, 8, 16, 32)) })]),
        .. OptimizerKernels.All,
        Kernel(
            "row_norm.cu", "row_norm_forward", "layer, group, instance and rms norm of rows held in registers", "layer_norm",
            "T* y, float* mean, float* invstd, const T* x, const P* weight, const P* bias, i64 rows, i64 groups, " +
            "i64 units, i64 vectors",
            RowKernels.Forward()),
        Kernel(
            "row_norm.cu", "instance_norm_running", "running statistics of instance norm", "instance_norm",
            "float* new_mean, float* new_var, float* mean, float* invstd, const float* running_mean, const float* running_var, " +
            "i64 batch, i64 channels, i64 length",
            RowKernels.Running()),
        Kernel(
            "row_norm_backward.cu", "row_norm_backward", "their gradient of x and partial sums of the others", "layer_norm",
            "T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, " +
            "const P* bias, i64 rows, i64 groups, i64 units, i64 vectors",
            RowKernels.Backward()),
        Kernel(
            "row_norm_backward.cu", "row_norm_finish", "their gradients of weight and bias from partial sums", "layer_norm",
            "float* dweight, float* dbias, const float* partial, i64 rows, i64 parameters",
            RowKernels.Backward()),
        Kernel(
            "row_norm_naive.cu", "row_norm_naive_forward", "the second oracle, and rows of any length", "layer_norm",
            "T* y, float* mean, float* invstd, const T* x, const P* weight, const P* bias, i64 rows, i64 groups, " +
            "i64 units, i64 inner",
            RowKernels.Naive()),
        Kernel(
            "row_norm_naive.cu", "row_norm_naive_backward", "their gradient of x", "layer_norm",
            "T* dx, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias, " +
            "i64 rows, i64 groups, i64 units, i64 inner",
            RowKernels.Naive()),
        Kernel(
            "row_norm_naive.cu", "row_norm_naive_parameters", "their gradients of weight and bias", "layer_norm",
            "float* dweight, float* dbias, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, " +
            "const P* bias, i64 batch, i64 groups, i64 units, i64 inner",
            RowKernels.Naive()),
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

    private static KernelVariant[] Pools() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("channels last", dtype, Width(dtype)), Variant("channels first", dtype, Define("CHANNELS_LAST", 0), Define("VECTOR", 1)),
        }),
        Variant("channels first", DType.F64, Define("CHANNELS_LAST", 0), Define("VECTOR", 1)),
    ];

    private static KernelVariant[] Averages() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("channels last", dtype, Width(dtype)), Variant("channels first", dtype, Define("CHANNELS_LAST", 0), Define("VECTOR", 1), Define("PIECE", 16 / dtype.Size())),
            Variant("even windows", dtype, Width(dtype), Define("ADAPTIVE", 1), Define("LANES", 8)),
            Variant("divisor", dtype, Define("CHANNELS_LAST", 0), Define("VECTOR", 1), Define("DIVISOR", 3)),
        }),
    ];

    private static KernelVariant[] Responses() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("channels first", dtype), Variant("channels last", dtype, Width(dtype), Define("CHANNELS_LAST", 1)),
            Variant("of 3, another power", dtype, Define("VECTOR", 1), Define("SIZE", 3), Define("SCALE", 0.1f), Define("BETA", 0.5f), Define("OFFSET", 1.0f)),
        }),
    ];

    private static (string, string) Define(string name, float value) => KernelRequest.Define(name, value);

    private static KernelVariant[] Patches() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("channels last", dtype, Width(dtype)), Variant("channels last gathered", dtype, Width(dtype), Define("GATHER", 1)),
            Variant("channels first", dtype, Width(dtype), Define("CHANNELS_LAST", 0), Define("GATHER", 1)),
            Variant("window of one, stride 2", dtype, [Width(dtype), .. Window(1, 2, 0)]),
            Variant("window of 11, stride 4", dtype, [Width(dtype), Define("CHANNELS_LAST", 0), Define("GATHER", 1), .. Window(11, 4, 2)]),
        }),
        Variant("channels first", DType.F64, Width(DType.F64), Define("CHANNELS_LAST", 0), Define("GATHER", 1)),
    ];

    private static (string, string)[] Tile(int channels, int filters, int band, int columns) =>
        [Define("C_PAIRS", channels), Define("K_PAIRS", filters), Define("BAND", band), Define("COLUMNS", columns)];

    private static (string, string)[] Window(int extent, int stride, int pad) =>
    [
        Define("WINDOW_H", extent), Define("WINDOW_W", extent), Define("STRIDE_H", stride), Define("STRIDE_W", stride), Define("PAD_H", pad),
        Define("PAD_W", pad), Define("DILATION_H", 1), Define("DILATION_W", 1),
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
        .. forward ? new[] { Variant("rows relu counts", DType.BF16, [Width(DType.BF16), .. ActivationMacros.Of(new Relu())!, Define("COUNTS", 1)]) } : [],
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

    private static KernelVariant[] HeldLines() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            Variant("warp", dtype, Width(dtype), Define("HELD", 8)), Variant("block log", dtype, Width(dtype), Define("LANES", 512), Define("THREADS", 512), Define("HELD", 8), Define("LOG", 1)),
            Variant("short", dtype, Define("VECTOR", 1), Define("LANES", 8), Define("HELD", 3)),
        }),
    ];

    private static KernelVariant[] Totals() => [new("f32 gathered", []), new("f32 peers", [Define("PEERS", 1)])];
}
