using GpuEngine.Core;
using GpuEngine.Nn.Data;
using Xunit;

namespace GpuEngine.Tests.Data;

public class BatchLoaderTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public void A_shuffled_epoch_holds_each_example_once_and_epochs_differ(int prefetch)
    {
        using var loader = new BatchLoader(
            new Numbers(40), BatchLoaderOptions.Training(8, seed: 5) with { Prefetch = prefetch });
        Assert.Equal(5, loader.BatchesPerEpoch);
        var epochs = Enumerable.Range(0, 3).Select(_ => TakeIndices(loader, 5)).ToArray();
        Assert.All(epochs, epoch => Assert.Equal(Enumerable.Range(0, 40), epoch.Order()));
        Assert.NotEqual(epochs[0], epochs[1]);
        Assert.NotEqual(epochs[1], epochs[2]);
        Assert.NotEqual(Enumerable.Range(0, 40), epochs[0]);

        using var same = new BatchLoader(new Numbers(40), BatchLoaderOptions.Training(8, seed: 5));
        Assert.Equal(epochs.SelectMany(e => e), TakeIndices(same, 15));
        using var other = new BatchLoader(new Numbers(40), BatchLoaderOptions.Training(8, seed: 6));
        Assert.NotEqual(epochs[0], TakeIndices(other, 5));
    }

    [Fact]
    public void Training_drops_the_rest_and_evaluation_counts_it()
    {
        using var training = new BatchLoader(new Numbers(11), BatchLoaderOptions.Training(4, seed: 1));
        Assert.Equal(2, training.BatchesPerEpoch);
        Assert.Equal(8, TakeIndices(training, 2).Distinct().Count());

        using var evaluation = new BatchLoader(new Numbers(11), BatchLoaderOptions.Evaluation(4));
        Assert.Equal(3, evaluation.BatchesPerEpoch);
        Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7], TakeIndices(evaluation, 2));
        var last = evaluation.Take();
        Assert.Equal((4, 3, new LoaderCursor(0, 2)), (last.Size, last.Count, last.Cursor));
        Assert.Equal([8, 9, 10, 10], last.Labels);                          // the rest repeats the last example
        Assert.Equal([8, 8.5f, 9, 9.5f, 10, 10.5f, 10, 10.5f], last.Inputs);
        Assert.Equal(new LoaderCursor(1, 0), evaluation.Cursor);
        Assert.Equal([0, 1, 2, 3], TakeIndices(evaluation, 1));

        using var one = new BatchLoader(new Numbers(3), BatchLoaderOptions.Evaluation(5));
        Assert.Equal(3, one.Take().Count);
    }

    [Fact]
    public void An_endless_source_goes_on_where_the_epoch_ended()
    {
        using var loader = new BatchLoader(new Numbers(10, endless: true), BatchLoaderOptions.Training(4, seed: 1));
        Assert.Equal(2, loader.BatchesPerEpoch);
        Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17], TakeIndices(loader, 4));
    }

    // Stopped after any number of batches, with batches made ahead thrown away, the run must go on with the same ones.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_loader_set_to_a_saved_cursor_goes_on_exactly(bool endless)
    {
        var options = BatchLoaderOptions.Training(4, seed: 9);
        using var whole = new BatchLoader(new Numbers(14, endless), options);
        var all = Enumerable.Range(0, 12).Select(_ => TakeIndices(whole, 1)).ToArray();
        for (var stop = 0; stop < 10; stop++)
        {
            LoaderCursor saved;
            using (var first = new BatchLoader(new Numbers(14, endless), options))
            {
                TakeIndices(first, stop);
                saved = first.Cursor;
            }

            Assert.Equal(new LoaderCursor(stop / 3, stop % 3), saved);
            using var second = new BatchLoader(new Numbers(14, endless), options with { Prefetch = stop % 4 });
            second.Cursor = saved;
            for (var i = stop; i < 12; i++) Assert.Equal(all[i], TakeIndices(second, 1));
        }
    }

    [Fact]
    public void The_cursor_can_jump_at_any_time_and_the_batch_in_hand_stays()
    {
        var options = BatchLoaderOptions.Training(4, seed: 2);
        using var plain = new BatchLoader(new Numbers(32), options with { Prefetch = 0 });
        using var loader = new BatchLoader(new Numbers(32), options with { Prefetch = 2 });
        for (var i = 0; i < 400; i++)
        {
            var cursor = new LoaderCursor(i * 7 % 5, i * 3 % 8);
            plain.Cursor = cursor;
            loader.Cursor = cursor;
            var expected = plain.Take();
            var batch = loader.Take();
            Assert.Equal(cursor, batch.Cursor);
            Assert.Equal(expected.Labels, batch.Labels);
            var copy = batch.Inputs.ToArray();
            loader.Cursor = new LoaderCursor(3, 1);
            if (i % 50 == 0) Thread.Sleep(1);   // let the thread fill its ring
            Assert.Equal(copy, batch.Inputs);
        }

        loader.Cursor = new LoaderCursor(2, 8);   // the end of an epoch is the start of the next
        Assert.Equal(new LoaderCursor(3, 0), loader.Cursor);
    }

    [Fact]
    public void A_batch_being_made_when_the_cursor_moves_is_not_given()
    {
        using var gate = new SemaphoreSlim(0);
        var source = new Numbers(20) { Gate = gate };
        using var loader = new BatchLoader(source, BatchLoaderOptions.Evaluation(4));
        SpinWait.SpinUntil(() => source.Reads == 1);   // in the middle of batch 0
        loader.Cursor = new LoaderCursor(0, 2);
        gate.Release(1000);
        Assert.Equal(new LoaderCursor(0, 2), loader.Cursor);
        Assert.Equal([8, 9, 10, 11, 12, 13, 14, 15], TakeIndices(loader, 2));
    }

    [Fact]
    public void A_slow_or_a_fast_reader_changes_nothing()
    {
        var source = new Numbers(64) { Delay = 1 };
        using var loader = new BatchLoader(source, BatchLoaderOptions.Training(8, seed: 3) with { Prefetch = 3 });
        using var fast = new BatchLoader(new Numbers(64), BatchLoaderOptions.Training(8, seed: 3));
        for (var i = 0; i < 4; i++)
        {
            if (i == 2) Thread.Sleep(30);
            Assert.Equal(TakeIndices(fast, 1), TakeIndices(loader, 1));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public void An_exception_of_the_source_comes_out_at_its_batch(int prefetch)
    {
        var source = new Numbers(20) { Broken = 9 };
        using var loader = new BatchLoader(source, BatchLoaderOptions.Evaluation(4) with { Prefetch = prefetch });
        Assert.Equal([0, 1, 2, 3, 4, 5, 6, 7], TakeIndices(loader, 2));
        Assert.Equal("example 9", Assert.Throws<UserException>(() => loader.Take()).Message);
        Assert.Equal("example 9", Assert.Throws<UserException>(() => loader.Take()).Message);
    }

    [Fact]
    public void Nothing_is_allocated_once_it_runs()
    {
        var options = BatchLoaderOptions.Training(8, seed: 3) with { Prefetch = 0 };
        using var loader = new BatchLoader(new Numbers(64), options);
        for (var i = 0; i < 20; i++) loader.Take();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++) loader.Take();   // 12 epochs: new orders too
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Disposing_stops_the_thread()
    {
        var source = new Numbers(20);
        var loader = new BatchLoader(source, BatchLoaderOptions.Training(4, seed: 1));
        loader.Take();
        loader.Dispose();
        loader.Dispose();
        var reads = source.Reads;
        Thread.Sleep(5);
        Assert.Equal(reads, source.Reads);
        Assert.Throws<ObjectDisposedException>(() => loader.Take());
        new BatchLoader(source, BatchLoaderOptions.Training(4, seed: 1)).Dispose();
    }

    [Fact]
    public void Impossible_batches_and_cursors_are_told()
    {
        var source = new Numbers(20);
        Assert.Contains("batch size of 0", Fails(() => new BatchLoader(source, BatchLoaderOptions.Evaluation(0))));
        Assert.Contains("batch size of -1", Fails(() => new BatchLoader(source, BatchLoaderOptions.Training(-1, 0))));
        Assert.Contains("more than the 20", Fails(() => new BatchLoader(source, BatchLoaderOptions.Training(21, 0))));
        Assert.Contains("not empty", Fails(() => new BatchLoader(new Numbers(0), BatchLoaderOptions.Evaluation(4))));
        using var loader = new BatchLoader(source, BatchLoaderOptions.Evaluation(4));
        Assert.Contains("5 batches of 4", Fails(() => loader.Cursor = new LoaderCursor(0, 6)));
        Assert.Contains("epoch -1", Fails(() => loader.Cursor = new LoaderCursor(-1, 0)));
    }

    private static int[] TakeIndices(BatchLoader loader, int batches)
    {
        var indices = new List<int>();
        for (var i = 0; i < batches; i++)
        {
            var batch = loader.Take();
            for (var row = 0; row < batch.Count; row++)
            {
                Assert.Equal(batch.Labels[row], batch.Inputs[2 * row]);   // rows of inputs and labels belong together
                Assert.Equal(batch.Labels[row] + 0.5f, batch.Inputs[(2 * row) + 1]);
                indices.Add(batch.Labels[row]);
            }
        }

        return [.. indices];
    }

    private static string Fails(Func<object?> action) => Assert.Throws<UserException>(action).Message;

    /// <summary>Example i is (i, i + 1/2) with label i.</summary>
    private sealed class Numbers(int count, bool endless = false) : IExampleSource
    {
        private int _reads;

        public int Broken { get; init; } = -1;

        public int Delay { get; init; }

        public SemaphoreSlim? Gate { get; init; }

        public int Reads => Volatile.Read(ref _reads);

        public ExampleShape Shape => new(2, 1, 1);

        public int ClassCount => int.MaxValue;

        public long Count => count;

        public bool IsEndless => endless;

        public void Read(long index, Span<float> input, out int label)
        {
            Interlocked.Increment(ref _reads);
            Gate?.Wait();
            if (Delay > 0) Thread.Sleep(Delay);
            if (index == Broken) throw new UserException($"example {index}");
            input[0] = index;
            input[1] = index + 0.5f;
            label = (int)index;
        }
    }
}
