namespace GpuEngine.Core.Graph;

/// <summary>
/// The gradient of <see cref="BatchNormOp"/>: inputs (dy, x, mean, invstd), weight if Affine, bias if <see cref="NeedsBias"/>, and if
/// Residual (needed only below an activation) the residual or, if Mask, the sign bits that the forward op kept
/// (<see cref="SignMask"/>, relu only); outputs dx, dweight and dbias if Affine, and dresidual if Residual. With a fused activation and
/// no mask the pre-activation is recomputed from x. In training mean and variance depend on x:
/// dx = weight invstd (dz - mean(dz) - xhat mean(dz xhat)) (Ioffe and Szegedy 2015, section 3).
/// </summary>
public sealed record BatchNormBackwardOp(
    bool Training, bool Affine, Activation? Activation, bool Residual = false, bool ChannelsLast = false, bool Mask = false) : FusedOp
{
    public override string Name => "batch_norm_backward";

    /// <summary>Whether the pre-activation is made again, which takes the bias.</summary>
    public bool NeedsBias => Affine && Activation is not null && !Mask;

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (dy, x) = (inputs[0], inputs[1]);
        var channel = BatchNormOp.StatisticsType(x, ChannelsLast);
        if (dy != x || inputs[2] != channel || inputs[3] != channel)
            throw Mismatch(Name, "dy and x of one type, mean and invstd per channel", inputs);
        if (Mask && (!Residual || Activation is not Relu || inputs[^1] != SignMask.TypeOf(x.Shape, ChannelsLast)))
            throw Mismatch(Name, $"sign bits {SignMask.TypeOf(x.Shape, ChannelsLast)} of a relu above a residual", inputs);
        if (Residual && !Mask && (Activation is null || inputs[^1] != x)) throw Mismatch(Name, "a residual of x's type below an activation", inputs);
        return [x, .. Affine ? new[] { channel, channel } : [], .. Residual ? new[] { x } : []];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (x, statistics) = (inputs[1], inputs[2].DType);
        var (axes, column, flat) = BatchNormOp.Layout(x.Shape, ChannelsLast);
        // Mean and invstd are inputs here: in a second derivative their gradients flow on to the outputs of the forward op,
        // which knows how they depend on x.
        var xhat = (F.Cast(x, statistics) - F.Reshape(inputs[2], column)) * F.Reshape(inputs[3], column);
        var dz = F.Cast(inputs[0], statistics);
        var weight = Affine ? F.Reshape(F.Cast(inputs[4], statistics), column) : null;
        if (Activation is not null)
        {
            if (Mask)
            {
                dz = F.Where(SignMask.Unpack(inputs[^1], x.Shape, ChannelsLast), inputs[0], F.Scalar(0, x.DType));
            }
            else
            {
                var z = Affine ? xhat * weight! + F.Reshape(F.Cast(inputs[5], statistics), column) : xhat;
                if (Residual) z += F.Cast(inputs[^1], statistics);
                dz = F.Cast(new ActivationBackwardOp(Activation).Apply(dz, z).Outputs[0], x.DType);
            }

            var plain = (this with { Activation = null, Residual = false, Mask = false }).Apply([dz, .. inputs.Skip(1).Take(Affine ? 4 : 3)]).Outputs;
            return [.. plain, .. Residual ? new[] { dz } : []];
        }

        var (sum, sumXhat) = (F.Sum(dz, axes), F.Sum(dz * xhat, axes));
        var dx = dz;
        if (Training)
        {
            var share = (double)flat[0] / x.Type.Elements;
            dx = dz - sum * share - xhat * (sumXhat * share);
        }

        dx *= F.Reshape(inputs[3], column);
        if (Affine) dx *= weight!;
        dx = F.Cast(dx, x.DType);
        Tensor[] parameters = Affine ? [F.Reshape(sumXhat, flat), F.Reshape(sum, flat)] : [];
        return [dx, .. parameters];
    }

    public override int InPlaceInput(int output) => output == 0 ? 0 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 12 * node.Inputs[0].Type.Elements);
}
