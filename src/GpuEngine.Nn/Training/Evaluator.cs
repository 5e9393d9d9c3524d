using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Data;

namespace GpuEngine.Nn.Training;

/// <summary>Evaluates a model on a split, in order, without dropout and with running statistics.</summary>
public sealed class Evaluator : IDisposable
{
    private readonly IExecutable _executable;
    private readonly IExecutable? _preparation;
    private readonly int _batchSize;
    private readonly int[] _labels;

    public Evaluator(IDevice device, IVariableStore store, ModelVariables model, ExampleShape example, int batchSize, LossFunction loss, DType compute = DType.F32,
        PassOptions? passes = null)
    {
        _batchSize = batchSize;
        _labels = new int[batchSize];
        var step = new EvalStep(model, [batchSize, example.Channels, example.Height, example.Width], loss, compute, device.Target.PrefersChannelsLast(compute), passes);
        _executable = device.Load(Planner.Plan(step.Program, device.Target), store);
        if (step.Preparation is { } preparation) _preparation = device.Load(Planner.Plan(preparation, device.Target), store);
        // For variables that have their values already; whoever evaluates after they changed prepares again.
        _preparation?.Run();
    }

    public IExecutable Executable => _executable;

    /// <summary>The plan of a batch and that of what precedes the first one, in the order of loading.</summary>
    public IReadOnlyList<ExecutionPlan> Plans => _preparation is null ? [_executable.Plan] : [_executable.Plan, _preparation.Plan];

    /// <summary>Bytes allocated for both, by class; what they share with a training plan is that one's.</summary>
    public IEnumerable<KeyValuePair<MemoryClass, long>> AllocatedBytes => _executable.AllocatedBytes.Concat(_preparation?.AllocatedBytes ?? new Dictionary<MemoryClass, long>());

    public EvaluationResult Run(IExampleSource source)
    {
        using var loader = new BatchLoader(source, BatchLoaderOptions.Evaluation(_batchSize));
        var (loss, correct) = (0.0, 0L);
        _preparation?.Run();
        for (var i = 0L; i < loader.BatchesPerEpoch; i++)
        {
            var batch = loader.Take();
            batch.Labels.CopyTo(_labels, 0);
            _labels.AsSpan(batch.Count).Fill(Losses.Ignored);
            _executable.Write<float>(EvalStep.Input, batch.Inputs);
            _executable.Write<int>(EvalStep.Target, _labels);
            _executable.Run();
            // An empty batch cannot occur, and a padded one sums to what its real rows contribute.
            loss += _executable.ReadScalar<float>(EvalStep.LossSum);
            correct += _executable.ReadScalar<long>(EvalStep.Correct);
        }

        return new EvaluationResult(loss / source.Count, (double)correct / source.Count, source.Count);
    }

    public void Dispose()
    {
        _preparation?.Dispose();
        _executable.Dispose();
    }
}
