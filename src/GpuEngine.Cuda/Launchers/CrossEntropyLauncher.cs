using System.Globalization;
using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// cross_entropy.cu, cross_entropy_with_gradient.cu, cross_entropy_small.cu and cross_entropy_naive.cu: class indices, f32 and bf16 logits. Variants: "small" (a
/// thread per line, lines in shared memory), "one_read" and "two_read" (rows held on chip or not), "naive".
/// </summary>
internal static class CrossEntropyLauncher
{
    public static CudaKernel? Forward(Node node, CudaLimits limits) =>
        ((CrossEntropyOp)node.Op).Probabilities ? null : Plan(new CrossEntropyCall(node, (CrossEntropyOp)node.Op, CrossEntropyPass.Forward, 0), limits);

    public static CudaKernel? Backward(Node node, CudaLimits limits) =>
        ((CrossEntropyBackwardOp)node.Op).Of is { Probabilities: false } op ? Plan(new CrossEntropyCall(node, op, CrossEntropyPass.Backward, 1), limits) : null;

    public static CudaKernel? WithGradient(Node node, CudaLimits limits) =>
        Plan(new CrossEntropyCall(node, ((CrossEntropyWithGradientOp)node.Op).Plain, CrossEntropyPass.WithGradient, 0), limits);

    private static PlannedKernel? Plan(CrossEntropyCall call, CudaLimits limits)
    {
        if (call.X.DType is not (DType.F32 or DType.BF16) || call.X.Type.Elements == 0) return null;
        var planned = CrossEntropySmall.Plan(call, limits) ?? CrossEntropyRows.Plan(call, limits);
        if (planned is not null || limits.Variant is null or "naive") return planned ?? CrossEntropyNaive.Plan(call);
        return Plan(call, limits with { Variant = null });
    }
}

/// <summary>What a launch of cross entropy makes.</summary>
internal enum CrossEntropyPass
{
    Forward,
    Backward,
    WithGradient,
}

/// <summary>One node of cross entropy, taken apart: logits [N, classes, length] and what else it reads.</summary>
/// <param name="Node">The node.</param>
/// <param name="Op">The loss.</param>
/// <param name="Pass">What is made of it.</param>
/// <param name="First">Where the logits stand among the inputs; target and weight follow.</param>
internal sealed record CrossEntropyCall(Node Node, CrossEntropyOp Op, CrossEntropyPass Pass, int First)
{
    public Tensor X => Node.Inputs[First];

    public Tensor Target => Node.Inputs[First + 1];

    public long Classes => X.Shape[ClassAxis];

    /// <summary>Places behind the class axis.</summary>
    public long Length => X.Shape.Product(ClassAxis + 1, X.Rank);

    public long Lines => X.Type.Elements / Classes;

    private int ClassAxis => X.Rank == 1 ? 0 : 1;

    public bool Smooth => Op.LabelSmoothing > 0;

    /// <summary>Whether the divisor is needed before the first gradient, so that blocks meet at a barrier.</summary>
    public bool CountsFirst => Pass == CrossEntropyPass.WithGradient && Op.Reduction == Reduction.Mean;

    public string Entry(string stem) => stem + Pass switch
    {
        CrossEntropyPass.Forward => "_forward",
        CrossEntropyPass.Backward => "_backward",
        _ => "_with_gradient",
    };

    public (string, string)[] Macros =>
    [
        KernelRequest.Define("DTYPE", X.DType), KernelRequest.Define("INDEX_DTYPE", Target.DType),
        KernelRequest.Define("REDUCTION", Op.Reduction switch { Reduction.Mean => 0, Reduction.Sum => 1, _ => 2 }),
        KernelRequest.Define("WEIGHTED", Op.Weighted ? 1 : 0), KernelRequest.Define("SMOOTHING", (float)Op.LabelSmoothing),
        ("IGNORE_INDEX", $"({Op.IgnoreIndex.ToString(CultureInfo.InvariantCulture)})"),
    ];

    /// <summary>The addresses of a launch, as all entries but the naive ones take them.</summary>
    public Operand[] Operands
    {
        get
        {
            Operand[] read = [Operand.In(First), Operand.In(First + 1), Operand.In(First + 2, Op.Weighted)];
            var last = Node.Inputs.Count - 1;
            return Pass switch
            {
                CrossEntropyPass.Forward => [Operand.Out(0), Operand.Out(1), Operand.Out(2), Operand.Out(3), Operand.Scratch(), Operand.Counter, .. read],
                CrossEntropyPass.Backward => [Operand.Out(0), Operand.In(0), .. read, Operand.In(last - 2), Operand.In(last - 1), Operand.In(last)],
                _ => [Operand.Out(0), Operand.Out(1), Operand.Out(2), Operand.Scratch(), Operand.Counter, .. read],
            };
        }
    }

    /// <summary>Words of the kernels' LossCounters; those that have none do not count.</summary>
    public int CounterCount => 4;

    /// <summary>Scratch: three words per block for the totals and one for the divisor.</summary>
    public long ScratchBytes(long blocks) => Pass == CrossEntropyPass.Backward ? 0 : 4 * sizeof(float) * blocks;

    /// <summary>
    /// What a launch moves beyond the tensors, each once: a target (and its weight, if there are any) is read so many times; smoothing with
    /// weights reads all of them for every line so many times; totals over the grid go through the scratch.
    /// </summary>
    /// <param name="blocks">Blocks of the grid.</param>
    /// <param name="targets">How many times a target is read.</param>
    public Cost Overhead(long blocks, double targets)
    {
        var size = X.DType.Size();
        var again = (long)((targets - 1) * Lines) * Target.DType.Size();
        if (Op.Weighted)
        {
            again += (long)(targets * Lines) * size - Classes * size;
            if (Smooth) again += (blocks + Lines * (Pass == CrossEntropyPass.WithGradient ? 2 : 1)) * Classes * size;
        }

        if (Pass == CrossEntropyPass.Backward) again += (blocks - 1) * (Op.Reduction switch { Reduction.Mean => 2, Reduction.Sum => 1, _ => 0 }) * size;
        if (Pass == CrossEntropyPass.Backward || blocks == 1) return new Cost(again, 0, 0);
        var scratch = 3 * sizeof(float) * blocks;
        var meeting = CountsFirst && Op.Weighted ? sizeof(float) * blocks : 0;
        return new Cost(again + scratch + meeting * blocks, scratch + meeting, 0);
    }
}
