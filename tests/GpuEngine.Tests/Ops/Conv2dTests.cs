using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>conv2d as it is called: values of torch, padding by name, the adjoint relation, misuse.</summary>
public class Conv2dTests
{
    [Fact]
    public void Values_and_gradients_agree_with_torch()
    {
        // x = ((torch.arange(2 * 4 * 5 * 6) * 7 % 11) - 5).double().view(2, 4, 5, 6), w = ((torch.arange(6 * 2 * 3 * 2) * 5 % 7) - 3) / 2,
        // b = torch.arange(6.) - 2; y = F.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), 2); (y * (torch.arange(y.numel()) % 5 - 2).view_as(y)).sum().backward()
        // Below: sums of each tensor times cos(0.1 i), which any wrong place changes.
        using var device = new CpuDevice(2);
        var (x, w, b) = (F.Input("x", DType.F64, [2, 4, 5, 6]), F.Input("w", DType.F64, [6, 2, 3, 2]), F.Input("b", DType.F64, [6]));
        var y = F.Conv2d(x, w, b, (2, 1), (1, 2), (1, 2), 2);
        var dy = F.Input("dy", DType.F64, y.Shape);
        var gradients = Autodiff.Gradients(F.Sum(y * dy), [x, w, b]);
        using var run = new Evaluation(device, [new("y", y), new("dx", gradients[0]), new("dw", gradients[1]), new("db", gradients[2])]);
        run.Set("x", Values(240, i => i * 7 % 11 - 5));
        run.Set("w", Values(72, i => (i * 5 % 7 - 3) / 2.0));
        run.Set("b", Values(6, i => i - 2));
        run.Set("dy", Values((int)y.Type.Elements, i => i % 5 - 2));
        run.Run();
        Assert.Equal(new Shape(2, 6, 3, 8), y.Shape);
        foreach (var (name, expected) in Golden)
        {
            var projection = run.Get(name).Select((v, i) => v * Math.Cos(0.1 * i)).Sum();
            // All values are multiples of 1/2 below 2^10, so they are exact; the projection of some hundred of them rounds.
            Assert.Equal(expected, projection, 1e-9);
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 3)]
    [InlineData(3, 2)]
    [InlineData(4, 4)]
    public void Same_padding_keeps_the_extent_and_puts_the_odd_zero_last(int kernel, int dilation)
    {
        using var device = new CpuDevice(1);
        var (x, w) = (F.Input("x", DType.F64, [1, 1, 5, 7]), F.Input("w", DType.F64, [1, 1, kernel, kernel]));
        var total = dilation * (kernel - 1);
        var padded = F.Pad(x, [0, 0, total / 2, total / 2], [0, 0, total - total / 2, total - total / 2]);
        var same = F.Conv2d(x, w, padding: "same", dilation: dilation);
        using var run = new Evaluation(device, [new("same", same), new("explicit", F.Conv2d(padded, w, dilation: dilation))]);
        run.Set("x", Values(35, i => i * 7 % 11));
        run.Set("w", Values(kernel * kernel, i => i + 1));
        run.Run();
        Assert.Equal(x.Shape, same.Shape);
        Assert.Equal(run.Get("explicit"), run.Get("same"));
    }

    [Fact]
    public void The_two_gradients_are_the_adjoints_of_the_convolution()
    {
        // <conv(x, w), dy> = <x, input gradient> = <w, weight gradient>, on layers of LeNet-5 and ResNet and a grouped one.
        (Shape X, Shape W, ConvGeometry Geometry)[] layers =
        [
            ([4, 6, 14, 14], [16, 6, 5, 5], new([1, 1], [0, 0], [1, 1], 1)),
            ([3, 16, 32, 32], [32, 16, 3, 3], new([2, 2], [1, 1], [1, 1], 1)),
            ([5, 64, 8, 8], [64, 64, 3, 3], new([1, 1], [1, 1], [1, 1], 1)),
            ([2, 12, 9, 10], [18, 4, 3, 2], new([2, 3], [2, 1], [2, 1], 3)),
        ];
        using var device = new CpuDevice(2);
        foreach (var (xs, ws, geometry) in layers)
        {
            var (x, w) = (F.Input("x", DType.F64, xs), F.Input("w", DType.F64, ws));
            var y = F.Convolution(x, w, geometry);
            var dy = F.Input("dy", DType.F64, y.Shape);
            using var run = new Evaluation(device, [
                new("y", F.Sum(y * dy)), new("x", F.Sum(x * F.ConvolutionInput(dy, w, xs, geometry))),
                new("w", F.Sum(w * F.ConvolutionWeight(dy, x, ws, geometry))),
            ]);
            foreach (var input in new[] { x, w, dy })
                run.Set(((InputOp)input.Node.Op).InputName, Values((int)input.Type.Elements, i => Math.Sin(i * 0.7 + input.Shape[1])));
            run.Run();
            var expected = run.Get("y")[0];
            // Some million products of magnitude 1 in double: 1e6 roundings of 1e-16 in the worst case.
            Assert.Equal(expected, run.Get("x")[0], 1e-9 * Math.Max(1, Math.Abs(expected)));
            Assert.Equal(expected, run.Get("w")[0], 1e-9 * Math.Max(1, Math.Abs(expected)));
        }
    }

