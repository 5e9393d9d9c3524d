using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Cuda;

/// <summary>The entries of the cross entropy files: every path, not every combination.</summary>
internal static class LossKernels
{
    private const string Operands = "const T* x, const Index* target, const T* weight";
    private const string ForwardOutputs = "T* loss, T* maximum, T* log_sum, T* divisor";
    private const string BackwardOperands = "T* dx, const T* dloss, " + Operands + ", const T* maximum, const T* log_sum, const T* divisor";
    private const string GradientOutputs = "float* loss, T* dx, i64* correct";
    private const string Scratch = "float* partial, u32* counters";

    public static IReadOnlyList<CatalogKernel> All =>
    [
        FileKernels.Kernel(
            "cross_entropy.cu", "cross_entropy_forward", "loss, log-sum-exp and divisor of rows", "cross_entropy",
            $"{ForwardOutputs}, {Scratch}, {Operands}, i64 rows, i64 classes", [.. Rows(), .. Reductions(("VECTOR", "4"))]),
        FileKernels.Kernel(
            "cross_entropy_with_gradient.cu", "cross_entropy_with_gradient", "loss, gradient and right answers of rows", "cross_entropy_with_gradient",
            $"{GradientOutputs}, {Scratch}, {Operands}, i64 rows, i64 classes", Rows()),
        FileKernels.Kernel(
            "cross_entropy.cu", "cross_entropy_backward", "gradient of rows", "cross_entropy",
            $"{BackwardOperands}, i64 rows, i64 classes", [.. Rows(), .. Reductions(("VECTOR", "4"))]),
        FileKernels.Kernel(
            "cross_entropy_naive.cu", "cross_entropy_naive_forward", "loss, log-sum-exp and divisor: the second oracle", "cross_entropy",
            $"L* loss, T* maximum, T* log_sum, T* divisor, i64* correct, {Scratch}, {Operands}, i64 lines, i64 classes, i64 length", Naive()),
        FileKernels.Kernel(
            "cross_entropy_naive.cu", "cross_entropy_naive_backward", "gradient: the second oracle", "cross_entropy",
            $"{BackwardOperands}, i64 lines, i64 classes, i64 length", Naive()),
        FileKernels.Kernel(
            "cross_entropy_small.cu", "cross_entropy_small_forward", "loss, log-sum-exp and divisor of lines of few classes", "cross_entropy",
            $"{ForwardOutputs}, {Scratch}, {Operands}, i64 tiles, i64 lines, i64 length", [.. Small(), .. Reductions(("CLASSES", "10"))]),
        FileKernels.Kernel(
            "cross_entropy_small.cu", "cross_entropy_small_with_gradient", "loss, gradient and right answers of lines of few classes",
            "cross_entropy_with_gradient", $"{GradientOutputs}, {Scratch}, {Operands}, i64 tiles, i64 lines, i64 length", Small()),
        FileKernels.Kernel(
            "cross_entropy_small.cu", "cross_entropy_small_backward", "gradient of lines of few classes", "cross_entropy",
            $"{BackwardOperands}, i64 tiles, i64 lines, i64 length", [.. Small(), .. Reductions(("CLASSES", "10"))]),
    ];

    private static readonly DType[] Stored = [DType.F32, DType.BF16];

    private static (string, string) Define(string name, long value) => KernelRequest.Define(name, value);

    private static KernelVariant[] Rows() =>
    [
        .. Stored.SelectMany(dtype => new[]
        {
            Shape(dtype, "warp", 32, 256, 8, 3), Shape(dtype, "quarter", 8, 256, 4, 4), Shape(dtype, "block", 1024, 1024, 4, 1, Define("STAGES", 2)),
            Shape(dtype, "two_read", 256, 256, 8, 3, Define("WHOLE", 0)), Shape(dtype, "odd classes", 64, 256, 2, 5, Define("ALIGNED", 0)),
        }),
        Shape(DType.F32, "weighted smooth", 32, 256, 4, 4, Define("WEIGHTED", 1), ("SMOOTHING", "0.1f"), ("INDEX_DTYPE", "i32")),
        Shape(DType.F32, "sum", 32, 256, 1, 6, Define("REDUCTION", 1)),
    ];

    private static KernelVariant Shape(DType dtype, string name, int lanes, int threads, int held, int blocks, params (string, string)[] more) => FileKernels.Variant(
        name, dtype,
        [
            Define("LANES", lanes), Define("THREADS", threads), Define("HELD", held), Define("VECTOR", 16 / dtype.Size()), Define("BLOCKS", blocks), .. more,
        ]);

    private static KernelVariant[] Small() =>
    [
        .. Stored.SelectMany(dtype => new[]
        {
            FileKernels.Variant("10 classes", dtype, Define("CLASSES", 10), Define("VECTOR", 16 / dtype.Size())),
            FileKernels.Variant("planes of 21 classes", dtype, Define("CLASSES", 21), Define("PLANES", 1), Define("VECTOR", 16 / dtype.Size())),
            FileKernels.Variant("64 classes", dtype, Define("CLASSES", 64), Define("VECTOR", 16 / dtype.Size())),
        }),
        FileKernels.Variant("weighted smooth", DType.F32, Define("WEIGHTED", 1), ("SMOOTHING", "0.1f"), ("INDEX_DTYPE", "i32")),
    ];

    private static KernelVariant[] Naive() =>
    [
        .. new[] { 1, 32, 256 }.SelectMany(lanes => Stored.Select(dtype => FileKernels.Variant($"{lanes} lanes", dtype, Define("LANES", lanes)))),
        .. Reductions(("LANES", "32")),
    ];

    /// <summary>The reductions and attributes that the other variants do not have.</summary>
    private static KernelVariant[] Reductions((string, string) shape) =>
    [
        FileKernels.Variant("sum i32", DType.F32, Define("REDUCTION", 1), ("INDEX_DTYPE", "i32"), shape),
        FileKernels.Variant("none weighted smooth", DType.F32, Define("REDUCTION", 2), Define("WEIGHTED", 1), ("SMOOTHING", "0.1f"), shape),
    ];
}
