using System.Text.Json.Nodes;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.CommandLine;

/// <summary>`gpuengine compare` on folders as a run leaves them.</summary>
public class CompareTests
{
    [Fact]
    public void Runs_are_told_apart_by_what_differs()
    {
        using var folder = new TemporaryFolder();
        Make(folder["a/plain"], "plain20", 0.1, 0.5, 0.4);
        Make(folder["b/plain"], "plain56", 0.1, 0.7, 0.8, 0.75);
        var run = Gpuengine.Run(folder.Folder, ["compare", "a/plain", "b/plain", "--out", "page.html", "--json", "-"]);
        Assert.True(run.ExitCode == 0, run.Error);
        var json = JsonNode.Parse(run.Output)!;
        // The rate is the same in both, the folder is no option.
        Assert.Equal(["model"], json["differing_options"]!.AsArray().Select(n => (string)n!));
        var runs = json["runs"]!.AsArray();
        Assert.Equal(["a/plain", "b/plain"], runs.Select(r => (string)r!["run"]!));
        Assert.Equal("plain56", (string)runs[1]!["options"]!["model"]!);
        Assert.Equal(3, (int)runs[1]!["epochs"]!);
        Assert.Equal(0.75, (double)runs[1]!["val_error"]!, 1e-12);
        Assert.Equal(0.7, (double)runs[1]!["best_val_error"]!, 1e-12);
        var page = File.ReadAllText(folder["page.html"]);
        // One curve per run in each of the four charts.
        Assert.Equal(8, page.Split("<polyline").Length - 1);
        Assert.Contains("plain56", page);

        var table = Gpuengine.Run(folder.Folder, ["compare", "a/plain", "b/plain"]);
        Assert.Contains("40.00", table.Output);
    }

    [Fact]
    public void What_cannot_be_compared_is_told_in_a_sentence()
    {
        using var folder = new TemporaryFolder();
        Make(folder["a"], "plain20", 0.1, 0.5);
        Make(folder["empty"], "plain20", 0.1);
        Gpuengine.Run(folder.Folder, ["compare", "a"]).IsUserError("two or more");
        Gpuengine.Run(folder.Folder, ["compare", "a", "nowhere"]).IsUserError("There is no run in nowhere");
        Gpuengine.Run(folder.Folder, ["compare", "a", "empty"]).IsUserError("empty", "has not finished an epoch");
    }

    private static void Make(string path, string model, double lr, params double[] errors)
    {
        using var run = RunFolder.Create(path, new JsonObject { ["model"] = model, ["lr"] = lr, ["out"] = path });
        foreach (var (i, error) in errors.Index()) run.Append(new EpochMetrics(i + 1, 10 * (i + 1), 2 * error, 1 - error, error, 1 - error, 100, i, lr, 1000));
    }
}
