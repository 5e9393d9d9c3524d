using System.CommandLine;
using System.Text.Json.Nodes;
using GpuEngine.Cli.Screen;
using GpuEngine.Core;
using GpuEngine.Lab;
using GpuEngine.Nn.Training;

namespace GpuEngine.Cli.Commands;

/// <summary>`gpuengine train`: the main job.</summary>
internal static class TrainCommand
{
    private const string Help = """
        Trains a model. With no options: a 20-layer batch-normalised MLP on generated images (Shapeset-3x2), a minute or so on two
        CPU cores; at the end the test error, where the time went, and the path of the report.

        RUN/ gets config.json, metrics.jsonl (one line per epoch), checkpoints/*.safetensors, TensorBoard events and report.html.
        A run that was killed goes on with --out RUN --resume and ends in the same bits as one that was not.

        Examples:
          gpuengine train
          gpuengine train --norm none                                  the same net without normalisation
          gpuengine train --data mnist --data-dir data --model mlp --depth 4 --width 512 --epochs 5 --out runs/mnist
          gpuengine train --out runs/mnist --resume
          gpuengine train --model lenet5 --data fashion-mnist --optimizer sgd --lr 0.05 --momentum 0.9 --schedule cosine
          gpuengine train --recipe resnet-cifar --data-dir data --out runs/resnet20      He et al. 2015 on CIFAR-10; --epochs shortens it
          gpuengine train --model resnet20 --data cifar10 --augment crop:4,flip,cutout:8 --tta flip
          gpuengine train --config runs/mnist/config.json --seed 2
        """;

    public static Command Create()
    {
        var command = new Command("train", Help);
        var read = ConfigOptions.AddTo(command, ConfigOptions.Model, ConfigOptions.Data, ConfigOptions.Training);
        var config = new Option<string?>("--config") { Description = "JSON file of options; those on the command line win", HelpName = "FILE.json" };
        var output = new Option<string?>("--out") { Description = "folder of the run [runs/MODEL-DATA-TIME]", HelpName = "RUN" };
        var resume = new Option<bool>("--resume") { Description = "continue the run in --out from its newest whole checkpoint" };
        command.Options.Add(config);
        command.Options.Add(output);
        command.Options.Add(resume);
        command.SetAction(parsed =>
        {
            var given = read(parsed);
            if (parsed.GetValue(config) is { } file) given = TrainingSetup.Merge(RunConfig.ReadFile(file), given);
            using var screen = new TrainingScreen();
            var job = Prepare(given, parsed.GetValue(output), parsed.GetValue(resume), parsed.GetValue(config) ?? "the command line", screen);
            var result = job.Run();
            screen.Finish();
            TrainingSummary.Print(result);
            return CommandLine.Done;
        });
        return command;
    }

    private static TrainingJob Prepare(JsonObject given, string? output, bool resume, string source, ITrainingObserver observer)
    {
        if (resume)
        {
            if (output is null) throw new UserException("--resume needs --out RUN, the folder of the run to continue.");
            return TrainingJob.Resume(output, given, observer);
        }

        var config = TrainingSetup.Complete(RunConfig.FromJson(given, source));
        return TrainingJob.Start(config, output ?? DefaultFolder(config), observer);
    }

    private static string DefaultFolder(RunConfig config) =>
        Path.Combine("runs", $"{config.Model}-{config.Data.Replace(':', '-')}-{DateTime.Now:yyyyMMdd-HHmmss}");
}
