using System.Runtime.InteropServices;
using System.Text.Json;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Verification;
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

    [Theory]
    [InlineData("batch_norm", 128, 512, "relu")]
    [InlineData("batch_norm", 6000, 16, "relu")]
    [InlineData("relu", 64, 1000, "")]
    [InlineData("cross_entropy", 512, 40, "")]
    [InlineData("adam", 256, 256, "")]
    [InlineData("sgd", 256, 256, "")]
    public void A_launch_moves_the_bytes_that_it_claims(string op, int rows, int columns, string activation)
    {
        CudaUnderTest.RequireSimulator();
        var spec = KernelSamples.Own.First(s => s.Name == op);
        var sample = new OpSample();
        foreach (var (name, tensor) in spec.Samples[^1].Tensors)
        {
            Shape shape = tensor.Shape.Rank == 1 && op is "batch_norm" ? [columns]
                : tensor.Kind == SampleKind.Index ? [rows] : op is "batch_norm" or "cross_entropy" ? [rows, columns] : [rows * columns];
            var high = tensor.Kind == SampleKind.Index ? columns : tensor.High;
            sample[name] = tensor with { Shape = shape, High = high };
        }

        foreach (var (name, value) in spec.Samples[^1].Attributes) sample.Attributes[name] = value;
        if (activation.Length > 0) sample.Attributes["activation"] = activation;
        if (op == "batch_norm") sample.Attributes["training"] = true;
        if (op == "cross_entropy") (sample.Attributes["reduction"], sample.Attributes["ignore_index"]) = ("mean", -100);
        var instance = new OpInstance(spec, sample, DType.F32, spec.Differentiable);
        using var evaluation = Ready(instance);
        Set("check", "traffic");
        try
        {
            evaluation.Run();
            Cudasim.cudasim_counters_clear();
            evaluation.Run();
            var launches = Counters();
            var planned = evaluation.Executable.Plan.Launches.Select(l => under.Shared.PlanTarget.NewKernel(l.Node)).OfType<PlannedKernel>().ToArray();
            Assert.NotEmpty(planned);
            foreach (var kernel in planned)
            {
                var names = kernel.Requests.Select(r => r.Entry).ToHashSet();
                var counted = launches.Where(l => names.Contains(l.Kernel)).Sum(l => l.Bytes);
                var claimed = kernel.Cost.Bytes;
                Assert.True(
                    counted <= 1.02 * claimed && counted >= 0.98 * claimed,
                    $"{string.Join(", ", names)}: {counted} bytes moved, {claimed} claimed ({(double)counted / claimed:F3})");
            }
        }
        finally
        {
            Set("check", "none");
        }
    }

    private static (OpSpec Spec, OpSample Sample) Find(string op, int index)
    {
        var spec = KernelSamples.Own.First(s => s.Name == op);
        return (spec, spec.Samples[index]);
    }

    private void Compare(string op, int index, DType dtype)
    {
        var (spec, sample) = Find(op, index);
        var worst = OracleCheck.Worst(under.Shared, spec, sample, dtype, withGradients: true);
        Assert.True(worst.Error <= worst.Allowed, $"{op} ({sample}): {worst}");
    }

    private Evaluation Ready(OpInstance instance)
    {
        var evaluation = new Evaluation(under.Shared, [.. instance.Outputs, .. instance.Gradients]);
        foreach (var name in evaluation.Program.Inputs.Select(Core.Plan.TensorProgram.InputName)) evaluation.Set(name, instance.Values(name));
        return evaluation;
    }

    private double[] Run(OpSpec spec, OpSample sample)
    {
        using var evaluation = Ready(new OpInstance(spec, sample, DType.F32, spec.Differentiable));
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
