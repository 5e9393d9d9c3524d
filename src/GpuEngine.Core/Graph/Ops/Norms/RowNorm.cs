namespace GpuEngine.Core.Graph;

/// <summary>
/// How a row-normalising op sees a contiguous tensor: [Rows, Units, Inner], where each row of Units * Inner elements has
/// statistics of its own and element (r, u, i) takes entry (r mod Groups) * Units + u of weight and bias.
/// group_norm: Rows = N G, Groups = G, Units = C / G, Inner = places. instance_norm is group_norm with G = C.
/// layer_norm: Rows = leading axes, Groups = 1, Units = normalised elements, Inner = 1.
/// With ChannelsLast the tensor lies as [Rows / Groups, Inner, Groups, Units], and rows are not contiguous.
/// </summary>
public readonly record struct RowLayout(long Rows, int Groups, int Units, int Inner, bool ChannelsLast = false)
{
    /// <summary>Elements of a row.</summary>
    public long Length => (long)Units * Inner;

    /// <summary>Entries of weight and bias.</summary>
    public int Parameters => Groups * Units;

    /// <summary>Samples, or the leading axes of layer_norm.</summary>
    public long Batch => Rows / Math.Max(Groups, 1);

    internal Shape View => ChannelsLast ? [(int)Batch, Inner, Groups, Units] : [(int)Batch, Groups, Units, Inner];

    internal Shape ParameterView => ChannelsLast ? [1, 1, Groups, Units] : [1, Groups, Units, 1];

    internal Shape StatisticsView => ChannelsLast ? [(int)Batch, 1, Groups, 1] : [(int)Batch, Groups, 1, 1];

    /// <summary>The axes of the view that a row is normalised over.</summary>
    internal Ints RowAxes => ChannelsLast ? [1, 3] : [2, 3];

    /// <summary>The axes of the view that share a parameter.</summary>
    internal Ints ParameterAxes => ChannelsLast ? [0, 1] : [0, 3];
}

/// <summary>
/// The common ground of the norms whose statistics belong to one sample: group_norm, layer_norm, instance_norm and rms_norm.
/// They differ only in their <see cref="RowLayout"/>, so one decomposition and one kernel serve all, and group_norm with one
/// group is bit-equal to layer_norm over CHW, group_norm with C groups to instance_norm.
/// Inputs: x, then weight and bias if Affine (no bias if not Centred). Outputs: y, the mean [Rows] if Centred, and
/// 1/sqrt(mean square deviation + eps) [Rows]. y = activation((x - mean) invstd weight + bias).
/// </summary>
public abstract record RowNormOp(double Eps, bool Affine, Activation? Activation) : FusedOp
{
    /// <summary>False for rms_norm: no mean is subtracted, and there is no bias.</summary>
    public virtual bool Centred => true;

    /// <summary>The rows of an input of this shape.</summary>
    /// <exception cref="ShapeException">The attributes do not fit the shape.</exception>
    public abstract RowLayout Layout(Shape x);

    /// <summary>The shape of weight and bias for an input of this shape.</summary>
    public abstract Shape ParameterShape(Shape x);

    /// <summary>Inputs behind x, weight and bias.</summary>
    internal int FirstExtraInput => !Affine ? 1 : Centred ? 3 : 2;

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        if (!x.DType.IsFloat()) throw Mismatch(Name, "a float tensor", inputs);
        var layout = Layout(x.Shape);
        var parameters = ParameterShape(x.Shape);
        for (var i = 1; i < FirstExtraInput; i++)
        {
            if (inputs[i].Shape != parameters || !inputs[i].DType.IsFloat())
                throw new ShapeException($"{Name}: an input of shape {x.Shape} needs a float {(i == 1 ? "weight" : "bias")} of shape {parameters}, but got {inputs[i]}.");
        }

