using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Optimizers;

namespace GpuEngine.Bench;

/// <summary>
/// One optimizer step on a flat arena, f32, beside a copy of the same footprint made by the same threads. Bytes per parameter
/// are those of the model in performance.md: each input read once, each output written once (Adam 28, clip + Adam 32).
/// The peer is bench/peers/optimizers.py.
/// </summary>
[Config(typeof(Columns))]
[InProcess]
public class OptimizerBench : IDisposable
{
    private CpuDevice _device = null!;
    private Evaluation _run = null!;

    public enum Step
    {
        /// <summary>y = 1 x over arrays of the footprint of Adam's four: 8 bytes an element, in place (no read for ownership).</summary>
        Scale,
        Sgd,
        SgdMomentum,
        Adam,
        AdamW,
        ClipAdam,
        ClipNorm,
    }

    [Params(Step.Scale, Step.Sgd, Step.SgdMomentum, Step.Adam, Step.AdamW, Step.ClipAdam, Step.ClipNorm)]
    public Step Kind { get; set; }

    [Params(16 << 20)]
    public int Parameters { get; set; }

    [Params(1, 2)]
    public int Threads { get; set; }

    /// <summary>Bytes moved per parameter.</summary>
    public static int BytesPerParameter(Step step) => step switch
    {
        Step.Scale => 32,
        Step.Sgd => 12,
        Step.SgdMomentum => 20,
        Step.ClipAdam => 32,
        Step.ClipNorm => 4,
        _ => 28,
    };

    [GlobalSetup]
    public void Setup()
    {
        _device = new CpuDevice(Threads);
        Shape shape = [Parameters];
        if (Kind == Step.Scale)
        {
            var array = new Variable("array", DType.F32, [4 * Parameters], MemoryClass.Weights);
            _run = new Evaluation(_device, [], [new(array, array.Value * F.Reshape(F.Literal([1], DType.F32, 0.5), Shape.Scalar))]);
            return;
        }

        var param = new Variable("param", DType.F32, shape, MemoryClass.Weights);
        var grad = new Variable("grad", DType.F32, shape, MemoryClass.Gradients);
        var clip = Kind is Step.ClipAdam or Step.ClipNorm ? F.ClipGradNorm([grad.Value], 1) : null;
        if (Kind == Step.ClipNorm)
        {
            _run = new Evaluation(_device, [new("factor", clip!.Factor)]);
            Fill(grad);
            return;
        }

        Optimizer optimizer = Kind switch
        {
            Step.Sgd => new Sgd(),
            Step.SgdMomentum => new Sgd(momentum: 0.9),
            Step.AdamW => new AdamW(),
            _ => new Adam(),
        };
        var states = optimizer.StateNames.ToDictionary(n => n, n => new Variable(n, DType.F32, shape, MemoryClass.Optimizer));
        var step = new Variable("step", DType.I64, Shape.Scalar, MemoryClass.Inputs);
        var updated = optimizer.Record(
            param.Value, grad.Value, states.ToDictionary(s => s.Key, s => s.Value.Value), F.Scalar(1e-3, DType.F64), step.Value, clip?.Factor);
        List<VariableUpdate> updates = [new(param, updated.Param), new(step, step.Value + F.Scalar(1, DType.I64))];
        updates.AddRange(states.Select(s => new VariableUpdate(s.Value, updated.State[s.Key])));
        _run = new Evaluation(_device, [], updates);
        Fill(param);
        Fill(grad);
    }

    [GlobalCleanup]
    public void Dispose()
    {
        GC.SuppressFinalize(this);
        _run.Dispose();
        _device.Dispose();
    }

    [Benchmark]
    public void Run() => _run.Run();

    private void Fill(Variable variable)
    {
        // Never zeros: they would let a processor take short cuts.
        var values = new float[Parameters];
        for (var i = 0; i < values.Length; i++) values[i] = MathF.Sin(i % 8191);
        _run.Variables.Write<float>(variable, values);
    }

    private sealed class Columns : ManualConfig
    {
        public Columns() => AddColumn(new Bandwidth());
    }

    private sealed class Bandwidth : IColumn
    {
        public string Id => nameof(Bandwidth);

        public string ColumnName => "GB/s";

        public bool AlwaysShow => true;

        public ColumnCategory Category => ColumnCategory.Custom;

        public int PriorityInCategory => 0;

        public bool IsNumeric => true;

        public UnitType UnitType => UnitType.Dimensionless;

        public string Legend => "bytes that the step must move, by the median time";

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase)
        {
            var median = summary[benchmarkCase]?.ResultStatistics?.Median;
            if (median is null) return "-";
            var kind = (Step)benchmarkCase.Parameters[nameof(Kind)];
            var bytes = (long)BytesPerParameter(kind) * (int)benchmarkCase.Parameters[nameof(Parameters)];
            return (bytes / median.Value).ToString("F1");
        }

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) => GetValue(summary, benchmarkCase);

        public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;

        public bool IsAvailable(Summary summary) => true;
    }
}
