using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Nn.Training;

/// <summary>One evaluation batch as a program: logits, the summed loss and the number of right answers. Padding rows carry the
/// label <see cref="Losses.Ignored"/>.</summary>
public sealed class EvalStep
{
    public const string Input = TrainStep.Input, Target = TrainStep.Target, LossSum = "loss_sum", Correct = "correct", Logits = "logits";

    /// <param name="model">The model's variables.</param>
    /// <param name="inputShape">[N, C, H, W].</param>
    /// <param name="loss">What is summed.</param>
    /// <param name="options">What else; null takes <see cref="StepOptions.Default"/>.</param>
    public EvalStep(ModelVariables model, Shape inputShape, LossFunction loss, StepOptions? options = null)
    {
        options ??= StepOptions.Default;
        var (compute, passes, pipeline) = (options.Compute, options.Passes, options.Pipeline);
        var input = F.Input(Input, pipeline.DType, inputShape);
        var target = F.Input(Target, DType.I32, [inputShape[0]]);
        var trace = model.NewTrace(false, compute);
        var logits = TestTimeAveraging.Average(
            [.. options.Averaging.Views.Select(view => F.Cast(model.Model.Forward(pipeline.Evaluation(input, view, compute), trace), DType.F32))]);
        Tensor[] roots = [logits, loss.Sum(logits, target), TrainStep.Correct(logits, target)];
        if (passes.FoldBatchNorms)
        {
            var folded = FoldBatchNorms.Apply(roots);
            roots = [.. roots.Select(r => folded[r])];
        }

        var fused = Fusions.Apply(roots, options.ChannelsLast, passes);
        (Preparation, Program) = HoistConstants.Apply(new TensorProgram(
            "eval_step", [new(Logits, fused[roots[0]]), new(LossSum, fused[roots[1]]), new(Correct, fused[roots[2]])]));
    }

    /// <summary>
    /// What must run before the first batch whenever weights or running statistics have changed: it folds, rounds and turns weights once for
    /// all batches. Null where there is nothing to do.
    /// </summary>
    public TensorProgram? Preparation { get; }

    /// <summary>One batch.</summary>
    public TensorProgram Program { get; }

    /// <summary>Both programs, in the order in which they run.</summary>
    public IEnumerable<TensorProgram> Programs => Preparation is null ? [Program] : [Preparation, Program];
}
