using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// cross_entropy.cu: rows of contiguous classes. Tunable: "lanes" (threads per row: a power of two), "threads" (of a block),
/// "held" (vectors of a thread in registers), "blocks" (per multiprocessor, which bounds the registers), "margin"
/// (multiprocessors that the grid with a barrier leaves alone).
/// </summary>
internal static class CrossEntropyRows
{
    private const string File = "cross_entropy.cu";
    private const int Threads = 256;
    private const int MostHeld = 8;
    private const int MostBlocks = 2048;

    public static PlannedKernel? Plan(CrossEntropyCall call, CudaLimits limits)
    {
        if (call.Length != 1 || !(limits.Allows("one_read") || limits.Allows("two_read"))) return null;
        var vector = VectorWidth.Any(call.X.DType, [call.X]);
        var aligned = call.Classes % vector == 0;
        // A row that starts between two vectors touches one more.
        var vectors = (call.Classes + (aligned ? 0 : vector - 1) + vector - 1) / vector;
        var lanes = limits.Tuned("lanes", Lanes(call, vector, vectors, limits));
        var threads = limits.Tuned("threads", Math.Max(Threads, lanes));
        var held = limits.Tuned("held", Held(vectors, lanes));
        var chunk = (long)lanes * held;
        var chunks = (vectors + chunk - 1) / chunk;
        var perMultiprocessor = Math.Max(1, limits.Tuned("blocks", ResidentThreads(held) / threads));

        // Chunks before the last are kept in shared memory while two blocks fit into a multiprocessor.
        var again = call.Pass == CrossEntropyPass.WithGradient ? chunks - 1 : 0;
        var kept = again * held * threads * vector * call.X.DType.Size();
        var keep = kept > 0 && limits.Allows("one_read") && kept <= (limits.SharedBytesPerBlockOptIn / 2) - 2048;
        if (again > 0 && !keep && !limits.Allows("two_read")) return null;
        if (again == 0 && !limits.Allows("one_read")) return null;
        if (keep) perMultiprocessor = (int)Math.Clamp(limits.SharedBytesPerBlockOptIn / (kept + 2048), 1, perMultiprocessor);

        var perBlock = threads / lanes;
        var blocks = (call.Lines + perBlock - 1) / perBlock;
        if (!call.CountsFirst) blocks = Math.Min(blocks, MostBlocks);
        else if (!limits.SupportsCooperativeLaunch) return null;
        else blocks = Math.Clamp(blocks, 1, Math.Max(1, (limits.Multiprocessors - limits.Tuned("margin", 0)) * perMultiprocessor));

        var request = new KernelRequest(File, call.Entry("cross_entropy"))
        {
            Defines =
            [
                .. call.Macros, KernelRequest.Define("LANES", lanes), KernelRequest.Define("THREADS", threads), KernelRequest.Define("HELD", held),
                KernelRequest.Define("VECTOR", vector), KernelRequest.Define("ALIGNED", aligned ? 1 : 0), KernelRequest.Define("WHOLE", chunks == 1 ? 1 : 0),
                KernelRequest.Define("KEEP", keep ? 1 : 0), KernelRequest.Define("BLOCKS", perMultiprocessor),
            ],
            DynamicSharedBytes = keep ? (int)kept : 0,
        };
        var shape = new LaunchShape(new Dim3((uint)blocks), new Dim3((uint)threads), keep ? (uint)kept : 0) { Cooperative = call.CountsFirst && blocks > 1 };
        // Each warp of a row reads its target; the mean has counted them before.
        var warps = call.Pass == CrossEntropyPass.Backward ? 1 : Math.Max(1, lanes / 32);
        var rereads = keep || (call.Pass == CrossEntropyPass.Forward && !call.Smooth) || call.Pass == CrossEntropyPass.Backward
            ? 0
            : Math.Min(call.Classes, (chunks - 1) * chunk * vector) * call.Lines * call.X.DType.Size();
        return new PlannedKernel(call.Node, new LaunchStep(request, shape, call.Operands, [call.Lines, call.Classes]))
        {
            ScratchBytes = call.ScratchBytes(blocks),
            CounterCount = (call.CounterBytes) / sizeof(uint),
            ExactCost = call.Node.Op.Cost(call.Node) + call.Overhead(blocks, warps + (call.CountsFirst ? 1 : 0)) + new Cost(rereads, 0, 0),
        };
    }

    /// <summary>Threads of a multiprocessor whose registers fit, by the vectors that each holds (see the kernel's header).</summary>
    private static int ResidentThreads(int held) => held switch { 1 => 1536, 2 => 1280, <= 4 => 1024, _ => 768 };

    private static int Held(long vectors, int lanes) => (int)Math.Clamp((vectors + lanes - 1) / lanes, 1, MostHeld);

    /// <summary>
    /// As few threads per row as hold it, unless that leaves multiprocessors idle in the last round: rows are dealt out in rounds of as
    /// many as are resident. Each doubling beyond a warp costs a little for the barrier.
    /// </summary>
    private static int Lanes(CrossEntropyCall call, int vector, long vectors, CudaLimits limits)
    {
        // Below a warp, a row's vectors must begin at whole sectors of 32 bytes, else pieces of rows share them.
        var (best, bestCost) = (0, double.PositiveInfinity);
        for (var lanes = call.Classes * call.X.DType.Size() % 32 == 0 ? 8 : 32; lanes <= Threads; lanes *= 2)
        {
            if (vectors > (long)lanes * MostHeld) continue;
            if (best != 0 && vectors * 2 <= lanes) break;
            var resident = (long)limits.Multiprocessors * Math.Max(1, ResidentThreads(Held(vectors, lanes)) / Threads) * (Threads / lanes);
            var rounds = (call.Lines + resident - 1) / resident;
            var cost = (double)rounds * resident / call.Lines * (lanes <= 32 ? 1 : 1 + (0.03 * Math.Log2(lanes / 32.0)));
            if (cost < bestCost - 1e-9) (best, bestCost) = (lanes, cost);
        }

        return best == 0 ? Threads : best;
    }
}
