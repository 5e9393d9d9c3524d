using System.Runtime.InteropServices;
using System.Text;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>What a launcher must know about a device. Sizes in bytes, rates in kHz.</summary>
public sealed record CudaDeviceProperties
{
    public required int Ordinal { get; init; }

    public required string Name { get; init; }

    /// <summary>GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, as nvidia-smi prints it.</summary>
    public required string Uuid { get; init; }

    public required string PciBusId { get; init; }

    public required int ComputeCapabilityMajor { get; init; }

    public required int ComputeCapabilityMinor { get; init; }

    /// <summary>Ten times the major version plus the minor one: 90 for sm_90.</summary>
    public int Architecture => ComputeCapabilityMajor * 10 + ComputeCapabilityMinor;

    public required int MultiprocessorCount { get; init; }

    public required int WarpSize { get; init; }

    public required int MaxThreadsPerBlock { get; init; }

    public required int MaxThreadsPerMultiprocessor { get; init; }

    public required int MaxBlocksPerMultiprocessor { get; init; }

    public required int MaxGridX { get; init; }

    public required int MaxGridY { get; init; }

    /// <summary>Shared memory a block may use without asking.</summary>
    public required int SharedBytesPerBlock { get; init; }

    /// <summary>Shared memory a block may use when its kernel asks for more.</summary>
    public required int SharedBytesPerBlockOptIn { get; init; }

    public required int SharedBytesPerMultiprocessor { get; init; }

    /// <summary>Shared memory the system keeps for itself in each block.</summary>
    public required int ReservedSharedBytesPerBlock { get; init; }

    public required int RegistersPerBlock { get; init; }

    public required int RegistersPerMultiprocessor { get; init; }

    public required int L2Bytes { get; init; }

    public required long TotalBytes { get; init; }

    public required int ClockKilohertz { get; init; }

    public required int MemoryClockKilohertz { get; init; }

    public required int MemoryBusBits { get; init; }

    public required int CopyEngines { get; init; }

    public required bool SupportsCooperativeLaunch { get; init; }

    public required bool SupportsClusters { get; init; }

    public required bool EccEnabled { get; init; }

    internal static unsafe CudaDeviceProperties Read(CUdevice device, int ordinal)
    {
        const int Capacity = 256;
        var text = stackalloc byte[Capacity];
        CuDriver.cuDeviceGetName(text, Capacity, device).ThrowIfFailed();
        var name = Text(text);
        CuDriver.cuDeviceGetPCIBusId(text, Capacity, device).ThrowIfFailed();
        var pci = Text(text);
        CuDriver.cuDeviceGetUuid_v2(out var uuid, device).ThrowIfFailed();
        CuDriver.cuDeviceTotalMem_v2(out var total, device).ThrowIfFailed();

        return new CudaDeviceProperties
        {
            Ordinal = ordinal,
            Name = name,
            Uuid = UuidText(uuid),
            PciBusId = pci,
            ComputeCapabilityMajor = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            ComputeCapabilityMinor = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
            MultiprocessorCount = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
            WarpSize = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_WARP_SIZE),
            MaxThreadsPerBlock = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
            MaxThreadsPerMultiprocessor = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR),
            MaxBlocksPerMultiprocessor = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR),
            MaxGridX = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X),
            MaxGridY = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y),
            SharedBytesPerBlock = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK),
            SharedBytesPerBlockOptIn = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
            SharedBytesPerMultiprocessor =
                Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR),
            ReservedSharedBytesPerBlock = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK),
            RegistersPerBlock = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK),
            RegistersPerMultiprocessor = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR),
            L2Bytes = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE),
            TotalBytes = (long)total,
            ClockKilohertz = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
            MemoryClockKilohertz = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE),
            MemoryBusBits = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH),
            CopyEngines = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT),
            SupportsCooperativeLaunch = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH) != 0,
            SupportsClusters = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH) != 0,
            EccEnabled = Get(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_ECC_ENABLED) != 0,
        };

        static string Text(byte* text) =>
            Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text));

        int Get(CUdevice_attribute attribute)
        {
            var status = CuDriver.cuDeviceGetAttribute(out var value, attribute, device);
            if (status != CUresult.CUDA_SUCCESS)
                throw CudaException.From(status, $"cuDeviceGetAttribute({attribute})");
            return value;
        }
    }

    /// <summary>The bytes in the grouping 4-2-2-2-6 behind "GPU-".</summary>
    internal static string UuidText(ReadOnlySpan<byte> uuid)
    {
        var hex = Convert.ToHexStringLower(uuid);
        return $"GPU-{hex[..8]}-{hex[8..12]}-{hex[12..16]}-{hex[16..20]}-{hex[20..]}";
    }
}
