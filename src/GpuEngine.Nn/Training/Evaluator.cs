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
    private readonly int _length;
    private readonly int[] _labels;
    private readonly InputPipeline _pipeline;

    /// <param name="device">Where to run; it also says how images lie.</param>
    /// <param name="store">The variables' values.</param>
    /// <param name="model">The model's variables.</param>
    /// <param name="example">Shape of one image.</param>
    /// <param name="batchSize">Images of a batch.</param>
    /// <param name="loss">What is summed.</param>
    /// <param name="options">What else; null takes <see cref="StepOptions.Default"/>.</param>
    public Evaluator(
        IDevice device, IVariableStore store, ModelVariables model, ExampleShape example, int batchSize, LossFunction loss, StepOptions? options = null)
    {
        (_batchSize, _length) = (batchSize, example.Length);
        _labels = new int[batchSize];
        options ??= StepOptions.Default;
        _pipeline = options.Pipeline;
        Shape input = [batchSize, example.Channels, example.Height, example.Width];
        var step = new EvalStep(model, input, loss, options with { ChannelsLast = device.Target.PrefersChannelsLast(options.Compute) });
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
        using var loader = new BatchLoader(source, BatchLoaderOptions.Evaluation(_batchSize) with { Bytes = _pipeline.ReadsBytes });
        var (loss, correct) = (0.0, 0L);
        _preparation?.Run();
        for (var i = 0L; i < loader.BatchesPerEpoch; i++)
        {
            var batch = loader.Take();
            batch.Labels.CopyTo(_labels, 0);
            _labels.AsSpan(batch.Count).Fill(Losses.Ignored);
            _pipeline.Write(_executable, EvalStep.Input, batch);
            _executable.Write<int>(EvalStep.Target, _labels);
            _executable.Run();
            // An empty batch cannot occur, and a padded one sums to what its real rows contribute.
            loss += _executable.ReadScalar<float>(EvalStep.LossSum);
            correct += _executable.ReadScalar<long>(EvalStep.Correct);
        }

        return new EvaluationResult(loss / source.Count, (double)correct / source.Count, source.Count);
    }

    /// <summary>The logits [N, classes] of images [N, C, H, W] that are in memory.</summary>
    public float[] Logits(float[] images)
    {
        var classes = _executable.Plan.Program.Outputs.Single(o => o.Name == EvalStep.Logits).Tensor.Shape[1];
        var (batch, answers) = (new float[_batchSize * _length], new float[_batchSize * classes]);
        var count = images.Length / _length;
        var logits = new float[count * classes];
        _preparation?.Run();
        _executable.Write<int>(EvalStep.Target, _labels);
        for (var done = 0; done < count; done += _batchSize)
        {
            // The last batch is filled up with what the one before left.
            var rows = Math.Min(_batchSize, count - done);
            images.AsSpan(done * _length, rows * _length).CopyTo(batch);
            _executable.Write<float>(EvalStep.Input, batch);
            _executable.Run();
            _executable.Read<float>(EvalStep.Logits, answers);
            answers.AsSpan(0, rows * classes).CopyTo(logits.AsSpan(done * classes));
        }

        return logits;
    }

    public void Dispose()
    {
        _preparation?.Dispose();
        _executable.Dispose();
    }
}
