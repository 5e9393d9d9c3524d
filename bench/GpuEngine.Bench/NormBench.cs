using System.Diagnostics;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Bench;

/// <summary>
/// The normalisations in f32 beside a plain parallel copy of as many bytes, measured in short turns: the share of the copy's
/// rate is how near a kernel runs to its memory. Times are the 20th percentile: with neighbours on the cores, the turns that
/// were not interrupted. bench/peers/norms.py times the same shapes in PyTorch.
/// Arguments: "--threads 1,2" and parts of case names.
/// </summary>
internal static class NormBench
{
    private const int Rounds = 101;
    private const double SecondsPerTurn = 0.001;

    private delegate Tensor Forward(Tensor x, Tensor weight, Tensor bias, Tensor mean, Tensor variance);

    private static readonly (string Name, Shape Shape, int Parameters, Forward Forward)[] Cases =
    [
        BatchNorm(128, 256), BatchNorm(256, 1024), BatchNorm(4096, 512), BatchNorm(128, 64, 16, 16), BatchNorm(32, 256, 7, 7),
        LayerNorm(256, 1024), LayerNorm(4096, 768),
        ("group_norm(32)", [32, 256, 14, 14], 256, (x, w, b, _, _) => F.GroupNorm(x, 32, w, b)),
        ("instance_norm", [32, 64, 32, 32], 64, (x, w, b, _, _) => F.InstanceNorm(x, null, null, w, b).Output),
        ("rms_norm", [4096, 768], 768, (x, w, _, _, _) => F.RmsNorm(x, [768], w)),
    ];

    public static int Run(string[] arguments)
    {
        int[] threads = [1, CpuPool.DefaultThreads];
        var wanted = new List<string>();
        for (var i = 0; i < arguments.Length; i++)
        {
            if (arguments[i] == "--threads") threads = [.. arguments[++i].Split(',').Select(int.Parse)];
            else wanted.Add(arguments[i]);
        }

        Console.WriteLine($"{"case",-34} threads   forward us   GB/s  of copy   backward us   GB/s  of copy");
        foreach (var count in threads.Distinct())
        {
            using var device = new CpuDevice(count);
            using var pool = new CpuPool(count);
            foreach (var (name, shape, parameters, forward) in Cases)
            {
                if (wanted.Count == 0 || wanted.Any(name.Contains)) Measure(device, pool, name, shape, parameters, forward);
            }
        }

        return 0;
    }

    private static (string Name, Shape Shape, int Parameters, Forward Forward) BatchNorm(params int[] shape) =>
        ("batch_norm+relu", new Shape(shape), shape[1],
            (x, w, b, m, v) => F.BatchNorm(x, m, v, w, b, training: true, activation: new Relu()).Output);

    private static (string Name, Shape Shape, int Parameters, Forward Forward) LayerNorm(int rows, int width) =>
        ("layer_norm", [rows, width], width, (x, w, b, _, _) => F.LayerNorm(x, [width], w, b));

    private static void Measure(CpuDevice device, CpuPool pool, string name, Shape shape, int parameters, Forward forward)
    {
        Tensor Parameter(string p) => F.Input(p, DType.F32, [parameters]);
        var x = F.Input("x", DType.F32, shape);
        Tensor[] operands = [x, Parameter("weight"), Parameter("bias"), Parameter("mean"), Parameter("variance")];
        var y = forward(x, operands[1], operands[2], operands[3], operands[4]);
        // The backward op alone: its inputs, the saved statistics included, are inputs of the program.
        var backwardNode = Autodiff.VectorJacobian([y], [F.Input("dy", DType.F32, shape)], [x])[0]!.Node;
        var standIns = backwardNode.Inputs.Select((t, i) => F.Input($"in{i}", t.DType, t.Shape)).ToArray();
        var backward = backwardNode.Op.Apply(standIns);

        using var forwardRun = new Evaluation(device, [.. y.Node.Outputs.Select((t, i) => new NamedTensor($"out{i}", t))]);
        using var backwardRun = new Evaluation(device, [.. backward.Outputs.Select((t, i) => new NamedTensor($"out{i}", t))]);
        var random = new Random(1);
        double[] Draw(Tensor t) => [.. Enumerable.Range(0, (int)t.Type.Elements).Select(_ => random.NextDouble() + 0.1)];
        foreach (var run in new[] { forwardRun, backwardRun })
        {
            foreach (var input in run.Executable.Plan.Program.Inputs) run.Set(((InputOp)input.Node.Op).InputName, Draw(input));
        }

        var bytes = (int)x.Type.Bytes;
        var two = new Copy(bytes);
        var three = new Copy(bytes * 3 / 2);
        var times = InTurns([forwardRun.Run, () => pool.Run(two), backwardRun.Run, () => pool.Run(three)]);
        string Column(double own, double copy, int factor) => $"{own * 1e6,12:F1} {factor * bytes / own / 1e9,6:F1} {copy / own,8:P0}";
        Console.WriteLine($"{name + " " + shape,-34} {device.Threads,7} {Column(times[0], times[1], 2)}  {Column(times[2], times[3], 3)}");
    }

    /// <summary>Seconds of each action, 20th percentile; the actions take turns, so that a noisy neighbour hits all alike.</summary>
    private static double[] InTurns(Action[] actions)
    {
        var counts = actions.Select(Calibrate).ToArray();
        var samples = actions.Select(_ => new List<double>()).ToArray();
        for (var round = 0; round < Rounds; round++)
        {
            for (var i = 0; i < actions.Length; i++)
            {
                actions[i]();
                var start = Stopwatch.GetTimestamp();
                for (var k = 0; k < counts[i]; k++) actions[i]();
                samples[i].Add(Stopwatch.GetElapsedTime(start).TotalSeconds / counts[i]);
            }
        }

        return [.. samples.Select(s => s.Order().ElementAt(s.Count / 5))];
    }

    private static int Calibrate(Action action)
    {
        var start = Stopwatch.GetTimestamp();
        var count = 0;
        while (Stopwatch.GetElapsedTime(start).TotalSeconds < 200 * SecondsPerTurn || count < 2)
        {
            action();
            count++;
        }

        return Math.Max(1, count / 200);
    }

    /// <summary>Copies a buffer, each worker its share.</summary>
    private sealed class Copy(int bytes) : IParallelWork
    {
        private readonly byte[] _from = GC.AllocateArray<byte>(bytes, pinned: true);
        private readonly byte[] _to = GC.AllocateArray<byte>(bytes, pinned: true);

        public void Execute(int worker, int workers)
        {
            var start = (int)((long)bytes * worker / workers);
            var end = (int)((long)bytes * (worker + 1) / workers);
            _from.AsSpan(start, end - start).CopyTo(_to.AsSpan(start));
        }
    }
}
