using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// clip_grad_norm.cu: one launch for one or two gradients (in training they are the flat arenas). Variants: "naive", one launch per
/// gradient and one that finishes, for up to sixteen of any types. Tunable: "waves" (of the grid over the device).
/// </summary>
internal static class ClipGradNormLauncher
{
    private const string File = "clip_grad_norm.cu";
    private const int Threads = 256;

    /// <summary>More gradients than this are better left to generated kernels: the arguments of each are a launch.</summary>
    private const int MostInputs = 16;

    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var op = (ClipGradNormOp)node.Op;
        var inputs = Enumerable.Range(0, node.Inputs.Count).Where(i => node.Inputs[i].Type.Elements > 0).ToArray();
        var grads = inputs.Select(i => node.Inputs[i]).ToArray();
        if (limits.Variant == "naive" || GradientPieces.Of(op, grads) is not { } pieces) return Naive(node, op, inputs);
        var segments = op.Segments.Count > 0;
        var vectored = grads.All(t => VectorWidth.Any(t.DType, [t]) > 1);
        var blocks = Math.Min(pieces.Count, limits.Blocks(pieces.Count * Threads, Threads, limits.Tuned("waves", 1)));
        var step = new LaunchStep(
            new KernelRequest(File, "clip_grad_norm")
            {
                Defines =
                [
                    KernelRequest.Define("DTYPE", grads[0].DType), KernelRequest.Define("DTYPE_1", grads[^1].DType),
                    KernelRequest.Define("VECTORED", vectored ? 1 : 0), .. pieces.Defines,
                ],
            },
            new LaunchShape(new Dim3((uint)blocks), new Dim3(Threads)),
            [
                Operand.Out(0), Operand.Out(1), Operand.Out(2), Operand.Out(3, segments), Operand.Out(4, segments), Operand.Scratch(), Operand.Counter,
                Operand.In(inputs[0]), Operand.In(inputs[^1], inputs.Length > 1),
            ],
            [grads[0].Type.Elements, grads.Length > 1 ? grads[1].Type.Elements : 0, pieces.Length, pieces.Count]);
        // Every piece leaves a sum, which is read once for the total and once for its segment.
        var sums = pieces.ScratchBytes;
        return new PlannedKernel(node, step) { ScratchBytes = sums, ExactCost = op.Cost(node) + new Cost(segments ? 2 * sums : sums, sums, 0) };
    }

    private static PlannedKernel? Naive(Node node, ClipGradNormOp op, int[] inputs)
    {
        if (op.NormType != 2 || op.Segments.Count > 0 || inputs.Length is 0 or > MostInputs) return null;
        if (node.Inputs.Any(t => t.DType is not (DType.F32 or DType.BF16))) return null;
        (string, string)[] rule = [KernelRequest.Define("MAX_NORM", (float)op.MaxNorm), KernelRequest.Define("INCLUSIVE", op.Inclusive ? 1 : 0)];
        var steps = new List<LaunchStep>();
        var partials = 0L;
        foreach (var i in inputs)
        {
            var grad = node.Inputs[i];
            // Sixteen elements for each thread, and a number of blocks that depends on the size alone.
            var blocks = Math.Clamp(grad.Type.Elements / (16L * Threads), 1, 1024);
            steps.Add(new LaunchStep(
                new KernelRequest(File, "clip_grad_norm_sum") { Defines = [KernelRequest.Define("DTYPE", grad.DType), .. rule] },
                new LaunchShape(new Dim3((uint)blocks), new Dim3(Threads)), [Operand.Scratch(partials * sizeof(double)), Operand.In(i)],
                [grad.Type.Elements]));
            partials += blocks;
        }

        steps.Add(new LaunchStep(
            steps[0].Request with { Entry = "clip_grad_norm_finish" }, new LaunchShape(new Dim3(1), new Dim3(Threads)),
            [Operand.Out(0), Operand.Out(1), Operand.Out(2), Operand.Scratch()], [partials]));
        var sums = partials * sizeof(double);
        return new PlannedKernel(node, [.. steps]) { ScratchBytes = sums, ExactCost = op.Cost(node) + new Cost(sums, sums, 0) };
    }
}
