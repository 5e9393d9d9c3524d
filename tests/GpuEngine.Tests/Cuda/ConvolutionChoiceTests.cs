using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using GpuEngine.Tests.CommandLine;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Which way a convolution takes: by measurement and kept, by the fixed order, and without cuDNN's help.</summary>
[Collection("device")]
public sealed class ConvolutionChoiceTests : IDisposable
{
    private static readonly ConvGeometry Geometry = new([1, 1], [1, 1], [1, 1], 1);
    private readonly TemporaryFolder _folder = new();
    private readonly List<string> _told = [];

    public void Dispose()
    {
        if (NativeLibraries.IsSimulated) Set("cudnn_refuse", "0");
        _folder.Dispose();
    }

    [Fact]
    public void What_was_measured_once_is_kept_for_the_next_process()
    {
        var first = Ways(measures: true);
        var files = Directory.GetFiles(_folder.Folder, "choice-*.txt");
        // Forward and the two gradients.
        Assert.Equal(3, files.Length);
        var texts = files.ToDictionary(f => f, File.ReadAllText);
        Assert.All(texts.Values, text => Assert.Contains(" ms cudnn 1 math ", text));
        Assert.All(texts.Values, text => Assert.Contains(" direct", text));
        // A choice that nobody would measure, so that it is seen to be followed: the slowest.
        foreach (var (file, text) in texts)
        {
            var lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            var cache = new AlgorithmCache(_folder.Folder);
            cache.Remove(lines[0]);
            Assert.Equal("direct", cache.Publish(lines[0], "direct", "by hand"));
        }

        Assert.All(Ways(measures: true), way => Assert.Equal("direct", way));
        Assert.All(first, way => Assert.NotNull(way));
    }

    [Fact]
    public void A_choice_that_nobody_offers_any_more_is_measured_anew()
    {
        Ways(measures: true);
        foreach (var file in Directory.GetFiles(_folder.Folder, "choice-*.txt"))
        {
            var key = File.ReadLines(file).First();
            var cache = new AlgorithmCache(_folder.Folder);
            cache.Remove(key);
            cache.Publish(key, "cudnn 99 math 0", "");
        }

        Assert.All(Ways(measures: true), way => Assert.DoesNotContain("99", way));
    }

    [Fact]
    public void A_damaged_file_is_a_miss_and_the_first_whole_one_stays()
    {
        var cache = new AlgorithmCache(_folder.Folder);
        Assert.Null(cache.Find("problem"));
        Assert.Equal("a", cache.Publish("problem", "a", "1 ms a"));
        Assert.Equal("a", cache.Find("problem"));
        // Another process measured at the same time and came to another result: the first holds.
        Assert.Equal("a", new AlgorithmCache(_folder.Folder).Publish("problem", "b", "1 ms b"));
        var file = cache.PathOf("problem");
        foreach (var damaged in new[] { "", "problem\nb\n", File.ReadAllText(file).Replace("\na\n", "\nb\n"), "other\n" + File.ReadAllText(file) })
        {
            File.WriteAllText(file, damaged);
            Assert.Null(new AlgorithmCache(_folder.Folder).Find("problem"));
        }

        Assert.Equal("c", new AlgorithmCache(_folder.Folder).Publish("problem", "c", ""));
        Assert.Equal("c", new AlgorithmCache(_folder.Folder).Find("problem"));
        Assert.Equal("memory", new AlgorithmCache(null).Publish("problem", "memory", ""));
        Assert.Empty(Directory.GetFiles(_folder.Folder, ".*.tmp"));
    }

    [Fact]
    public void The_simulator_takes_the_first_in_a_fixed_order()
    {
        CudaUnderTest.RequireSimulator();
        // The estimate's first that repeats its bits and multiplies what it is given.
        Assert.All(Ways(measures: null), way => Assert.Equal("cudnn algorithm 1", way));
        Assert.Empty(Directory.GetFiles(_folder.Folder, "choice-*.txt"));
    }

