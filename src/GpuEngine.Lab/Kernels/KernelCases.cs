using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Lab.Kernels;

/// <summary>
/// The cases of `GpuEngine.Bench kernels` and of `gpuengine kernels traffic`: one line each. Below them, one function per family, which
/// says how a case is built and what its floor is (T: bytes of the main operand, P: number of parameters).
/// </summary>
public static partial class KernelCases
{
    private const DType F32 = DType.F32;
    private const DType BF16 = DType.BF16;

    /// <summary>What is timed, in the order of performance.md's section 8.</summary>
    public static IReadOnlyList<KernelCase> Timed { get; } =
    [
        BatchNorm(1, [256, 14, 14, 1024], BF16, Pass.Forward, new Relu(), residual: true),
        BatchNorm(1, [256, 28, 28, 512], BF16, Pass.Forward, new Relu(), residual: true),
        BatchNorm(2, [256, 56, 56, 256], BF16, Pass.Forward, new Relu(), residual: true),
        BatchNorm(3, [256, 112, 112, 64], BF16, Pass.Forward, new Relu()),
        BatchNorm(4, [256, 14, 14, 1024], BF16, Pass.Backward, new Relu(), residual: true),
        BatchNorm(4, [256, 28, 28, 512], BF16, Pass.Backward, new Relu(), residual: true),
        BatchNorm(4, [256, 56, 56, 256], BF16, Pass.Backward, new Relu(), residual: true),
        BatchNorm(4, [256, 112, 112, 64], BF16, Pass.Backward, new Relu()),
        BatchNorm(5, [4, 128, 1024, 1024], BF16, Pass.Forward, channelsLast: false),
        BatchNorm(6, [8, 64, 32, 32], BF16, Pass.Forward, channelsLast: false),
        BatchNorm(6, [8, 64, 32, 32], BF16, Pass.Backward, channelsLast: false),
        BatchNorm(6, [4, 256, 28, 28], BF16, Pass.Forward, channelsLast: false),
        BatchNorm(6, [4, 256, 28, 28], BF16, Pass.Backward, channelsLast: false),
        BatchNorm(6, [1024, 8, 8, 512], BF16, Pass.Forward, new Relu()),
        BatchNorm(6, [1024, 8, 8, 512], BF16, Pass.Backward, new Relu()),
        BatchNorm(6, [128, 512], F32, Pass.Forward, new Relu()),
        BatchNorm(6, [128, 512], F32, Pass.Backward, new Relu()),
        BatchNorm(6, [1024, 4096], F32, Pass.Forward, new Relu()),
        BatchNorm(6, [1024, 4096], F32, Pass.Backward, new Relu()),
        GroupNorm(7, [32, 56, 56, 256], BF16, Pass.Forward, 32, new Silu()),
        GroupNorm(7, [32, 56, 56, 256], BF16, Pass.Backward, 32, new Silu()),
        GroupNorm(7, [16, 64, 64, 320], BF16, Pass.Forward, 32, new Silu()),
        GroupNorm(7, [16, 64, 64, 320], BF16, Pass.Backward, 32, new Silu()),
        GroupNorm(7, [32, 256, 56, 56], BF16, Pass.Forward, 32, new Silu(), channelsLast: false) with { Extra = true },
        GroupNorm(7, [32, 256, 56, 56], BF16, Pass.Backward, 32, new Silu(), channelsLast: false) with { Extra = true },
        LayerNorm(8, [16384, 4096], BF16, Pass.Forward),
        LayerNorm(8, [1024, 12288], BF16, Pass.Forward),
        LayerNorm(8, [131072, 128], BF16, Pass.Forward),
        LayerNorm(8, [4096, 8192], F32, Pass.Forward) with { Extra = true },
        RmsNorm(8, [16384, 4096], BF16, Pass.Forward),
        RmsNorm(8, [1024, 12288], BF16, Pass.Forward) with { Extra = true },
        RmsNorm(8, [131072, 128], BF16, Pass.Forward) with { Extra = true },
        LayerNorm(9, [16384, 4096], BF16, Pass.Backward),
        LayerNorm(9, [1024, 12288], BF16, Pass.Backward),
        LayerNorm(9, [131072, 128], BF16, Pass.Backward),
        LayerNorm(9, [4096, 8192], F32, Pass.Backward) with { Extra = true },
        RmsNorm(9, [16384, 4096], BF16, Pass.Backward),
        RmsNorm(9, [1024, 12288], BF16, Pass.Backward) with { Extra = true },
        RmsNorm(9, [131072, 128], BF16, Pass.Backward) with { Extra = true },
        CrossEntropy(10, [16384, 32768], BF16, Pass.Both),
        CrossEntropy(10, [1024, 1000], F32, Pass.Both),
        CrossEntropy(10, [50000, 10], F32, Pass.Both),
        CrossEntropy(10, [8192, 1000], F32, Pass.Forward) with { Extra = true },
        CrossEntropy(10, [8192, 1000], F32, Pass.Backward) with { Extra = true },
        Dropout(11, [8192, 8192], BF16),
        BiasActivationDropout(11, [8192, 16384], BF16, Pass.Forward, new Gelu()),
        AdamW(12, 25_557_032, F32, tensors: 161),
        AdamW(12, 25_557_032, BF16, tensors: 161),
        AdamW(12, 2_000_000, F32, tensors: 2000),
        AdamW(12, 1 << 20, F32),
        AdamW(12, 100_000_000, F32, tensors: 161),
        AdamW(12, 1_000_000_000, F32, tensors: 161) with { Extra = true },
        AdamW(13, 25_557_032, F32, tensors: 161, clip: true),
        AdamW(13, 100_000_000, F32, tensors: 161, clip: true),
        BiasActivationDropout(14, [8192, 4096], BF16, Pass.Forward, new Gelu(), residual: true),
        BiasActivationDropout(14, [8192, 4096], BF16, Pass.Backward, new Gelu(), residual: true),
        BiasActivationDropout(14, [8192, 16384], BF16, Pass.Forward, new Silu(), residual: true) with { Extra = true },
        BiasActivationDropout(14, [8192, 16384], BF16, Pass.Backward, new Silu(), residual: true) with { Extra = true },
        Activate(14, [8192, 8192], BF16, Pass.Forward, new Gelu()),
        Activate(14, [8192, 8192], BF16, Pass.Backward, new Gelu()),
    ];

