using System.Runtime.ExceptionServices;

namespace GpuEngine.Core.Cpu.Threading;

/// <summary>
/// A fixed team of threads for fork-join work. <see cref="Run"/> costs less than a microsecond while the team is hot
/// and allocates nothing; idle threads sleep after some tens of microseconds (see <see cref="ParkingPlace"/>).
/// The shares of a run are claimed: a thread that the system does not schedule in time loses its share to one that is
/// awake, so that a busy machine slows a run down in proportion and no more.
/// </summary>
public sealed class CpuPool : IDisposable
{
    private readonly Thread[] _team;
    private readonly ParkingPlace[] _places;
    private readonly ParkingPlace _callerPlace = new();
    private PaddedCounter _epoch;
    private PaddedCounter _finished;
    private PaddedCounter _running;
    private PaddedClaims _claims;
    private IParallelWork? _work;
    private ExceptionDispatchInfo? _failure;
    private int _busy;
    private volatile bool _stopping;

    /// <summary>
    /// Starts a team of <paramref name="threads"/> workers, the caller of <see cref="Run"/> being one of them.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="threads"/> is less than 1.</exception>
    public CpuPool(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        Threads = threads;
        _team = new Thread[threads - 1];
        _places = new ParkingPlace[threads - 1];
        for (var i = 0; i < _team.Length; i++)
        {
            var place = _places[i] = new ParkingPlace();
            _team[i] = new Thread(() => Live(place)) { IsBackground = true, Name = $"CpuPool {i + 1}" };
            _team[i].Start();
        }
    }

    /// <summary>One worker per processor that the operating system gives to this process.</summary>
    public static int DefaultThreads => Environment.ProcessorCount;

    /// <summary>The number of workers, the caller included.</summary>
    public int Threads { get; }

    /// <summary>
    /// Executes <paramref name="work"/> once for every worker number and returns when all have finished. What they
    /// wrote is visible to the caller. When some of them threw, the first exception is thrown again here. One thread
    /// may execute several numbers, one after the other: they must not wait for each other.
    /// </summary>
    /// <exception cref="InvalidOperationException">The pool is already running something: calls must not nest or
    /// overlap.</exception>
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
        var epoch = _epoch.Value + 1;
        _work = work;
        _running.Value = Threads;
        _claims.Open(epoch, firstShare: 1);
        // A full fence: either a thread that is about to sleep sees the new epoch, or we see that it sleeps.
        Interlocked.Increment(ref _epoch.Value);
        foreach (var place in _places) place.Wake();
        Guard(work, 0, epoch);
        Serve(epoch);
        _callerPlace.WaitWhile(ref _finished.Value, epoch - 1);
        _work = null;
        if (_failure is not { } failure) return;
        _failure = null;
        failure.Throw();
    }

    private void Live(ParkingPlace place)
    {
        var epoch = 0;
        while (true)
        {
            place.WaitWhile(ref _epoch.Value, epoch);
            epoch = Volatile.Read(ref _epoch.Value);
            if (_stopping) return;
            Serve(epoch);
        }
    }

    /// <summary>
    /// Executes shares of a run until none is left. A claimed share keeps the run, and so its work, alive.
    /// </summary>
    private void Serve(int epoch)
    {
        while (_claims.TryClaim(epoch, Threads, out var share)) Guard(_work!, share, epoch);
    }

    private void Guard(IParallelWork work, int worker, int epoch)
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
        if (Interlocked.Decrement(ref _running.Value) != 0) return;
        Interlocked.Exchange(ref _finished.Value, epoch);
        _callerPlace.Wake();
    }
}
