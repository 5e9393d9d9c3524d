using System.Text.Json;
using GpuEngine.Nn.Files;
using Xunit;

namespace GpuEngine.Tests.CommandLine;

/// <summary>The contract of the command line on good input.</summary>
public class CommandTests
{
    [Fact]
    public void Train_eval_and_memory_agree_on_one_small_run()
    {
        using var folder = new TemporaryFolder();
        string[] model = ["--depth", "2", "--width", "32", "--limit", "640", "--batch-size", "64"];
        var train = Gpuengine.Run(folder.Folder, ["train", .. model, "--epochs", "2", "--out", "run"]);
        Assert.True(train.ExitCode == 0, train.Error);
        Assert.Contains("test error", train.Output);
        Assert.Contains("report.html", train.Output);
        Assert.Equal("", train.Error);
        foreach (var name in new[] { "config.json", "metrics.jsonl", "report.html" }) Assert.True(File.Exists(folder["run/" + name]), name);
        Assert.Single(Directory.GetFiles(folder["run"], "events.out.tfevents.*"));

        var metrics = JsonLinesFile.Read(folder["run/metrics.jsonl"]);
        Assert.Equal(2, metrics.Count);
        string[] fields = ["epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "images_per_second", "seconds", "lr", "peak_bytes"];
        Assert.Equal(fields, metrics[0].EnumerateObject().Select(p => p.Name));

        var memory = Gpuengine.Run(folder.Folder, ["memory", .. model, "--json", "-"]);
        Assert.True(memory.ExitCode == 0, memory.Error);
        Assert.Equal(metrics[1].GetProperty("peak_bytes").GetInt64(), JsonDocument.Parse(memory.Output).RootElement.GetProperty("total_bytes").GetInt64());

        var eval = Gpuengine.Run(folder.Folder, ["eval", "--run", "run", "--json"]);
        Assert.True(eval.ExitCode == 0, eval.Error);
        var error = JsonDocument.Parse(eval.Output).RootElement.GetProperty("error").GetDouble();
        Assert.Contains($"test error {error:P2}", train.Output);

        var checkpoint = Directory.GetFiles(folder["run/checkpoints"]).Order(StringComparer.Ordinal).Last();
        var weights = Gpuengine.Run(folder.Folder, ["eval", "--weights", checkpoint, .. model, "--data", "shapeset", "--json"]);
        Assert.Equal(eval.Output, weights.Output);
    }

    [Fact]
    public void Op_runs_forward_and_backward_from_file_to_file()
    {
        using var folder = new TemporaryFolder();
        float[] x = [-2, -0.5f, 0, 0.5f, 2, 3];
        float[] g = [1, 2, 3, 4, 5, 6];
        new SafetensorsWriter().Add<float>("input", SafetensorsDtype.F32, [2, 3], x).Add<float>("grad_output", SafetensorsDtype.F32, [2, 3], g).Save(folder["in"]);
        var run = Gpuengine.Run(folder.Folder, ["op", "relu", "--in", "in", "--out", "out", "--grad"]);
        Assert.True(run.ExitCode == 0, run.Error);
        using var result = SafetensorsFile.Open(folder["out"]);
        Assert.Equal([0, 0, 0, 0.5f, 2, 3], result.Read<float>("output"));
        Assert.Equal([0, 0, 0, 4, 5, 6], result.Read<float>("grad_input"));
    }

    [Theory]
    [InlineData("f64", SafetensorsDtype.F64)]
    [InlineData("bf16", SafetensorsDtype.BF16)]
    public void Op_computes_in_the_dtype_asked_for(string dtype, SafetensorsDtype expected)
    {
        using var folder = new TemporaryFolder();
        new SafetensorsWriter().Add<float>("input", SafetensorsDtype.F32, [4], new float[] { 1, 2, 3, 4 }).Save(folder["in"]);
        var run = Gpuengine.Run(folder.Folder, ["op", "softmax", "--in", "in", "--out", "out", "--attr", "dim=0", "--dtype", dtype]);
        Assert.True(run.ExitCode == 0, run.Error);
        using var result = SafetensorsFile.Open(folder["out"]);
        Assert.Equal(expected, result.Tensors["output"].Dtype);
    }

    [Fact]
    public void Op_list_is_json_with_every_op_of_the_catalog()
    {
        var run = Gpuengine.Run("op", "--list", "--json");
        var names = JsonDocument.Parse(run.Output).RootElement.EnumerateArray().Select(o => o.GetProperty("name").GetString()).ToList();
        Assert.Equal(Core.Graph.OpCatalog.All.Select(s => s.Name), names);
    }

    [Fact]
    public void Doctor_writes_json_alone_to_stdout()
    {
        var run = Gpuengine.Run("doctor", "--json");
        Assert.Equal("", run.Error);
        Assert.True(JsonDocument.Parse(run.Output).RootElement.GetProperty("cpu").GetProperty("processors").GetInt32() > 0);
    }

    [Theory]
    [InlineData("train")]
    [InlineData("eval")]
    [InlineData("op")]
    [InlineData("memory")]
    [InlineData("doctor")]
    public void Help_has_examples(string command)
    {
        var run = Gpuengine.Run(command, "--help");
        Assert.Equal(0, run.ExitCode);
        Assert.Contains("Examples:", run.Output);
        Assert.Contains($"gpuengine {command}", run.Output);
    }
}
