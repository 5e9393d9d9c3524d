using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// What a training step of the convolutional networks launches on a GPU with its libraries, planned without one: convolutions, products and
/// hand-written kernels do the work; what runs as a generated kernel is small or listed here with its reason.
/// </summary>
public sealed class HotPathTests
{
    /// <summary>Elements below which a launch takes its launch time whatever it does.</summary>
    private const long Small = 1 << 16;

    /// <summary>
    /// One read and one write each: option-A shortcuts take every second place and pad channels; gradients of two paths are added, images and bf16 gradients are cast;
    /// weight gradients made with channels last are turned.
    /// </summary>
    private static readonly HashSet<string> Allowed = ["slice", "pad", "elementwise_region", "permute"];

    [Theory]
    [InlineData("lenet5", 1, 28, DType.F32)]
    [InlineData("lenet5", 1, 28, DType.BF16)]
    [InlineData("alexnet", 3, 224, DType.F32)]
    [InlineData("alexnet", 3, 224, DType.BF16)]
    [InlineData("resnet20", 3, 32, DType.F32)]
    [InlineData("resnet20", 3, 32, DType.BF16)]
    [InlineData("resnet50", 3, 224, DType.F32)]
    [InlineData("resnet50", 3, 224, DType.BF16)]
    public void A_step_of_a_convolutional_network_runs_on_kernels_made_for_it(string model, int channels, int extent, DType dtype)
    {
        const int Batch = 16;
        var target = new CudaPlanTarget(new CudaLimits { HasCublas = true, HasCublasLt = true, HasCudnn = true }, new CudaDeviceOptions());
        var net = ModelCatalog.Find(model).Build(new ModelRequest(new ExampleShape(channels, extent, extent), 10));
        var step = new TrainStep(
            new ModelVariables(net), [Batch, channels, extent, extent], Losses.CrossEntropy, new Sgd(0.1, momentum: 0.9),
            new StepOptions { Compute = dtype, ChannelsLast = target.PrefersChannelsLast(dtype) });
        var others = Planner.Plan(step.Program, target).Launches
            .Where(l => l.Node.Op is not Leaf && l.Node.Outputs.Concat(l.Node.Inputs).Max(t => t.Type.Elements) >= Small)
            .Where(l => target.NewKernel(l.Node) is not (PlannedKernel or CublasProduct or ParameterGradients or ConvolutionKernel or ConvolutionWithEpilogue))
            .Where(l => !Allowed.Contains(l.Node.Op.Name))
            .Select(l => $"{l.Node.Scope}: {l.Node.Op.Name} {string.Join(' ', l.Node.Inputs.Select(t => t.Type))} -> {l.Node.Outputs[0].Type}");
        var text = string.Join('\n', others.Distinct());
        Assert.True(text.Length == 0, text);
    }
}
