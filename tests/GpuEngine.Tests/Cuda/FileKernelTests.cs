using System.Runtime.InteropServices;
using System.Text.Json;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Verification;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>The kernels of <c>kernels/</c> on the device: values against float64, the simulator's checks, and bytes against Cost.</summary>
[Collection("device")]
public class FileKernelTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>Random orders of threads and blocks that a kernel is run in.</summary>
    private const int Schedules = 10;

    public static TheoryData<string, int> Samples()
    {
        var data = new TheoryData<string, int>();
        foreach (var spec in KernelSamples.Own)
        {
            for (var i = 0; i < spec.Samples.Count; i++) data.Add(spec.Name, i);
        }

        return data;
    }

    /// <summary>One of each kernel variant, small: checked launches are slow.</summary>
    public static TheoryData<string, int> CheckedSamples()
    {
        var data = new TheoryData<string, int>();
        foreach (var spec in KernelSamples.Own)
        {
            for (var i = 0; i < spec.Samples.Count; i++)
            {
                if (spec.Samples[i].Tensors.Values.Max(t => t.Shape.Elements) <= 10000) data.Add(spec.Name, i);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Samples))]
    public void F32_matches_the_decomposition_in_f64(string op, int index) => Compare(op, index, DType.F32);

    [Theory]
    [MemberData(nameof(Samples))]
    public void Bf16_matches_the_decomposition_in_f64(string op, int index) => Compare(op, index, DType.BF16);

    [Theory]
    [MemberData(nameof(CheckedSamples))]
    public void No_schedule_finds_a_race_or_a_bad_access(string op, int index)
    {
        CudaUnderTest.RequireSimulator();
        var (spec, sample) = Find(op, index);
        var expected = Run(spec, sample);
        Set("check", "memory,race");
        try
        {
            Cudasim.cudasim_findings_clear();
            for (var seed = 1; seed <= Schedules; seed++)
            {
                Set("seed", seed.ToString(System.Globalization.CultureInfo.InvariantCulture));
                Assert.Equal(expected, Run(spec, sample));
                Assert.True(Cudasim.cudasim_finding_count(null) == 0, $"{op} ({sample}), schedule {seed}: {Findings()}");
            }
        }
        finally
        {
            Set("check", "none");
            Set("seed", "0");
        }
    }

    /// <summary>Shapes large enough that what a launch reads beside its tensors does not matter.</summary>
    public static TheoryData<string, int[]> Traffic => new()
    {
        { "batch_norm", [128, 512] }, { "batch_norm", [6000, 16] }, { "batch_norm", [4, 64, 16, 16] }, { "relu", [64000] }, { "cross_entropy", [512, 40] },
        { "adam", [65536] }, { "sgd", [65536] }, { "dropout", [65536] }, { "softmax", [256, 64] },
        { "transpose", [128, 96] },
    };

    [Theory]
    [MemberData(nameof(Traffic))]
    public void A_launch_moves_the_bytes_that_it_claims(string op, int[] shape)
    {
        CudaUnderTest.RequireSimulator();
        Check(op);
        if (KernelSamples.Own.Any(s => s.Name == op + "_backward")) Check(op + "_backward");

        void Check(string name)
        {
            var spec = KernelSamples.Own.First(s => s.Name == name);
            CheckTraffic(spec, Resize(spec.Samples.First(s => s.Tensors.Values.Any(t => t.Shape.Rank == shape.Length) || op != "batch_norm"), new Shape(shape)));
        }
    }

    /// <summary>The sample with its largest shape replaced; vectors of channels and targets follow.</summary>
    private static OpSample Resize(OpSample sample, Shape shape)
    {
        var largest = sample.Tensors.Values.MaxBy(t => t.Shape.Elements)!.Shape;
        var result = new OpSample();
        foreach (var (name, tensor) in sample.Tensors)
        {
            var isTarget = tensor.Kind == SampleKind.Index;
            var to = tensor.Shape == largest ? shape : isTarget ? [shape[0]] : tensor.Shape.Rank == 0 ? tensor.Shape : new Shape(shape[1]);
            result[name] = tensor with { Shape = to, High = isTarget ? shape[1] : tensor.High };
        }

        foreach (var (name, value) in sample.Attributes) result.Attributes[name] = value;
        return result;
    }

    private void CheckTraffic(OpSpec spec, OpSample sample)
    {
        using var evaluation = Ready(new OpInstance(spec, sample, DType.F32, false));
        evaluation.Run();
        Set("check", "traffic");
        try
        {
            Cudasim.cudasim_counters_clear();
            evaluation.Run();
            var launches = Counters();
            var planned = evaluation.Executable.Plan.Launches.Select(l => under.Shared.PlanTarget.NewKernel(l.Node)).OfType<PlannedKernel>().ToArray();
            Assert.NotEmpty(planned);
            foreach (var kernels in planned.GroupBy(k => string.Join(", ", k.Requests.Select(r => r.Entry))))
            {
                var names = kernels.First().Requests.Select(r => r.Entry).ToHashSet();
                var counted = launches.Where(l => names.Contains(l.Kernel)).Sum(l => l.Bytes);
                var claimed = kernels.Sum(k => k.Cost.Bytes);
                Assert.True(
                    counted <= 1.02 * claimed && counted >= 0.98 * claimed,
                    $"{kernels.Key} ({sample}): {counted} bytes moved, {claimed} claimed ({(double)counted / claimed:F3})");
            }
        }
        finally
        {
            Set("check", "none");
        }
    }

    /// <summary>In a plan's arena a step over the end of a tensor lands in another; here each has its own allocation.</summary>
    [Theory]
    [MemberData(nameof(CheckedSamples))]
    public void Kernels_stay_within_their_tensors(string op, int index)
    {
        CudaUnderTest.RequireSimulator();
        var (spec, sample) = Find(op, index);
        Set("check", "memory");
        try
        {
            Cudasim.cudasim_findings_clear();
            foreach (var dtype in new[] { DType.F32, DType.BF16 })
            {
                var instance = new OpInstance(spec, sample, dtype, false);
                foreach (var node in Traversal.Ancestors(instance.Outputs.Select(o => o.Tensor)))
                {
                    if (CudaKernels.Create(node, under.Shared.Limits) is not PlannedKernel kernel) continue;
                    // Class 0, step 0 and seed 0 are always valid; the other values do not matter.
                    double[][] inputs = [.. node.Inputs.Select(t => Enumerable.Range(0, (int)t.Type.Elements).Select(i => t.DType.IsFloat() ? 0.5 + i % 7 : 0.0).ToArray())];
                    KernelRun.Outputs(under.Shared, kernel, inputs, guard: 0);
                    Assert.True(Cudasim.cudasim_finding_count(null) == 0, $"{kernel.Requests[0].Entry} in {dtype} for {op} ({sample}): {Findings()}");
                }
            }
        }
        finally
        {
            Cudasim.cudasim_findings_clear();
            Set("check", "none");
        }
    }

    [Fact]
    public void Launches_allocate_nothing()
    {
        var options = new CudaDeviceOptions { UseGraphs = false, KernelCacheFolder = DeviceUnderTest.CacheFolder };
        using var device = DeviceUnderTest.Open(options);
        foreach (var op in new[] { "batch_norm_backward", "layer_norm_backward", "cross_entropy", "adam", "clip_grad_norm", "dropout" })
        {
            var (spec, sample) = Find(op, 0);
            using var evaluation = Ready(new OpInstance(spec, sample, DType.F32, false), device);
            for (var i = 0; i < 3; i++) evaluation.Run();
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 10; i++) evaluation.Run();
            Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        }
    }

    [Fact]
    public void An_activation_that_the_kernels_do_not_have_is_left_to_the_decomposition()
    {
        var limits = new CudaLimits();
        var x = F.Input("x", DType.F32, [4, 4]);
        Assert.Null(CudaKernels.Create(new BatchNormOp(true, 0.1, 1e-5, false, false, new Cube()).Apply(x), limits));
        Assert.Null(CudaKernels.Create(new LayerNormOp([4], 1e-5, false, new Cube()).Apply(x), limits));
        Assert.Null(CudaKernels.Create(new ActivationBackwardOp(new Cube()).Apply(x, x), limits));
    }

    private sealed record Cube : Activation
    {
        public override string Name => "cube";

        public override Tensor Define(Tensor x) => x * x * x;

        public override Tensor Derivative(Tensor x) => 3 * x * x;
    }

    private static (OpSpec Spec, OpSample Sample) Find(string op, int index)
    {
        var spec = KernelSamples.Own.First(s => s.Name == op);
        return (spec, spec.Samples[index]);
    }

    private void Compare(string op, int index, DType dtype)
    {
        under.CompileAhead(KernelSamples.Own, DType.F32, DType.BF16);
        var (spec, sample) = Find(op, index);
        var worst = OracleCheck.Worst(under.Shared, spec, sample, dtype, withGradients: false);
        Assert.True(worst.Error <= worst.Allowed, $"{op} ({sample}): {worst}");
    }

    private Evaluation Ready(OpInstance instance, CudaDevice? device = null)
    {
        var evaluation = new Evaluation(device ?? under.Shared, [.. instance.Outputs, .. instance.Gradients]);
        foreach (var name in evaluation.Program.Inputs.Select(Core.Plan.TensorProgram.InputName)) evaluation.Set(name, instance.Values(name));
        return evaluation;
    }

    private double[] Run(OpSpec spec, OpSample sample)
    {
        using var evaluation = Ready(new OpInstance(spec, sample, DType.F32, false));
        evaluation.Run();
        return [.. evaluation.Program.Outputs.SelectMany(o => evaluation.Get(o.Name))];
    }

    private static void Set(string option, string value) => Assert.Equal(0, Cudasim.cudasim_set_option(option, value));

    private static unsafe string Findings() => Marshal.PtrToStringUTF8((nint)Cudasim.cudasim_findings_json()) ?? "";

    private static unsafe List<(string Kernel, long Bytes)> Counters()
    {
        using var json = JsonDocument.Parse(Marshal.PtrToStringUTF8((nint)Cudasim.cudasim_counters_json()) ?? "[]");
        var root = json.RootElement;
        var list = root.ValueKind == JsonValueKind.Array ? root : root.EnumerateObject().First(p => p.Value.ValueKind == JsonValueKind.Array).Value;
        return
        [
            .. list.EnumerateArray().Select(l => (
                l.GetProperty("kernel").GetString()!, l.GetProperty("global_read_bytes").GetInt64() + l.GetProperty("global_write_bytes").GetInt64())),
        ];
    }
}
