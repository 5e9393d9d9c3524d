namespace GpuEngine.Core.Graph;

/// <summary>The gated linear unit (Dauphin et al. 2017): a sigmoid(b), a and b being the halves of the input along an axis.</summary>
internal static class Glu
{
    internal static readonly OpSpec Spec = new("glu", "first half times the sigmoid of the second half of an axis")
    {
        Attributes = [new("dim", -1.0, "the axis that is halved")],
        Build = call => call.Output(F.Glu(call["input"], call.Integer("dim"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(3, 8) },
            new() { ["input"] = Sample.Normal(2, 6, 5), Attributes = { ["dim"] = 1 } },
        ],
    };
}

public static partial class F
{
    /// <summary>a * sigmoid(b) for the halves a, b of axis <paramref name="dim"/>.</summary>
    /// <exception cref="ShapeException">The axis does not exist or has an odd extent.</exception>
    public static Tensor Glu(Tensor input, int dim = -1)
    {
        var axis = input.Shape.Axis(dim, "glu");
        if (input.Rank == 0 || input.Shape[axis] % 2 != 0)
            throw new ShapeException($"glu: axis {axis} of {input.Shape} must have an even extent to be halved.");
        var half = input.Shape[axis] / 2;
        return Narrow(input, axis, 0, half) * Sigmoid(Narrow(input, axis, half, half));
    }
}
