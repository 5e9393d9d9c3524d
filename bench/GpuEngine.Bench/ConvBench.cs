using BenchmarkDotNet.Attributes;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Bench;

/// <summary>
/// The convolutions of LeNet-5 and ResNet-20 (CIFAR), batch 128, f32, on the CPU: forward, input gradient and weight gradient.
/// The peer is bench/peers/conv.py, which times the same layers in torch.
/// </summary>
public sealed class ConvBench : IDisposable
{
    private CpuDevice _device = null!;
    private Evaluation _forward = null!;
    private Evaluation _input = null!;
    private Evaluation _weight = null!;

    public static IEnumerable<ConvLayer> Layers =>
    [
        new("lenet conv1", 1, 28, 6, 5, 1, 2), new("lenet conv2", 6, 14, 16, 5, 1, 0),
        new("resnet20 stem", 3, 32, 16, 3, 1, 1), new("resnet20 16-16", 16, 32, 16, 3, 1, 1),
        new("resnet20 16-32/2", 16, 32, 32, 3, 2, 1), new("resnet20 shortcut", 16, 32, 32, 1, 2, 0),
        new("resnet20 32-32", 32, 16, 32, 3, 1, 1), new("resnet20 32-64/2", 32, 16, 64, 3, 2, 1),
        new("resnet20 64-64", 64, 8, 64, 3, 1, 1),
    ];

    [ParamsSource(nameof(Layers))]
    public ConvLayer Layer { get; set; } = null!;

    [Params(1, 2)]
    public int Threads { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _device = new CpuDevice(Threads);
        var geometry = new ConvGeometry([Layer.Stride, Layer.Stride], [Layer.Padding, Layer.Padding], [1, 1], 1);
        var x = F.Input("x", DType.F32, [128, Layer.Inputs, Layer.Extent, Layer.Extent]);
        var w = F.Input("w", DType.F32, [Layer.Outputs, Layer.Inputs, Layer.Kernel, Layer.Kernel]);
        var b = F.Input("b", DType.F32, [Layer.Outputs]);
        var y = new Conv2dOp(geometry, true).Apply(x, w, b).Outputs[0];
        var dy = F.Input("dy", DType.F32, y.Shape);
        _forward = Prepare(y);
        _input = Prepare(F.ConvolutionInput(dy, w, x.Shape, geometry));
        _weight = Prepare(F.ConvolutionWeight(dy, x, w.Shape, geometry));
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _forward.Dispose();
        _input.Dispose();
        _weight.Dispose();
        _device.Dispose();
    }

    [Benchmark]
    public void Forward() => _forward.Run();

    [Benchmark]
    public void InputGradient() => _input.Run();

    [Benchmark]
    public void WeightGradient() => _weight.Run();

    /// <summary>Random numbers: zeros would flatter.</summary>
    private Evaluation Prepare(Tensor output)
    {
        var evaluation = new Evaluation(_device, [new NamedTensor("output", output)]);
        var random = new Random(1);
        foreach (var input in evaluation.Program.Inputs)
        {
            var values = new double[input.Type.Elements];
            for (var i = 0; i < values.Length; i++) values[i] = random.NextDouble() - 0.5;
            evaluation.Set(((InputOp)input.Node.Op).InputName, values);
        }

        return evaluation;
    }
}

/// <summary>A square convolution layer.</summary>
public sealed record ConvLayer(string Name, int Inputs, int Extent, int Outputs, int Kernel, int Stride, int Padding)
{
    public override string ToString() => Name;
}
