using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Lab.Measure;

/// <summary>Measures what the machine reaches, through the device itself: copy, matrix product, empty launch.</summary>
public static class RateProbe
{
    public static MachineRates Measure(IDevice device, int copyElements = 1 << 23, int product = 768)
    {
        var x = F.Input("x", DType.F32, [copyElements]);
        using var copy = new Evaluation(device, [new("y", new CopyOp().Apply(x).Outputs[0])]);
        var copySeconds = Best(copy.Executable, 5);

        var (a, b) = (F.Input("a", DType.F32, [product, product]), F.Input("b", DType.F32, [product, product]));
        using var gemm = new Evaluation(device, [new("c", F.MatMul(a, b))]);
        // Random data: zeros let some chips clock higher.
        var values = new float[product * product];
        var random = new System.Random(1);
        for (var i = 0; i < values.Length; i++) values[i] = random.NextSingle() - 0.5f;
        gemm.Executable.Write<float>("a", values);
        gemm.Executable.Write<float>("b", values);
        var gemmSeconds = Best(gemm.Executable, 5);

        var one = F.Input("x", DType.F32, [1]);
        using var small = new Evaluation(device, [new("y", new CopyOp().Apply(one).Outputs[0])]);
        var launchSeconds = Best(small.Executable, 200);
        return new MachineRates(8.0 * copyElements / copySeconds, 2.0 * product * product * product / gemmSeconds, launchSeconds);
    }

    /// <summary>The shortest of some runs, timed by the device's own clock: a device may go on after Run returns.</summary>
    private static double Best(IExecutable executable, int runs)
    {
        var seconds = new double[executable.Plan.Launches.Count];
        executable.RunTimed(seconds);
        var best = double.PositiveInfinity;
        for (var i = 0; i < runs; i++)
        {
            Array.Clear(seconds);
            executable.RunTimed(seconds);
            best = Math.Min(best, seconds.Sum());
        }

        return best;
    }
}
