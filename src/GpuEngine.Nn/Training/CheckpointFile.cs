using System.Globalization;
using GpuEngine.Core;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Files;

namespace GpuEngine.Nn.Training;

/// <summary>
/// A checkpoint: weights and buffers under their names in the model, optimizer state under `optimizer.NAME.PARAMETER`, counters
/// under `trainer.*`, the data cursor in the metadata. It holds nothing that depends on the clock, so two runs that agree write
/// equal files.
/// </summary>
public static class CheckpointFile
{
    private const string OptimizerPrefix = "optimizer.", TrainerPrefix = "trainer.";

    public static SafetensorsWriter Write(TrainStep step, IVariableStore store, TrainerState state, string modelName)
    {
        var writer = new SafetensorsWriter();
        foreach (var (name, shape, values) in step.Model.Read(store)) Add(writer, name, shape, values);
        foreach (var (group, stateName, variable, _) in step.OptimizerState)
        {
            foreach (var (name, shape, values) in ModelVariables.Slice(group, store.ReadArray<float>(variable)))
                Add(writer, $"{OptimizerPrefix}{stateName}.{name}", shape, values);
        }

        foreach (var variable in Counters(step))
        {
            var bytes = new byte[variable.Type.Bytes];
            store.Read(variable, bytes);
            writer.Add<byte>(TrainerPrefix + variable.Name, Dtype(variable.Type.DType), Long(variable.Type.Shape), bytes);
        }

        return writer
            .AddMetadata("gpuengine.model", modelName)
            .AddMetadata("gpuengine.epoch", Text(state.Cursor.Epoch))
            .AddMetadata("gpuengine.batch", Text(state.Cursor.Batch))
            .AddMetadata("gpuengine.best_val_loss", state.BestValLoss.ToString("R", CultureInfo.InvariantCulture))
            .AddMetadata("gpuengine.epochs_without_gain", Text(state.EpochsWithoutGain));
    }

    /// <summary>Restores everything that <see cref="Write"/> saved.</summary>
    /// <exception cref="UserException">The file is of another model or lacks something.</exception>
    public static TrainerState Restore(string path, TrainStep step, IVariableStore store, string modelName)
    {
        using var file = SafetensorsFile.Open(path);
        if (file.Metadata.TryGetValue("gpuengine.model", out var saved) && saved != modelName)
            throw new UserException($"The checkpoint {path} is of the model '{saved}', but this run is of '{modelName}'; resume with the options it was made with, or use another --out.");
        LoadModel(file, step.Model, store, allowExtra: true);
        foreach (var (group, stateName, variable, _) in step.OptimizerState)
        {
            store.Write<float>(variable, ModelVariables.Join(group, slot =>
                Values(file, $"{OptimizerPrefix}{stateName}.{slot.Name}", slot.Parameter.Shape, "another optimizer")));
        }

        foreach (var variable in Counters(step))
        {
            var bytes = new byte[variable.Type.Bytes];
            file.ReadInto(TrainerPrefix + variable.Name, bytes);
            store.Write(variable, bytes);
        }

        return new TrainerState
        {
            Cursor = new LoaderCursor((long)Number(file, "gpuengine.epoch"), (long)Number(file, "gpuengine.batch")),
            BestValLoss = Number(file, "gpuengine.best_val_loss"),
            EpochsWithoutGain = (int)Number(file, "gpuengine.epochs_without_gain"),
        };
    }

    /// <summary>Loads weights and buffers alone; nothing is written unless all of them fit.</summary>
    /// <exception cref="UserException">Tensors are missing, misshapen or (unless allowed) too many; all are listed.</exception>
    public static void LoadModel(SafetensorsFile file, ModelVariables model, IVariableStore store, bool allowExtra = false)
    {
        var problems = Misfits(file, model, allowExtra);
        if (problems.Count > 0)
            throw new UserException($"The file {file.Path} does not fit the model, so nothing was loaded: {string.Join("; ", problems)}.");
        foreach (var group in model.Groups)
            store.Write<float>(group.Arena, ModelVariables.Join(group, slot => Values(file, slot.Name, slot.Parameter.Shape, "another model")));
        foreach (var (name, buffer, variable) in model.Buffers) store.Write<float>(variable, Values(file, name, buffer.Shape, "another model"));
    }

    /// <summary>What keeps a file's tensors from being a model's, one clause each.</summary>
    public static IReadOnlyList<string> Misfits(SafetensorsFile file, ModelVariables model, bool allowExtra = false)
    {
        var expected = model.Slots.Select(s => (s.Name, s.Parameter.Shape)).Concat(model.Buffers.Select(b => (b.Name, b.Buffer.Shape))).ToList();
        var problems = new List<string>();
        foreach (var (name, shape) in expected)
        {
            if (!file.Tensors.TryGetValue(name, out var found)) problems.Add($"'{name}' {shape} is missing");
            else if (!found.Shape.Select(d => (int)d).SequenceEqual(shape)) problems.Add($"'{name}' is {found.ShapeText} instead of {shape}");
        }

        var known = expected.Select(e => e.Name).ToHashSet();
        if (!allowExtra)
        {
            foreach (var name in file.Tensors.Keys.Where(n => !known.Contains(n) && !IsOurs(n) && !n.EndsWith("num_batches_tracked", StringComparison.Ordinal)))
                problems.Add($"'{name}' is not part of the model");
        }

        return problems;
    }

    private static bool IsOurs(string name) =>
        name.StartsWith(OptimizerPrefix, StringComparison.Ordinal) || name.StartsWith(TrainerPrefix, StringComparison.Ordinal);

    private static IEnumerable<Variable> Counters(TrainStep step) => [step.Step, step.Generator, step.LossSum, step.CorrectSum];

    private static float[] Values(SafetensorsFile file, string name, Shape shape, string otherwise)
    {
        if (!file.Tensors.TryGetValue(name, out var tensor) || !tensor.Shape.Select(d => (int)d).SequenceEqual(shape))
            throw new UserException($"The checkpoint {file.Path} has no tensor '{name}' of shape {shape}; it was made with {otherwise}, so use the options it was made with.");
        var bytes = new byte[tensor.ByteLength];
        file.ReadInto(name, bytes);
        var values = ElementData.ToDoubles(DTypes.Parse(tensor.Dtype.ToString()), bytes);
        return Array.ConvertAll(values, v => (float)v);
    }

    private static double Number(SafetensorsFile file, string key) =>
        file.Metadata.TryGetValue(key, out var text) && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw new UserException($"The checkpoint {file.Path} lacks '{key}' in its metadata; it is a weights file, so use --init-from instead of --resume.");

    private static void Add(SafetensorsWriter writer, string name, Shape shape, float[] values) =>
        writer.Add<float>(name, SafetensorsDtype.F32, Long(shape), values);

    private static long[] Long(Shape shape) => [.. shape.Select(d => (long)d)];

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);

    private static SafetensorsDtype Dtype(DType dtype) => Enum.Parse<SafetensorsDtype>(dtype.ToString(), ignoreCase: true);
}
