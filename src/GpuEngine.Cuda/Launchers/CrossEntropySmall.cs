using System.Numerics;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// cross_entropy_small.cu: lines of few classes, and lines that do not lie together ([N, classes, length]). Tunable: "threads" (lines
/// of a tile), "small_bytes" (the longest row that comes here), "margin" (multiprocessors that the grid with a barrier leaves alone).
/// </summary>
internal static class CrossEntropySmall
{
    private const string File = "cross_entropy_small.cu";

    /// <summary>Threads of a multiprocessor that the kernel's registers are bounded for.</summary>
    private const int ResidentThreads = 1024;

    private const int MostBlocks = 2048;

    public static PlannedKernel? Plan(CrossEntropyCall call, CudaLimits limits)
    {
        var (x, size, planes) = (call.X, call.X.DType.Size(), call.Length > 1);
        if (!limits.Allows("small") || (!planes && limits.Variant is null && call.Classes * size > limits.Tuned("small_bytes", 128))) return null;
        var wanted = planes ? call.Length : call.Lines;
        var threads = limits.Tuned("threads", (int)Math.Clamp((long)BitOperations.RoundUpToPowerOf2((ulong)wanted), 32, 256));
        // Two tiles of a multiprocessor, or narrower ones.
        while (threads > 32 && threads * call.Classes * size > limits.SharedBytesPerBlockOptIn / 2 - 2048) threads /= 2;
        var shared = threads * call.Classes * size;
        if (shared > limits.SharedBytesPerBlockOptIn / 2 - 2048) return null;

        var vector = planes ? VectorWidth.Dividing(x.DType, call.Length, [x]) : VectorWidth.Any(x.DType, [x]);
        var tiles = planes ? call.Lines / call.Length * ((call.Length + threads - 1) / threads) : (call.Lines + threads - 1) / threads;
        var perMultiprocessor = (int)Math.Clamp(Math.Min(ResidentThreads / threads, limits.SharedBytesPerBlockOptIn / (shared + 2048)), 1, 16);
        var blocks = Math.Min(tiles, MostBlocks);
        if (call.CountsFirst)
        {
            var most = (limits.Multiprocessors - limits.Tuned("margin", 0)) * perMultiprocessor;
            blocks = limits.SupportsCooperativeLaunch ? Math.Clamp(blocks, 1, Math.Max(most, 1)) : 1;
        }

        var request = new KernelRequest(File, call.Entry("cross_entropy_small"))
        {
            Defines =
            [
                .. call.Macros, KernelRequest.Define("CLASSES", call.Classes), KernelRequest.Define("PLANES", planes ? 1 : 0),
                KernelRequest.Define("THREADS", threads), KernelRequest.Define("VECTOR", vector), KernelRequest.Define("BLOCKS", perMultiprocessor),
            ],
            DynamicSharedBytes = (int)shared,
        };
        var shape = new LaunchShape(new Dim3((uint)blocks), new Dim3((uint)threads), (uint)shared) { Cooperative = call.CountsFirst && blocks > 1 };
        // The targets of a block's first tile stay in registers between counting and use.
        var targets = call.CountsFirst ? 2 - (double)Math.Min(blocks * (long)threads, call.Lines) / call.Lines : 1;
        return new PlannedKernel(call.Node, new LaunchStep(request, shape, call.Operands, [tiles, call.Lines, call.Length]))
        {
            ScratchBytes = call.ScratchBytes(blocks),
            CounterCount = call.CounterCount,
            ExactCost = call.Node.Op.Cost(call.Node) + call.Overhead(blocks, targets),
        };
    }
}
