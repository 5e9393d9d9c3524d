using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>The 16 bytes that name a device across processes.</summary>
[InlineArray(16)]
internal struct CUuuid
{
    private byte _first;
}

/// <summary>The arguments of a launch that needs attributes (cluster, cooperative).</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct CUlaunchConfig
{
    public uint gridDimX;
    public uint gridDimY;
    public uint gridDimZ;
    public uint blockDimX;
    public uint blockDimY;
    public uint blockDimZ;
    public uint sharedMemBytes;
    public CUstream hStream;
    public CUlaunchAttribute* attrs;
    public uint numAttrs;
}

/// <summary>One attribute: an id, four bytes of padding, a union of 64 bytes of which the engine sets these members.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal struct CUlaunchAttribute
{
    [FieldOffset(0)] public CUlaunchAttributeID id;
    [FieldOffset(8)] public int cooperative;
    [FieldOffset(8)] public uint clusterDimX;
    [FieldOffset(12)] public uint clusterDimY;
    [FieldOffset(16)] public uint clusterDimZ;
    [FieldOffset(8)] public int programmaticStreamSerializationAllowed;
    [FieldOffset(8)] public int priority;

    /// <summary>The union is aligned to 8 bytes by its pointer members.</summary>
    [FieldOffset(8)] private readonly ulong _alignment;
}

/// <summary>Which node kept a graph from being updated in place.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CUgraphExecUpdateResultInfo
{
    public CUgraphExecUpdateResult result;
    public CUgraphNode errorNode;
    public CUgraphNode errorFromNode;
}
