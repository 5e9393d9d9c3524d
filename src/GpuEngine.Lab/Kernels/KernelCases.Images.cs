using GpuEngine.Core.Graph;

namespace GpuEngine.Lab.Kernels;

/// <summary>Cases of the pools and of local response norm.</summary>
public static partial class KernelCases
{
    private static KernelCase[] Images(DType dtype) =>
    [
        MaxPool(15, [8, 16, 16, 64], dtype, Pass.Forward),
        MaxPool(15, [8, 16, 16, 64], dtype, Pass.Backward),
        AveragePool(15, [8, 16, 16, 64], dtype, Pass.Forward, 2),
        AveragePool(15, [8, 16, 16, 64], dtype, Pass.Backward, 2),
        AveragePool(15, [16, 8, 8, 256], dtype, Pass.Forward, 8),
        AveragePool(15, [16, 8, 8, 256], dtype, Pass.Backward, 8),
        AveragePool(15, [16, 256, 8, 8], dtype, Pass.Forward, 8, channelsLast: false),
        ResponseNorm(15, [4, 32, 16, 16], dtype, Pass.Forward, channelsLast: false),
        ResponseNorm(15, [4, 32, 16, 16], dtype, Pass.Backward, channelsLast: false),
        ResponseNorm(15, [4, 16, 16, 32], dtype, Pass.Forward),
        ResponseNorm(15, [4, 16, 16, 32], dtype, Pass.Backward),
    ];

    /// <summary>Windows of 2 with step 2. Floor: x, y and the index (4 bytes for each of y) once, either way.</summary>
    private static KernelCase MaxPool(int row, Shape shape, DType dtype, Pass pass) => new(row, "max_pool2d(2) NHWC", shape, dtype, pass, "max_pool2d", s =>
    {
        var x = F.Input("x", dtype, s);
        var y = new MaxPoolNhwcOp(new MaxPoolOp([2, 2], [2, 2], [0, 0], [1, 1], false)).Apply(x).Outputs;
        var bytes = x.Type.Bytes + y.Sum(t => t.Type.Bytes);
        if (pass == Pass.Forward) return new CaseProgram([new("y", y[0]), new("index", y[1])], bytes);
        var (dy, index) = (F.Input("dy", dtype, y[0].Shape), F.Input("index", DType.I32, y[0].Shape));
        return new CaseProgram([new("dx", new MaxPoolBackwardNhwcOp(new MaxPoolOp([2, 2], [2, 2], [0, 0], [1, 1], false), s).Apply(dy, index).Outputs[0])], bytes);
    });

    /// <summary>Windows that do not overlap. Floor: x and y once, either way.</summary>
    private static KernelCase AveragePool(int row, Shape shape, DType dtype, Pass pass, int window, bool channelsLast = true) =>
        new(row, $"avg_pool2d({window}){Layout(shape, channelsLast)}", shape, dtype, pass, "avg_pool2d", s =>
        {
            var op = new AvgPool2dOp([window, window], [window, window], [0, 0], false, true, 0);
            var x = F.Input("x", dtype, s);
            var y = (channelsLast ? new AveragingNhwcOp(op) : (Op)op).Apply(x).Outputs[0];
            // A small y counts by itself.
            var bytes = x.Type.Bytes + (y.Type.Elements * 8 <= s.Elements ? 0 : y.Type.Bytes);
            return new CaseProgram(pass == Pass.Forward ? [new("y", y)] : BackwardPass.Of(y, x), bytes);
        })
        {
            Options = new() { ["window"] = window, ["channels_last"] = channelsLast },
        };

    /// <summary>AlexNet's. Floor forward 2T, backward 3T.</summary>
    private static KernelCase ResponseNorm(int row, Shape shape, DType dtype, Pass pass, bool channelsLast = true) =>
        new(row, $"local_response_norm(5){Layout(shape, channelsLast)}", shape, dtype, pass, "local_response_norm", s =>
        {
            var x = F.Input("x", dtype, s);
            return Streaming(pass, F.LocalResponseNorm(x, 5, 1e-4, 0.75, 2, channelsLast), x);
        })
        {
            Options = new() { ["channels_last"] = channelsLast },
        };
}
