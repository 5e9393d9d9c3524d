using System.Globalization;
using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Initializers;
using GpuEngine.Nn.Layers;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;

namespace GpuEngine.Nn.Training;

/// <summary>From a <see cref="RunConfig"/> to the objects that it describes.</summary>
public static class TrainingSetup
{
    /// <summary>
    /// Fills in what was not given. The default job, an mlp on shapeset, is deep, narrow and residual, with a rate that needs its
    /// norms; elsewhere an mlp is a plain 4x512.
    /// </summary>
    /// <exception cref="UserException">A value is out of range.</exception>
    public static RunConfig Complete(RunConfig config)
    {
        var deep = config is { Model: "mlp", Data: "shapeset" };
        var complete = config with
        {
            Depth = config.Depth ?? (config.Model != "mlp" ? null : deep ? 20 : 4),
            Width = config.Width ?? (config.Model != "mlp" ? null : deep ? 256 : 512),
            Norm = config.Norm ?? (config.Model != "mlp" ? null : "batch"),
            Residual = config.Residual ?? (deep ? true : null),
            Lr = config.Lr ?? (deep && config.Optimizer == "adamw" ? 5e-3 : null),
            Limit = config.Limit ?? (config.Data == "shapeset" ? 50_000 : null),
            Validation = config.Validation ?? 0.1,
            Epochs = config.Epochs ?? (config.Data == "shapeset" ? 24 : 5),
            BatchSize = config.BatchSize ?? 128,
            Schedule = config.Schedule ?? "cosine",
        };
        Check(complete);
        return complete;
    }

    /// <summary>One object of options over another: what <paramref name="over"/> gives wins.</summary>
    public static JsonObject Merge(JsonObject under, JsonObject over)
    {
        var merged = under.DeepClone().AsObject();
        foreach (var (name, value) in over) merged[name] = value?.DeepClone();
        return merged;
    }

    public static Dataset OpenData(RunConfig config)
    {
        var data = Datasets.Open(config.Data, new DatasetOptions
        {
            DataDir = config.DataDir,
            Limit = config.Limit,
            Validation = config.Validation is { } v ? v < 1 ? HoldOut.Fraction(v) : HoldOut.Count((long)v) : HoldOut.None,
            Seed = config.Seed,
            Noise = config.Noise ?? 0,
        });
        if (data.Train.Count < config.BatchSize)
            throw new UserException($"--batch-size {config.BatchSize} is more than the {data.Train.Count} training images of '{data.Name}'; give a smaller one.");
        return data;
    }

    /// <summary>Shape and classes of a data set without reading its files where they are known by name.</summary>
    public static (ExampleShape Shape, int Classes) ExampleOf(RunConfig config)
    {
        switch (config.Data)
        {
            case "mnist" or "fashion-mnist": return (new ExampleShape(1, 28, 28), 10);
            case "cifar10": return (new ExampleShape(3, 32, 32), 10);
            case "cifar100": return (new ExampleShape(3, 32, 32), 100);
            default:
                var data = OpenData(config);
                return (data.Shape, data.Classes.Count);
        }
    }

    /// <exception cref="UserException">The model or one of its options is unknown or out of range.</exception>
    public static Module BuildModel(RunConfig config, ExampleShape example, int classes)
    {
        if (config.Model != "mlp")
            return ModelCatalog.Find(config.Model).Build(new ModelRequest(example, classes, config.Activation, config.ZeroInitResidual ?? false));
        return Mlp.Create(example.Length, classes, new MlpOptions
        {
            Depth = config.Depth ?? 4,
            Width = config.Width ?? 512,
            Norm = NormOf(config.Norm ?? "batch"),
            Groups = config.Groups ?? 8,
            Residual = ResidualOf(config),
            BranchScale = BranchScaleOf(config),
            ZeroInitResidual = config.ZeroInitResidual ?? false,
            Activation = config.Activation ?? "relu",
            Dropout = config.Dropout ?? 0,
            Init = config.Init is null ? null : Initializer.Create(config.Init),
        });
    }

    public static Optimizer BuildOptimizer(RunConfig config) => Optimizer.Create(config.Optimizer, new OptimizerOptions
    {
        LearningRate = config.Lr,
        Momentum = config.Momentum,
        Dampening = config.Dampening,
        Nesterov = config.Nesterov,
        WeightDecay = config.WeightDecay,
        Betas = config.Betas is { } b ? b.Length == 2 ? (b[0], b[1]) : throw new UserException("--betas takes two numbers, such as 0.9,0.999.") : null,
        Eps = config.Eps,
        Alpha = config.Alpha,
        Centered = config.Centered,
        Amsgrad = config.Amsgrad,
    });

    public static LossFunction Loss(RunConfig config) =>
        config.LabelSmoothing is { } smoothing ? Losses.SmoothedCrossEntropy(smoothing) : Losses.CrossEntropy;

    public static Clipping ClippingOf(RunConfig config) => new(config.ClipNorm, config.ClipValue);

    public static DType ComputeOf(RunConfig config) => config.Precision == "bf16" ? DType.BF16 : DType.F32;

    public static TrainerOptions OptionsOf(RunConfig config) => new()
    {
        Epochs = config.Epochs!.Value,
        BatchSize = config.BatchSize!.Value,
        Seed = config.Seed,
        Schedule = config.Schedule!,
        Clipping = ClippingOf(config),
        Patience = config.Patience,
        CheckpointEvery = config.CheckpointEvery,
        KeepCheckpoints = config.KeepCheckpoints ?? 3,
        Compute = ComputeOf(config),
        Augmentation = Augmentation.Parse(config.Augment),
        Passes = PassesOf(config),
    };

