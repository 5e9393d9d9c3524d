using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Lab.Kernels;
using GpuEngine.Tests.Cuda;
using Xunit;

namespace GpuEngine.Tests.Images;

/// <summary>What augment.cu moves, counted by the simulator: each byte of the images once from memory, each result once.</summary>
[Collection("device")]
public class AugmentTrafficTests
{
    [Theory]
    [InlineData(DType.F32)]
    [InlineData(DType.BF16)]
    public void A_pixel_is_read_once_and_written_once(DType dtype)
    {
        CudaUnderTest.RequireSimulator();
        var rows = KernelTraffic.Measure(
            [
                Case("flip+jitter", dtype, new() { Flip = 0.5, Jitter = new(FactorRange.Around(0.4), null, FactorRange.Around(0.4)) }),
                Case("crop+flip+cutout", dtype, new() { Crop = new((32, 32), Ints.Repeat(4, 4)), Flip = 0.5, Cutout = new(8) }),
            ],
            new CudaDeviceOptions { KernelCacheFolder = DeviceUnderTest.CacheFolder }).ToArray();
        Assert.InRange(rows[0].OfClaim, 0.98, 1.02);
        // A window that is not aligned asks for a second word, which its neighbour has brought into the cache: memory sees each byte once, and
        // not those that are cut off.
        Assert.InRange(rows[1].DistinctOfFloor, 0.95, 1);
        Assert.InRange(rows[1].OfClaim, 1, 1.3);
        Assert.All(rows, r => Assert.InRange(r.OfIdealSectors, 1, 1.05));
    }

    private static KernelCase Case(string steps, DType dtype, AugmentOp op) => new(0, $"augment {steps}", [32, 3, 32, 32], dtype, Pass.Forward, "augment", s =>
    {
        var x = F.Input("x", DType.U8, s);
        double[] halves = [0.5, 0.5, 0.5];
        var y = F.Augment(x, op with { To = dtype }, F.Input("generator", DType.I64, [2]), halves, halves);
        return new CaseProgram([new("y", y)], x.Type.Bytes + y.Type.Bytes);
    });
}
