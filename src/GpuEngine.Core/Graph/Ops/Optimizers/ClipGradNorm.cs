namespace GpuEngine.Core.Graph;

/// <summary>What clipping by norm finds: all three are scalars that stay in device memory.</summary>
/// <param name="TotalNorm">The norm of all gradients as one vector.</param>
/// <param name="Factor">What to multiply the gradients by; the optimizers take it as their clip input.</param>
/// <param name="IsFinite">False when the norm, and so some gradient, is infinite or not a number.</param>
/// <param name="Segments">The same of parts of the gradients, where they were asked for.</param>
public sealed record ClipResult(Tensor TotalNorm, Tensor Factor, Tensor IsFinite, SegmentNorms? Segments = null);

/// <summary>By-products of a norm: what each segment of the gradients adds to it.</summary>
/// <param name="Squares">The sum of squares of each segment, f64 [S].</param>
/// <param name="IsFinite">Whether the norm of each segment, in the gradients' computing type, is finite, bool [S].</param>
public sealed record SegmentNorms(Tensor Squares, Tensor IsFinite);

/// <summary>
/// The global norm of some gradients and the factor that clips it. Inputs: gradients of any shapes. Outputs: the norm (f64
/// for f64 gradients, else f32), the factor, and whether the norm is finite (bool). The factor is torch's
/// min(1, max_norm/(norm + 1e-6)) (torch.nn.utils.clip_grad_norm_; Pascanu et al. 2013), or, if Inclusive, lecture S2's:
/// max_norm/norm where norm &gt;= max_norm, else 1. Squares are summed in f64 in a fixed order.
/// </summary>
/// <param name="MaxNorm">The norm that gradients may have.</param>
/// <param name="NormType">The order p of the norm; infinity takes the largest entry.</param>
/// <param name="Inclusive">The lecture's rule in place of torch's.</param>
public sealed record ClipGradNormOp(double MaxNorm, double NormType = 2, bool Inclusive = false) : FusedOp
{
    /// <summary>
    /// First elements of segments of the gradients laid end to end, ascending from 0; each gradient starts a segment. With them there are
    /// two more outputs: the sum of squares of each segment (f64) and whether it is finite (bool). Only for norm 2.
    /// </summary>
    public Ints Segments { get; init; } = [];

    internal static readonly OpSpec Spec = new("clip_grad_norm", "scales a gradient so that its norm is at most max_norm")
    {
        Differentiable = false,
        Arguments = [new("grad", Differentiable: false)],
        Attributes =
        [
            new("max_norm", 1.0, "the norm that the gradient may have"),
            new("norm_type", 2.0, "order of the norm, a number or \"inf\""),
            new("inclusive", false, "max_norm/norm where norm >= max_norm, without torch's 1e-6"),
        ],
        Build = call =>
        {
            var clip = F.ClipGradNorm([call["grad"]], call.Number("max_norm"), call.NumberOrInfinity("norm_type"), call.Flag("inclusive"));
            return
            [
                new("output", call["grad"] * F.Cast(clip.Factor, call["grad"].DType)), new("total_norm", clip.TotalNorm),
                new("clip", clip.Factor), new("is_finite", clip.IsFinite),
            ];
        },
        Samples =
        [
            new() { ["grad"] = Sample.Normal(7) },
            new() { ["grad"] = Sample.Normal(3, 67), Attributes = { ["max_norm"] = 100.0 } },
            new() { ["grad"] = Sample.Normal(131), Attributes = { ["max_norm"] = 0.5, ["norm_type"] = "inf" } },
            new() { ["grad"] = Sample.Normal(131), Attributes = { ["max_norm"] = 0.5, ["norm_type"] = 1.0 } },
            new() { ["grad"] = Sample.Normal(9000), Attributes = { ["max_norm"] = 2.0, ["inclusive"] = true } },
        ],
    };

