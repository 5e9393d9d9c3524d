using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Lab.Kernels;

/// <summary>What `gpuengine kernels traffic` counts, and the families that are counted but not timed.</summary>
public static partial class KernelCases
{
    /// <summary>
    /// What is counted on the simulator: enough rows for each block that its parameters and partial sums do not show beside the tensors, as
    /// they do not at the shapes of <see cref="Timed"/>; small enough to take seconds.
    /// </summary>
    public static IReadOnlyList<KernelCase> Counted { get; } = [.. new[] { DType.BF16, DType.F32 }.SelectMany(CountedIn)];

    private static KernelCase[] CountedIn(DType dtype) =>
    [
        BatchNorm(1, [16, 14, 14, 64], dtype, Pass.Forward, new Relu(), residual: true),
        BatchNorm(4, [16, 14, 14, 64], dtype, Pass.Backward, new Relu(), residual: true),
        BatchNorm(5, [8, 16, 32, 32], dtype, Pass.Forward, new Relu(), channelsLast: false),
        BatchNorm(6, [8, 16, 32, 32], dtype, Pass.Backward, new Relu(), channelsLast: false),
        BatchNormEvaluation([8, 14, 14, 64], dtype),
        GroupNorm(7, [4, 64, 64, 64], dtype, Pass.Forward, 8, new Silu()),
        GroupNorm(7, [4, 64, 64, 64], dtype, Pass.Backward, 8, new Silu()),
        GroupNorm(7, [4, 64, 16, 16], dtype, Pass.Forward, 8, new Silu(), channelsLast: false),
        GroupNorm(7, [4, 64, 32, 32], dtype, Pass.Backward, 8, new Silu(), channelsLast: false),
        LayerNorm(8, [4096, 512], dtype, Pass.Forward),
        LayerNorm(9, [4096, 512], dtype, Pass.Backward),
        RmsNorm(8, [4096, 512], dtype, Pass.Forward),
        RmsNorm(9, [4096, 512], dtype, Pass.Backward),
        CrossEntropy(10, [128, 1000], dtype, Pass.Forward),
        CrossEntropy(10, [128, 1000], dtype, Pass.Backward),
        CrossEntropy(10, [128, 1000], dtype, Pass.Both),
        CrossEntropy(10, [16, 70000], dtype, Pass.Both),
        CrossEntropy(10, [8192, 10], dtype, Pass.Both),
        Softmax([512, 1000], 1, dtype, Pass.Forward),
        Softmax([512, 1000], 1, dtype, Pass.Backward),
        Softmax([4, 21, 64, 64], 1, dtype, Pass.Forward),
        Softmax([4, 21, 64, 64], 1, dtype, Pass.Backward),
        Dropout(11, [256, 512], dtype),
        AdamW(12, 65536, dtype),
        AdamW(13, 65536, dtype, clip: true),
        Step(new SgdOp(Momentum: 0.9), 65536, dtype),
        Step(new RmsPropOp(), 65536, dtype),
        Step(new AdagradOp(), 65536, dtype),
        BiasActivationDropout(14, [256, 512], dtype, Pass.Forward, new Gelu(), residual: true),
        BiasActivationDropout(14, [256, 512], dtype, Pass.Backward, new Gelu(), residual: true),
        Activate(14, [256, 512], dtype, Pass.Forward, new Gelu()),
        Activate(14, [256, 512], dtype, Pass.Backward, new Gelu()),
        PRelu([64, 32, 16, 16], dtype, Pass.Forward),
        PRelu([64, 32, 16, 16], dtype, Pass.Backward),
        SRelu([64, 32, 16, 16], dtype, Pass.Forward),
        SRelu([64, 32, 16, 16], dtype, Pass.Backward),
        Maxout([256, 1024], dtype, Pass.Forward),
        Maxout([256, 1024], dtype, Pass.Backward),
        .. Images(dtype),
    ];

    /// <summary>Evaluation with a residual and an activation: floor 3T.</summary>
    private static KernelCase BatchNormEvaluation(Shape shape, DType dtype) =>
        Unpeered("batch_norm+add+relu evaluation", shape, dtype, Pass.Forward, s =>
        {
            Tensor Channels(string name) => F.Input(name, DType.F32, [s[^1]]);
            var (x, add) = (F.Input("x", dtype, s), F.Input("residual", dtype, s));
            var y = F.BatchNorm(
                x, Channels("running_mean"), Channels("running_var"), Channels("weight"), Channels("bias"), activation: new Relu(), residual: add,
                channelsLast: true);
            return new CaseProgram([new("y", y.Output)], 3 * x.Type.Bytes);
        });

    /// <summary>Floor forward 2T, backward 3T (dy and y in).</summary>
    private static KernelCase Softmax(Shape shape, int dim, DType dtype, Pass pass) => Unpeered($"softmax dim {dim}", shape, dtype, pass, s =>
    {
        var x = F.Input("x", dtype, s);
        return Streaming(pass, F.Softmax(x, dim), x);
    });

    /// <inheritdoc cref="Softmax"/>
    private static KernelCase PRelu(Shape shape, DType dtype, Pass pass) => Unpeered("prelu", shape, dtype, pass, s =>
    {
        var (x, weight) = (F.Input("x", dtype, s), F.Input("weight", dtype, [s[1]]));
        return Streaming(pass, F.PRelu(x, weight), x, weight);
    });

    /// <inheritdoc cref="Softmax"/>
    private static KernelCase SRelu(Shape shape, DType dtype, Pass pass) => Unpeered("srelu", shape, dtype, pass, s =>
    {
        var x = F.Input("x", dtype, s);
        Tensor[] numbers = [.. new[] { "t_r", "a_r", "t_l", "a_l" }.Select(name => F.Input(name, dtype, [s[1]]))];
        return Streaming(pass, F.SRelu(x, numbers[0], numbers[1], numbers[2], numbers[3]), x, numbers);
    });

    /// <summary>The larger of two neighbours, with its index, a byte each: floor forward T + T/2 + index, backward the same.</summary>
    private static KernelCase Maxout(Shape shape, DType dtype, Pass pass) => Unpeered("maxout 2", shape, dtype, pass, s =>
    {
        var x = F.Input("x", dtype, s);
        var y = F.Maxout(x, 2);
        var main = x.Type.Bytes + y.Type.Bytes + y.Type.Elements;
        return new CaseProgram(pass == Pass.Forward ? [new("y", y)] : BackwardPass.Of(y, x), main);
    });

    /// <summary>A step of any optimizer over one arena: param, gradient and its states read, all but the gradient written.</summary>
    private static KernelCase Step(OptimizerOp rule, int count, DType dtype) => Unpeered(rule.Name, [count], dtype, Pass.Step, s =>
    {
        Variable Arena(string name, MemoryClass memory) => new(name, dtype, s, memory);
        var (param, grad) = (Arena("param", MemoryClass.Weights), F.Input("grad", dtype, s));
        var state = rule.StateNames.ToDictionary(name => name, name => Arena(name, MemoryClass.Optimizer));
        var update = rule.Record(
            param.Value, grad, state.ToDictionary(v => v.Key, v => v.Value.Value), F.Input("lr", DType.F64, []), F.Input("step", DType.I64, []));
        return new CaseProgram([], (3 + 2 * state.Count) * grad.Type.Bytes)
        {
            Updates = [new(param, update.Param), .. state.Select(v => new VariableUpdate(v.Value, update.State[v.Key]))],
        };
    });

    private static KernelCase Unpeered(string name, Shape shape, DType dtype, Pass pass, Func<Shape, CaseProgram> build) => new(0, name, shape, dtype, pass, "", build);
}
