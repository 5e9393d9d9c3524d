using System.Diagnostics;
using System.Globalization;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;
using GpuEngine.Lab;
using GpuEngine.Lab.Measure;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Layers;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;

namespace GpuEngine.Bench;

/// <summary>
/// Whole training steps (forward, backward, Adam), and evaluation alone, beside PyTorch on the same machine in one run: both sides take short turns, so
/// a noisy neighbour hits them alike; medians over the turns. The peer is bench/peers/train_step.py under Debian's
/// python3-torch, told to use as many threads as we do.
/// </summary>
internal static class TrainStepComparison
{
    private const int Rounds = 9;
    private const double SecondsPerTurn = 0.25;

    private static readonly StepCase[] Cases =
    [
        new("mlp20x256", Digits, 128, (example, classes) => Mlp.Create(example.Length, classes, new MlpOptions { Depth = 20, Width = 256 })),
        new("lenet5", Digits, 128, (example, classes) => LeNet5.Create(example, classes)),
        new("mlp8x1024", Digits, 256, (example, classes) => Mlp.Create(example.Length, classes, new MlpOptions { Depth = 8, Width = 1024 })),
        new("mlp4x512", Digits, 128, (example, classes) => Mlp.Create(example.Length, classes, new MlpOptions { Depth = 4, Width = 512 })),
        new("resnet20", new ExampleShape(3, 32, 32), 128, Named("resnet20")) { Extra = true },
        new("resnet20-bf16", new ExampleShape(3, 32, 32), 1024, Named("resnet20")) { Extra = true, Compute = DType.BF16 },
        new("resnet18-bf16", new ExampleShape(3, 32, 32), 1024, Named("resnet18")) { Extra = true, Compute = DType.BF16 },
        new("resnet50-bf16", new ExampleShape(3, 224, 224), 256, Named("resnet50")) { Extra = true, Compute = DType.BF16, Classes = 1000 },
        new("resnet20-forward", new ExampleShape(3, 32, 32), 128, Named("resnet20")) { Extra = true, Forward = true },
        new("resnet18-forward", new ExampleShape(3, 224, 224), 16, Named("resnet18")) { Extra = true, Forward = true, Classes = 1000 },
        new("resnet50-forward", new ExampleShape(3, 224, 224), 16, Named("resnet50")) { Extra = true, Forward = true, Classes = 1000 },
    ];

    private static ExampleShape Digits => new(1, 28, 28);

    private static Func<ExampleShape, int, Module> Named(string name) => (example, classes) => ModelCatalog.Find(name).Build(new ModelRequest(example, classes));

    /// <summary>What is trained; extra cases run when they are named.</summary>
    private sealed record StepCase(string Name, ExampleShape Example, int Batch, Func<ExampleShape, int, Module> Model)
    {
        public int Classes { get; init; } = 10;

        public DType Compute { get; init; } = DType.F32;

        public bool Extra { get; init; }

        /// <summary>Evaluation alone, as `gpuengine eval` does it, instead of a training step.</summary>
        public bool Forward { get; init; }

        /// <summary>Sets of images that the steps go through; a large batch is measured from one.</summary>
        public int Batches => Example.Length * Batch > 1 << 22 ? 1 : 8;
    }

    /// <summary>Arguments: case names (none: all), "--threads 1,2", "--device D", "--peer cuda-compiled" (the
    /// form of the peer; by default the device), "--python PATH", "--alone" (no peer), "--ledger", "--resident" (the images stay on the
    /// device, as the peer's do; else each step copies its batch from the host), "--seconds S" (no case begins later than that).</summary>
    public static int Run(string[] arguments)
    {
        int[] threads = [1, Environment.ProcessorCount];
        var python = "/usr/bin/python3";
        var (where, form) = ("cpu", (string?)null);
        var names = new List<string>();
        var (alone, ledger, resident) = (false, false, false);
        var (started, seconds) = (Stopwatch.StartNew(), double.PositiveInfinity);
        for (var i = 0; i < arguments.Length; i++)
        {
            switch (arguments[i])
            {
                case "--threads": threads = [.. arguments[++i].Split(',').Select(int.Parse)]; break;
                case "--python": python = arguments[++i]; break;
                case "--device": where = arguments[++i]; break;
                case "--peer": form = arguments[++i]; break;
                case "--alone": alone = true; break;
                case "--ledger": ledger = true; break;
                case "--resident": resident = true; break;
                case "--seconds": seconds = double.Parse(arguments[++i], CultureInfo.InvariantCulture); break;
                default: names.Add(arguments[i]); break;
            }
        }

        Console.WriteLine($"{"case",-14} {"threads",7} {"ours ms",9} {"torch ms",9} {"ours images/s",14} {"torch images/s",15} {"ratio",6}");
        foreach (var count in where == "cpu" ? threads.Distinct() : [0])
        {
            using var peer = alone ? null : new TorchPeer(python, Math.Max(count, 1), form ?? where);
            foreach (var c in Cases.Where(c => names.Count == 0 ? !c.Extra : names.Contains(c.Name)))
            {
                if (started.Elapsed.TotalSeconds > seconds)
                {
                    Console.WriteLine($"{c.Name,-14} not begun: {seconds} s have passed");
                    continue;
                }

                using var device = Device.Open(where, count);
                Compare(c, device, count, peer, ledger, resident);
            }
        }

        return 0;
    }

