using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Layers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>The rewrite that makes one op of a cross entropy, its gradient and the count of right answers.</summary>
public class CrossEntropyFusionTests
{
    private const int Rows = 6;
    private const int Classes = 5;

    [Theory]
    [InlineData(DType.F32)]
    [InlineData(DType.BF16)]
    public void A_training_step_reads_its_logits_in_one_op(DType compute)
    {
        var model = new Sequential(new Linear(4, 8), new Linear(8, Classes));
        var step = new TrainStep(new ModelVariables(model), [Rows, 4], Losses.CrossEntropy, new Nn.Optimizers.AdamW(), new StepOptions { Compute = compute });
        var fused = Assert.Single(step.Program.Nodes, n => n.Op is CrossEntropyWithGradientOp);
        // bf16 logits are read as they are: the widening and the narrowing are inside the op.
        Assert.Equal(compute, fused.Inputs[0].DType);
        Assert.DoesNotContain(step.Program.Nodes, n => n.Op is CrossEntropyOp or CrossEntropyBackwardOp or ArgMaxOp);
        Assert.All(step.Program.Nodes, n => Assert.All(n.Inputs, t => Assert.True(t.Node.Id < n.Id)));
        Assert.All(fused.Outputs, t => Assert.Contains(step.Program.Nodes, n => n.Inputs.Contains(t)));
    }

    [Theory]
    [InlineData(Reduction.Mean, 0)]
    [InlineData(Reduction.Sum, 0.1)]
    public void Nothing_changes_but_the_number_of_ops(Reduction reduction, double smoothing)
    {
        var (x, w, target) = Inputs();
        var logits = F.MatMul(x, w);
        var loss = F.CrossEntropy(logits, target, reduction: reduction, labelSmoothing: smoothing);
        var gradients = Autodiff.Gradients(loss, [x, w]);
        Tensor[] before = [loss, gradients[0], gradients[1], Count(logits, target)];
        var map = FuseCrossEntropy.Apply(before);
        Tensor[] after = [.. before.Select(t => map[t])];
        Assert.Single(Traversal.Ancestors(after), n => n.Op is CrossEntropyWithGradientOp);
        Assert.DoesNotContain(Traversal.Ancestors(after), n => n.Op is ArgMaxOp);
        // The CPU runs the fused op by its decomposition, which is what stood there before.
        Assert.Equal(Run(before), Run(after));
    }

    [Fact]
    public void What_is_not_a_training_step_stays_as_it_is()
    {
        var (x, w, target) = Inputs();
        var logits = F.MatMul(x, w);
        var loss = F.CrossEntropy(logits, target);
        // Another upstream gradient, one loss per row, probabilities, and the loss alone.
        Assert.Empty(Fused(Autodiff.Gradients(loss * 2.0, [w])));
        Assert.Empty(Fused(Autodiff.Gradients(F.Sum(F.CrossEntropy(logits, target, reduction: Reduction.None)), [w])));
        Assert.Empty(Fused(Autodiff.Gradients(F.CrossEntropy(logits, F.Softmax(logits, 1)), [w])));
        Assert.Empty(Fused([loss]));
        // The statistics are wanted too.
        Assert.Empty(Fused([.. Autodiff.Gradients(loss, [w]), loss.Node.Outputs[1]]));
        // A sum of losses passes 1 to each: both are fused.
        Assert.Equal(2, Fused(Autodiff.Gradients(loss + F.CrossEntropy(logits * 2.0, target), [w])).Length);
        // The count is kept where an ignored class could be the answer, and where somebody wants to see the answers.
        Assert.Contains(After([.. Autodiff.Gradients(F.CrossEntropy(logits, target, ignoreIndex: 2), [w]), Count(logits, target)]), n => n.Op is ArgMaxOp);
        var answers = F.ArgMax(logits);
        Assert.Contains(After([.. Autodiff.Gradients(loss, [w]), answers, Count(logits, target)]), n => n.Op is ArgMaxOp);

        static Node[] After(Tensor[] outputs)
        {
            var map = FuseCrossEntropy.Apply(outputs);
            return [.. Traversal.Ancestors(outputs.Select(t => map[t]))];
        }

        static Node[] Fused(Tensor[] outputs) => [.. After(outputs).Where(n => n.Op is CrossEntropyWithGradientOp)];
    }

    [Fact]
    public void The_gradient_can_be_differentiated_again()
    {
        var (x, _, target) = Inputs();
        var logits = F.Narrow(x, 1, 0, Classes - 1);
        var direction = F.Input("direction", DType.F64, logits.Shape);
        Tensor Product(Tensor gradient) => Autodiff.Gradients(F.Sum(gradient * direction), [x])[0];
        var fused = Product(F.CrossEntropyWithGradient(logits, target, labelSmoothing: 0.1).Gradient);
        var plain = Product(Autodiff.Gradients(F.CrossEntropy(logits, target, labelSmoothing: 0.1), [logits])[0]);
        var run = Run([fused, plain]);
        Assert.Contains(run[0], v => v != 0);
        // Two ways through the same formulas in float64.
        Assert.All(run[0].Zip(run[1]), p => Assert.Equal(p.First, p.Second, 1e-14));
    }

    [Fact]
    public void Wrong_calls_are_refused()
    {
        var (x, _, target) = Inputs();
        Assert.Throws<Core.UserException>(() => F.CrossEntropyWithGradient(x, target, labelSmoothing: 2));
        Assert.Throws<ShapeException>(() => F.CrossEntropyWithGradient(x, target, reduction: Reduction.None));
        Assert.Throws<ShapeException>(() => F.CrossEntropyWithGradient(x, F.Input("short", DType.I64, [Rows - 1])));
        Assert.Throws<ShapeException>(() => F.CrossEntropyWithGradient(x, x));
    }

    /// <summary>As TrainStep counts.</summary>
    private static Tensor Count(Tensor logits, Tensor target) => F.Sum(F.Cast(F.Eq(F.ArgMax(F.Detach(logits)), target), DType.I64));

    private static (Tensor X, Tensor W, Tensor Target) Inputs() =>
        (F.Input("x", DType.F64, [Rows, Classes]), F.Input("w", DType.F64, [Classes, Classes]), F.Input("target", DType.I32, [Rows]));

    private static double[][] Run(Tensor[] outputs)
    {
        using var device = new CpuDevice(1);
        using var evaluation = new Evaluation(device, [.. outputs.Select((t, i) => new NamedTensor($"{i}", t))]);
        var random = new System.Random(7);
        foreach (var input in evaluation.Program.Inputs)
        {
            var name = ((InputOp)input.Node.Op).InputName;
            evaluation.Set(name, [.. Enumerable.Range(0, (int)input.Type.Elements).Select(i => name == "target" ? i % (Classes - 1) : 4 * random.NextDouble() - 2)]);
        }

        evaluation.Run();
        return [.. outputs.Select((_, i) => evaluation.Get($"{i}"))];
    }
}
