using GpuEngine.Core.Cpu.Threading;
using Xunit;

namespace GpuEngine.Tests.Cpu;

public class PoolTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    public void Every_worker_runs_once_per_run(int threads)
    {
        using var pool = new CpuPool(threads);
        var work = new Counting(threads);
        // More workers than cores are allowed; a run then waits for the scheduler, so fewer of them are enough.
        var runs = threads <= Environment.ProcessorCount ? 5_000 : 200;
        for (var i = 0; i < runs; i++) pool.Run(work);
        Assert.All(work.Calls, calls => Assert.Equal(runs, calls));
        Assert.Equal(threads, pool.Threads);
    }

    [Fact]
    public void A_run_is_a_barrier_in_both_directions()
    {
        using var pool = new CpuPool(3);
        var work = new Summing { Values = new long[3 * 64] };
        for (var i = 1; i <= 500; i++)
        {
            work.Input = i;
            pool.Run(work);
            // Plain reads: everything that the workers wrote must be here.
            Assert.Equal(3L * i, work.Values[0] + work.Values[64] + work.Values[128]);
        }
    }

    [Fact]
    public void A_sleeping_team_wakes()
    {
        using var pool = new CpuPool(2);
        var work = new Counting(2);
        for (var i = 0; i < 20; i++)
        {
            // Longer than workers spin, so that they sleep in the kernel.
            Thread.Sleep(2);
            pool.Run(work);
        }
        Assert.All(work.Calls, calls => Assert.Equal(20, calls));
    }

    [Fact]
    public void A_caller_that_finishes_first_waits_for_a_slow_worker()
    {
        using var pool = new CpuPool(2);
        var work = new SlowWorker();
        pool.Run(work);
        Assert.True(work.Done);
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(3, 0)]
    [InlineData(3, 2)]
    public void An_exception_of_a_worker_reaches_the_caller_and_the_pool_lives_on(int threads, int thrower)
    {
        using var pool = new CpuPool(threads);
        var thrown = Assert.Throws<InvalidDataException>(() => pool.Run(new Throwing(thrower)));
        Assert.Equal($"worker {thrower}", thrown.Message);
        var work = new Counting(threads);
        pool.Run(work);
        Assert.All(work.Calls, calls => Assert.Equal(1, calls));
    }

    [Fact]
    public void Runs_must_not_nest()
    {
        using var pool = new CpuPool(2);
        Assert.Throws<InvalidOperationException>(() => pool.Run(new Nesting(pool)));
    }

    [Fact]
    public void Dispose_ends_the_threads_and_may_be_repeated()
    {
        for (var i = 0; i < 50; i++)
        {
            var pool = new CpuPool(3);
            if (i % 2 == 0) pool.Run(new Counting(3));
            pool.Dispose();
            pool.Dispose();
            Assert.Throws<ObjectDisposedException>(() => pool.Run(new Counting(3)));
        }
    }

    [Fact]
    public void A_pool_has_at_least_one_worker()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new CpuPool(0));
        Assert.True(CpuPool.DefaultThreads >= 1);
    }

    [Fact]
    public void A_run_allocates_nothing()
    {
        using var pool = new CpuPool(2);
        var work = new Counting(2);
        for (var i = 0; i < 100; i++) pool.Run(work);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++) pool.Run(work);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private sealed class Counting(int workers) : IParallelWork
    {
        public int[] Calls { get; } = new int[workers];

        public void Execute(int worker, int workers)
        {
            if (workers != Calls.Length) throw new InvalidDataException($"{workers} workers");
            Calls[worker]++;
        }
    }

    private sealed class Summing : IParallelWork
    {
        public required long[] Values { get; init; }

        public long Input { get; set; }

        public void Execute(int worker, int workers) => Values[worker * 64] = Input;
    }

    private sealed class SlowWorker : IParallelWork
    {
        public bool Done { get; private set; }

        public void Execute(int worker, int workers)
        {
            if (worker == 0) return;
            Thread.Sleep(20);
            Done = true;
        }
    }

    private sealed class Throwing(int thrower) : IParallelWork
    {
        public void Execute(int worker, int workers)
        {
            if (worker == thrower) throw new InvalidDataException($"worker {worker}");
        }
    }

    private sealed class Nesting(CpuPool pool) : IParallelWork
    {
        public void Execute(int worker, int workers)
        {
            if (worker == 0) pool.Run(new Counting(2));
        }
    }
}
