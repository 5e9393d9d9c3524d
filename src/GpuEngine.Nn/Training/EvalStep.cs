using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Nn.Training;

/// <summary>One evaluation batch as a program: logits, the summed loss and the number of right answers. Padding rows carry the
/// label <see cref="Losses.Ignored"/>.</summary>
public sealed class EvalStep
{
    public const string Input = TrainStep.Input, Target = TrainStep.Target, LossSum = "loss_sum", Correct = "correct", Logits = "logits";

    public EvalStep(ModelVariables model, Shape inputShape, LossFunction loss, DType compute = DType.F32, bool channelsLast = false, PassOptions? passes = null)
    {
        var input = F.Input(Input, DType.F32, inputShape);
        var target = F.Input(Target, DType.I32, [inputShape[0]]);
        var logits = F.Cast(model.Model.Forward(F.Cast(input, compute), model.NewTrace(false, compute)), DType.F32);
        Tensor[] roots = [logits, loss.Sum(logits, target), TrainStep.Correct(logits, target)];
        var fused = Fusions.Apply(roots, channelsLast, passes);
        Program = new TensorProgram(
            "eval_step", [new(Logits, fused[roots[0]]), new(LossSum, fused[roots[1]]), new(Correct, fused[roots[2]])]);
    }

    public TensorProgram Program { get; }
}
