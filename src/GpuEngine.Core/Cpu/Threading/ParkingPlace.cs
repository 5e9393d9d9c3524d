using System.Diagnostics;

namespace GpuEngine.Core.Cpu.Threading;

/// <summary>
/// Where one thread waits for a counter. It polls first (a hot team answers within a microsecond), then yields its
/// core to whoever needs it, and then sleeps in the kernel, so that nobody burns a core for longer than some tens of
/// microseconds.
/// </summary>
internal sealed class ParkingPlace : IDisposable
{
    private const double PollSeconds = 12e-6;
    private const double SpinSeconds = 50e-6;
    private static readonly long PollTicks = (long)(PollSeconds * Stopwatch.Frequency);
    private static readonly long SpinTicks = (long)(SpinSeconds * Stopwatch.Frequency);

    private readonly AutoResetEvent _event = new(false);
    private int _asleep;

    /// <summary>Returns when <paramref name="value"/> is no longer <paramref name="old"/>.</summary>
    public void WaitWhile(ref int value, int old)
    {
        var start = Stopwatch.GetTimestamp();
        while (Volatile.Read(ref value) == old)
        {
            var waited = Stopwatch.GetTimestamp() - start;
            if (waited < PollTicks) Thread.SpinWait(1);
            else if (waited < SpinTicks) Thread.Yield();
            else Sleep(ref value, old);
        }
    }

    /// <summary>
    /// Wakes the waiter if it sleeps. Call it after a full fence that follows the change of the counter.
    /// </summary>
    public void Wake()
    {
        if (Volatile.Read(ref _asleep) != 0 && Interlocked.Exchange(ref _asleep, 0) != 0) _event.Set();
    }

    public void Dispose() => _event.Dispose();

    private void Sleep(ref int value, int old)
    {
        // A full fence between the flag and the last look at the counter: one of the two sides sees the other.
        Interlocked.Exchange(ref _asleep, 1);
        var changed = Volatile.Read(ref value) != old;
        // When the flag is already taken back, a signal is on its way and has to be consumed here.
        if (changed && Interlocked.Exchange(ref _asleep, 0) != 0) return;
        _event.WaitOne();
    }
}
