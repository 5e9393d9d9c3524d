using System.Runtime.InteropServices;

namespace GpuEngine.Core.Cpu.Threading;

/// <summary>A counter alone on its cache lines: two are polled by different threads and must not share one.</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct PaddedCounter
{
    [FieldOffset(128)] public int Value;
}
