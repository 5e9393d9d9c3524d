using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// Convolutions with a bias, a residual and relu behind them: one launch where nobody reads the values between. All numbers are small
/// integers, exact in any order and dtype, so results must be those of the CPU to the bit.
/// </summary>
[Collection("device")]
public sealed class ConvolutionEpilogueTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    private static readonly ConvGeometry Geometry = new([1, 1], [1, 1], [1, 1], 2);

    private static Tensor X(DType dtype) => F.Input("x", dtype, [2, 4, 5, 6]);

    private static Tensor Convolved(DType dtype) => F.Conv2d(X(dtype), F.Input("w", dtype, [6, 2, 3, 3]), F.Input("b", dtype, [6]), 1, (1, 1), 1, 2);

    private static Tensor Other(DType dtype) => F.Input("r", dtype, [2, 6, 5, 6]);

    /// <summary>What follows the bias, and what becomes of it.</summary>
    private static readonly Dictionary<string, (Func<DType, Tensor> Build, string Op)> Cases = new()
    {
        ["bias"] = (Convolved, "convolution_bias"),
        ["relu"] = (t => F.Relu(Convolved(t)), "convolution_bias_relu"),
        ["residual"] = (t => Other(t) + Convolved(t), "convolution_bias_add"),
        ["residual relu"] = (t => F.Relu(Convolved(t) + Other(t)), "convolution_bias_add_relu"),
        // Not in this order by cuDNN: relu first.
        ["relu residual"] = (t => F.Relu(Convolved(t)) + Other(t), "convolution_bias_relu"),
        // Twice the same is no residual.
        ["doubled"] = (t =>
        {
            var y = Convolved(t);
            return y + y;
        }, "convolution_bias"),
    };

    public static TheoryData<string, DType, bool> All()
    {
        var data = new TheoryData<string, DType, bool>();
        foreach (var name in Cases.Keys)
        {
            foreach (var dtype in new[] { DType.F32, DType.BF16 })
            {
                data.Add(name, dtype, false);
                data.Add(name, dtype, true);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(All))]
    public void One_launch_gives_what_several_give(string name, DType dtype, bool channelsLast)
    {
        var shared = under.Shared;
        Assert.SkipUnless(shared.Limits.HasCudnn, "cuDNN is not installed.");
        var y = Cases[name].Build(dtype);
        if (channelsLast) y = ChannelsLastLayout.Apply([y])[0];
        using var cpu = new CpuDevice(1);
        var (expected, _) = Run(cpu, y);
        var (actual, ops) = Run(shared, y);
        Assert.Equal(expected, actual);
        Assert.Contains(Cases[name].Op, ops);
        Assert.DoesNotContain(ops, op => op is "convolution" or "convolution_nhwc" or "bias_act");
        // The fused rewrite is a chain that other fusions may have begun.
        var (fused, more) = Run(shared, Fusions.Apply([y])[y]);
        Assert.Equal(expected, fused);
        if (name != "relu residual") Assert.Contains(Cases[name].Op, more);
        foreach (var variant in new[] { "separate", "direct" })
        {
            using var held = DeviceUnderTest.Open(new CudaDeviceOptions { Variant = variant, KernelCacheFolder = DeviceUnderTest.CacheFolder });
            Assert.Equal(expected, Run(held, y).Values);
        }

        under.AssertNothingFound();
    }

    [Fact]
    public void A_value_that_somebody_reads_stays()
    {
        Assert.SkipUnless(under.Shared.Limits.HasCudnn, "cuDNN is not installed.");
        var y = Convolved(DType.F32);
        using var evaluation = new Evaluation(under.Shared, [new("y", y), new("relu", F.Relu(y))]);
        var ops = evaluation.Executable.Plan.Launches.Select(l => l.Node.Op.Name).ToArray();
        Assert.Contains("convolution_bias", ops);
        Assert.DoesNotContain("convolution_bias_relu", ops);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public void A_cudnn_that_refuses_is_gone_around(int refusal)
    {
        CudaUnderTest.RequireSimulator();
        var y = Cases["residual relu"].Build(DType.F32);
        var expected = Run(under.Shared, y).Values;
        var told = new List<string>();
        Assert.Equal(0, Cudasim.cudasim_set_option("cudnn_refuse", $"{refusal}"));
        try
        {
            using var device = DeviceUnderTest.Open(new CudaDeviceOptions { KernelCacheFolder = DeviceUnderTest.CacheFolder, Warn = told.Add });
            Assert.Equal(expected, Run(device, y).Values);
            Assert.Single(told);
        }
        finally
        {
            Assert.Equal(0, Cudasim.cudasim_set_option("cudnn_refuse", "0"));
        }
    }

    [Fact]
    public void Measuring_chooses_among_both()
    {
        Assert.SkipUnless(under.Shared.Limits.HasCudnn, "cuDNN is not installed.");
        using var device = DeviceUnderTest.Open(new CudaDeviceOptions { KernelCacheFolder = null, MeasureConvolutions = true });
        var y = Cases["residual relu"].Build(DType.F32);
        using var evaluation = new Evaluation(device, [new("y", y)]);
        var kernel = Assert.Single(((CudaExecutable)evaluation.Executable).Kernels.OfType<ConvolutionKernel>());
        Assert.Contains(kernel.Way, new[] { "cudnn algorithm 1 + bias + residual + relu", "cudnn algorithm 0 + bias + residual + relu", "separate" });
        Assert.Equal(Run(under.Shared, y).Values, Values(evaluation));
    }

    private static (double[] Values, string[] Ops) Run(IDevice device, Tensor y)
    {
        using var evaluation = new Evaluation(device, [new("y", y)]);
        return (Values(evaluation), [.. evaluation.Executable.Plan.Launches.Select(l => l.Node.Op.Name)]);
    }

    private static double[] Values(Evaluation evaluation)
    {
        var random = new System.Random(4);
        foreach (var input in evaluation.Program.Inputs.OrderBy(Core.Plan.TensorProgram.InputName, StringComparer.Ordinal))
            evaluation.Set(Core.Plan.TensorProgram.InputName(input), [.. Enumerable.Range(0, (int)input.Type.Elements).Select(_ => (double)random.Next(-1, 2))]);
        for (var i = 0; i < 3; i++) evaluation.Run();
        return evaluation.Get("y");
    }
}
