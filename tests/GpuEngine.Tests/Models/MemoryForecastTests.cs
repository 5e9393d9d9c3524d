using GpuEngine.Core.Cpu;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Lab.Measure;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Models;

/// <summary>What `gpuengine memory` says of a plan is true of the plan.</summary>
public sealed class MemoryForecastTests
{
    private static readonly ExecutionPlan Plan = PlanOf("resnet20");

    [Fact]
    public void What_a_launch_reads_and_writes_is_alive_while_it_runs()
    {
        var slices = Plan.Slices.Where(s => s.Class == MemoryClass.Activations).ToList();
        for (var i = 0; i < Plan.Launches.Count; i++)
        {
            var launch = Plan.Launches[i];
            foreach (var place in launch.Inputs.Concat(launch.Outputs).Where(p => p is { Variable: null, Class: MemoryClass.Activations }))
                Assert.Contains(slices, s => s.Offset <= place.Offset && place.Offset < s.Offset + s.Bytes && s.FirstLaunch <= i && i <= s.LastLaunch);
        }
    }

    [Fact]
    public void The_timeline_peaks_at_what_the_arena_holds()
    {
        using var cpu = new CpuDevice(1);
        var forecast = new MemoryForecast(Plan, cpu.Target.Alignment);
        var timeline = forecast.Timeline();
        // Offsets are found greedily: the arena may be a little larger than what is alive at once, never smaller.
        Assert.InRange(timeline.Max(), 0.9 * forecast.ByClass[MemoryClass.Activations], forecast.ByClass[MemoryClass.Activations]);
        // Activations pile up in the forward pass and go in the backward pass: the peak is in the middle.
        Assert.InRange(Array.IndexOf(timeline, timeline.Max()), timeline.Length / 4, 3 * timeline.Length / 4);
        Assert.All(forecast.AtPeak(8), t => Assert.True(t.Bytes >= 1 << 20, $"{t} is not large"));
    }

    private static ExecutionPlan PlanOf(string model)
    {
        using var cpu = new CpuDevice(1);
        var net = ModelCatalog.Find(model).Build(new ModelRequest(new ExampleShape(3, 32, 32), 10));
        var step = new TrainStep(new ModelVariables(net), [32, 3, 32, 32], Losses.CrossEntropy, new Sgd(0.1));
        return Planner.Plan(step.Program, cpu.Target);
    }
}
