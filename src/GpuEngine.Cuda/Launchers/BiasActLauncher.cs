using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// bias_act.cu and bias_act_backward.cu for f32 and bf16: flat where nothing belongs to a channel, else along the channels.
/// Variants: "naive".
/// </summary>
internal static class BiasActLauncher
{
    private const int NaiveThreads = 256;

    public static CudaKernel? Forward(Node node, CudaLimits limits)
    {
        var op = (BiasActOp)node.Op;
        var x = node.Inputs[0].Type;
        if (!Fits(x) || ActivationMacros.Of(op.Activation, x.DType) is not { } activation) return null;
        Tensor[] vectors = op.Residual ? [node.Inputs[0], node.Inputs[op.Bias ? 2 : 1]] : [node.Inputs[0]];
        (string, string)[] macros =
        [
            KernelRequest.Define("DTYPE", x.DType), Flag("BIAS", op.Bias), Flag("RESIDUAL", op.Residual), Flag("COUNTS", op.Counts),
            .. DropoutMacros.Of(op.Dropout), .. activation,
        ];
        Operand[] inputs =
        [
            Operand.In(0), Operand.In(1, op.Bias), Operand.In(op.Bias ? 2 : 1, op.Residual), Operand.In(node.Inputs.Count - 1, op.Dropout is not null),
        ];
        if (limits.Variant == "naive" && !op.Counts)
        {
            var shape = new LaunchShape(new Dim3((uint)limits.Blocks(x.Elements, NaiveThreads)), new Dim3(NaiveThreads));
            return new PlannedKernel(node, new LaunchStep(Request("bias_act_naive", Naive(macros)), shape, [Operand.Out(0), .. inputs], NaiveSizes(x, op.Dim)));
        }

        var byChannel = op.Bias || op.Counts;
        if (Plan(limits, x, byChannel ? op.Dim : null, op.Counts ? 2 : 0, vectors) is not { } walk) return null;
        Operand[] operands =
        [
            Operand.Out(0), Operand.Out(1, op.Counts), Operand.Out(2, op.Counts), op.Counts ? Operand.Scratch() : Operand.None,
            op.Counts ? Operand.Counter : Operand.None, .. inputs,
        ];
        return new PlannedKernel(node, new LaunchStep(Request("bias_act", [.. macros, .. walk.Defines]), walk.Shape, operands, walk.Sizes))
        {
            ScratchBytes = op.Counts ? walk.SumBytes(2) : 0,
            CounterCount = walk.Counters,
            ExactCost = node.Op.Cost(node) + walk.Repeated(op.Bias ? 1 : 0, x.DType.Size(), op.Dropout is not null) + (op.Counts ? walk.SumsCost(2) : default),
        };
    }

    public static CudaKernel? Backward(Node node, CudaLimits limits)
    {
        var op = (BiasActBackwardOp)node.Op;
        var dy = node.Inputs[0].Type;
        if (!Fits(dy) || ActivationMacros.Of(op.Activation, dy.DType) is not { } activation) return null;
        var hasValue = op.Activation is not null;
        (string, string)[] macros =
        [
            KernelRequest.Define("DTYPE", dy.DType), Flag("ADD_BIAS", op.AddsBias), Flag("SUMS", op.Bias), Flag("ADDS", op.Adds),
            .. DropoutMacros.Of(op.DrawsMask ? op.Dropout : null, op.Scale), .. activation,
        ];
        Operand[] inputs =
        [
            Operand.In(0), Operand.In(1, hasValue), Operand.In(2, op.AddsBias), Operand.In(op.AddedInput, op.Adds),
            Operand.In(node.Inputs.Count - 1, op.DrawsMask),
        ];
        if (limits.Variant == "naive")
        {
            var blocks = op.Bias ? dy.Shape[op.Dim] : limits.Blocks(dy.Elements, NaiveThreads);
            var shape = new LaunchShape(new Dim3((uint)blocks), new Dim3(NaiveThreads));
            Operand[] outputs = [Operand.Out(0), Operand.Out(1, op.Bias)];
            return new PlannedKernel(
                node, new LaunchStep(Request("bias_act_backward_naive", Naive(macros)), shape, [.. outputs, .. inputs], NaiveSizes(dy, op.Bias ? op.Dim : null)));
        }

        Tensor[] vectors = [node.Inputs[0], .. hasValue ? new[] { node.Inputs[1] } : [], .. op.Adds ? new[] { node.Inputs[op.AddedInput] } : []];
        if (Plan(limits, dy, op.Bias ? op.Dim : null, 1, vectors) is not { } walk) return null;
        Operand[] operands =
        [
            Operand.Out(0), Operand.Out(1, op.Bias), op.Bias ? Operand.Scratch() : Operand.None, op.Bias ? Operand.Counter : Operand.None, .. inputs,
        ];
        return new PlannedKernel(node, new LaunchStep(Request("bias_act_backward", [.. macros, .. walk.Defines]), walk.Shape, operands, walk.Sizes))
        {
            ScratchBytes = op.Bias ? walk.SumBytes(1) : 0,
            CounterCount = walk.Counters,
            ExactCost = node.Op.Cost(node) + walk.Repeated(op.AddsBias ? 1 : 0, dy.DType.Size(), op.DrawsMask) + (op.Bias ? walk.SumsCost(1) : default),
        };
    }

    private static ElementWalk? Plan(CudaLimits limits, TensorType x, int? dim, int sums, Tensor[] vectors) => dim is { } axis
        ? ElementWalk.OverChannels(limits, x, axis, sums, vectors)
        : ElementWalk.Flat(limits, x.DType, x.Elements, vectors);

    private static KernelRequest Request(string entry, (string, string)[] defines) =>
        new(entry.Replace("_naive", "", StringComparison.Ordinal) + ".cu", entry) { Defines = defines };

    /// <summary>The naive kernels have a layout of their own; the fast one beside them is compiled for any.</summary>
    private static (string, string)[] Naive((string, string)[] macros) => [.. macros, KernelRequest.Define("LAYOUT", 1), KernelRequest.Define("VECTOR", 1)];

    private static long[] NaiveSizes(TensorType x, int? dim) => dim is { } axis
        ? [x.Shape.Product(0, axis), x.Shape[axis], x.Shape.Product(axis + 1, x.Shape.Rank)]
        : [1, 1, x.Elements];

    private static bool Fits(TensorType type) => type.DType is DType.F32 or DType.BF16 && type.Elements > 0;

    private static (string, string) Flag(string name, bool value) => KernelRequest.Define(name, value ? 1 : 0);
}
