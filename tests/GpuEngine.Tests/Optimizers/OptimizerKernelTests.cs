using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Optimizers;
using Xunit;

namespace GpuEngine.Tests.Optimizers;

public class OptimizerKernelTests
{
    private static readonly Optimizer[] All =
    [
        new Sgd(weightDecay: 0.1), new Sgd(momentum: 0.9, dampening: 0.1), new NesterovLiteral(momentum: 0.5), new Adagrad(initialAccumulatorValue: 0.1),
        new RmsProp(centered: true, momentum: 0.9), new RmsProp(momentum: 0.9), new Adam(weightDecay: 0.1), new AdamW(amsgrad: true), new AdamLiteral(),
    ];

    public static TheoryData<int> Cases() => [.. Enumerable.Range(0, All.Length)];

    // Empty, one, below and above a vector of either width, one share, an odd end behind several shares.
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(17)]
    [InlineData(4096)]
    [InlineData(8192)]
    [InlineData(20_011)]
    public void Any_number_of_workers_gives_the_same_bits_and_the_tail_those_of_the_middle(int length)
    {
        foreach (var optimizer in All)
        {
            foreach (var dtype in new[] { DType.F32, DType.F64 })
            {
                var one = Train(optimizer, dtype, length, 1);
                Assert.Equal(one, Train(optimizer, dtype, length, 2));
                Assert.Equal(one, Train(optimizer, dtype, length, 3));
                // The values repeat with period 13, so element i must equal element i mod 13 wherever it was computed.
                for (var i = 13; i < length; i++) Assert.Equal(one[i % 13], one[i]);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Parameters_and_states_are_updated_in_place_by_one_launch(int index)
    {
        using var run = new OptimizerRun(All[index], DType.F32, new double[64], (w, push) => push - w);
        var launches = run.Plan.Launches;
        Assert.Single(launches, l => l.Node.Op is OptimizerOp);
        Assert.DoesNotContain(launches, l => l.Node.Op is CopyOp);
        var update = launches.Single(l => l.Node.Op is OptimizerOp);
        for (var i = 0; i < update.Outputs.Count; i++) Assert.Equal(update.Inputs[i == 0 ? 0 : i + 1], update.Outputs[i]);
    }

    [Fact]
    public void A_step_allocates_nothing()
    {
        var x = new Variable("x", DType.F32, [100_000], MemoryClass.Weights);
        var m = new Variable("m", DType.F32, [100_000], MemoryClass.Optimizer);
        var v = new Variable("v", DType.F32, [100_000], MemoryClass.Optimizer);
        var clip = F.ClipGradNorm([x.Value], 1);
        var states = new Dictionary<string, Tensor> { ["exp_avg"] = m.Value, ["exp_avg_sq"] = v.Value };
        var updated = new Adam().Record(x.Value, x.Value, states, F.Scalar(1e-3, DType.F64), F.Scalar(0, DType.I64), clip.Factor);
        using var device = new CpuDevice(2);
        using var run = new Evaluation(
            device, [], [new(x, updated.Param), new(m, updated.State["exp_avg"]), new(v, updated.State["exp_avg_sq"])]);
        run.Run();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 10; i++) run.Run();
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void The_cost_of_a_step_is_28_bytes_a_parameter_for_adam_and_20_for_momentum()
    {
        long Bytes(Optimizer optimizer)
        {
            using var run = new OptimizerRun(optimizer, DType.F32, new double[1000], (w, push) => push - w);
            return run.Plan.Launches.Single(l => l.Node.Op is OptimizerOp).Cost.Bytes;
        }

        Assert.Equal(28_000 + 16, Bytes(new Adam()));   // the two scalars
        Assert.Equal(20_000 + 16, Bytes(new Sgd(momentum: 0.9)));
    }

    [Fact]
    public void Not_a_number_in_a_gradient_reaches_its_parameter_and_no_other()
    {
        foreach (var optimizer in All)
        {
            using var run = new OptimizerRun(optimizer, DType.F32, [1, 2, 3, 4, 5, 6, 7, 8, 9], (w, push) => w * 0 + push);
            var result = run.Step(0.1, [1, 1, double.NaN, 1, 1, 1, 1, 1, 1]).Param;
            for (var i = 0; i < result.Length; i++) Assert.Equal(i == 2, double.IsNaN(result[i]));
        }
    }

    [Fact]
    public void Parameters_in_bf16_keep_their_moments_in_f32()
    {
        Tensor Input(string name, DType dtype) => F.Input(name, dtype, [3]);
        var states = new Dictionary<string, Tensor> { ["exp_avg"] = Input("m", DType.F32), ["exp_avg_sq"] = Input("v", DType.F32) };
        var updated = new Adam().Record(
            Input("p", DType.BF16), Input("g", DType.BF16), states, F.Scalar(0.5, DType.F32), F.Scalar(0, DType.I64), F.Scalar(1, DType.F32));
        Assert.Equal(DType.F32, updated.State["exp_avg_sq"].DType);
        using var device = new CpuDevice(1);
        using var run = new Evaluation(device, [new("p1", updated.Param), new("m1", updated.State["exp_avg"])]);
        run.Set("p", [1, 1, 1]);
        run.Set("g", [1, -1, 3]);
        run.Run();
        Assert.Equal([0.5, 1.5, 0.5], run.Get("p1"));
        Assert.Equal((float)0.1 * 3, run.Get("m1")[2], 1e-7);   // no bf16 number
    }

    private static double[] Train(Optimizer optimizer, DType dtype, int length, int threads)
    {
        double[] start = [.. Enumerable.Range(0, length).Select(i => Math.Sin(i % 13))];
        using var run = new OptimizerRun(optimizer, dtype, start, (w, push) => w + push, threads);
        for (var step = 0; step < 3; step++) run.Step(0.01, [.. Enumerable.Range(0, length).Select(i => Math.Cos((i % 13) + step))]);
        return run.Param;
    }
}
