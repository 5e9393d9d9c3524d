using GpuEngine.Core.Graph;
using GpuEngine.Core.Verification;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Every op of the catalog on the CUDA device, values and gradients: nothing here names an op.</summary>
[Collection("device")]
public sealed class DeviceCatalogTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>, IDisposable
{
    public void Dispose() => under.AssertNothingFound();

    public static TheoryData<string, int> Samples()
    {
        var data = new TheoryData<string, int>();
        foreach (var spec in OpCatalog.All)
        {
            for (var i = 0; i < spec.Samples.Count; i++) data.Add(spec.Name, i);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Samples))]
    public void F32_matches_the_decomposition_in_f64(string op, int index) => Compare(op, index, DType.F32);

    [Theory]
    [MemberData(nameof(Samples))]
    public void F64_matches_the_decomposition_in_f64(string op, int index) => Compare(op, index, DType.F64);

    [Theory]
    [MemberData(nameof(Samples))]
    public void Bf16_matches_the_decomposition_in_f64(string op, int index) => Compare(op, index, DType.BF16);

    private void Compare(string op, int index, DType dtype)
    {
        under.CompileAhead(OpCatalog.All, DType.F32, DType.F64, DType.BF16);
        var spec = OpCatalog.Find(op);
        var worst = OracleCheck.Worst(under.Shared, spec, spec.Samples[index], dtype, withGradients: true);
        // In f64 the truth is itself of this precision, and its sums run in another order: a few thousand terms of size one cannot
        // differ by more than 1e-12.
        var allowed = dtype == DType.F64 ? Math.Max(worst.Allowed, 1e-12 * Math.Max(1, Math.Abs(worst.Expected))) : worst.Allowed;
        Assert.True(worst.Error <= allowed, $"{op} ({spec.Samples[index]}): {worst}");
    }
}