    /// <summary>Training. Floor forward 2T, with a residual 3T and its mask; backward 3T, with a residual 4T and the mask.</summary>
    private static KernelCase BatchNorm(int row, Shape shape, DType dtype, Pass pass, Activation? activation = null, bool residual = false, bool channelsLast = true)
    {
        channelsLast &= shape.Rank > 2;
        var name = $"batch_norm{(residual ? "+add" : "")}{Suffix(activation)}{Layout(shape, channelsLast)}";
        return new KernelCase(row, name, shape, dtype, pass, "batch_norm", s =>
        {
            var x = F.Input("x", dtype, s);
            Shape channels = [s[channelsLast ? s.Rank - 1 : 1]];
            var (weight, bias) = (F.Input("weight", F32, channels), F.Input("bias", F32, channels));
            var add = residual ? F.Input("residual", dtype, s) : null;
            var y = F.BatchNorm(
                x, F.Input("running_mean", F32, channels), F.Input("running_var", F32, channels), weight, bias, training: true,
                activation: activation, residual: add, channelsLast: channelsLast);
            var t = x.Type.Bytes;
            var mask = residual && activation is not null ? s.Elements / 8 : 0;
            return pass == Pass.Forward
                ? new CaseProgram(
                    [new("y", y.Output), new("running_mean", y.RunningMean!), new("running_var", y.RunningVar!)],
                    (residual ? 3 : 2) * t + mask)
                : new CaseProgram(
                    BackwardPass.Of(y.Output, add is null ? [x, weight, bias] : [x, weight, bias, add]), (residual ? 4 : 3) * t + mask);
        })
        {
            Options = new() { ["activation"] = activation?.Name, ["residual"] = residual, ["channels_last"] = channelsLast },
        };
    }

    /// <summary>Floor forward 2T, backward 3T.</summary>
    private static KernelCase GroupNorm(int row, Shape shape, DType dtype, Pass pass, int groups, Activation activation, bool channelsLast = true) =>
        new(row, $"group_norm({groups}){Suffix(activation)}{Layout(shape, channelsLast)}", shape, dtype, pass, "group_norm", s =>
        {
            var x = F.Input("x", dtype, s);
            Shape channels = [s[channelsLast ? s.Rank - 1 : 1]];
            var (weight, bias) = (F.Input("weight", dtype, channels), F.Input("bias", dtype, channels));
            var y = F.GroupNorm(x, groups, weight, bias, activation: activation, channelsLast: channelsLast);
            return Streaming(pass, y, x, weight, bias);
        })
        {
            Options = new() { ["activation"] = activation.Name, ["groups"] = groups, ["channels_last"] = channelsLast },
        };

    /// <inheritdoc cref="GroupNorm"/>
    private static KernelCase LayerNorm(int row, Shape shape, DType dtype, Pass pass) => new(row, "layer_norm", shape, dtype, pass, "layer_norm", s =>
    {
        var (x, weight, bias) = (F.Input("x", dtype, s), F.Input("weight", dtype, [s[1]]), F.Input("bias", dtype, [s[1]]));
        return Streaming(pass, F.LayerNorm(x, [s[1]], weight, bias), x, weight, bias);
    });

    /// <inheritdoc cref="GroupNorm"/>
    private static KernelCase RmsNorm(int row, Shape shape, DType dtype, Pass pass) => new(row, "rms_norm", shape, dtype, pass, "rms_norm", s =>
    {
        var (x, weight) = (F.Input("x", dtype, s), F.Input("weight", dtype, [s[1]]));
        return Streaming(pass, F.RmsNorm(x, [s[1]], weight, 1e-5), x, weight);
    });

