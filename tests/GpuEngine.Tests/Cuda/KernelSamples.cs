using GpuEngine.Core.Graph;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// Calls of the ops that have hand-written kernels, beyond the samples of the op catalog: fused activations and residuals, and
/// shapes by code path (one vector, odd, a tail, one block, several, held in registers or not, cut into pieces).
/// </summary>
internal static class KernelSamples
{
    private static readonly OpSpec BatchNorm = new("batch_norm", "with everything that may be fused")
    {
        Arguments =
        [
            new("input"), new("running_mean", Optional: true, Differentiable: false), new("running_var", Optional: true, Differentiable: false),
            new("weight", Optional: true), new("bias", Optional: true), new("residual", Optional: true),
        ],
        Attributes = [new("training", true, ""), new("activation", "identity", ""), new("channels_last", false, "")],
        Build = call =>
        {
            var activation = call.Choice("activation", ("identity", null), ("relu", new Relu()), ("silu", new Silu()), ("leaky_relu", (Activation?)new LeakyRelu(0.2)));
            var y = F.BatchNorm(
                call["input"], call.Optional("running_mean"), call.Optional("running_var"), call.Optional("weight"), call.Optional("bias"),
                call.Flag("training"), activation: activation, residual: call.Optional("residual"), channelsLast: call.Flag("channels_last"));
            List<NamedTensor> outputs = [new("output", y.Output)];
            // A gradient through the statistics would take the decomposition in place of the backward kernel.
            if (y.RunningMean is { } mean) outputs.Add(new("running_mean", F.Detach(mean)));
            if (y.RunningVar is { } variance) outputs.Add(new("running_var", F.Detach(variance)));
            return outputs;
        },
        Samples =
        [
            Norm([2, 4]), Norm([33, 7], "relu"), Norm([130, 16], "relu"), Norm([128, 72], "silu", residual: true), Norm([128, 40], "leaky_relu", bare: true),
            // More rows than the registers of one block hold, and than a cluster's.
            Norm([2100, 8], "relu"), Norm([8200, 9], "silu"),
            Norm([3, 5, 4, 4], "relu", residual: true), Norm([2, 3, 5, 7]), Norm([5, 2, 32, 36], "silu"), Norm([4, 2, 66, 64], "relu", residual: true),
            Norm([5, 12], "relu", training: false), Norm([700, 12], "silu", training: false, residual: true), Norm([2, 3, 16, 16], "relu", training: false),
            Norm([4, 5, 6, 24], "relu", residual: true, channelsLast: true), Norm([3, 2, 5, 7], "silu", residual: true, channelsLast: true),
            Norm([5, 4, 12], "relu", training: false, channelsLast: true),
        ],
    };

    private static readonly OpSpec CrossEntropy = OpCatalog.Find("cross_entropy") with
    {
        Samples =
        [
            Loss(Sample.Normal(1, 1), 1), Loss(Sample.Normal(300, 10), 10), Loss(Sample.Uniform(-60, 60, 9, 1000), 1000),
            Loss(Sample.Normal(5, 2500), 2500, ("label_smoothing", 0.1)), Loss(Sample.Normal(5, 3, 300), 3, ("reduction", "sum"), ("ignore_index", 1)),
        ],
    };

    private static readonly OpSpec Adam = Optimizer("adam", ["exp_avg", "exp_avg_sq"], 1, 3, 4099);

    private static readonly OpSpec Sgd = Optimizer("sgd", ["momentum_buffer"], 4100);

    private static readonly OpSpec LayerNorm = OpCatalog.Find("layer_norm") with
    {
        Samples = [Rows(7, 3), Rows(9, 130), Rows(3, 2052), Rows(2, 9000), Rows(300, 64)],
    };

    private static readonly OpSpec Softmax = OpCatalog.Find("softmax") with
    {
        Samples =
        [
            new() { ["input"] = Sample.Uniform(-40, 40, 300, 10), Attributes = { ["dim"] = 1 } },
            new() { ["input"] = Sample.Normal(3, 2500), Attributes = { ["dim"] = 1 } },
            new() { ["input"] = Sample.Normal(3, 7, 400), Attributes = { ["dim"] = 1 } },
        ],
    };

