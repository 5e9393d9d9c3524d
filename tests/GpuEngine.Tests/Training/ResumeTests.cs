using System.Text.Json.Nodes;
using GpuEngine.Lab;
using GpuEngine.Nn.Training;
using GpuEngine.Tests.CommandLine;
using Xunit;

namespace GpuEngine.Tests.Training;

/// <summary>A run killed at any moment and resumed ends in the same bits as one that ran through.</summary>
public class ResumeTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(10)]
    [InlineData(14)]
    [InlineData(29)]
    public void A_run_stopped_after_some_steps_and_resumed_ends_in_the_same_bits(int steps)
    {
        using var folder = new TemporaryFolder();
        var config = TinyJob.Config with { CheckpointEvery = 4 };
        TinyJob.Run(config, folder["whole"]);
        Assert.Throws<Stopped>(() => TinyJob.Run(config, folder["cut"], new StopAfter(steps)));
        TrainingJob.Resume(folder["cut"], [], new TinyJob.Silent()).Run();
        Assert.Equal(TinyJob.LastCheckpoint(folder["whole"]), TinyJob.LastCheckpoint(folder["cut"]));
        Assert.Equal(TinyJob.Metrics(folder["whole"]), TinyJob.Metrics(folder["cut"]));
    }

    [Fact]
    public void A_process_killed_in_mid_run_resumes_to_the_same_bits()
    {
        using var folder = new TemporaryFolder();
        string[] options = ["train", "--depth", "3", "--width", "24", "--limit", "3200", "--epochs", "4", "--checkpoint-every", "10", "--seed", "3"];
        Assert.Equal(0, Gpuengine.Run(folder.Folder, [.. options, "--out", "whole"]).ExitCode);
        using (var process = Gpuengine.Start(folder.Folder, [.. options, "--out", "cut"]))
        {
            // Killed as soon as it has saved something: somewhere in the middle, never at a place of its choosing.
            while (!process.HasExited && !Directory.Exists(folder["cut/checkpoints"])) Thread.Yield();
            process.Kill();
            process.WaitForExit();
        }

        var resumed = Gpuengine.Run(folder.Folder, ["train", "--out", "cut", "--resume"]);
        Assert.True(resumed.ExitCode == 0, resumed.Error);
        Assert.Equal(TinyJob.LastCheckpoint(folder["whole"]), TinyJob.LastCheckpoint(folder["cut"]));
        Assert.Equal(TinyJob.Metrics(folder["whole"]), TinyJob.Metrics(folder["cut"]));
    }

    [Fact]
    public void Resume_takes_the_newest_whole_checkpoint_and_says_so()
    {
        using var folder = new TemporaryFolder();
        TinyJob.Run(TinyJob.Config, folder["run"]);
        var whole = TinyJob.LastCheckpoint(folder["run"]);
        var newest = Directory.GetFiles(folder["run/checkpoints"], "*.safetensors").Order(StringComparer.Ordinal).Last();
        File.WriteAllBytes(newest, File.ReadAllBytes(newest)[..^100]);
        var observer = new TinyJob.Silent();
        TrainingJob.Resume(folder["run"], [], observer).Run();
        Assert.Contains(observer.Notes, note => note.Contains(Path.GetFileName(newest), StringComparison.Ordinal));
        Assert.Equal(whole, TinyJob.LastCheckpoint(folder["run"]));
    }

    [Fact]
    public void A_checkpoint_of_another_model_is_refused()
    {
        using var folder = new TemporaryFolder();
        TinyJob.Run(TinyJob.Config with { Epochs = 1 }, folder["run"]);
        var e = Assert.Throws<Core.UserException>(() => TrainingJob.Resume(folder["run"], new JsonObject { ["width"] = 32 }, new TinyJob.Silent()).Run());
        Assert.Contains("width=24", e.Message);
        Assert.Contains("width=32", e.Message);
    }

    [Fact]
    public void Two_runs_with_one_seed_are_bit_equal_and_the_thread_count_does_not_matter()
    {
        using var folder = new TemporaryFolder();
        TinyJob.Run(TinyJob.Config, folder["a"]);
        TinyJob.Run(TinyJob.Config with { Threads = 1 }, folder["b"]);
        Assert.Equal(TinyJob.LastCheckpoint(folder["a"]), TinyJob.LastCheckpoint(folder["b"]));
    }

    private sealed class Stopped : Exception;

    private sealed class StopAfter(int steps) : ITrainingObserver
    {
        private int _done;

        public void Note(string sentence)
        {
        }

        public void Step(TrainingProgress progress)
        {
            if (++_done == steps) throw new Stopped();
        }

        public void Epoch(EpochMetrics metrics)
        {
        }
    }
}