    /// <exception cref="UserException">A pass is unknown, or the number of segments makes no sense.</exception>
    public static PassOptions PassesOf(RunConfig config) => PassOptions.Parse(config.Passes) with
    {
        Recompute = config.Recompute ?? false,
        Checkpoint = config.Checkpoint switch
        {
            null => null,
            "auto" => CheckpointSegments.Auto,
            var text when int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var segments) && segments >= 2 => segments,
            var text => throw new UserException($"--checkpoint takes a number of segments from 2 on, or auto, but '{text}' was given."),
        },
    };

    /// <summary>The same without reading files: what only a plan needs.</summary>
    public static InputPipeline PipelineOf(RunConfig config, ExampleShape example)
    {
        double[] Each(double value) => [.. Enumerable.Repeat(value, example.Channels)];
        var isFile = config.Data is "mnist" or "fashion-mnist" or "cifar10" or "cifar100";
        return InputPipeline.Of(Augmentation.Parse(config.Augment), example, isFile ? new ChannelStatistics(Each(0), Each(1)) : null);
    }

    /// <summary>What becomes of a data set's images on their way to the model.</summary>
    public static InputPipeline PipelineOf(RunConfig config, Dataset data) =>
        InputPipeline.Of(Augmentation.Parse(config.Augment), data.Shape, data.Train.Statistics);

    /// <summary>What a checkpoint must agree on to be continued: everything that shapes the weights and the optimizer's state.</summary>
    public static string NameOf(RunConfig config)
    {
        var activation = $"activation={config.Activation ?? "relu"}";
        if (config.Model != "mlp") return $"{config.Model} {activation}";
        var residual = ResidualOf(config) switch
        {
            ResidualForm.None => "False",
            ResidualForm.Pre => "True",
            _ => "post",
        };
        var scale = config.BranchScale is null ? "" : $" branch_scale={config.BranchScale}";
        return $"mlp depth={config.Depth} width={config.Width} norm={config.Norm} {activation} residual={residual}{scale}";
    }

    private static ResidualForm ResidualOf(RunConfig config) => (config.Residual ?? false, config.ResidualForm ?? "pre") switch
    {
        (false, _) => ResidualForm.None,
        (true, "pre") => ResidualForm.Pre,
        (true, "post") => ResidualForm.Post,
        (_, var other) => throw new UserException(NearestName.Sentence("residual form", other, ["pre", "post"])),
    };

    private static double? BranchScaleOf(RunConfig config)
    {
        if (config.BranchScale is not { } text) return null;
        if (text == "depth") return Mlp.BranchScale(config.Depth ?? 4);
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var scale) && double.IsFinite(scale)
            ? scale
            : throw new UserException($"--branch-scale takes a number or 'depth' (1/sqrt of the number of blocks), but is '{text}'.");
    }

    private static NormKind NormOf(string name) => name switch
    {
        "none" => NormKind.None,
        "batch" => NormKind.Batch,
        "layer" => NormKind.Layer,
        "group" => NormKind.Group,
        "instance" => NormKind.Instance,
        _ => throw new UserException(NearestName.Sentence("norm", name, ["batch", "group", "layer", "instance", "none"])),
    };

    private static void Check(RunConfig complete)
    {
        Positive("--epochs", complete.Epochs);
        Positive("--batch-size", complete.BatchSize);
        Positive("--patience", complete.Patience);
        Positive("--checkpoint-every", complete.CheckpointEvery);
        Positive("--keep-checkpoints", complete.KeepCheckpoints);
        Positive("--threads", complete.Threads);
        Positive("--devices", complete.Devices);
        _ = Augmentation.Parse(complete.Augment);
        _ = TestTimeAveraging.Parse(complete.Tta);
        if (!ModelCatalog.Names.Contains(complete.Model)) throw new UserException(NearestName.Sentence("model", complete.Model, ModelCatalog.Names));
        string[] precisions = ["fp32", "tf32", "bf16"];
        if (!precisions.Contains(complete.Precision)) throw new UserException(NearestName.Sentence("precision", complete.Precision, precisions));
        if (complete.ClipNorm is <= 0) throw new UserException($"--clip-norm must be positive, but is {complete.ClipNorm}.");
        if (complete.ClipValue is <= 0) throw new UserException($"--clip-value must be positive, but is {complete.ClipValue}.");
        if (complete.Validation is < 0) throw new UserException($"--validation must not be negative, but is {complete.Validation}.");
        _ = BranchScaleOf(complete);
        _ = PassesOf(complete);
        if (complete.Model == "mlp")
        {
            if (ResidualOf(complete) != ResidualForm.None) return;
            RefuseStray("without --residual", ("--residual-form", complete.ResidualForm), ("--branch-scale", complete.BranchScale), ("--zero-init-residual", complete.ZeroInitResidual));
            return;
        }

        var spec = ModelCatalog.Find(complete.Model);
        RefuseStray(
            "it belongs to mlp", ("--depth", complete.Depth), ("--width", complete.Width), ("--norm", complete.Norm), ("--residual", complete.Residual),
            ("--residual-form", complete.ResidualForm), ("--branch-scale", complete.BranchScale), ("--dropout", complete.Dropout),
            ("--groups", complete.Groups), ("--init", complete.Init));
        if (!spec.TakesActivation) RefuseStray("its activation is part of it", ("--activation", complete.Activation));
        if (!spec.HasResidual) RefuseStray("it has no residual branches", ("--zero-init-residual", complete.ZeroInitResidual));

        void RefuseStray(string why, params (string Name, object? Value)[] options)
        {
            if (options.FirstOrDefault(o => o.Value is not null).Name is { } stray)
                throw new UserException($"The model '{complete.Model}' has no option {stray}: {why}.");
        }
    }

    private static void Positive(string name, long? value)
    {
        if (value is < 1) throw new UserException($"{name} must be at least 1, but is {value}.");
    }
}
