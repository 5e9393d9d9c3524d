using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>channel_activation.cu: prelu and srelu, forward and backward, for f32 and bf16. Variants (backward): "naive".</summary>
internal static class ChannelActivationLauncher
{
    private const string File = "channel_activation.cu";

    /// <summary>Four numbers and four sums for each of eight channels would not fit beside the rest.</summary>
    private const int MostSReluChannels = 4;

    public static CudaKernel? PRelu(Node node, CudaLimits limits) => Forward(node, limits, "prelu", 1);

    public static CudaKernel? PReluBackward(Node node, CudaLimits limits) => Backward(node, limits, "prelu", 1);

    public static CudaKernel? SRelu(Node node, CudaLimits limits) => Forward(node, limits, "srelu", 4);

    public static CudaKernel? SReluBackward(Node node, CudaLimits limits) => Backward(node, limits, "srelu", 4);

    private static PlannedKernel? Forward(Node node, CudaLimits limits, string name, int numbers)
    {
        var x = node.Inputs[0];
        if (Plan(limits, x, node.Inputs[1], [x], numbers, 0) is not { } walk) return null;
        Operand[] operands = [Operand.Out(0), .. Enumerable.Range(0, 1 + numbers).Select(i => Operand.In(i))];
        return new PlannedKernel(node, new LaunchStep(Request(name + "_forward", x.DType, walk.Defines), walk.Shape, operands, walk.Sizes))
        {
            ExactCost = node.Op.Cost(node) + walk.Repeated(numbers, x.DType.Size(), draws: false),
        };
    }

    private static PlannedKernel? Backward(Node node, CudaLimits limits, string name, int numbers)
    {
        var x = node.Inputs[1];
        if (Plan(limits, x, node.Inputs[2], [node.Inputs[0], x], numbers, numbers) is not { } walk) return null;
        Operand[] outputs = [.. Enumerable.Range(0, 1 + numbers).Select(Operand.Out)], inputs = [.. Enumerable.Range(0, 2 + numbers).Select(i => Operand.In(i))];
        if (limits.Variant == "naive")
        {
            var shape = new LaunchShape(new Dim3((uint)walk.Sizes[1]), new Dim3(256));
            (string, string)[] defines = [KernelRequest.Define("LAYOUT", 1), KernelRequest.Define("VECTOR", 1)];
            return new PlannedKernel(node, new LaunchStep(Request(name + "_backward_naive", x.DType, defines), shape, [.. outputs, .. inputs], walk.Sizes[..3]));
        }

        Operand[] operands = [.. outputs, Operand.Scratch(), Operand.Counter, .. inputs];
        return new PlannedKernel(node, new LaunchStep(Request(name + "_backward", x.DType, walk.Defines), walk.Shape, operands, walk.Sizes))
        {
            ScratchBytes = walk.SumBytes(numbers),
            CounterCount = walk.Counters,
            ExactCost = node.Op.Cost(node) + walk.Repeated(numbers, x.DType.Size(), draws: false) + walk.SumsCost(numbers),
        };
    }

    /// <summary>One set of numbers for all elements is one channel.</summary>
    private static ElementWalk? Plan(CudaLimits limits, Tensor x, Tensor number, Tensor[] vectors, int numbers, int sums)
    {
        if (x.DType is not (DType.F32 or DType.BF16) || x.Type.Elements == 0) return null;
        var most = numbers > 1 ? MostSReluChannels : int.MaxValue;
        return number.Type.Elements == 1
            ? ElementWalk.OverChannels(limits, x.DType, 1, 1, x.Type.Elements, sums, vectors, most)
            : ElementWalk.OverChannels(limits, x.DType, x.Shape[0], x.Shape[1], x.Shape.Product(2, x.Rank), sums, vectors, most);
    }

    private static KernelRequest Request(string entry, DType dtype, (string, string)[] defines) =>
        new(File, entry) { Defines = [KernelRequest.Define("DTYPE", dtype), .. defines] };
}
