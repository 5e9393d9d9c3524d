using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public class TargetTests
{
    [Theory]
    [InlineData(90, "sm_90")]
    [InlineData(75, "sm_75")]
    [InlineData(100, "compute_90")]
    [InlineData(87, "compute_80")]
    [InlineData(70, null)]
    public void A_device_gets_its_binary_or_the_newest_ptx_below_it(int device, string? expected) =>
        Assert.Equal(expected, NvrtcCompiler.Target(device, [75, 80, 90]));

    [Fact]
    public void A_uuid_reads_like_that_of_nvidia_smi() => Assert.Equal(
        "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f",
        CudaDeviceProperties.UuidText([.. Enumerable.Range(0, 16).Select(i => (byte)i)]));

    [Theory]
    [InlineData(120604, "12.6.4")]
    [InlineData(130000, "13.0.0")]
    [InlineData(90600, "9.6.0")]
    [InlineData(22107, "2.21.7")]
    public void Packed_versions_come_apart(long packed, string expected) =>
        Assert.Equal(expected, CudaDoctor.LibraryVersion(packed));

    [Fact]
    public void Doctor_blames_the_first_thing_that_is_missing()
    {
        var device = new DeviceReport(Properties, 1, null);
        Assert.Equal((false, "get NVRTC"), CudaDoctor.Verdict(Libraries(nvrtc: null), [device], null));
        Assert.Equal((false, "no device"), CudaDoctor.Verdict(Libraries("x"), [], "no device"));
        Assert.Equal((false, "broken"), CudaDoctor.Verdict(Libraries("x"), [device with { Problem = "broken" }], null));
        Assert.Equal(
            (true, "CUDA can be used: device 0, GPU, sm_90."), CudaDoctor.Verdict(Libraries("x"), [device], null));
        Assert.Equal(
            (true, "CUDA can be used: device 0, GPU, sm_90, without cuDNN."),
            CudaDoctor.Verdict(Libraries("x", cudnn: null), [device], null));
    }

    private static LibraryReport[] Libraries(string? nvrtc, string? cudnn = "x") =>
    [
        new(CudaLibrary.Driver, true, "x", null, [], null),
        new(CudaLibrary.Nvrtc, true, nvrtc, null, [], nvrtc is null ? "get NVRTC" : null),
        new(CudaLibrary.Cudnn, false, cudnn, null, [], null),
        new(CudaLibrary.Nvtx, false, null, null, [], "get NVTX"),
    ];

    private static CudaDeviceProperties Properties { get; } = new()
    {
        Ordinal = 0,
        Name = "GPU",
        Uuid = "",
        PciBusId = "",
        ComputeCapabilityMajor = 9,
        ComputeCapabilityMinor = 0,
        MultiprocessorCount = 1,
        WarpSize = 32,
        MaxThreadsPerBlock = 1024,
        MaxThreadsPerMultiprocessor = 2048,
        MaxBlocksPerMultiprocessor = 32,
        MaxGridX = int.MaxValue,
        MaxGridY = 65535,
        SharedBytesPerBlock = 49152,
        SharedBytesPerBlockOptIn = 232448,
        SharedBytesPerMultiprocessor = 233472,
        ReservedSharedBytesPerBlock = 1024,
        RegistersPerBlock = 65536,
        RegistersPerMultiprocessor = 65536,
        L2Bytes = 1,
        TotalBytes = 1,
        ClockKilohertz = 1,
        MemoryClockKilohertz = 1,
        MemoryBusBits = 1,
        CopyEngines = 1,
        SupportsCooperativeLaunch = true,
        SupportsClusters = true,
        EccEnabled = true,
    };
}
