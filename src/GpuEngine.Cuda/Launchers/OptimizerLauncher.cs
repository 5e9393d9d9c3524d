using System.Globalization;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// optimizers.cu: one launch per step and arena, for parameters, gradients and states in f32 or bf16. Variants: "naive" (one element per
/// access). Tunable: "threads", "waves" (of the grid over the device), "blocks" (per multiprocessor, which bounds the registers), "stream"
/// (1: loads and stores that do not displace what the cache keeps).
/// </summary>
internal static class OptimizerLauncher
{
    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var op = (OptimizerOp)node.Op;
        var states = op.StateNames.Count;
        var param = node.Inputs[0];
        var tensors = node.Inputs.Take(2 + states).ToArray();
        var clip = op.Clip ? node.Inputs[^1] : null;
        if (clip is { DType: not DType.F32 } || Defines(op, tensors, node.Inputs[2 + states].DType, limits) is not { } defines) return null;
        var vector = Vector(tensors, limits);
        var threads = limits.Tuned("threads", 256);
        var count = param.Type.Elements;
        Operand[] operands =
        [
            .. Enumerable.Range(0, 1 + states).Select(Operand.Out), Operand.Out(1 + states, op.Copy), .. Enumerable.Range(0, 4 + states).Select(i => Operand.In(i)),
            Operand.In(node.Inputs.Count - 1, op.Clip),
        ];
        defines =
        [
            .. defines, Flag("CLIPPED", op.Clip), KernelRequest.Define("THREADS", threads),
            KernelRequest.Define("BLOCKS", limits.Tuned("blocks", vector > 4 ? Math.Max(1, 1024 / threads) : 1)), KernelRequest.Define("STREAM", limits.Tuned("stream", 0)),
        ];
        var blocks = limits.Blocks((count + vector - 1) / vector, threads, limits.Tuned("waves", 4));
        return new PlannedKernel(node, new LaunchStep(
            new KernelRequest("optimizers.cu", string.Create(CultureInfo.InvariantCulture, $"optimizer_step_{states}")) { Defines = defines },
            new LaunchShape(new Dim3((uint)blocks), new Dim3((uint)threads)), operands, [count]));
    }

    /// <summary>
    /// As many elements as 16 bytes hold of the widest type: threads side by side then fill whole sectors with every access, which two
    /// accesses of neighbouring 16 bytes by each thread would not. One where an address may be odd.
    /// </summary>
    internal static int Vector(Tensor[] tensors, CudaLimits limits) =>
        limits.Variant == "naive" ? 1 : tensors.Min(t => VectorWidth.Any(t.DType, [t]));

    /// <summary>Types, vector and rule of a step on param, grad and states; null where the kernels do not fit.</summary>
    internal static (string, string)[]? Defines(OptimizerOp op, Tensor[] tensors, DType rate, CudaLimits limits)
    {
        if (tensors.Any(t => t.DType is not (DType.F32 or DType.BF16)) || tensors[0].Type.Elements == 0) return null;
        if (tensors.Skip(2).Any(t => t.DType != tensors[2].DType) || Rule(op) is not { } rule) return null;
        return
        [
            KernelRequest.Define("PARAM_DTYPE", tensors[0].DType), KernelRequest.Define("GRAD_DTYPE", tensors[1].DType),
            KernelRequest.Define("STATE_DTYPE", tensors[tensors.Length > 2 ? 2 : 0].DType), KernelRequest.Define("RATE_DTYPE", rate),
            Flag("MAXIMIZE", op.Maximize), Flag("COPY", op.Copy),
            Flag("APPROX", tensors[0].DType == DType.BF16 && limits.Variant != "naive"), KernelRequest.Define("VECTOR", Vector(tensors, limits)), .. rule,
        ];
    }

    /// <summary>The rule and its options; doubles, from which the kernel derives f32 constants as the decomposition does.</summary>
    private static (string, string)[]? Rule(OptimizerOp op) => op switch
    {
        AdamOp a =>
        [
            ("RULE", "Adam"), Number("BETA1", a.Beta1), Number("BETA2", a.Beta2), Number("EPS", a.Eps), Number("DECAY", a.WeightDecay),
            Flag("AMSGRAD", a.Amsgrad), Flag("DECOUPLED", a.Decoupled), Flag("EPS_INSIDE", a.EpsInside), Flag("STORE_CORRECTED", a.StoreCorrected),
        ],
        SgdOp s =>
        [
            ("RULE", "Sgd"), Number("MOMENTUM", s.Momentum), Number("DAMPENING", s.Dampening), Number("DECAY", s.WeightDecay),
            Flag("NESTEROV", s.Nesterov), KernelRequest.Define("FORM", (int)s.Form),
        ],
        RmsPropOp r =>
        [
            ("RULE", "RmsProp"), Number("ALPHA", r.Alpha), Number("EPS", r.Eps), Number("DECAY", r.WeightDecay), Number("MOMENTUM", r.Momentum),
            Flag("CENTERED", r.Centered), Flag("EPS_INSIDE", r.EpsInside),
        ],
        AdagradOp g =>
        [
            ("RULE", "Adagrad"), Number("LR_DECAY", g.LrDecay), Number("EPS", g.Eps), Number("DECAY", g.WeightDecay), Flag("EPS_INSIDE", g.EpsInside),
        ],
        _ => null,
    };

    internal static (string, string) Flag(string name, bool value) => KernelRequest.Define(name, value ? 1 : 0);

    internal static (string, string) Number(string name, double value)
    {
        var text = value.ToString("R", CultureInfo.InvariantCulture);
        return (name, text.Contains('.') || text.Contains('E') ? text : text + ".0");
    }
}
