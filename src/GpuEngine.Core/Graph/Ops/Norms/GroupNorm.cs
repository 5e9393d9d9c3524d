namespace GpuEngine.Core.Graph;

/// <summary>
/// Group normalisation (Wu and He 2018): the channels of [N, C, ...] fall into groups of C / Groups neighbours, and each group
/// of each sample is normalised by itself. Weight and bias are per channel [C]. With ChannelsLast the input is [N, ..., C].
/// </summary>
public sealed record GroupNormOp(int Groups, double Eps, bool Affine, Activation? Activation = null, bool ChannelsLast = false)
    : RowNormOp(Eps, Affine, Activation)
{
    internal static readonly OpSpec Spec = new("group_norm", "normalises groups of channels of each sample")
    {
        Arguments = [new("input"), new("weight", Optional: true), new("bias", Optional: true)],
        Attributes =
        [
            new("num_groups", null, "number of groups; it must divide the channels"), new("eps", 1e-5, "added to the variance inside the root"),
            new("channels_last", false, "the input is [N, ..., C]"),
        ],
        Build = call => call.Output(F.GroupNorm(
            call["input"], call.Integer("num_groups"), call.Optional("weight"), call.Optional("bias"), call.Number("eps"),
            channelsLast: call.Flag("channels_last"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(2, 6), Attributes = { ["num_groups"] = 2 } },
            new() { ["input"] = Sample.Normal(3, 6, 5), ["weight"] = Sample.Normal(6), ["bias"] = Sample.Normal(6), Attributes = { ["num_groups"] = 3 } },
            new() { ["input"] = Sample.Normal(2, 4, 3, 7), ["weight"] = Sample.Normal(4), Attributes = { ["num_groups"] = 1, ["eps"] = 0.01 } },
            new() { ["input"] = Sample.Normal(2, 38), ["weight"] = Sample.Normal(38), ["bias"] = Sample.Normal(38), Attributes = { ["num_groups"] = 2 } },
            new() { ["input"] = Sample.Normal(2, 5, 6), ["weight"] = Sample.Normal(6), ["bias"] = Sample.Normal(6), Attributes = { ["num_groups"] = 2, ["channels_last"] = true } },
            new() { ["input"] = Sample.Normal(2, 3, 4, 8), ["bias"] = Sample.Normal(8), Attributes = { ["num_groups"] = 4, ["eps"] = 0.01, ["channels_last"] = true } },
        ],
    };

    public override string Name => "group_norm";

    public override RowLayout Layout(Shape x)
    {
        if (x.Rank < 2) throw new ShapeException($"group_norm: expected an input {(ChannelsLast ? "[N, ..., C]" : "[N, C, ...]")}, but got {x}.");
        var channels = NormArguments.Channels(x, ChannelsLast);
        if (Groups < 1 || channels % Groups != 0)
            throw new ShapeException($"group_norm: num_groups {Groups} must be at least 1 and divide the {channels} channels of the input {x}.");
        var places = NormArguments.Places(x, ChannelsLast);
        if (x[0] * (long)(channels / Groups) * places == 1)
            throw new ShapeException($"group_norm: each group of the input {x} holds one value, so nothing would be left of it; use fewer groups.");
        return new RowLayout((long)x[0] * Groups, Groups, channels / Groups, (int)places, ChannelsLast && places != 1);
    }

    public override Shape ParameterShape(Shape x) => [NormArguments.Channels(x, ChannelsLast)];
}

public static partial class F
{
    /// <summary>
    /// Group normalisation of input [N, C, ...], or [N, ..., C] with <paramref name="channelsLast"/>, with weight [C] and bias [C]; see
    /// <see cref="GroupNormOp"/>.
    /// </summary>
    /// <exception cref="ShapeException">The groups do not divide the channels, or shapes do not fit.</exception>
    /// <exception cref="UserException">eps is negative.</exception>
    public static Tensor GroupNorm(
        Tensor input, int numGroups, Tensor? weight = null, Tensor? bias = null, double eps = 1e-5, Activation? activation = null,
        bool channelsLast = false)
    {
        NormArguments.CheckEps("group_norm", eps);
        (weight, bias) = NormArguments.Pair(weight, bias);
        Tensor[] inputs = weight is null ? [input] : [input, weight, bias!];
        return new GroupNormOp(numGroups, eps, weight is not null, activation, channelsLast).Apply(inputs).Outputs[0];
    }
}
