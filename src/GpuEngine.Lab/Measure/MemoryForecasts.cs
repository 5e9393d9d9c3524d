using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Training;

namespace GpuEngine.Lab.Measure;

/// <summary>The forecast of a whole run: the training step, and the evaluation plan that shares its variables.</summary>
public sealed record RunForecast(MemoryForecast Step, IReadOnlyDictionary<MemoryClass, long> ByClass)
{
    public long Total => ByClass.Values.Sum();
}

/// <summary>Forecasts from a run's options.</summary>
public static class MemoryForecasts
{
    /// <summary>Plans the run's programs for a device without loading them.</summary>
    public static RunForecast Of(RunConfig config, IPlanTarget target)
    {
        var (example, classes) = TrainingSetup.ExampleOf(config);
        var variables = new ModelVariables(TrainingSetup.BuildModel(config, example, classes));
        Shape input = [config.BatchSize!.Value, example.Channels, example.Height, example.Width];
        var loss = TrainingSetup.Loss(config);
        var options = new StepOptions
        {
            Clipping = TrainingSetup.ClippingOf(config),
            Compute = TrainingSetup.ComputeOf(config),
            ChannelsLast = target.PrefersChannelsLast(TrainingSetup.ComputeOf(config)),
            Passes = TrainingSetup.PassesOf(config),
            Pipeline = TrainingSetup.PipelineOf(config, example),
        };
        var step = new TrainStep(variables, input, loss, TrainingSetup.BuildOptimizer(config), options);
        var evaluation = new EvalStep(variables, input, loss, options);
        TensorProgram[] programs = [step.Program, .. evaluation.Programs.Reverse()];
        ExecutionPlan[] plans = [.. programs.Select(p => Planner.Plan(p, target))];
        return new RunForecast(new MemoryForecast(plans[0], target.Alignment), ScratchPool.BytesTogether(plans, target.Alignment));
    }

    /// <summary>What PyTorch's eager mode would need for the same step, by formula.</summary>
    public static TorchEagerMemory Torch(RunConfig config)
    {
        var (example, classes) = TrainingSetup.ExampleOf(config);
        var variables = new ModelVariables(TrainingSetup.BuildModel(config, example, classes));
        return TorchEagerMemory.Of(
            variables, [config.BatchSize!.Value, example.Channels, example.Height, example.Width], TrainingSetup.Loss(config), TrainingSetup.ComputeOf(config),
            TrainingSetup.BuildOptimizer(config).StateNames.Count);
    }
}