    /// <summary>Mean loss over class indices. Floor forward T, backward 2T, both 2T (the gradient written while the logits are at hand).</summary>
    private static KernelCase CrossEntropy(int row, Shape shape, DType dtype, Pass pass) => new(row, "cross_entropy", shape, dtype, pass, "cross_entropy", s =>
    {
        var (x, target) = (F.Input("x", dtype, s), F.Input("target", DType.I64, [s[0]]));
        var (loss, together) = (F.CrossEntropy(x, target), F.CrossEntropyWithGradient(x, target));
        IReadOnlyList<NamedTensor> outputs = pass switch
        {
            Pass.Forward => [new("loss", loss)],
            Pass.Backward => BackwardPass.Of(loss, x),
            _ => [new("loss", together.Loss), new("dx", together.Gradient), new("correct", together.Correct)],
        };
        return new CaseProgram(outputs, (pass == Pass.Forward ? 1 : 2) * x.Type.Bytes) { IndexLimit = s[1] };
    });

    /// <summary>Floor 2T; the backward pass is the same kernel on dy.</summary>
    private static KernelCase Dropout(int row, Shape shape, DType dtype) => new(row, "dropout", shape, dtype, Pass.Forward, "dropout", s =>
    {
        var x = F.Input("x", dtype, s);
        return Streaming(Pass.Forward, F.Dropout(x, 0.1, true, F.Input("generator", DType.I64, [2]), 0), x);
    });

    /// <summary>residual + dropout(f(x + bias)). Floor forward 2T, with a residual 3T; backward dy and x in, dx out: 3T.</summary>
    private static KernelCase BiasActivationDropout(int row, Shape shape, DType dtype, Pass pass, Activation activation, bool residual = false) =>
        new(row, $"bias{Suffix(activation)}+dropout{(residual ? "+add" : "")}", shape, dtype, pass, "bias_activation_dropout", s =>
        {
            var (x, bias, add) = (F.Input("x", dtype, s), F.Input("bias", dtype, [s[1]]), residual ? F.Input("residual", dtype, s) : null);
            var y = F.BiasAct(x, bias, activation, new DropoutOp(0.1, 0), F.Input("generator", DType.I64, [2]), add).Output;
            return pass == Pass.Forward
                ? new CaseProgram([new("y", y)], (residual ? 3 : 2) * x.Type.Bytes)
                : new CaseProgram(BackwardPass.Of(y, x, bias), 3 * x.Type.Bytes);
        })
        {
            Options = new() { ["activation"] = activation.Name, ["residual"] = residual },
        };

    /// <summary>Floor forward 2T, backward 3T.</summary>
    private static KernelCase Activate(int row, Shape shape, DType dtype, Pass pass, Activation activation) =>
        new(row, activation.Name, shape, dtype, pass, "activation", s =>
        {
            var x = F.Input("x", dtype, s);
            return Streaming(pass, activation.On(x), x);
        })
        {
            Options = new() { ["activation"] = activation.Name },
        };

    /// <summary>
    /// All parameters as one arena; the peer gets them as so many tensors. Floor: param, gradient and two moments read, all but
    /// the gradient written (28P in f32, 14P in bf16); clipping reads the gradient once more.
    /// </summary>
    private static KernelCase AdamW(int row, int count, DType dtype, int tensors = 1, bool clip = false) =>
        new(row, $"{(clip ? "clip_grad_norm+" : "")}adamw{(tensors > 1 ? $" {tensors} tensors" : "")}", [count], dtype, Pass.Step, "adamw", s =>
        {
            Variable Arena(string name, MemoryClass memory) => new(name, dtype, s, memory);
            var (param, grad) = (Arena("param", MemoryClass.Weights), F.Input("grad", dtype, s));
            var state = new[] { Arena("exp_avg", MemoryClass.Optimizer), Arena("exp_avg_sq", MemoryClass.Optimizer) };
            var (rule, lr, step) = (new AdamOp(WeightDecay: 0.01, Decoupled: true), F.Input("lr", DType.F64, []), F.Input("step", DType.I64, []));
            var values = state.ToDictionary(v => v.Name, v => v.Value);
            var update = clip
                ? ClippedStepOp.Record(rule, [new(param.Value, grad, values)], lr, step, 1).Groups[0]
                : rule.Record(param.Value, grad, values, lr, step, null);
            return new CaseProgram([], (clip ? 8 : 7) * grad.Type.Bytes)
            {
                Updates = [new(param, update.Param), .. state.Select(v => new VariableUpdate(v, update.State[v.Name]))],
            };
        })
        {
            Options = new() { ["tensors"] = tensors, ["clip"] = clip },
        };

    /// <summary>y from x and parameters that do not count: floor forward 2T, backward 3T.</summary>
    private static CaseProgram Streaming(Pass pass, Tensor y, Tensor x, params Tensor[] parameters) => pass == Pass.Forward
        ? new CaseProgram([new("y", y)], 2 * x.Type.Bytes)
        : new CaseProgram(BackwardPass.Of(y, [x, .. parameters]), 3 * x.Type.Bytes);

    private static string Suffix(Activation? activation) => activation is null ? "" : "+" + activation.Name;

    private static string Layout(Shape shape, bool channelsLast) => shape.Rank <= 2 ? "" : channelsLast ? " NHWC" : " NCHW";
}
