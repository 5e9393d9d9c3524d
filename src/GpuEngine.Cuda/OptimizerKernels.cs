using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Cuda;

/// <summary>The entries of the optimizers' files: every path, not every combination.</summary>
internal static class OptimizerKernels
{
    public static IReadOnlyList<CatalogKernel> All =>
    [
        FileKernels.Kernel(
            "clip_grad_norm.cu", "clip_grad_norm", "norm, clip factor and finite flag in one launch", "clip_grad_norm",
            "float* norm, float* factor, u8* finite, double* segment_squares, u8* segment_finite, double* partial, u32* counter, " +
            "const T* grad0, const U* grad1, i64 count0, i64 count1, i64 length, i64 pieces",
            [.. Gradients(), FileKernels.Variant("mixed", Core.Graph.DType.BF16, ("DTYPE_1", "float")), FileKernels.Variant("segments", Core.Graph.DType.F32, ("SEGMENTS", "2"), ("SEGMENT_STARTS", "0,64,100"), ("SEGMENT_PIECES", "0,1,2"))]),
        FileKernels.Kernel(
            "clip_grad_norm.cu", "clip_grad_norm_sum", "sum of squares of one gradient", "clip_grad_norm",
            "double* partial, const T* grad, i64 count", Gradients()),
        FileKernels.Kernel(
            "clip_grad_norm.cu", "clip_grad_norm_finish", "norm, clip factor and finite flag", "clip_grad_norm",
            "float* norm, float* factor, u8* finite, const double* partial, i64 partials", Gradients()),
        FileKernels.Kernel(
            "clipped_step.cu", "clipped_step", "norm, clip factor and step in one launch", "",
            "P* param0, S* state00, S* state01, S* state02, bf16* copy0, P* param1, S* state10, S* state11, S* state12, bf16* copy1, " +
            "float* norm, float* factor, u8* finite, double* segment_squares, u8* segment_finite, double* partial, u32* counter, " +
            "const P* old_param0, const G* grad0, const S* old_state00, const S* old_state01, const S* old_state02, const P* old_param1, " +
            "const H* grad1, const S* old_state10, const S* old_state11, const S* old_state12, const Rate* lr, const i64* step, i64 count0, " +
            "i64 count1, i64 length, i64 pieces",
            [.. Steps("Adam", ("AMSGRAD", "0"), [Clipped, Arenas, ("GRAD_DTYPE_1", "float")]), .. Steps("Sgd", ("MOMENTUM", "0.9"), [Clipped])]),
        Step(0, "sgd", "a step of a rule without state", Steps("Sgd", ("MOMENTUM", "0.0"))),
        Step(1, "sgd", "a step of a rule with one state", Steps("Sgd", ("MOMENTUM", "0.9"))),
        Step(2, "adam", "a step of a rule with two states", Steps("Adam", ("AMSGRAD", "0"))),
        Step(3, "adam", "a step of a rule with three states", Steps("Adam", ("AMSGRAD", "1"))),
    ];

    private static KernelVariant[] Gradients() =>
    [
        FileKernels.Variant("", Core.Graph.DType.F32), FileKernels.Variant("", Core.Graph.DType.BF16),
        FileKernels.Variant("unaligned", Core.Graph.DType.F32, ("VECTORED", "0")),
    ];

    private static (string, string) Clipped => ("CLIPPED", "1");

    private static (string, string) Arenas => ("ARENAS", "2");

    private static CatalogKernel Step(int states, string op, string summary, KernelVariant[] variants)
    {
        string States(string prefix) => string.Concat(Enumerable.Range(0, states).Select(k => $"{prefix}state{k}, "));
        return FileKernels.Kernel(
            "optimizers.cu", $"optimizer_step_{states}", summary, op,
            $"P* param, {States("S* ")}bf16* copy, const P* old_param, const G* grad, {States("const S* old_")}const Rate* lr, const i64* step, " +
            "const float* clip, i64 count",
            variants);
    }

    /// <summary>f32; f32 masters and states with a bf16 gradient and copy; all in bf16.</summary>
    private static KernelVariant[] Steps(string rule, (string, string) option, params (string, string)[] more)
    {
        (string, string)[] start = [("RULE", rule), option, .. more];
        (string, string) gradient = ("GRAD_DTYPE", "bf16");
        return
        [
            new($"{rule} f32", start),
            new($"{rule} masters", [.. start, gradient, ("COPY", "1")]),
            new($"{rule} bf16 clipped",
            [
                // Eight elements of f32, a second gradient's, would be more than one access.
                .. start.Where(d => d != Clipped && d.Item1 != "GRAD_DTYPE_1"), gradient, ("PARAM_DTYPE", "bf16"), ("STATE_DTYPE", "bf16"),
                KernelRequest.Define("VECTOR", 8), KernelRequest.Define("BLOCKS", 4), ("APPROX", "1"), Clipped,
            ]),
        ];
    }
}
