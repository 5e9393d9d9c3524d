using System.Globalization;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>optimizers.cu: one launch per step and arena, for parameters, gradients and states in f32 or bf16.</summary>
internal static class OptimizerLauncher
{
    private const int Threads = 256;

    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var op = (OptimizerOp)node.Op;
        var states = op.StateNames.Count;
        var param = node.Inputs[0];
        var tensors = node.Inputs.Take(2 + states).ToArray();
        var (rate, clip) = (node.Inputs[2 + states], op.Clip ? node.Inputs[^1] : null);
        if (tensors.Any(t => t.DType is not (DType.F32 or DType.BF16)) || param.Type.Elements == 0) return null;
        if (tensors.Skip(2).Any(t => t.DType != tensors[2].DType) || clip is { DType: not DType.F32 } || Rule(op) is not { } rule) return null;
        // As many elements as 16 bytes hold of the narrowest, so that every access is at least that wide.
        var vector = tensors.Max(t => VectorWidth.Any(t.DType, tensors));
        (string, string)[] defines =
        [
            KernelRequest.Define("PARAM_DTYPE", param.DType), KernelRequest.Define("GRAD_DTYPE", tensors[1].DType),
            KernelRequest.Define("STATE_DTYPE", states > 0 ? tensors[2].DType : DType.F32), KernelRequest.Define("RATE_DTYPE", rate.DType),
            Flag("CLIPPED", op.Clip), Flag("MAXIMIZE", op.Maximize), KernelRequest.Define("VECTOR", vector), .. rule,
        ];
        var count = param.Type.Elements;
        Operand[] operands =
        [
            .. Enumerable.Range(0, 1 + states).Select(Operand.Out), .. Enumerable.Range(0, 4 + states).Select(i => Operand.In(i)),
            Operand.In(node.Inputs.Count - 1, op.Clip),
        ];
        var blocks = limits.Blocks((count + vector - 1) / vector, Threads);
        return new PlannedKernel(node, new LaunchStep(
            new KernelRequest("optimizers.cu", string.Create(CultureInfo.InvariantCulture, $"optimizer_step_{states}")) { Defines = defines },
            new LaunchShape(new Dim3((uint)blocks), new Dim3(Threads)), operands, [count]));
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

    private static (string, string) Flag(string name, bool value) => KernelRequest.Define(name, value ? 1 : 0);

    private static (string, string) Number(string name, double value)
    {
        var text = value.ToString("R", CultureInfo.InvariantCulture);
        return (name, text.Contains('.') || text.Contains('E') ? text : text + ".0");
    }
}