    public override string Name => "clip_grad_norm";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        if (inputs.Count == 0 || inputs.Any(t => !t.DType.IsFloat() || (t.DType == DType.F64) != (inputs[0].DType == DType.F64)))
            throw Mismatch(Name, "float gradients, all f64 or none", inputs);
        var scalar = new TensorType(inputs[0].DType == DType.F64 ? DType.F64 : DType.F32, Shape.Scalar);
        TensorType[] total = [scalar, scalar, scalar with { DType = DType.Bool }];
        if (Segments.Count == 0) return total;
        CheckSegments(inputs);
        return [.. total, new TensorType(DType.F64, [Segments.Count]), new TensorType(DType.Bool, [Segments.Count])];
    }

    /// <summary>Where each segment begins and, last, where the last ends.</summary>
    public long[] SegmentEnds(IReadOnlyList<TensorType> inputs) => [.. Segments.Select(s => (long)s), inputs.Sum(t => t.Elements)];

    /// <summary>The outputs by name.</summary>
    internal static ClipResult Named(IReadOnlyList<Tensor> outputs) =>
        new(outputs[0], outputs[1], outputs[2], outputs.Count > 3 ? new SegmentNorms(outputs[3], outputs[4]) : null);

    private void CheckSegments(IReadOnlyList<TensorType> inputs)
    {
        var ends = SegmentEnds(inputs);
        var starts = Segments.ToHashSet();
        var at = 0L;
        var fits = NormType == 2 && ends[0] == 0 && ends.Zip(ends.Skip(1)).All(p => p.First < p.Second);
        foreach (var input in inputs)
        {
            fits &= input.Elements == 0 || at > int.MaxValue || starts.Contains((int)at);
            at += input.Elements;
        }

        if (!fits) throw Mismatch(Name, $"norm 2 and segments {Segments} that ascend from 0 and do not reach from one gradient into the next", inputs);
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var compute = inputs[0].DType == DType.F64 ? DType.F64 : DType.F32;
        var infinite = double.IsPositiveInfinity(NormType);
        Tensor? total = null;
        foreach (var input in inputs.Where(t => t.Type.Elements > 0))
        {
            var x = F.Reshape(F.Cast(input, DType.F64), [(int)input.Type.Elements]);
            var part = infinite ? F.Amax(F.Abs(x), [0]) : F.Sum(NormType == 2 ? x * x : F.Pow(F.Abs(x), F.Scalar(NormType, DType.F64)), [0]);
            total = total is null ? part : infinite ? F.Maximum(total, part) : total + part;
        }

        var sum = F.Reshape(total ?? F.Zeros([1], DType.F64), Shape.Scalar);
        var norm = F.Cast(infinite ? sum : NormType == 2 ? F.Sqrt(sum) : F.Pow(sum, F.Scalar(1 / NormType, DType.F64)), compute);
        var (limit, one) = (F.Scalar(MaxNorm, compute), F.Scalar(1, compute));
        var factor = Inclusive ? F.Where(F.Lt(norm, limit), one, limit / norm) : F.Minimum(limit / (norm + 1e-6), one);
        if (Segments.Count == 0) return [norm, factor, F.IsFinite(norm)];
        var squares = SegmentSquares(inputs);
        return [norm, factor, F.IsFinite(norm), squares, F.IsFinite(F.Cast(F.Sqrt(squares), compute))];
    }

    private Tensor SegmentSquares(IReadOnlyList<Tensor> inputs)
    {
        var ends = SegmentEnds([.. inputs.Select(t => t.Type)]);
        var parts = new List<Tensor>();
        var (input, start) = (0, 0L);
        for (var s = 0; s < Segments.Count; s++)
        {
            while (ends[s] >= start + inputs[input].Type.Elements) start += inputs[input++].Type.Elements;
            var flat = F.Reshape(F.Cast(inputs[input], DType.F64), [(int)inputs[input].Type.Elements]);
            var part = F.Narrow(flat, 0, (int)(ends[s] - start), (int)(ends[s + 1] - ends[s]));
            parts.Add(F.Sum(part * part, [0]));
        }

        return F.Concat(parts, 0);
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 2 * node.Inputs.Sum(t => t.Type.Elements));
}

/// <summary>torch.nn.utils.clip_grad_value_: every entry into [-ClipValue, ClipValue]; not-a-number stays.</summary>
public sealed record ClipGradValueOp(double ClipValue) : FusedOp
{
    internal static readonly OpSpec Spec = new("clip_grad_value", "cuts every entry of a gradient to [-clip_value, clip_value]")
    {
        Differentiable = false,
        Arguments = [new("grad", Differentiable: false)],
        Attributes = [new("clip_value", 1.0, "the largest magnitude that stays")],
        Build = call => call.Output(F.ClipGradValue(call["grad"], call.Number("clip_value"))),
        Samples = [new() { ["grad"] = Sample.Normal(7) }, new() { ["grad"] = Sample.Normal(3, 67), Attributes = { ["clip_value"] = 0.5 } }],
    };

    public override string Name => "clip_grad_value";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) =>
        inputs[0].DType.IsFloat() ? [inputs[0]] : throw Mismatch(Name, "a float gradient", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) =>
        [F.Minimum(F.Maximum(inputs[0], F.Scalar(-ClipValue, inputs[0].DType)), F.Scalar(ClipValue, inputs[0].DType))];

    public override int InPlaceInput(int output) => 0;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 2 * node.Inputs[0].Type.Elements);
}

public static partial class F
{
    /// <summary>The norm of all gradients and the factor that clips it; see <see cref="ClipGradNormOp"/>.</summary>
    /// <param name="grads">The gradients.</param>
    /// <param name="maxNorm">The norm that they may have.</param>
    /// <param name="normType">The order of the norm.</param>
    /// <param name="inclusive">The lecture's rule in place of torch's.</param>
    /// <param name="segments">First elements of the parts whose norms are wanted as well, the gradients laid end to end.</param>
    /// <exception cref="UserException">max_norm is negative, or the order of the norm is not above 0.</exception>
    public static ClipResult ClipGradNorm(
        IReadOnlyList<Tensor> grads, double maxNorm, double normType = 2, bool inclusive = false, Ints segments = default)
    {
        CheckClip(maxNorm, normType, inclusive);
        var outputs = new ClipGradNormOp(maxNorm, normType, inclusive) { Segments = segments }.Apply([.. grads]).Outputs;
        return ClipGradNormOp.Named(outputs);
    }

    internal static void CheckClip(double maxNorm, double normType, bool inclusive)
    {
        if (!(maxNorm >= 0)) throw new UserException($"clip_grad_norm: max_norm must be at least 0, but is {maxNorm}.");
        if (inclusive && maxNorm == 0) throw new UserException("clip_grad_norm: with inclusive, max_norm must be above 0.");
        if (!(normType > 0)) throw new UserException($"clip_grad_norm: norm_type must be above 0, but is {normType}.");
    }

    /// <summary>Every entry into [-clipValue, clipValue].</summary>
    /// <exception cref="UserException">clip_value is negative.</exception>
    public static Tensor ClipGradValue(Tensor grad, double clipValue)
    {
        if (!(clipValue >= 0)) throw new UserException($"clip_grad_value: clip_value must be at least 0, but is {clipValue}.");
        return new ClipGradValueOp(clipValue).Apply(grad).Outputs[0];
    }
}
