using System.Runtime.InteropServices;

namespace GpuEngine.Core.Cpu.Threading;

/// <summary>
/// The next unclaimed share of the current run, alone on its cache lines. The run's number is part of the word, so a
/// thread that wakes late cannot take a share of a later run for one of its own.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct PaddedClaims
{
    [FieldOffset(128)] private long _word;

    /// <summary>Offers the shares from <paramref name="firstShare"/> on; called when no run is open.</summary>
    public void Open(int epoch, int firstShare) => Volatile.Write(ref _word, Word(epoch, firstShare));

    /// <summary>Takes the next share of a run; false when all are taken or the run is over.</summary>
    public bool TryClaim(int epoch, int shares, out int share)
    {
        while (true)
        {
            var word = Volatile.Read(ref _word);
            share = (int)word;
            if ((int)(word >> 32) != epoch || share >= shares) return false;
            if (Interlocked.CompareExchange(ref _word, Word(epoch, share + 1), word) == word) return true;
        }
    }

    private static long Word(int epoch, int share) => ((long)epoch << 32) | (uint)share;
}
