namespace GpuEngine.Core.Graph;

/// <summary>The common part of nll_loss and cross_entropy: from log-probabilities to the loss, in primitives.</summary>
internal static class NegativeLogLikelihood
{
    /// <summary>nll_loss has no fused op: behind a fused log_softmax there is little left to fuse.</summary>
    internal static readonly OpSpec Spec = new("nll_loss", "negative log-likelihood of the target class, from log-probabilities")
    {
        Arguments = [new("input"), new("target"), new("weight", Optional: true, Differentiable: false)],
        Attributes = [Reductions.Attribute, new("ignore_index", -100.0, "target that adds nothing to loss and gradient")],
        Build = call => call.Output(F.NllLoss(
            call["input"], call["target"], call.Optional("weight"), Reductions.Read(call), call.Integer("ignore_index"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(7, 10), ["target"] = Sample.Index(10, 7) },
            new() { ["input"] = Sample.Normal(3, 4, 5), ["target"] = Sample.Index(4, 3, 5), ["weight"] = Sample.Uniform(0.2, 2, 4), Attributes = { ["ignore_index"] = 1 } },
            new() { ["input"] = Sample.Normal(6, 5), ["target"] = Sample.Index(5, 6), Attributes = { ["reduction"] = "none" } },
        ],
    };

    /// <summary>The loss, and what the mean divides by.</summary>
    public static (Tensor Loss, Tensor Divisor) Of(Tensor logp, Tensor target, Tensor? weight, CrossEntropyOp op)
    {
        var axis = CrossEntropyOp.ClassAxis(logp.Shape);
        var lines = CrossEntropyOp.Lines(logp.Shape);
        var (zero, smoothing) = (F.Scalar(0, logp.DType), op.LabelSmoothing);
        var classes = logp.Shape[axis];
        Tensor perLine, divisor;
        if (op.Probabilities)
        {
            perLine = -F.Sum(logp * Coefficients(logp, target, weight, op), [axis]);
            divisor = F.Scalar(lines.Elements, logp.DType);
        }
        else
        {
            var lineWeight = LineWeight(logp, target, weight, op);
            // Where a line does not count, its logarithm is not looked at: it may be infinite.
            var picked = F.Where(F.Eq(lineWeight, zero), zero, Pick(logp, target));
            perLine = -(picked * lineWeight);
            if (smoothing > 0)
            {
                var all = weight is null ? logp : logp * Column(weight, logp);
                var smooth = F.Where(Ignored(logp, target, op), zero, -F.Sum(all, [axis]));
                perLine = perLine * (1 - smoothing) + smooth * (smoothing / classes);
            }

            divisor = F.Sum(lineWeight);
        }

        var loss = op.Reduction switch
        {
            Reduction.Mean => F.Sum(perLine) / divisor,
            Reduction.Sum => F.Sum(perLine),
            _ => F.Reshape(perLine, lines),
        };
        return (loss, divisor);
    }

    /// <summary>The coefficients of -log softmax in the loss before the mean's division, in the logits' shape.</summary>
    public static Tensor Coefficients(Tensor like, Tensor target, Tensor? weight, CrossEntropyOp op)
    {
        var axis = CrossEntropyOp.ClassAxis(like.Shape);
        var (classes, smoothing) = (like.Shape[axis], op.LabelSmoothing);
        var w = weight is null ? null : Column(weight, like);
        if (op.Probabilities)
        {
            var mixed = smoothing > 0 ? target * (1 - smoothing) + smoothing / classes : target;
            return w is null ? mixed : mixed * w;
        }

        Shape column = like.Shape.With(axis, 1);
        var range = F.Reshape(F.Arange(classes, target.DType), [.. Enumerable.Repeat(1, axis), classes, .. Enumerable.Repeat(1, like.Rank - axis - 1)]);
        var hit = F.Eq(F.Reshape(target, column), range);
        var zero = F.Scalar(0, like.DType);
        var lineWeight = LineWeight(like, target, weight, op);
        var k = F.Where(hit, lineWeight * (1 - smoothing), zero);
        if (smoothing > 0)
        {
            var share = F.Scalar(smoothing / classes, like.DType);
            k += F.Where(Ignored(like, target, op), zero, w is null ? share : w * share);
        }

        return k;
    }

    /// <summary>The weight of each line's target: 0 where ignored, NaN where the index is no class. Class axis of extent 1.</summary>
    private static Tensor LineWeight(Tensor like, Tensor target, Tensor? weight, CrossEntropyOp op)
    {
        var axis = CrossEntropyOp.ClassAxis(like.Shape);
        Shape column = like.Shape.With(axis, 1);
        var index = F.Reshape(target, column);
        var valid = F.And(F.Ge(index, F.Scalar(0, index.DType)), F.Lt(index, F.Scalar(like.Shape[axis], index.DType)));
        var w = weight is null ? F.Scalar(1, like.DType) : F.Reshape(F.GatherRows(F.Reshape(weight, [like.Shape[axis], 1]), target), column);
        var counted = F.Where(valid, w, F.Scalar(double.NaN, like.DType));
        return F.Where(Ignored(like, target, op), F.Scalar(0, like.DType), counted);
    }

    /// <summary>Where the target is the one to ignore. Class axis of extent 1.</summary>
    public static Tensor Ignored(Tensor like, Tensor target, CrossEntropyOp op)
    {
        Shape column = like.Shape.With(CrossEntropyOp.ClassAxis(like.Shape), 1);
        return F.Eq(F.Reshape(target, column), F.Scalar(op.IgnoreIndex, target.DType));
    }

    /// <summary>x at the target class, class axis of extent 1; 0 where the index is no class.</summary>
    private static Tensor Pick(Tensor x, Tensor target)
    {
        var axis = CrossEntropyOp.ClassAxis(x.Shape);
        Shape column = x.Shape.With(axis, 1);
        // Gather works along the last axis: bring the classes there and back.
        int[] order = [.. Enumerable.Range(0, x.Rank).Where(a => a != axis), axis];
        var last = F.Permute(x, order);
        return F.Reshape(F.Gather(last, F.Reshape(target, last.Shape.With(x.Rank - 1, 1))), column);
    }

    private static Tensor Column(Tensor weight, Tensor like)
    {
        var axis = CrossEntropyOp.ClassAxis(like.Shape);
        return F.Reshape(weight, [.. Enumerable.Repeat(1, axis), like.Shape[axis], .. Enumerable.Repeat(1, like.Rank - axis - 1)]);
    }
}

public static partial class F
{
    /// <summary>
    /// The negative of the log-probabilities [C] or [N, C, d1, ...] at class indices [] or [N, d1, ...]; the mean divides by
    /// the sum of the weights of the targets that count.
    /// </summary>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public static Tensor NllLoss(Tensor input, Tensor target, Tensor? weight = null, Reduction reduction = Reduction.Mean, int ignoreIndex = -100)
    {
        if (target.DType.IsFloat())
            throw new ShapeException($"nll_loss: the target must hold class indices (i64 or i32), but is {target.Type}.");
        var op = new CrossEntropyOp(reduction, ignoreIndex, 0, weight is not null, false);
        // The same shape rule holds; called for its checks.
        op.Infer(weight is null ? [input.Type, target.Type] : [input.Type, target.Type, weight.Type]);
        return NegativeLogLikelihood.Of(input, target, weight, op).Loss;
    }
}