    private static readonly OpSpec Transpose = new("transpose", "two groups of axes swapped")
    {
        Attributes = [new("order", new[] { 1, 0 }, "")],
        Differentiable = false,
        Build = call => call.Output(F.Permute(call["input"], call.Integers("order"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(70, 33) },
            new() { ["input"] = Sample.Normal(3, 40, 65), Attributes = { ["order"] = new[] { 0, 2, 1 } } },
            new() { ["input"] = Sample.Normal(2, 17, 5, 7), Attributes = { ["order"] = new[] { 0, 2, 3, 1 } } },
            new() { ["input"] = Sample.Normal(5, 2), Attributes = { ["order"] = new[] { 1, 0 } } },
        ],
    };

    /// <summary>Inputs that start at an address that is no multiple of 16.</summary>
    private static readonly OpSpec Unaligned = new("unaligned", "ops on a slice that starts at its second row")
    {
        Build = call =>
        {
            var x = F.Narrow(call["input"], 0, 1, call["input"].Shape[0] - 1);
            return
            [
                new("gelu", F.Gelu(x)), new("norm", F.BatchNorm(x, null, null, training: true).Output), new("rows", F.LayerNorm(x, [x.Shape[1]])),
                new("dropped", F.Dropout(x, 0.5, true, F.Literal([2], DType.I64, 1, 2), 3)), new("clip", F.ClipGradNorm([x], 1).Factor),
            ];
        },
        Samples = [new() { ["input"] = Sample.Normal(9, 13) }, new() { ["input"] = Sample.Normal(4, 18) }],
    };

    private static readonly OpSpec[] Forward =
    [
        BatchNorm, CrossEntropy, LayerNorm, Softmax, Adam, Sgd, Transpose, Unaligned,
        OpCatalog.Find("dropout") with { Samples = [new() { ["input"] = Sample.Normal(4099), Attributes = { ["p"] = 0.3, ["seed"] = 7 } }] },
        OpCatalog.Find("clip_grad_norm") with { Samples = [new() { ["grad"] = Sample.Normal(70001), Attributes = { ["max_norm"] = 2.0 } }] },
        .. Activations.All.Where(s => s.Name != "identity").Select(s => s with { Samples = [new() { ["input"] = Sample.Uniform(-9, 9, 1) }, new() { ["input"] = Sample.Normal(4099) }] }),
    ];

    private static readonly OpSpec[] Specs = [.. Forward, .. Forward.Where(s => s.Differentiable).Select(Backward)];

    /// <summary>The ops above and their gradients, with their samples.</summary>
    public static IReadOnlyList<OpSpec> Own => Specs;

    /// <summary>Everything that may run a hand-written kernel: the catalog's samples, then our own.</summary>
    public static IEnumerable<(OpSpec Spec, OpSample Sample)> All =>
        OpCatalog.All.Concat(Specs).SelectMany(s => s.Samples.Select(sample => (s, sample)));

    /// <summary>
    /// The gradients for a given gradient of the first output, as an op of its own: the backward kernel sees the same numbers in
    /// every dtype.
    /// </summary>
    private static OpSpec Backward(OpSpec spec) => new(spec.Name + "_backward", spec.Summary)
    {
        Arguments = [.. spec.Arguments, new("grad_output")],
        Attributes = spec.Attributes,
        Differentiable = false,
        Build = call =>
        {
            var y = spec.Build(call)[0].Tensor;
            var names = spec.Arguments.Where(a => a.Differentiable && call.Optional(a.Name) is { } t && t.DType.IsFloat()).Select(a => a.Name).ToArray();
            var gradients = Autodiff.Gradients(F.Sum(y * call["grad_output"]), [.. names.Select(n => call[n])]);
            return [.. gradients.Select((g, i) => new NamedTensor("grad_" + names[i], g))];
        },
        Samples = [.. spec.Samples.Select(s => WithGradient(spec, s))],
    };

    private static OpSample WithGradient(OpSpec spec, OpSample sample)
    {
        var result = new OpSample();
        foreach (var (name, tensor) in sample.Tensors) result[name] = tensor;
        foreach (var (name, value) in sample.Attributes) result.Attributes[name] = value;
        var shape = new Core.Verification.OpInstance(spec, sample, DType.F32, false).Outputs[0].Tensor.Shape;
        result["grad_output"] = new Sample(SampleKind.Normal, shape);
        return result;
    }

    private static OpSample Rows(int rows, int length) => new()
    {
        ["input"] = Sample.Uniform(-1, 3, rows, length),
        ["weight"] = Sample.Normal(length),
        ["bias"] = Sample.Normal(length),
        Attributes = { ["normalized_shape"] = length },
    };

    private static OpSample Norm(int[] shape, string activation = "identity", bool bare = false, bool residual = false, bool training = true, bool channelsLast = false)
    {
        var channels = channelsLast ? shape[^1] : shape[1];
        var sample = new OpSample { ["input"] = Sample.Uniform(-2, 5, shape) };
        sample.Attributes["activation"] = activation;
        sample.Attributes["training"] = training;
        sample.Attributes["channels_last"] = channelsLast;
        if (residual) sample["residual"] = Sample.Normal(shape);
        if (bare) return sample;
        sample["weight"] = Sample.Normal(channels);
        sample["bias"] = Sample.Normal(channels);
        sample["running_mean"] = Sample.Normal(channels);
        sample["running_var"] = Sample.Uniform(0.5, 2, channels);
        return sample;
    }

    private static OpSample Loss(Sample logits, int classes, params (string Name, object Value)[] attributes)
    {
        var sample = new OpSample
        {
            ["input"] = logits,
            ["target"] = Sample.Index(classes, [.. logits.Shape.Where((_, i) => i != 1)]),
        };
        foreach (var (name, value) in attributes) sample.Attributes[name] = value;
        return sample;
    }

    private static OpSpec Optimizer(string name, string[] states, params int[] sizes) => OpCatalog.Find(name) with
    {
        Samples = [.. sizes.Select(size => Step(size, states))],
    };

    private static OpSample Step(int size, string[] states)
    {
        var sample = new OpSample { ["param"] = Sample.Normal(size), ["grad"] = Sample.Normal(size) };
        foreach (var state in states) sample[state] = Sample.Uniform(0.1, 1, size);
        sample.Attributes["step"] = 3;
        if (states[0] == "momentum_buffer") sample.Attributes["momentum"] = 0.9;
        return sample;
    }
}