    private static void Compare(StepCase c, IDevice device, int threads, TorchPeer? peer, bool ledger, bool resident)
    {
        var (name, batch) = (c.Name, c.Batch);
        using var work = c.Forward ? Forward(c, device) : Training(c, device, resident);
        var (step, wait) = (work.Step, work.Wait);
        var steps = Calibrate(work);
        // The peer takes turns of the same length, not of as many steps: where it is slower, those would last many times longer.
        var theirSteps = peer is null ? 0 : StepsPerTurn(peer.Run(name, Math.Min(steps, 10)));
        if (theirSteps > 0) theirSteps = StepsPerTurn(peer!.Run(name, theirSteps));
        var (ours, theirs) = (new List<double>(), new List<double>());
        for (var round = 0; round < Rounds; round++)
        {
            var start = Stopwatch.GetTimestamp();
            for (var i = 0; i < steps; i++) step();
            wait();
            ours.Add(Stopwatch.GetElapsedTime(start).TotalSeconds / steps);
            if (peer is null) continue;
            theirs.Add(peer.Run(name, theirSteps));
        }

        var (a, b) = (Median(ours), peer is null ? double.NaN : Median(theirs));
        Console.WriteLine($"{c.Name,-14} {threads,7} {a * 1e3,9:F2} {b * 1e3,9:F2} {batch / a,14:N0} {batch / b,15:N0} {b / a,6:F2}");
        if (!ledger) return;
        var rows = new StepLedger(work.Executable, RateProbe.Measure(device), 21);
        foreach (var row in rows.ByOp().Take(14))
            Console.WriteLine($"    {row.Op,-24} {row.Launches,4} {row.Seconds * 1e3,8:F3} ms {row.GigabytesPerSecond,7:F1} GB/s {row.GigaflopsPerSecond,7:F1} GF/s {row.LimitSeconds / row.Seconds,6:P0}");
    }

    /// <summary>What is timed: a step, and what waits for the last one where the device runs ahead.</summary>
    private sealed record Work(IExecutable Executable, Action Step, Action Wait, Action Close) : IDisposable
    {
        public void Dispose() => Close();
    }

    private static Work Training(StepCase c, IDevice device, bool resident)
    {
        // Prefetch would borrow a core that the peer does not get: images are made in advance.
        var trainer = new Trainer(c.Model(c.Example, c.Classes), Losses.CrossEntropy, new Adam(), device)
        {
            Options = new TrainerOptions { BatchSize = c.Batch, Compute = c.Compute },
        };
        trainer.Prepare(Datasets.Synthetic(c.Example, c.Classes, new DatasetOptions { Limit = c.Batches * c.Batch }, endless: false));
        trainer.RunStep(1e-3);
        Action step = resident ? trainer.Executable.Run : () => trainer.RunStep(1e-3);
        return new Work(trainer.Executable, step, () => trainer.Executable.ReadScalar<float>(TrainStep.Loss), trainer.Dispose);
    }

    private static Work Forward(StepCase c, IDevice device)
    {
        var variables = new ModelVariables(c.Model(c.Example, c.Classes));
        var store = device.CreateStore();
        variables.Initialize(store, 1);
        var evaluator = new Evaluator(device, store, variables, c.Example, c.Batch, Losses.CrossEntropy, new StepOptions { Compute = c.Compute });
        var images = new float[c.Batch * c.Example.Length];
        Philox.FillNormal(images, 1, 0, 0);
        evaluator.Executable.Write<float>(EvalStep.Input, images);
        evaluator.Executable.Write<int>(EvalStep.Target, new int[c.Batch]);
        return new Work(evaluator.Executable, evaluator.Executable.Run, () => evaluator.Executable.ReadScalar<float>(EvalStep.LossSum), Close);

        void Close()
        {
            evaluator.Dispose();
            store.Dispose();
        }
    }

    private static int Calibrate(Work work)
    {
        for (var i = 0; i < 5; i++) work.Step();
        work.Wait();
        var start = Stopwatch.GetTimestamp();
        var steps = 0;
        while (Stopwatch.GetElapsedTime(start).TotalSeconds < 2 * SecondsPerTurn || steps < 4)
        {
            work.Step();
            work.Wait();
            steps++;
        }

        return Math.Max(2, steps / 2);
    }

    private static int StepsPerTurn(double secondsPerStep) => Math.Max(2, (int)(SecondsPerTurn / secondsPerStep));

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }

    /// <summary>The peer in a process of its own: one line in, one line out.</summary>
    private sealed class TorchPeer : IDisposable
    {
        private readonly Process _process;

        public TorchPeer(string python, int threads, string form)
        {
            // Beside the binaries in the GPU bundle, in bench/peers in the repository.
            var script = Path.Combine(AppContext.BaseDirectory, "peers/train_step.py");
            if (!File.Exists(script)) script = Path.Combine(AppContext.BaseDirectory, "../../../../bench/peers/train_step.py");
            var start = new ProcessStartInfo(python) { RedirectStandardInput = true, RedirectStandardOutput = true };
            start.ArgumentList.Add(Path.GetFullPath(script));
            start.ArgumentList.Add(threads.ToString(CultureInfo.InvariantCulture));
            start.ArgumentList.Add(form);
            // Its workers must not spin on our cores between turns.
            start.Environment["OMP_WAIT_POLICY"] = "passive";
            // torch.set_num_threads does not reach an OpenBLAS that is built with threads of its own.
            start.Environment["OPENBLAS_NUM_THREADS"] = threads.ToString(CultureInfo.InvariantCulture);
            _process = Process.Start(start)!;
            Console.WriteLine($"# peer: {_process.StandardOutput.ReadLine()}");
        }

        public double Run(string name, int steps)
        {
            _process.StandardInput.WriteLine($"{name} {steps}");
            var line = _process.StandardOutput.ReadLine() ?? throw new InvalidOperationException("The peer ended.");
            return double.Parse(line, CultureInfo.InvariantCulture);
        }

        public void Dispose()
        {
            _process.StandardInput.Close();
            _process.WaitForExit();
            _process.Dispose();
        }
    }
}
