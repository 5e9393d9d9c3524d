using System.Runtime.InteropServices;

namespace GpuEngine.Core.Cpu;

/// <summary>Zeroed memory outside the managed heap, aligned to a cache line.</summary>
internal sealed unsafe class NativeBuffer : SafeHandle
{
    public const int Alignment = 64;

    public NativeBuffer(long bytes) : base(0, true)
    {
        Bytes = bytes;
        var size = checked((nuint)Math.Max(bytes, 1));
        var pointer = NativeMemory.AlignedAlloc(size, Alignment);
        NativeMemory.Clear(pointer, size);
        SetHandle((nint)pointer);
    }

    public long Bytes { get; }

    public byte* Pointer => (byte*)handle;

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        return true;
    }
}
