using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>clip_grad_norm.cu: one launch per gradient (in training there is one, the flat arena) and one that finishes.</summary>
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
        if (op.NormType != 2 || inputs.Length is 0 or > MostInputs || node.Inputs.Any(t => t.DType is not (DType.F32 or DType.BF16))) return null;
        (string, string)[] rule = [KernelRequest.Define("MAX_NORM", (float)op.MaxNorm), KernelRequest.Define("INCLUSIVE", op.Inclusive ? 1 : 0)];
        var steps = new List<LaunchStep>();
        var partials = 0L;
        foreach (var i in inputs)
        {
            var grad = node.Inputs[i];
            var vector = VectorWidth.Any(grad.DType, [grad]);
            // Sixteen vectors for each thread, and a number of blocks that depends on the size alone.
            var blocks = Math.Clamp(grad.Type.Elements / (16L * vector * Threads), 1, 1024);
            var request = new KernelRequest(File, "clip_grad_norm_sum")
            {
                Defines = [KernelRequest.Define("DTYPE", grad.DType), KernelRequest.Define("VECTOR", vector), .. rule],
            };
            steps.Add(new LaunchStep(
                request, new LaunchShape(new Dim3((uint)blocks), new Dim3(Threads)), [Operand.Scratch(partials * sizeof(double)), Operand.In(i)],
                [grad.Type.Elements]));
            partials += blocks;
        }

        steps.Add(new LaunchStep(
            steps[0].Request with { Entry = "clip_grad_norm_finish" }, new LaunchShape(new Dim3(1), new Dim3(Threads)),
            [Operand.Out(0), Operand.Out(1), Operand.Out(2), Operand.Scratch()], [partials]));
        return new PlannedKernel(node, [.. steps]) { ScratchBytes = partials * sizeof(double) };
    }
}