        var rows = StatisticsType(x, layout);
        return Centred ? [x, rows, rows] : [x, rows];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        if (Activation is null) return Plain(inputs);
        var plain = (this with { Activation = null }).Apply([.. inputs]).Outputs;
        var y = Activation.On(F.Cast(plain[0], NormArguments.StatisticsOf(inputs[0].DType)));
        return [F.Cast(y, inputs[0].DType), .. plain.Skip(1)];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        // Gradients into the statistics only arise in second derivatives; the decomposition handles them.
        if (outputGradients.Skip(1).Any(g => g is not null)) return Autodiff.ThroughDecomposition(this, node, outputGradients);
        var result = new Tensor?[node.Inputs.Count];
        if (outputGradients[0] is not { } g) return result;
        Tensor[] statistics = [.. node.Outputs.Skip(1).Take(Centred ? 2 : 1)];
        Tensor[] parameters = [.. node.Inputs.Skip(1).Take(Affine ? Centred && Activation is not null ? 2 : 1 : 0)];
        var backward = new RowNormBackwardOp(this).Apply([g, node.Inputs[0], .. statistics, .. parameters]).Outputs;
        result[0] = backward[0];
        for (var i = 1; i < FirstExtraInput; i++) result[i] = F.Reshape(F.Cast(backward[i], node.Inputs[i].DType), node.Inputs[i].Shape);
        return result;
    }

    public override int InPlaceInput(int output) => output == 0 ? 0 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 8 * node.Inputs[0].Type.Elements);

    internal static TensorType StatisticsType(TensorType x, RowLayout layout) => new(NormArguments.StatisticsOf(x.DType), [(int)layout.Rows]);

    /// <summary>The outputs without an activation, from primitives.</summary>
    protected virtual Tensor[] Plain(IReadOnlyList<Tensor> inputs) => Normalise(inputs, out _);

    /// <summary>y and the statistics of each row; the biased variance apart.</summary>
    protected Tensor[] Normalise(IReadOnlyList<Tensor> inputs, out Tensor variance)
    {
        var x = inputs[0];
        var layout = Layout(x.Shape);
        var statistics = NormArguments.StatisticsOf(x.DType);
        Shape flat = [(int)layout.Rows];
        var wide = F.Reshape(F.Cast(x, statistics), layout.View);
        var centred = wide;
        Tensor[] mean = [];
        if (Centred)
        {
            var m = F.Mean(wide, layout.RowAxes);
            centred = wide - m;
            mean = [F.Reshape(m, flat)];
        }

        var meanSquare = F.Mean(centred * centred, layout.RowAxes);
        variance = F.Reshape(meanSquare, flat);
        var invstd = F.Rsqrt(meanSquare + Eps);
        var y = Transform(centred * invstd, inputs, 1, layout, statistics);
        return [F.Cast(F.Reshape(y, x.Shape), x.DType), .. mean, F.Reshape(invstd, flat)];
    }

    /// <summary>xhat weight + bias; the parameters start at input <paramref name="first"/>.</summary>
    internal Tensor Transform(Tensor xhat, IReadOnlyList<Tensor> inputs, int first, RowLayout layout, DType statistics)
    {
        if (!Affine) return xhat;
        var y = xhat * Parameter(inputs[first], layout, statistics);
        return Centred ? y + Parameter(inputs[first + 1], layout, statistics) : y;
    }

    internal static Tensor Parameter(Tensor p, RowLayout layout, DType statistics) => F.Reshape(F.Cast(p, statistics), layout.ParameterView);
}

/// <summary>
/// The gradient of a <see cref="RowNormOp"/>: inputs (dy, x, mean if centred, invstd, weight if affine, and the bias, if there is
/// one, below an activation); outputs dx, then dweight [Parameters] and dbias [Parameters] as far as they exist. With a fused
/// activation the pre-activation is recomputed from x. With g = dz weight: dx = invstd (g - mean(g) - xhat mean(g xhat)), the means taken over
/// the row (Ba, Kiros and Hinton 2016; Wu and He 2018); rms_norm has no mean(g) (Zhang and Sennrich 2019).
/// </summary>
public sealed record RowNormBackwardOp(RowNormOp Of) : FusedOp
{
    public override string Name => Of.Name + "_backward";

    /// <summary>Where invstd stands among the inputs.</summary>
    internal int InvStdInput => Of.Centred ? 3 : 2;

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (dy, x) = (inputs[0], inputs[1]);
        var layout = Of.Layout(x.Shape);
        var rows = RowNormOp.StatisticsType(x, layout);
        if (dy != x || inputs[2] != rows || inputs[InvStdInput] != rows)
            throw Mismatch(Name, "dy and x of one type and the statistics of each row", inputs);
        var parameter = rows with { Shape = [layout.Parameters] };
        return [x, .. Enumerable.Repeat(parameter, Of.FirstExtraInput - 1)];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (x, statistics) = (inputs[1], inputs[2].DType);
        var layout = Of.Layout(x.Shape);
        // The statistics are inputs here: in a second derivative their gradients flow on to the outputs of the forward op,
        // which knows how they depend on x.
        var invstd = F.Reshape(inputs[InvStdInput], layout.StatisticsView);
        var xhat = F.Reshape(F.Cast(x, statistics), layout.View);
        if (Of.Centred) xhat -= F.Reshape(inputs[2], layout.StatisticsView);
        xhat *= invstd;
        var dz = F.Reshape(F.Cast(inputs[0], statistics), layout.View);
        if (Of.Activation is not null)
        {
            dz = new ActivationBackwardOp(Of.Activation).Apply(dz, Of.Transform(xhat, inputs, InvStdInput + 1, layout, statistics)).Outputs[0];
            var plain = new RowNormBackwardOp(Of with { Activation = null });
            dz = F.Cast(F.Reshape(dz, x.Shape), x.DType);
            return [.. plain.Apply([dz, .. inputs.Skip(1).Take(InvStdInput + (Of.Affine ? 1 : 0))]).Outputs];
        }

        var g = Of.Affine ? dz * RowNormOp.Parameter(inputs[InvStdInput + 1], layout, statistics) : dz;
        var inner = g - xhat * F.Mean(g * xhat, layout.RowAxes);
        if (Of.Centred) inner -= F.Mean(g, layout.RowAxes);
        var dx = F.Cast(F.Reshape(inner * invstd, x.Shape), x.DType);
        if (!Of.Affine) return [dx];
        Shape flat = [layout.Parameters];
        var dweight = F.Reshape(F.Sum(dz * xhat, layout.ParameterAxes), flat);
        return Of.Centred ? [dx, dweight, F.Reshape(F.Sum(dz, layout.ParameterAxes), flat)] : [dx, dweight];
    }

    public override int InPlaceInput(int output) => output == 0 ? 0 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 14 * node.Inputs[0].Type.Elements);
}
