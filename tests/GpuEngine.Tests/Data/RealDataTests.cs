using GpuEngine.Nn.Data;
using Xunit;

namespace GpuEngine.Tests.Data;

/// <summary>
/// Runs where the environment variable GPUENGINE_DATA names a folder with mnist/, fashion-mnist/, cifar10/.
/// </summary>
public class RealDataTests
{
    // The figures are well known: mean and deviation of the pixels in 0 .. 1 to the digits usually quoted (CIFAR-10's
    // deviation is over all pixels, not the mean over images that is sometimes seen).
    [Theory]
    [InlineData("mnist", 60_000, new[] { 0.1307 }, new[] { 0.3081 })]
    [InlineData("fashion-mnist", 60_000, new[] { 0.2860 }, new[] { 0.3530 })]
    [InlineData("cifar10", 50_000, new[] { 0.4914, 0.4822, 0.4465 }, new[] { 0.2470, 0.2435, 0.2616 })]
    public void Published_files_have_their_known_statistics(string name, int count, double[] mean, double[] deviation)
    {
        var folder = Environment.GetEnvironmentVariable("GPUENGINE_DATA");
        Assert.SkipUnless(
            folder is not null && Directory.Exists(Path.Combine(folder, name)),
            $"GPUENGINE_DATA does not name a folder with {name}/");
        var data = Datasets.Open(name, new DatasetOptions { DataDir = folder! });
        Assert.Equal((count, 10_000), (data.Train.Count, data.Test.Count));
        var statistics = ((ByteImages)data.Train).Statistics;
        for (var c = 0; c < mean.Length; c++)
        {
            Assert.Equal(mean[c], statistics.Mean[c] / 255, 5e-5);
            Assert.Equal(deviation[c], statistics.Deviation[c] / 255, 5e-5);
        }

        var counts = new int[10];
        var input = new float[data.Shape.Length];
        for (var i = 0; i < count; i++)
        {
            data.Train.Read(i, input, out var label);
            counts[label]++;
        }

        Assert.Equal(name == "mnist" ? [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
            : Enumerable.Repeat(count / 10, 10), counts);
    }
}
