using GpuEngine.Core.Cpu;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Verification;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>Every op of the catalog, every sample: nothing here names an op, so a new one is covered the day it is listed.</summary>
public class CatalogTests
{
    public static TheoryData<string, int> Samples() => Of(_ => true);

    public static TheoryData<string, int> DifferentiableSamples() => Of(spec => spec.Differentiable);

    [Fact]
    public void Every_op_has_samples() => Assert.All(OpCatalog.All, spec => Assert.NotEmpty(spec.Samples));

    [Theory]
    [MemberData(nameof(DifferentiableSamples))]
    public void Gradients_match_finite_differences(string op, int index)
    {
        using var device = new CpuDevice(1);
        var spec = OpCatalog.Find(op);
        var worst = GradientCheck.Worst(device, spec, spec.Samples[index]);
        Assert.True(worst.Error <= worst.Allowed, $"{op} ({spec.Samples[index]}): {worst}");
    }

    [Theory]
    [MemberData(nameof(Samples))]
    public void Fused_kernels_in_f32_match_the_decomposition_in_f64(string op, int index) => Compare(op, index, DType.F32);

    [Theory]
    [MemberData(nameof(Samples))]
    public void Fused_kernels_in_f64_match_the_decomposition_in_f64(string op, int index) => Compare(op, index, DType.F64);

    [Theory]
    [MemberData(nameof(Samples))]
    public void Bf16_storage_matches_the_decomposition_in_f64(string op, int index) => Compare(op, index, DType.BF16);

    private static void Compare(string op, int index, DType dtype)
    {
        using var device = new CpuDevice(2);
        var spec = OpCatalog.Find(op);
        var worst = OracleCheck.Worst(device, spec, spec.Samples[index], dtype, withGradients: true);
        Assert.True(worst.Error <= worst.Allowed, $"{op} ({spec.Samples[index]}): {worst}");
    }

    private static TheoryData<string, int> Of(Func<OpSpec, bool> include)
    {
        var data = new TheoryData<string, int>();
        foreach (var spec in OpCatalog.All.Where(include))
        {
            for (var i = 0; i < spec.Samples.Count; i++) data.Add(spec.Name, i);
        }

        return data;
    }
}
