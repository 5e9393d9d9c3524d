using System.Diagnostics;
using GpuEngine.Core;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Layers;
using GpuEngine.Nn.Optimizers;

namespace GpuEngine.Nn.Training;

/// <summary>
/// Trains a classifier. Everything that a step needs is planned and allocated when <see cref="Prepare"/> returns; the loop then
/// moves batches in and runs one program per step, without allocating.
/// </summary>
public sealed class Trainer : IDisposable
{
    private readonly Module _model;
    private readonly LossFunction _loss;
    private readonly Optimizer _optimizer;
    private readonly IDevice _device;
    private TrainStep? _step;
    private StepOptions _stepOptions = StepOptions.Default;
    private IVariableStore? _store;
    private IExecutable? _executable;
    private IExecutable? _copies;
    private Evaluator? _evaluator;
    private BatchLoader? _loader;
    private Dataset? _data;
    private LearningRateSchedule? _schedule;
    private TrainerState _state = new();
    private InputPipeline _pipeline = InputPipeline.None;

    public Trainer(Module model, LossFunction loss, Optimizer optimizer, IDevice device)
    {
        (_model, _loss, _optimizer, _device) = (model, loss, optimizer, device);
    }

    public TrainerOptions Options { get; init; } = new();

    /// <summary>Names the model in checkpoints; a checkpoint of another name is refused.</summary>
    public string ModelName { get; init; } = "model";

    public ITrainingObserver? Observer { get; init; }

    /// <summary>The training step's plan and its storage, once prepared.</summary>
    public IExecutable Executable => _executable ?? throw NotPrepared();

    public IVariableStore Store => _store ?? throw NotPrepared();

    public TrainStep Step => _step ?? throw NotPrepared();

    /// <summary>Bytes allocated on the device, by class: variables, the training plan and the evaluation plan.</summary>
    public IReadOnlyDictionary<MemoryClass, long> AllocatedBytes =>
        new[] { Store.AllocatedBytes, Executable.AllocatedBytes, _evaluator!.AllocatedBytes }
            .SelectMany(d => d).GroupBy(p => p.Key).ToDictionary(g => g.Key, g => g.Sum(p => p.Value));

    /// <summary>What the plans said would be allocated, before anything was.</summary>
    public long PredictedBytes =>
        ScratchPool.BytesTogether([Executable.Plan, .. _evaluator!.Plans], _device.Target.Alignment).Values.Sum();

    /// <summary>Plans and allocates the steps and gives parameters their starting values.</summary>
    /// <exception cref="ShapeException">The model does not take these images.</exception>
    /// <exception cref="UserException">The data set has more classes than the model has outputs, or too few images for a batch.</exception>
    public void Prepare(Dataset data)
    {
        _data = data;
        var size = Options.BatchSize;
        _pipeline = InputPipeline.Of(Options.Augmentation, data.Shape, data.Train.Statistics, Options.Seed);
        _loader = new BatchLoader(data.Train, BatchLoaderOptions.Training(size, Options.Seed) with { Bytes = _pipeline.ReadsBytes });
        _schedule = LearningRateSchedule.Parse(Options.Schedule, _loader.BatchesPerEpoch * Options.Epochs, _loader.BatchesPerEpoch);
        var variables = new ModelVariables(_model);
        Shape input = [size, data.Shape.Channels, data.Shape.Height, data.Shape.Width];
        _stepOptions = new StepOptions
        {
            Clipping = Options.Clipping,
            Compute = Options.Compute,
            ChannelsLast = _device.Target.PrefersChannelsLast(Options.Compute),
            Passes = Options.Passes,
            Pipeline = _pipeline,
            ByProducts = Options.ByProducts,
        };
        _step = new TrainStep(variables, input, _loss, _optimizer, _stepOptions);
        if (_step.Classes < data.Classes.Count)
            throw new UserException($"The data set '{data.Name}' has {data.Classes.Count} classes, but the model gives {_step.Classes} outputs; make the model at least as wide.");
        _store = _device.CreateStore();
        _executable = _device.Load(Planner.Plan(_step.Program, _device.Target), _store);
        _evaluator = new Evaluator(_device, _store, variables, data.Shape, size, _loss, _stepOptions);
        if (variables.CopyProgram() is { } copies) _copies = _device.Load(Planner.Plan(copies, _device.Target), _store);
        variables.Initialize(_store, Options.Seed);
        WhiteningInitialization.Run(_store, variables, data.Train);
        if (variables.Slots.Any(s => s.Parameter.Init.NeedsData)) LsuvInitialization.Run(_device, _store, variables, _loader, input, _pipeline);
        _store.Write<long>(_step.Generator, [(long)Options.Seed, 0]);
        foreach (var (_, _, variable, start) in _step.OptimizerState)
        {
            if (start != 0) _store.Write<float>(variable, [.. Enumerable.Repeat((float)start, (int)variable.Type.Elements)]);
        }

        _copies?.Run();
    }

    /// <summary>Takes up a run where a checkpoint left it.</summary>
    /// <returns>The number of steps done.</returns>
    /// <exception cref="UserException">The checkpoint is of another model or another batch size.</exception>
    public long Restore(string checkpoint)
    {
        _state = CheckpointFile.Restore(checkpoint, Step, Store, ModelName);
        _loader!.Cursor = _state.Cursor;
        _copies?.Run();
        return Store.ReadArray<long>(Step.Step)[0];
    }