    [Theory]
    [InlineData(1, "it has none for these extents")]
    [InlineData(2, "needs 1048576 MiB of workspace, and 64 MiB are allowed")]
    [InlineData(3, "not deterministic")]
    [InlineData(4, "it lists algorithm 1 and refuses to run it")]
    public void Without_a_usable_algorithm_products_take_over_and_it_is_said_once(int refusal, string reason)
    {
        CudaUnderTest.RequireSimulator();
        var expected = Results(new CudaDeviceOptions { KernelCacheFolder = DeviceUnderTest.CacheFolder });
        Set("cudnn_refuse", $"{refusal}");
        var actual = Results(new CudaDeviceOptions { KernelCacheFolder = DeviceUnderTest.CacheFolder, Warn = _told.Add });
        // Integers: exact in any order.
        Assert.Equal(expected.Values, actual.Values);
        Assert.All(actual.Ways, way => Assert.Equal("im2col", way));
        var sentence = Assert.Single(_told);
        Assert.StartsWith("cuDNN has no usable algorithm for a convolution (convolution of [4, 16, 32, 32] with filters [16, 16, 3, 3] in f32: ", sentence);
        Assert.Contains(reason, sentence);
        Assert.Contains("run as im2col instead", sentence);
    }

    [Theory]
    [InlineData("CUDASIM_CUDNN_REFUSE", "1", true)]
    [InlineData("GPUENGINE_LIBCUDNN", "none", false)]
    public void Training_goes_on_without_cudnn(string variable, string value, bool says)
    {
        CudaUnderTest.RequireSimulator();
        var environment = new Dictionary<string, string>
        {
            [Simulator.PathVariable] = CudaUnderTest.SimulatorFile!,
            [KernelCache.FolderVariable] = DeviceUnderTest.CacheFolder,
        };
        string[] job = ["train", "--device", "sim", "--model", "lenet5", "--data", "synthetic:1x28x28:4", "--limit", "64", "--batch-size", "16", "--epochs", "1", "--out"];
        var usual = Gpuengine.Run(environment, [.. job, _folder["usual"]]);
        Assert.True(usual.ExitCode == 0, usual.Error);
        Assert.DoesNotContain("cuDNN", usual.Error);
        Assert.Contains("convolution_weight ran as cudnn algorithm 1 x2.", usual.Output);
        environment[variable] = value;
        var without = Gpuengine.Run(environment, [.. job, _folder["without"]]);
        Assert.True(without.ExitCode == 0, without.Error);
        Assert.DoesNotContain("ran as cudnn", without.Output);
        Assert.Equal(says ? 1 : 0, without.Error.Split('\n').Count(line => line.StartsWith("cuDNN has no usable algorithm", StringComparison.Ordinal)));
        // The same sums in another order: four steps do not grow their roundings beyond the fourth digit.
        Assert.Equal(Loss("usual"), Loss("without"), 1e-4);
    }

    private double Loss(string run) =>
        System.Text.Json.JsonDocument.Parse(File.ReadLines(Path.Combine(_folder[run], "metrics.jsonl")).Last()).RootElement.GetProperty("train_loss").GetDouble();

    private string?[] Ways(bool? measures) =>
        Results(new CudaDeviceOptions { MeasureConvolutions = measures, KernelCacheFolder = _folder.Folder }).Ways;

    /// <summary>A convolution with both of its gradients, on -1, 0 and 1.</summary>
    private static (double[][] Values, string?[] Ways) Results(CudaDeviceOptions options)
    {
        CudaUnderTest.Require();
        using var device = new CudaDevice(0, options);
        var (x, w, dy) = (F.Input("x", DType.F32, [4, 16, 32, 32]), F.Input("w", DType.F32, [16, 16, 3, 3]), F.Input("dy", DType.F32, [4, 16, 32, 32]));
        using var evaluation = new Evaluation(device, [
            new("y", F.Convolution(x, w, Geometry)), new("dx", F.ConvolutionInput(dy, w, x.Shape, Geometry)), new("dw", F.ConvolutionWeight(dy, x, w.Shape, Geometry)),
        ]);
        var random = new System.Random(1);
        foreach (var input in new[] { x, w, dy })
            evaluation.Set(((InputOp)input.Node.Op).InputName, [.. Enumerable.Range(0, (int)input.Type.Elements).Select(_ => (double)random.Next(-1, 2))]);
        evaluation.Run();
        // Replayed as a graph.
        evaluation.Run();
        evaluation.Run();
        var ways = ((CudaExecutable)evaluation.Executable).Kernels.Where(k => k.Node.Op.Name.StartsWith("convolution", StringComparison.Ordinal)).Select(k => k.Way ?? k.Decision.Split(' ')[0]);
        return ([evaluation.Get("y"), evaluation.Get("dx"), evaluation.Get("dw")], [.. ways]);
    }

    private static void Set(string option, string value) => Assert.Equal(0, Cudasim.cudasim_set_option(option, value));
}
