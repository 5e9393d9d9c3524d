using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// cross_entropy.cu and cross_entropy_with_gradient.cu: rows of contiguous classes. Tunable: "lanes" (threads per row: a power of two), "threads" (of a block),
/// "held" (vectors of a thread in registers), "stages" (rows of a block on their way to shared memory), "blocks" (per multiprocessor, which
/// bounds the registers), "margin" (multiprocessors that the grid with a barrier leaves alone).
/// </summary>
internal static class CrossEntropyRows
{
    private const int Threads = 256;

    /// <summary>Vectors of a thread; fewer where a block fills the multiprocessor and has 64 registers per thread.</summary>
    private const int MostHeld = 8;
    private const int MostHeldOf1024 = 7;

    private const int MostBlocks = 2048;

    /// <summary>Bytes that should be on their way to a multiprocessor: what it gets in the time that one takes, twice.</summary>
    private const int InFlight = 96 * 1024;

    /// <summary>Static shared memory of the kernel, rounded up, and what the device keeps of each block.</summary>
    private const int OtherShared = 4 * 1024;

    public static PlannedKernel? Plan(CrossEntropyCall call, CudaLimits limits)
    {
        if (call.Length != 1 || !(limits.Allows("one_read") || limits.Allows("two_read"))) return null;
        var size = call.X.DType.Size();
        var vector = VectorWidth.Any(call.X.DType, [call.X]);
        var aligned = call.Classes % vector == 0;
        // A row that starts between two vectors touches one more.
        var vectors = (call.Classes + (aligned ? 0 : vector - 1) + vector - 1) / vector;
        var withGradient = call.Pass == CrossEntropyPass.WithGradient;
        var lanes = limits.Tuned("lanes", Lanes(call, vectors, limits));
        var threads = limits.Tuned("threads", Math.Max(Threads, lanes));
        var held = limits.Tuned("held", Held(vectors, lanes));
        var chunk = (long)lanes * held;
        var whole = vectors <= chunk;
        if (withGradient && !limits.Allows(whole ? "one_read" : "two_read")) return null;

        var stageBytes = held * threads * vector * size;
        var byRegisters = Math.Max(1, limits.Tuned("blocks", ResidentThreads(held) / threads));
        var (stages, shared, perMultiprocessor) = (1, 0, byRegisters);
        if (withGradient)
        {
            var room = limits.SharedBytesPerBlockOptIn;
            var fitting = Math.Max(1, (room / byRegisters - OtherShared) / stageBytes);
            stages = limits.Tuned("stages", Math.Clamp((InFlight + byRegisters * stageBytes - 1) / (byRegisters * stageBytes), 1, Math.Min(fitting, 4)));
            shared = stages * stageBytes;
            if (shared + OtherShared > room) return null;
            perMultiprocessor = Math.Clamp(room / (shared + OtherShared), 1, byRegisters);
        }

        var perBlock = threads / lanes;
        var blocks = (call.Lines + perBlock - 1) / perBlock;
        if (!withGradient) blocks = Math.Min(blocks, MostBlocks);
        else if (call.CountsFirst && !limits.SupportsCooperativeLaunch) return null;
        else blocks = Math.Clamp(blocks, 1, Math.Max(1, (limits.Multiprocessors - limits.Tuned("margin", 0)) * perMultiprocessor));

        var request = new KernelRequest(withGradient ? "cross_entropy_with_gradient.cu" : "cross_entropy.cu", call.Entry("cross_entropy"))
        {
            Defines =
            [
                .. call.Macros, KernelRequest.Define("LANES", lanes), KernelRequest.Define("THREADS", threads), KernelRequest.Define("HELD", held),
                KernelRequest.Define("VECTOR", vector), KernelRequest.Define("ALIGNED", aligned ? 1 : 0), KernelRequest.Define("WHOLE", whole ? 1 : 0),
                KernelRequest.Define("STAGES", stages), KernelRequest.Define("BLOCKS", perMultiprocessor),
            ],
            DynamicSharedBytes = shared,
        };
        var shape = new LaunchShape(new Dim3((uint)blocks), new Dim3((uint)threads), (uint)shared) { Cooperative = call.CountsFirst && blocks > 1 };
        // Each warp of a row reads its target; the mean has counted them before.
        var warps = call.Pass == CrossEntropyPass.Backward ? 1 : Math.Max(1, lanes / 32);
        var last = (vectors - 1) / chunk * chunk;
        var rereads = call.Pass switch
        {
            CrossEntropyPass.WithGradient when !whole => call.X.Type.Bytes,
            CrossEntropyPass.Forward when call.Smooth => Math.Min(call.Classes, last * vector) * call.Lines * size,
            _ => 0,
        };
        // The target's entry of a gradient is written twice.
        var rewritten = call.Pass == CrossEntropyPass.Forward ? 0 : call.Lines * size;
        return new PlannedKernel(call.Node, new LaunchStep(request, shape, call.Operands, [call.Lines, call.Classes]))
        {
            ScratchBytes = call.ScratchBytes(blocks),
            CounterCount = call.CounterCount,
            RereadBytes = rereads,
            ExactCost = call.Node.Op.Cost(call.Node) + call.Overhead(blocks, warps + (call.CountsFirst ? 1 : 0)) + new Cost(rereads, rewritten, 0),
        };
    }

    /// <summary>Threads of a multiprocessor whose registers fit, by the vectors that each holds (see the kernel's header).</summary>
    private static int ResidentThreads(int held) => held switch { 1 => 1536, 2 => 1280, <= 4 => 1024, _ => 768 };

    private static int Held(long vectors, int lanes) => (int)Math.Clamp((vectors + lanes - 1) / lanes, 1, lanes == 1024 ? MostHeldOf1024 : MostHeld);

    /// <summary>
    /// Threads per row. Rows are dealt out in rounds of as many as are resident: a last round that leaves multiprocessors idle costs as
    /// much as a full one; few threads on a multiprocessor wait more; each doubling beyond a warp costs a little for the barrier. Without
    /// a gradient a row need not be whole, and more blocks than are resident wait their turn.
    /// </summary>
    private static int Lanes(CrossEntropyCall call, long vectors, CudaLimits limits)
    {
        var most = call.Pass == CrossEntropyPass.WithGradient ? 1024 : Threads;
        var (best, bestCost) = (0, double.PositiveInfinity);
        // Below a warp, a row's vectors must begin at whole sectors of 32 bytes, else pieces of rows share them.
        for (var lanes = call.Classes * call.X.DType.Size() % 32 == 0 ? 8 : 32; lanes <= most; lanes *= 2)
        {
            var held = Held(vectors, lanes);
            if (vectors > (long)lanes * held) continue;
            if (best != 0 && vectors * 2 <= lanes) break;
            var threads = Math.Max(Threads, lanes);
            var perMultiprocessor = Math.Max(1, ResidentThreads(held) / threads);
            var resident = (long)limits.Multiprocessors * perMultiprocessor * (threads / lanes);
            var rounds = (call.Lines + resident - 1) / resident;
            var cost = (double)rounds * resident / call.Lines * (1 + (200.0 / (perMultiprocessor * threads))) * (1 + (0.03 * Math.Log2(Math.Max(1, lanes / 32))));
            if (cost < bestCost - 1e-9) (best, bestCost) = (lanes, cost);
        }

        return best == 0 ? most : best;
    }
}
