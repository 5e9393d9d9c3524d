using System.Runtime.ExceptionServices;

namespace GpuEngine.Core.Cpu.Threading;

/// <summary>
/// A fixed team of threads for fork-join work. <see cref="Run"/> costs about a microsecond while the team is hot and
/// allocates nothing; idle workers sleep after some tens of microseconds (see <see cref="ParkingPlace"/>).
/// </summary>
public sealed class CpuPool : IDisposable
{
    private readonly Thread[] _team;
    private readonly ParkingPlace[] _places;
    private readonly ParkingPlace _callerPlace = new();
    private PaddedCounter _epoch;
    private PaddedCounter _running;
    private IParallelWork? _work;
    private ExceptionDispatchInfo? _failure;
    private int _busy;
    private volatile bool _stopping;

    /// <summary>Starts a team of <paramref name="threads"/> workers, the caller of <see cref="Run"/> being one of them.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="threads"/> is less than 1.</exception>
    public CpuPool(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        Threads = threads;
        _team = new Thread[threads - 1];
        _places = new ParkingPlace[threads - 1];
        for (var i = 0; i < _team.Length; i++)
        {
            var worker = i + 1;
            _places[i] = new ParkingPlace();
            _team[i] = new Thread(() => Serve(worker)) { IsBackground = true, Name = $"CpuPool {worker}" };
            _team[i].Start();
        }
    }

    /// <summary>One worker per processor that the operating system gives to this process.</summary>
    public static int DefaultThreads => Environment.ProcessorCount;

    /// <summary>The number of workers, the caller included.</summary>
    public int Threads { get; }

    /// <summary>
    /// Executes <paramref name="work"/> on every worker and returns when all have finished. What the workers wrote is
    /// visible to the caller. When some of them threw, the first exception is thrown again here.
    /// </summary>
    /// <exception cref="InvalidOperationException">The pool is already running something: calls must not nest or overlap.</exception>
    public void Run(IParallelWork work)
    {
        ArgumentNullException.ThrowIfNull(work);
        ObjectDisposedException.ThrowIf(_stopping, this);
        if (Interlocked.Exchange(ref _busy, 1) != 0)
            throw new InvalidOperationException("The pool is already running; calls to Run must not nest or overlap.");
        try
        {
            if (_team.Length == 0) work.Execute(0, 1);
            else Fork(work);
        }
        finally
        {
            Volatile.Write(ref _busy, 0);
        }
    }

    /// <summary>Ends the threads. A pool that is running finishes first; a second call does nothing.</summary>
    public void Dispose()
    {
        if (_stopping) return;
        while (Interlocked.Exchange(ref _busy, 1) != 0) Thread.Yield();
        _stopping = true;
        Interlocked.Increment(ref _epoch.Value);
        foreach (var place in _places) place.Wake();
        foreach (var thread in _team) thread.Join();
        foreach (var place in _places) place.Dispose();
        _callerPlace.Dispose();
    }

    private void Fork(IParallelWork work)
    {
        _work = work;
        Volatile.Write(ref _running.Value, _team.Length);
        // A full fence: either a worker that is about to sleep sees the new epoch, or we see that it sleeps.
        Interlocked.Increment(ref _epoch.Value);
        foreach (var place in _places) place.Wake();
        Guard(work, 0);
        _callerPlace.WaitUntil(ref _running.Value, 0);
        _work = null;
        if (_failure is not { } failure) return;
        _failure = null;
        failure.Throw();
    }

    private void Serve(int worker)
    {
        var place = _places[worker - 1];
        var seen = 0;
        while (true)
        {
            // Exactly one step per Run: nobody starts the next before everyone has finished this one.
            place.WaitUntil(ref _epoch.Value, ++seen);
            if (_stopping) return;
            Guard(_work!, worker);
            if (Interlocked.Decrement(ref _running.Value) == 0) _callerPlace.Wake();
        }
    }

    private void Guard(IParallelWork work, int worker)
    {
        try
        {
            work.Execute(worker, Threads);
        }
#pragma warning disable CA1031 // Whatever a worker throws belongs to the caller of Run, who gets it after the barrier.
        catch (Exception e)
#pragma warning restore CA1031
        {
            Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(e), null);
        }
    }
}
