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
    /// <param name="compute">The dtype between layers.</param>
    /// <param name="channelsLast">Whether images lie with their channels last between convolutions.</param>
    /// <param name="pipeline">What becomes of a batch before the model sees it; null leaves it as it is.</param>
    /// <param name="averaging">Views of each image whose probabilities are averaged; <see cref="Logits"/> are then the logarithms of the averages.</param>
    public EvalStep(
        ModelVariables model, Shape inputShape, LossFunction loss, DType compute = DType.F32, bool channelsLast = false,
        InputPipeline? pipeline = null, TestTimeAveraging? averaging = null)
    {
        pipeline ??= InputPipeline.None;
        var input = F.Input(Input, pipeline.DType, inputShape);
        var target = F.Input(Target, DType.I32, [inputShape[0]]);
        var trace = model.NewTrace(false, compute);
        var views = (averaging ?? TestTimeAveraging.None).Views;
        var logits = TestTimeAveraging.Average(
            [.. views.Select(view => F.Cast(model.Model.Forward(pipeline.Evaluation(input, view, compute), trace), DType.F32))]);
        Tensor[] roots = [logits, loss.Sum(logits, target), TrainStep.Correct(logits, target)];
        var fused = Fusions.Apply(roots, channelsLast);
        Program = new TensorProgram(
            "eval_step", [new(Logits, fused[roots[0]]), new(LossSum, fused[roots[1]]), new(Correct, fused[roots[2]])]);
    }

    public TensorProgram Program { get; }
}
