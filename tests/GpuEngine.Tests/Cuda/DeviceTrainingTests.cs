using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Whole training steps: against the CPU device, against themselves, replayed and launched one by one.</summary>
[Collection("device")]
public sealed class DeviceTrainingTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>, IDisposable
{
    private const int Steps = 20;

    public void Dispose() => under.AssertNothingFound();

    [Fact]
    public void Twenty_steps_follow_the_cpu_device_to_1e_4()
    {
        using var cpu = new CpuDevice(1);
        using var reference = new SmallMlp(cpu);
        using var mlp = new SmallMlp(under.Shared);
        double first = 0, last = 0;
        for (var step = 0; step < Steps; step++)
        {
            var (expected, actual) = (reference.Step(), mlp.Step());
            Assert.True(Math.Abs(actual - expected) <= 1e-4 * expected, $"step {step}: {actual:R} instead of {expected:R}");
            if (step == 0) first = actual;
            last = actual;
        }

        Assert.True(last < first, $"the loss went from {first} to {last}");
        // Which units dropout silenced is decided by bits that are equal everywhere; relu's zeros are in both too.
        Assert.Equal(reference.Evaluation.Get("hidden").Select(v => v == 0), mlp.Evaluation.Get("hidden").Select(v => v == 0));
    }

    [Fact]
    public void Two_runs_are_bit_equal()
    {
        var (a, b) = (Train(under.Shared), Train(under.Shared));
        Assert.Equal(a, b);
    }

    [Fact]
    public void A_replayed_graph_does_what_single_launches_do()
    {
        using var direct = DeviceUnderTest.Open(new CudaDeviceOptions { UseGraphs = false, KernelCacheFolder = DeviceUnderTest.CacheFolder });
        Assert.Equal(Train(direct), Train(under.Shared));
    }

    [Fact]
    public void Joining_element_wise_launches_does_not_change_a_bit()
    {
        using var apart = DeviceUnderTest.Open(new CudaDeviceOptions { FuseElementwise = false, KernelCacheFolder = DeviceUnderTest.CacheFolder });
        Assert.Equal(Train(apart), Train(under.Shared));
    }

    [Fact]
    public void A_run_allocates_nothing()
    {
        using var mlp = new SmallMlp(under.Shared);
        // The first run launches one by one, the second captures.
        for (var i = 0; i < 3; i++) mlp.Step();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 10; i++) mlp.Evaluation.Run();
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Timing_is_a_run_and_counts_every_launch()
    {
        using var timed = new SmallMlp(under.Shared);
        using var plain = new SmallMlp(under.Shared);
        timed.Step();
        plain.Step();
        var seconds = new double[timed.Evaluation.Executable.Plan.Launches.Count];
        timed.Evaluation.Executable.RunTimed(seconds);
        plain.Evaluation.Run();
        Assert.Equal(plain.Evaluation.Get("loss"), timed.Evaluation.Get("loss"));
        Assert.Contains(seconds, s => s > 0);
        Assert.All(seconds, s => Assert.True(s >= 0));
    }

    [Fact]
    public void The_plan_predicts_what_is_allocated()
    {
        using var mlp = new SmallMlp(under.Shared);
        var plan = mlp.Evaluation.Executable.Plan;
        Assert.Equal(plan.ArenaBytes.OrderBy(a => a.Key), mlp.Evaluation.Executable.AllocatedBytes.OrderBy(a => a.Key));
        var predicted = plan.PeakBytes(under.Shared.Target.Alignment);
        foreach (var (memoryClass, bytes) in mlp.Evaluation.Variables.AllocatedBytes)
            Assert.Equal(predicted[memoryClass], bytes + plan.ArenaBytes.GetValueOrDefault(memoryClass));
    }

    [Fact]
    public void A_warm_cache_compiles_nothing()
    {
        var folder = Path.Combine(Path.GetTempPath(), $"gpuengine-{Guid.NewGuid():n}");
        try
        {
            var options = new CudaDeviceOptions { KernelCacheFolder = folder };
            using (var cold = DeviceUnderTest.Open(options))
            using (new SmallMlp(cold))
                Assert.True(cold.Library.Cache.Compiled > 0);
            using var warm = DeviceUnderTest.Open(options);
            using var mlp = new SmallMlp(warm);
            mlp.Step();
            Assert.Equal(0, warm.Library.Cache.Compiled);
            Assert.True(warm.Library.Cache.FromFolder > 0);
        }
        finally
        {
            if (Directory.Exists(folder)) Directory.Delete(folder, true);
        }
    }

    // Sums of a few hundred products, twice differentiated: a thousand f32 roundings of the largest entry.
    [Fact]
    public void Hessian_vector_products_are_the_cpu_devices()
    {
        var (w, v) = (F.Input("w", DType.F32, [9, 7]), F.Input("v", DType.F32, [9, 7]));
        var (x, target) = (F.Input("x", DType.F32, [8, 7]), F.Input("target", DType.I64, [8]));
        var gamma = F.Ones([9], DType.F32);
        var h = F.BatchNorm(F.Linear(x, w), null, null, gamma, F.Zeros([9], DType.F32), training: true).Output;
        var loss = F.CrossEntropy(F.Gelu(h), target);
        var product = Autodiff.HessianVector(loss, [w], [v])[0];
        double[] Run(IDevice device)
        {
            using var evaluation = new Evaluation(device, [new("hv", product)]);
            var random = new System.Random(3);
            foreach (var name in new[] { "w", "v", "x" })
                evaluation.Set(name, [.. Enumerable.Range(0, name == "x" ? 56 : 63).Select(_ => (double)(float)(random.NextDouble() - 0.5))]);
            evaluation.Set("target", [.. Enumerable.Range(0, 8).Select(i => (double)i)]);
            evaluation.Run();
            return evaluation.Get("hv");
        }

        using var cpu = new CpuDevice(1);
        var (expected, actual) = (Run(cpu), Run(under.Shared));
        var allowed = 1000 * Math.Pow(2, -24) * expected.Max(Math.Abs);
        Assert.All(expected.Zip(actual), p => Assert.InRange(Math.Abs(p.First - p.Second), 0, allowed));
    }

    private static float[] Train(CudaDevice device)
    {
        using var mlp = new SmallMlp(device);
        for (var step = 0; step < 5; step++) mlp.Step();
        return [.. mlp.Weights.SelectMany(w => mlp.Evaluation.Variables.ReadArray<float>(w))];
    }
}
