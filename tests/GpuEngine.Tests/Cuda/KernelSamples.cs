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
        Attributes = [new("training", true, ""), new("activation", "identity", ""), new("channels_last", false, ""), new("counts", false, "")],
        Build = call =>
        {
            var activation = call.Choice("activation", ("identity", null), ("relu", new Relu()), ("silu", new Silu()), ("leaky_relu", (Activation?)new LeakyRelu(0.2)));
            var y = F.BatchNorm(
                call["input"], call.Optional("running_mean"), call.Optional("running_var"), call.Optional("weight"), call.Optional("bias"),
                call.Flag("training"), activation: activation, residual: call.Optional("residual"), channelsLast: call.Flag("channels_last"),
                counts: call.Flag("counts"));
            List<NamedTensor> outputs = [new("output", y.Output)];
            // A gradient through the statistics would take the decomposition in place of the backward kernel.
            if (y.RunningMean is { } mean) outputs.Add(new("running_mean", F.Detach(mean)));
            if (y.RunningVar is { } variance) outputs.Add(new("running_var", F.Detach(variance)));
            if (y.Positive is { } positive) outputs.Add(new("positive", positive));
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
            Norm([5, 4, 12], "relu", training: false, channelsLast: true), Norm([130, 16], "relu", counts: true), Norm([3, 5, 4, 4], "relu", residual: true, counts: true),
        ],
    };

    private static readonly OpSpec BatchNormApply = new("batch_norm_apply", "with statistics that are given")
    {
        Arguments = [new("input"), new("mean"), new("invstd"), new("weight", Optional: true), new("bias", Optional: true), new("residual", Optional: true)],
        Attributes = [new("activation", "identity", ""), new("channels_last", false, ""), new("mask", false, "")],
        Differentiable = false,
        Build = call =>
        {
            var activation = call.Choice("activation", ("identity", null), ("relu", new Relu()), ("silu", (Activation?)new Silu()));
            var (x, weight, residual) = (call["input"], call.Optional("weight"), call.Optional("residual"));
            Tensor Statistic(string name) => F.Cast(call[name], x.DType == DType.F64 ? DType.F64 : DType.F32);
            var op = new BatchNormApplyOp(weight is not null, activation, residual is not null, call.Flag("channels_last"), call.Flag("mask"));
            var outputs = op.Apply([x, .. weight is null ? [] : new[] { weight, call["bias"] }, Statistic("mean"), Statistic("invstd"), .. residual is null ? [] : new[] { residual }]).Outputs;
            return op.Mask ? [new("output", outputs[0]), new("mask", F.Cast(outputs[1], DType.F32))] : [new("output", outputs[0])];
        },
        Samples = [Applied([5, 12]), Applied([130, 16], "relu", affine: false), Applied([3, 5, 4, 4], "silu", residual: true), Applied([4, 5, 6, 24], "relu", true, true, true), Applied([2, 3, 16, 16], "relu", true, true)],
    };

    private static readonly OpSpec CrossEntropy = OpCatalog.Find("cross_entropy") with
    {
        Samples =
        [
            .. Losses, Loss(Sample.Normal(70, 5), 5, ("reduction", "none"), ("ignore_index", 2)),
            Loss(Sample.Normal(70, 50), 50, ("reduction", "none"), ("ignore_index", 2)),
        ],
    };

    private static readonly OpSpec CrossEntropyWithGradient = OpCatalog.Find("cross_entropy_with_gradient") with { Samples = Losses };

    /// <summary>Lines in shared memory (few classes, planes), rows of whole and of broken vectors in a warp and in a block, kept and read again.</summary>
    private static IReadOnlyList<OpSample> Losses =>
    [
        Loss(Sample.Normal(1, 1), 1), Loss(Sample.Normal(300, 10), 10), Loss(Sample.Normal(70, 16), 16, ("label_smoothing", 0.2), ("ignore_index", 3)),
        Loss(Sample.Uniform(-60, 60, 9, 1000), 1000), Loss(Sample.Normal(70, 100), 100, ("ignore_index", 3)),
        Loss(Sample.Normal(40, 33), 33, ("label_smoothing", 0.1)), Loss(Sample.Normal(5, 2500), 2500, ("label_smoothing", 0.1)),
        Loss(Sample.Normal(3, 17001), 17001), Loss(Sample.Normal(2, 70000), 70000, ("label_smoothing", 0.1)),
        Loss(Sample.Normal(5, 3, 300), 3, ("reduction", "sum"), ("ignore_index", 1)), Loss(Sample.Normal(2, 40, 7), 40),
        WithWeight(Loss(Sample.Normal(300, 10), 10, ("label_smoothing", 0.1)), 10), WithWeight(Loss(Sample.Normal(33, 130), 130, ("ignore_index", 3)), 130),
        WithWeight(Loss(Sample.Normal(9, 77), 77, ("label_smoothing", 0.1), ("reduction", "sum")), 77),
    ];

    private static readonly OpSpec Adam = Optimizer("adam", ["exp_avg", "exp_avg_sq"], 1, 3, 4099);

    private static readonly OpSpec Sgd = Optimizer("sgd", ["momentum_buffer"], 4100);

    /// <summary>Norm, clipping and step as one op, with and without a second group that has no decay.</summary>
    private static readonly OpSpec ClippedStep = new("clipped_step", "clipping and step of all parameters")
    {
        Arguments = [new("param"), new("grad"), new("first"), new("second"), new("bias", Optional: true), new("bias_grad", Optional: true)],
        Attributes = [new("rule", "adamw", ""), new("max_norm", 1.0, ""), new("segments", new[] { 0 }, "")],
        Differentiable = false,
        Build = call =>
        {
            var rule = call.Choice("rule", ("adamw", (OptimizerOp)new AdamOp(WeightDecay: 0.1, Decoupled: true)), ("sgd", new SgdOp(0.9, WeightDecay: 0.1)), ("plain", new SgdOp()));
            StepGroup Group(Tensor param, Tensor grad, bool decays) => new(
                param, grad, rule.StateNames.Select((n, i) => (n, i == 0 ? call["first"] : call["second"])).ToDictionary(p => p.n, p => F.Narrow(p.Item2, 0, 0, param.Shape[0])), decays);
            List<StepGroup> groups = [Group(call["param"], call["grad"], true)];
            if (call.Optional("bias") is { } bias) groups.Add(Group(bias, call.Optional("bias_grad")!, false));
            var segments = call.Integers("segments");
            var step = ClippedStepOp.Record(
                rule, groups, F.Scalar(0.1, DType.F64), F.Scalar(3, DType.I64), call.Number("max_norm"), segments: segments.Count > 1 ? segments : default);
            return
            [
                .. step.Groups.SelectMany((g, i) => g.State.Select(p => new NamedTensor($"{p.Key}_{i}", p.Value)).Prepend(new($"param_{i}", g.Param))),
                new("norm", step.Clip.TotalNorm), new("factor", step.Clip.Factor), new("finite", step.Clip.IsFinite),
                .. step.Clip.Segments is { } s ? new NamedTensor[] { new("squares", s.Squares), new("segment_finite", s.IsFinite) } : [],
            ];
        },
        Samples =
        [
            Clipped(1), Clipped(4099), Clipped(9000, 37), Clipped(4100, 5, ("rule", "sgd")), Clipped(300, 0, ("rule", "plain"), ("max_norm", 1000.0)),
            Clipped(9000, 40, ("segments", new[] { 0, 16, 5000, 9000, 9024 })),
        ],
    };

    private static readonly OpSpec LayerNorm = OpCatalog.Find("layer_norm") with
    {
        Samples = [Rows(7, 3), Rows(9, 130), Rows(3, 2052), Rows(2, 9000), Rows(300, 64)],
    };

    /// <summary>Planes of channels, and channels last: whole vectors in a group, parts of one, odd; one block per slice and several.</summary>
    private static readonly OpSpec GroupNorm = new("group_norm", "with everything that may be fused")
    {
        Arguments = [new("input"), new("weight"), new("bias")],
        Attributes = [new("num_groups", null, ""), new("channels_last", false, "")],
        Build = call => call.Output(F.GroupNorm(
            call["input"], call.Integer("num_groups"), call["weight"], call["bias"], activation: new Silu(), channelsLast: call.Flag("channels_last"))),
        Samples =
        [
            Groups(2, 4, 6, 5, 4), Groups(3, 2, 9, 7, 7), Groups(16, 1, 16, 16, 16), Last(4, 2, 5, 6, 32), Last(8, 2, 70, 24), Last(5, 3, 11, 15), Last(16, 1, 20, 20, 16),
        ],
    };

    private static OpSample Groups(int groups, params int[] shape) => new()
    {
        ["input"] = Sample.Uniform(-1, 3, shape),
        ["weight"] = Sample.Normal(shape[1]),
        ["bias"] = Sample.Normal(shape[1]),
        Attributes = { ["num_groups"] = groups },
    };

    private static OpSample Last(int groups, params int[] shape) => new()
    {
        ["input"] = Sample.Uniform(-1, 3, shape),
        ["weight"] = Sample.Normal(shape[^1]),
        ["bias"] = Sample.Normal(shape[^1]),
        Attributes = { ["num_groups"] = groups, ["channels_last"] = true },
    };

    /// <summary>Rows by a thread, a part of a warp, a warp, blocks of each size, too wide for any; lines across places, held or not.</summary>
    private static readonly OpSpec Softmax = OpCatalog.Find("softmax") with
    {
        Samples =
        [
            Lines(1, 5, 1), Lines(1, 300, 10), Lines(1, 9, 7), Lines(1, 33, 1000), Lines(1, 3, 2500), Lines(1, 2, 5001), Lines(1, 2, 40000),
            Lines(1, 3, 7, 400), Lines(1, 2, 21, 5, 5), Lines(1, 2, 70, 6), Lines(0, 10, 260),
        ],
    };

    private static readonly OpSpec LogSoftmax = OpCatalog.Find("log_softmax") with
    {
        Samples = [Lines(1, 300, 10), Lines(1, 5, 1500), Lines(1, 3, 7, 40)],
    };

    private static OpSample Lines(int dim, params int[] shape) => new() { ["input"] = Sample.Uniform(-40, 40, shape), Attributes = { ["dim"] = dim } };

    private static readonly OpSpec BiasAct = OpCatalog.Find("bias_act") with
    {
        Samples =
        [
            // Flat: less than a vector, a tail, many blocks.
            BiasActOf([3], "relu", p: 0.5), BiasActOf([4099], "gelu", residual: true, p: 0.1), BiasActOf([3, 33000], "silu", p: 0.3),
            // Columns: one row, odd channels, a slice that is not full, pieces of which the last is short, 512 bytes at a time.
            BiasActOf([1, 8], "tanh", bias: true), BiasActOf([37, 7], "gelu", bias: true, p: 0.5), BiasActOf([300, 40], "relu", bias: true, p: 0.2),
            BiasActOf([1500, 12], "mish", bias: true, residual: true), BiasActOf([6, 5, 24], "elu", bias: true, dim: -1, p: 0.7),
            // Planes: length 4, odd, one that spans many turns of the block, pieces.
            BiasActOf([5, 3, 2, 2], "silu", bias: true, residual: true, p: 0.5), BiasActOf([4, 5, 7, 3], "relu", bias: true, p: 0.25),
            BiasActOf([2, 2, 66, 64], "gelu", bias: true, p: 0.25), BiasActOf([40, 2, 18], "leaky_relu:0.2", bias: true),
        ],
    };

    /// <summary>Counts are exact: whatever rounds to 0 in bf16 would change them, so values keep away from it.</summary>
    private static readonly OpSpec BiasActCounts = OpCatalog.Find("bias_act") with
    {
        Name = "bias_act_counts",
        Differentiable = false,
        Samples =
        [
            BiasActOf([9, 20], "relu", counts: true), BiasActOf([700, 12], "relu", bias: true, counts: true, p: 0.5),
            BiasActOf([3, 2, 50, 40], "identity", counts: true, residual: true),
        ],
    };

    private static OpSample BiasActOf(
        int[] shape, string activation, bool bias = false, bool residual = false, double p = 0, int dim = 1, bool counts = false)
    {
        var sample = new OpSample { ["input"] = Sample.Normal(shape) };
        if (bias) sample["bias"] = Sample.Normal(shape[dim < 0 ? shape.Length + dim : dim]);
        if (residual) sample["residual"] = Sample.Normal(shape);
        foreach (var (name, value) in new (string, object)[] { ("activation", activation), ("p", p), ("dim", dim), ("counts", counts), ("seed", 9), ("offset", 2), ("stream", 3) })
            sample.Attributes[name] = value;
        return sample;
    }

    /// <summary>Columns and planes as for bias_act, and one weight for all.</summary>
    private static readonly OpSpec PRelu = OpCatalog.Find("prelu") with
    {
        Samples = [Slopes([1, 3], 3), Slopes([1500, 12], 12), Slopes([70, 40], 40), Slopes([3, 2, 50, 44], 2), Slopes([5, 3, 7], 3), Slopes([9, 300], 1), Slopes([3001], 1)],
    };

    private static readonly OpSpec SRelu = OpCatalog.Find("srelu") with
    {
        Samples = [Thresholds([1, 3]), Thresholds([1500, 12]), Thresholds([70, 40]), Thresholds([3, 2, 50, 44]), Thresholds([5, 3, 7])],
    };

    /// <summary>Neighbouring groups in a vector, with a rest; places in vectors; pieces that fit no vector.</summary>
    private static readonly OpSpec Maxout = OpCatalog.Find("maxout") with
    {
        Samples = [Pieces([7, 10], 2), Pieces([300, 24], 4), Pieces([6, 9], 3), Pieces([2, 10, 6, 4], 5), Pieces([3, 4, 7], 2), Pieces([5, 9], 9), Pieces([4, 7, 12], 1)],
    };

    private static OpSample Slopes(int[] shape, int weights) => new() { ["input"] = Sample.Normal(shape), ["weight"] = Sample.Normal(weights) };

    private static OpSample Thresholds(int[] shape) => new()
    {
        ["input"] = Sample.Normal(shape),
        ["t_r"] = Sample.Uniform(0.2, 1, shape[1]),
        ["a_r"] = Sample.Normal(shape[1]),
        ["t_l"] = Sample.Uniform(-1, -0.2, shape[1]),
        ["a_l"] = Sample.Normal(shape[1]),
    };

    private static OpSample Pieces(int[] shape, int pieces) => new() { ["input"] = Sample.Normal(shape), Attributes = { ["num_pieces"] = pieces } };

    /// <summary>The averaging pools in both layouts: windows with steps and borders, even windows, one window in lanes and in warps.</summary>
    private static readonly OpSpec Averages = new("average_pools", "avg_pool2d and adaptive_avg_pool2d in both layouts")
    {
        Attributes = [new("channels_last", false, ""), new("kernel", 2, ""), new("stride", 2, ""), new("padding", 0, ""), new("even", 0, ""), new("ceil", false, ""), new("count", true, ""), new("divisor", 0, "")],
        Build = call =>
        {
            int Number(string name) => call.Integer(name);
            AveragingOp op = Number("even") > 0
                ? new AdaptiveAvgPool2dOp([Number("even"), Number("even")])
                : new AvgPool2dOp([Number("kernel"), Number("kernel")], [Number("stride"), Number("stride")], [Number("padding"), Number("padding")], call.Flag("ceil"), call.Flag("count"), Number("divisor"));
            return call.Output((call.Flag("channels_last") ? new AveragingNhwcOp(op) : (Op)op).Apply(call["input"]).Outputs[0]);
        },
        Samples =
        [
            .. new[] { false, true }.SelectMany(last => new[]
            {
                Pooled(last, [2, 3, 6, 8]), Pooled(last, [2, 8, 7, 9], ("kernel", 3), ("padding", 1), ("ceil", true)),
                Pooled(last, [1, 4, 9, 7], ("kernel", 3), ("stride", 1), ("padding", 1), ("count", false)), Pooled(last, [2, 2, 8, 8], ("kernel", 3), ("ceil", true), ("divisor", 5)),
                Pooled(last, [2, 8, 5, 7], ("even", 3)), Pooled(last, [3, 16, 4, 3], ("even", 6)),
                // One window: few elements, odd, a power of two, more than one turn of the lanes; a window as large as the image.
                Pooled(last, [2, 8, 2, 2], ("even", 1)), Pooled(last, [5, 7, 5, 7], ("even", 1)), Pooled(last, [3, 40, 8, 8], ("even", 1)), Pooled(last, [2, 3, 24, 24], ("even", 1)),
                Pooled(last, [2, 8, 7, 7], ("kernel", 7), ("divisor", 10)), Pooled(last, [1, 1, 40, 33], ("even", 1)),
            }),
        ],
    };

    private static OpSample Pooled(bool last, int[] shape, params (string Name, object Value)[] attributes)
    {
        var sample = new OpSample { ["input"] = Sample.Normal(last ? [shape[0], shape[2], shape[3], shape[1]] : shape) };
        sample.Attributes["channels_last"] = last;
        foreach (var (name, value) in attributes) sample.Attributes[name] = value;
        return sample;
    }

    /// <summary>Places in vectors and alone, neighbourhoods beyond both edges, other powers; whole vectors of channels.</summary>
    private static readonly OpSpec Responses = OpCatalog.Find("local_response_norm") with
    {
        Samples =
        [
            Response(5, [2, 9, 6, 7], ("alpha", 0.5), ("k", 2.0)), Response(5, [1, 3, 5], ("alpha", 0.5)), Response(4, [3, 17, 33], ("alpha", 1.0), ("beta", 0.5)),
            Response(1, [2, 3, 8], ("alpha", 1.0)), Response(9, [2, 20, 14], ("alpha", 1.0)), Response(5, [40, 6, 100], ("alpha", 0.5)),
            Response(5, [2, 5, 6, 24], ("alpha", 0.5), ("k", 2.0), ("channels_last", true)), Response(3, [7, 11, 8], ("alpha", 0.5), ("beta", 1.5), ("channels_last", true)),
            Response(5, [30, 33, 16], ("alpha", 0.5), ("channels_last", true)),
        ],
    };

    private static OpSample Response(int size, int[] shape, params (string Name, object Value)[] attributes)
    {
        var sample = new OpSample { ["input"] = Sample.Normal(shape), Attributes = { ["size"] = size } };
        foreach (var (name, value) in attributes) sample.Attributes[name] = value;
        return sample;
    }

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
        BatchNorm, BatchNormApply, BiasAct, BiasActCounts, PRelu, SRelu, Maxout, CrossEntropy, CrossEntropyWithGradient, LayerNorm, GroupNorm, Averages, Responses, Softmax, LogSoftmax, Adam, Sgd, ClippedStep, OpCatalog.Find("sync_batch_norm_stats"), OpCatalog.Find("sync_batch_norm_sums"), Transpose, Unaligned,
        OpCatalog.Find("dropout") with { Samples = [new() { ["input"] = Sample.Normal(4099), Attributes = { ["p"] = 0.3, ["seed"] = 7 } }] },
        OpCatalog.Find("augment") with { Differentiable = false },
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

    private static OpSample Norm(int[] shape, string activation = "identity", bool bare = false, bool residual = false, bool training = true, bool channelsLast = false, bool counts = false)
    {
        var channels = channelsLast ? shape[^1] : shape[1];
        var sample = new OpSample { ["input"] = Sample.Uniform(-2, 5, shape) };
        sample.Attributes["activation"] = activation;
        sample.Attributes["training"] = training;
        sample.Attributes["channels_last"] = channelsLast;
        sample.Attributes["counts"] = counts;
        if (residual) sample["residual"] = Sample.Normal(shape);
        if (bare) return sample;
        sample["weight"] = Sample.Normal(channels);
        sample["bias"] = Sample.Normal(channels);
        sample["running_mean"] = Sample.Normal(channels);
        sample["running_var"] = Sample.Uniform(0.5, 2, channels);
        return sample;
    }

    private static OpSample Applied(int[] shape, string activation = "identity", bool residual = false, bool mask = false, bool channelsLast = false, bool affine = true)
    {
        var channels = channelsLast ? shape[^1] : shape[1];
        var sample = new OpSample
        {
            ["input"] = Sample.Uniform(-2, 5, shape),
            ["mean"] = Sample.Normal(channels),
            ["invstd"] = Sample.Uniform(0.5, 2, channels),
            Attributes = { ["activation"] = activation, ["channels_last"] = channelsLast, ["mask"] = mask },
        };
        if (affine) (sample["weight"], sample["bias"]) = (Sample.Normal(channels), Sample.Normal(channels));
        if (residual) sample["residual"] = Sample.Normal(shape);
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

    private static OpSample WithWeight(OpSample sample, int classes)
    {
        sample["weight"] = Sample.Uniform(0.2, 2, classes);
        return sample;
    }

    private static OpSpec Optimizer(string name, string[] states, params int[] sizes) => OpCatalog.Find(name) with
    {
        Samples = [.. sizes.Select(size => Step(size, states))],
    };

    private static OpSample Clipped(int size, int biases = 0, params (string Name, object Value)[] attributes)
    {
        var sample = new OpSample
        {
            ["param"] = Sample.Normal(size),
            ["grad"] = Sample.Normal(size),
            ["first"] = Sample.Normal(size),
            ["second"] = Sample.Uniform(0.5, 1, size),
        };
        if (biases > 0) (sample["bias"], sample["bias_grad"]) = (Sample.Normal(biases), Sample.Normal(biases));
        foreach (var (name, value) in attributes) sample.Attributes[name] = value;
        return sample;
    }

    private static OpSample Step(int size, string[] states)
    {
        var sample = new OpSample { ["param"] = Sample.Normal(size), ["grad"] = Sample.Normal(size) };
        foreach (var state in states) sample[state] = Sample.Uniform(0.1, 1, size);
        sample.Attributes["step"] = 3;
        if (states[0] == "momentum_buffer") sample.Attributes["momentum"] = 0.9;
        return sample;
    }
}
