using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// clipped_step.cu: norm, factor and step of one or two arenas in one cooperative launch. Where it does not fit, and as variant "naive",
/// the op runs as clip_grad_norm and a step per arena. Tunable: "threads", "blocks" (per multiprocessor), "margin" (multiprocessors that are
/// left alone), "stream" (0: parameters and states displace gradients from the cache).
/// </summary>
internal static class ClippedStepLauncher
{
    private const int MostStates = 3;

    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var op = (ClippedStepOp)node.Op;
        var (arenas, states, perGroup) = (op.Decays.Count, op.Rule.StateNames.Count, op.InputsPerGroup);
        if (limits.Variant == "naive" || !limits.SupportsCooperativeLaunch || arenas is 0 or > GradientPieces.MostGradients) return null;
        var groups = Enumerable.Range(0, arenas).Select(g => node.Inputs.Skip(g * perGroup).Take(perGroup).ToArray()).ToArray();
        var grads = groups.Select(g => g[1]).ToArray();
        if (groups.Any(g => g.Index().Any(t => t.Index != 1 && t.Item.DType != groups[0][t.Index].DType))) return null;
        if (groups.Any(g => g[0].Type.Elements == 0) || GradientPieces.Of(op.Norm, grads) is not { } pieces) return null;
        Tensor[] all = [.. groups.SelectMany(g => g)];
        var rate = node.Inputs[arenas * perGroup];
        // Types and options are the same for both, but for the decay.
        if (OptimizerLauncher.Defines(op.RuleOf(0), groups[0], rate.DType, limits) is not { } rule) return null;
        var vector = OptimizerLauncher.Vector(all, limits);
        var threads = limits.Tuned("threads", 256);
        var perMultiprocessor = limits.Tuned("blocks", Math.Max(1, 1024 / threads));
        var segments = op.Norm.Segments.Count > 0;
        (string, string)[] defines =
        [
            .. rule.Where(d => d.Item1 != "VECTOR"), .. pieces.Defines, OptimizerLauncher.Flag("CLIPPED", true), KernelRequest.Define("VECTOR", vector),
            KernelRequest.Define("THREADS", threads), KernelRequest.Define("BLOCKS", perMultiprocessor), KernelRequest.Define("ARENAS", arenas),
            KernelRequest.Define("STREAM", limits.Tuned("stream", 1)), KernelRequest.Define("GRAD_DTYPE_1", grads[^1].DType), OptimizerLauncher.Number("DECAY_1", Decay(op.RuleOf(arenas - 1))),
        ];
        var work = Math.Max(pieces.Count, (all.Max(t => t.Type.Elements) / vector + threads - 1) / threads);
        var most = Math.Max(1, (limits.Multiprocessors - limits.Tuned("margin", 0)) * perMultiprocessor);
        var blocks = Math.Clamp(work, 1, most);
        var norms = arenas * op.OutputsPerGroup;
        Operand[] operands =
        [
            .. Outputs(op, 0), .. Outputs(op, 1),
            Operand.Out(norms), Operand.Out(norms + 1), Operand.Out(norms + 2), Operand.Out(norms + 3, segments), Operand.Out(norms + 4, segments),
            Operand.Scratch(), Operand.Counter, .. Inputs(op, 0), .. Inputs(op, 1), Operand.In(node.Inputs.Count - 2), Operand.In(node.Inputs.Count - 1),
        ];
        var step = new LaunchStep(
            new KernelRequest("clipped_step.cu", "clipped_step") { Defines = defines },
            new LaunchShape(new Dim3((uint)blocks), new Dim3((uint)threads)) { Cooperative = blocks > 1 }, operands,
            [grads[0].Type.Elements, arenas > 1 ? grads[1].Type.Elements : 0, pieces.Length, pieces.Count]);
        // Every block adds all pieces, and reads rate and step.
        var sums = pieces.ScratchBytes;
        var again = sums * blocks + (segments ? sums : 0) + (blocks * arenas - 1) * (rate.Type.Bytes + sizeof(long));
        return new PlannedKernel(node, step) { ScratchBytes = sums, ExactCost = op.Cost(node) + new Cost(again, sums, 0) };
    }

    private static Operand[] Outputs(ClippedStepOp op, int group)
    {
        var (there, first, states) = (group < op.Decays.Count, group * op.OutputsPerGroup, op.Rule.StateNames.Count);
        return
        [
            Operand.Out(first, there), .. Enumerable.Range(0, MostStates).Select(k => Operand.Out(first + 1 + k, there && k < states)),
            Operand.Out(first + 1 + states, there && op.Rule.Copy),
        ];
    }

    private static Operand[] Inputs(ClippedStepOp op, int group)
    {
        var (there, first, states) = (group < op.Decays.Count, group * op.InputsPerGroup, op.Rule.StateNames.Count);
        return
        [
            Operand.In(first, there), Operand.In(first + 1, there), .. Enumerable.Range(0, MostStates).Select(k => Operand.In(first + 2 + k, there && k < states)),
        ];
    }

    private static double Decay(OptimizerOp rule) => rule switch
    {
        AdamOp a => a.WeightDecay,
        SgdOp s => s.WeightDecay,
        RmsPropOp r => r.WeightDecay,
        AdagradOp g => g.WeightDecay,
        _ => 0,
    };
}
