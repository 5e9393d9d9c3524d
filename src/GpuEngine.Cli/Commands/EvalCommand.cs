using System.CommandLine;
using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Lab;
using GpuEngine.Nn.Training;

namespace GpuEngine.Cli.Commands;

/// <summary>`gpuengine eval`: loss and accuracy of saved weights on a data set.</summary>
internal static class EvalCommand
{
    private const string Help = """
        Evaluates a run (its newest whole checkpoint) or a weights file on the test split of a data set.

        Examples:
          gpuengine eval --run runs/mnist
          gpuengine eval --run runs/resnet20 --tta flip,crops:3        probabilities averaged over six views
          gpuengine eval --weights runs/mnist/checkpoints/step-00002110.safetensors --model mlp --data mnist --data-dir data
          gpuengine eval --weights resnet50.safetensors --model resnet50 --input images.safetensors --output logits.safetensors
        """;

    public static Command Create()
    {
        var command = new Command("eval", Help);
        var run = new Option<string?>("--run") { Description = "folder of a run", HelpName = "RUN" };
        var weights = new Option<string?>("--weights") { Description = "safetensors file with weights by name", HelpName = "FILE" };
        var split = new Option<string>("--split") { Description = "test, validation or train", DefaultValueFactory = _ => "test", HelpName = "S" };
        var input = new Option<string?>("--input")
        {
            Description = "safetensors file whose tensor `input` [N, C, H, W] holds images, instead of a data set",
            HelpName = "FILE",
        };
        var output = new Option<string?>("--output") { Description = "with --input: where `output` [N, classes], the logits, is written", HelpName = "FILE" };
        var json = new Option<bool>("--json") { Description = "the result as JSON on stdout" };
        command.Options.Add(run);
        command.Options.Add(weights);
        command.Options.Add(split);
        command.Options.Add(input);
        command.Options.Add(output);
        command.Options.Add(json);
        var read = ConfigOptions.AddTo(command, ConfigOptions.Model, ConfigOptions.Data, ConfigOptions.Training.Where(o =>
            o.Name is "--batch-size" or "--device" or "--threads" or "--seed" or "--precision" or "--augment" or "--tta" or "--passes"));
        command.SetAction(parsed =>
        {
            var (folder, file) = (parsed.GetValue(run), parsed.GetValue(weights));
            if ((folder is null) == (file is null)) throw new UserException("`gpuengine eval` needs either --run RUN or --weights FILE.");
            var given = read(parsed);
            var config = TrainingSetup.Complete(folder is null
                ? RunConfig.FromJson(given, "the command line")
                : RunConfig.FromJson(TrainingSetup.Merge(RunFolder.ReadConfig(folder), given), folder));
            using var device = Device.Open(config.Device, config.Threads ?? 0, config.Precision == "tf32");
            if (parsed.GetValue(input) is { } images)
            {
                var target = parsed.GetValue(output) ?? throw new UserException("`gpuengine eval --input FILE` needs --output FILE: where the logits go.");
                EvaluationJob.Answer(config, device, folder, file, images, note => System.Console.Error.WriteLine(note)).Save(target);
                return CommandLine.Done;
            }

            if (parsed.GetValue(output) is not null) throw new UserException("`gpuengine eval --output FILE` needs --input FILE: the images whose logits are wanted.");
            var result = EvaluationJob.Run(config, device, folder, file, parsed.GetValue(split)!, note => System.Console.Error.WriteLine(note));
            if (parsed.GetValue(json))
            {
                Output.Json(new JsonObject { ["loss"] = result.Loss, ["accuracy"] = result.Accuracy, ["error"] = result.Error, ["examples"] = result.Examples }, "-");
                return CommandLine.Done;
            }

            System.Console.Out.WriteLine($"{parsed.GetValue(split)} loss {result.Loss:F4}, accuracy {result.Accuracy:P2}, error {result.Error:P2} on {result.Examples} images");
            return CommandLine.Done;
        });
        return command;
    }
}