    /// <summary>Trains until the epochs are done or the validation loss stops falling.</summary>
    /// <exception cref="TrainingFailedException">The loss is no longer a finite number.</exception>
    public IReadOnlyList<EpochMetrics> Run(RunFolder? folder = null)
    {
        // Since they were prepared, parameters may have been loaded.
        _copies?.Run();
        var history = new List<EpochMetrics>();
        var clock = Stopwatch.StartNew();
        var progress = new TrainingProgress(() => Executable.ReadScalar<float>(TrainStep.Loss))
        {
            Epochs = Options.Epochs,
            BatchesPerEpoch = _loader!.BatchesPerEpoch,
            BatchSize = Options.BatchSize,
        };
        while (_state.Cursor.Epoch < Options.Epochs && !IsOut())
        {
            var metrics = RunEpoch(progress, clock, folder);
            history.Add(metrics);
            folder?.Append(metrics);
            Observer?.Epoch(metrics);
            Save(folder);
            if (IsOut())
                Observer?.Note($"Stopped early: no lower validation loss for {_state.EpochsWithoutGain} epochs.");
        }

        return history;
    }

    /// <summary>Loss and accuracy on a split.</summary>
    public EvaluationResult Evaluate(IExampleSource source) => _evaluator!.Run(source);

    /// <summary>The same with the probabilities of several views of each image averaged.</summary>
    public EvaluationResult Evaluate(IExampleSource source, TestTimeAveraging averaging)
    {
        using var evaluator = new Evaluator(_device, Store, Step.Model, source.Shape, Options.BatchSize, _loss, _stepOptions with { Averaging = averaging });
        return evaluator.Run(source);
    }

    /// <summary>One step on the next batch; the loop of <see cref="Run"/> without its bookkeeping, for measurements.</summary>
    public void RunStep(double learningRate)
    {
        var batch = _loader!.Take();
        _pipeline.WriteTraining(Executable, TrainStep.Input, batch);
        Executable.Write<int>(TrainStep.Target, batch.Labels);
        Executable.Write<double>(TrainStep.LearningRate, new ReadOnlySpan<double>(ref learningRate));
        Executable.Run();
    }

    public void Dispose()
    {
        _loader?.Dispose();
        _evaluator?.Dispose();
        _copies?.Dispose();
        _executable?.Dispose();
        _store?.Dispose();
    }

    private EpochMetrics RunEpoch(TrainingProgress progress, Stopwatch clock, RunFolder? folder)
    {
        var epoch = (int)_state.Cursor.Epoch;
        var batches = _loader!.BatchesPerEpoch;
        var firstStep = epoch * batches;
        var started = Stopwatch.GetTimestamp();
        (progress.Epoch, progress.BatchesTimed) = (epoch + 1, 0);
        var lr = 0.0;
        for (var b = _state.Cursor.Batch; b < batches; b++)
        {
            lr = _schedule!.At(_optimizer.LearningRate, firstStep + b);
            RunStep(lr);
            progress.Batch = b + 1;
            progress.BatchesTimed++;
            progress.Seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
            Observer?.Step(progress);
            if (Options.CheckpointEvery is { } every && (firstStep + b + 1) % every == 0 && b + 1 < batches)
            {
                CheckFinite(epoch, firstStep + b + 1);
                _state = _state with { Cursor = new LoaderCursor(epoch, b + 1) };
                Save(folder);
            }
        }

        CheckFinite(epoch, firstStep + batches);
        progress.Seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        var examples = (double)batches * Options.BatchSize;
        var loss = Store.ReadArray<double>(Step.LossSum)[0] / batches;
        var accuracy = Store.ReadArray<long>(Step.CorrectSum)[0] / examples;
        Store.Write<double>(Step.LossSum, [0.0]);
        Store.Write<long>(Step.CorrectSum, [0L]);
        EvaluationResult? validation = _data!.Validation is { } split ? Evaluate(split) : null;
        var gain = validation is { } v && v.Loss < _state.BestValLoss;
        _state = new TrainerState
        {
            Cursor = new LoaderCursor(epoch + 1, 0),
            BestValLoss = gain ? validation!.Value.Loss : _state.BestValLoss,
            EpochsWithoutGain = validation is null || gain ? 0 : _state.EpochsWithoutGain + 1,
        };
        return new EpochMetrics(
            epoch + 1, firstStep + batches, loss, accuracy, validation?.Loss, validation?.Accuracy, progress.ImagesPerSecond,
            clock.Elapsed.TotalSeconds, lr, AllocatedBytes.Values.Sum());
    }

    private bool IsOut() => Options.Patience is { } patience && _state.EpochsWithoutGain >= patience;

    /// <summary>A sum of losses stays NaN or infinite once one of them was, so looking at it now and then misses nothing.</summary>
    private void CheckFinite(int epoch, long step)
    {
        if (double.IsFinite(Store.ReadArray<double>(Step.LossSum)[0])) return;
        throw new TrainingFailedException(
            $"The loss is no longer a finite number in epoch {epoch + 1} (at or before step {step}); the last checkpoint is intact. Try a lower --lr, --clip-norm 1, or a norm.");
    }

    private void Save(RunFolder? folder)
    {
        if (folder is null) return;
        var step = Store.ReadArray<long>(Step.Step)[0];
        folder.Checkpoints.Save(step, CheckpointFile.Write(Step, Store, _state, ModelName));
        folder.Checkpoints.Prune(Options.KeepCheckpoints);
    }

    private static InvalidOperationException NotPrepared() => new("Call Prepare first.");
}