    [Fact]
    public void Second_derivatives_flow_through_the_gradients()
    {
        // For f = sum((conv(x, w) + b)^3) / 6 the Hessian-vector product equals the difference quotient of the gradient.
        using var device = new CpuDevice(1);
        var (x, w, b) = (F.Input("x", DType.F64, [2, 2, 5, 4]), F.Input("w", DType.F64, [3, 2, 3, 2]), F.Input("b", DType.F64, [3]));
        var v = F.Input("v", DType.F64, w.Shape);
        var y = F.Conv2d(x, w, b, stride: (2, 1), padding: 1);
        var loss = F.Sum(y * y * y) * (1.0 / 6);
        var gradient = Autodiff.Gradients(loss, [w])[0];
        using var run = new Evaluation(device, [new("g", gradient), new("hv", Autodiff.HessianVector(loss, [w], [v])[0])]);
        run.Set("x", Values(80, i => Math.Sin(i)));
        run.Set("b", Values(3, i => i * 0.1));
        run.Set("v", Values(36, i => Math.Cos(i)));
        double[] Gradient(double step)
        {
            run.Set("w", Values(36, i => Math.Sin(2 * i) + step * Math.Cos(i)));
            run.Run();
            return run.Get("g");
        }

        const double H = 1e-3;
        var (low, high, hv) = (Gradient(-H), Gradient(H), Array.Empty<double>());
        Gradient(0);
        hv = run.Get("hv");
        // The gradient is quadratic in w, so the central difference is exact but for rounding: 1e-13 / H.
        for (var i = 0; i < hv.Length; i++) Assert.Equal((high[i] - low[i]) / (2 * H), hv[i], 1e-9);
    }

    [Fact]
    public void Misuse_is_told_in_a_sentence()
    {
        var x = F.Input("x", DType.F32, [2, 3, 4, 5]);
        Tensor W(params int[] shape) => F.Input("w", DType.F32, new Shape(shape));
        Says(() => F.Conv2d(x, W(4, 2, 3, 3)), "conv2d: input [2, 3, 4, 5] has 3 channels, but weight [4, 2, 3, 3] with groups=1 takes 2");
        Says(() => F.Conv2d(x, W(4, 1, 3, 3), groups: 3), "its 4 outputs must divide by groups");
        Says(() => F.Conv2d(x, W(4, 3, 5, 5)), "is larger than the padded input [2, 3, 4, 5] (padding [0, 0])");
        Says(() => F.Conv2d(x, W(4, 3, 3, 3), stride: 0), "must be positive");
        Says(() => F.Conv2d(x, W(4, 3, 3, 3), padding: -1), "padding [-1, -1] not negative");
        Says(() => F.Conv2d(x, W(4, 3, 0, 3)), "has an empty window");
        Says(() => F.Conv2d(x, W(4, 3, 3, 3), F.Input("b", DType.F32, [3])), "needs a bias of shape [4]");
        Says(() => F.Conv2d(x, W(4, 3, 3, 3), padding: "same", stride: 2), "padding=\"same\" needs stride 1");
        Says(() => F.Conv2d(F.Input("x", DType.F32, [4, 5]), W(4, 3, 3, 3)), "expected input [N, C, H, W]");
        Says(() => F.Conv2d(F.Input("x", DType.F64, [2, 3, 4, 5]), W(4, 3, 3, 3)), "float tensors of one dtype");
        Assert.Contains("same", Assert.Throws<UserException>(() => F.Conv2d(x, W(4, 3, 3, 3), padding: "some")).Message);
    }

    private static void Says(Func<object> call, string part) => Assert.Contains(part, Assert.Throws<ShapeException>(call).Message);

    private static double[] Values(int count, Func<int, double> value) => [.. Enumerable.Range(0, count).Select(value)];

    private static readonly (string Name, double Projection)[] Golden =
    [
        ("y", 11.919587533171306),
        ("dx", -26.098106216158566),
        ("dw", 2.6972251646292023),
        ("db", -2.7816758057310844),
    ];
}
