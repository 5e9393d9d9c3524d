using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>cross_entropy_naive.cu: any shape; loss and gradient are two launches.</summary>
internal static class CrossEntropyNaive
{
    private const string File = "cross_entropy_naive.cu";
    private const int Threads = 256;

    /// <summary>Most blocks, each of which leaves partial sums.</summary>
    private const int MostBlocks = 2048;

    public static PlannedKernel Plan(CrossEntropyCall call)
    {
        var lanes = call.Length > 1 ? 1 : call.Classes <= 2048 ? 32 : Threads;
        var perBlock = Threads / lanes;
        var blocks = Math.Min((call.Lines + perBlock - 1) / perBlock, MostBlocks);
        var withGradient = call.Pass == CrossEntropyPass.WithGradient;
        (string, string)[] defines =
        [
            .. call.Macros, KernelRequest.Define("LANES", lanes), KernelRequest.Define("LOSS_DTYPE", withGradient ? DType.F32 : call.X.DType),
        ];
        LaunchStep Step(string entry, Operand[] operands) => new(
            new KernelRequest(File, entry) { Defines = defines }, new LaunchShape(new Dim3((uint)blocks), new Dim3(Threads)), operands,
            [call.Lines, call.Classes, call.Length]);
        LaunchStep Forward(Operand loss, Operand maximum, Operand logSum, Operand divisor, Operand correct) => Step(
            "cross_entropy_naive_forward",
            [loss, maximum, logSum, divisor, correct, Operand.Scratch(), Operand.Counter, Operand.In(0), Operand.In(1), Operand.In(2, call.Op.Weighted)]);

        // The logit of the target and, with smoothing, all logits are read again.
        var size = call.X.DType.Size();
        var again = new Cost(call.Lines * size + (call.Smooth ? call.X.Type.Bytes : 0), 0, 0);
        var cost = call.Node.Op.Cost(call.Node) + call.Overhead(blocks, 1);
        switch (call.Pass)
        {
            case CrossEntropyPass.Forward:
                return new PlannedKernel(call.Node, Forward(Operand.Out(0), Operand.Out(1), Operand.Out(2), Operand.Out(3), Operand.None))
                {
                    ScratchBytes = call.ScratchBytes(blocks),
                    CounterCount = call.CounterCount,
                    ExactCost = cost + again,
                };
            case CrossEntropyPass.Backward:
                return new PlannedKernel(call.Node, Step("cross_entropy_naive_backward", call.Operands)) { ExactCost = cost };
        }

        // Maximum, logarithm and divisor lie behind the partial sums.
        var maximumAt = call.ScratchBytes(blocks);
        var logSumAt = maximumAt + Aligned(call.Lines * size);
        var divisorAt = logSumAt + Aligned(call.Lines * size);
        var (maximum, logSum, divisor) = (Operand.Scratch(maximumAt), Operand.Scratch(logSumAt), Operand.Scratch(divisorAt));
        var backward = Step(
            "cross_entropy_naive_backward",
            [Operand.Out(1), Operand.None, Operand.In(0), Operand.In(1), Operand.In(2, call.Op.Weighted), maximum, logSum, divisor]);
        var between = 2 * call.Lines * size + size;
        return new PlannedKernel(call.Node, Forward(Operand.Out(0), maximum, logSum, divisor, Operand.Out(2)), backward)
        {
            ScratchBytes = divisorAt + 16,
            CounterCount = call.CounterCount,
            ExactCost = cost + again + new Cost(call.X.Type.Bytes + call.Target.Type.Bytes + between, between, 0),
        };
    }

    private static long Aligned(long bytes) => (bytes + 15) / 16 * 16;
}
