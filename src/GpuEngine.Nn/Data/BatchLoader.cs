using System.Runtime.ExceptionServices;
using GpuEngine.Core;
using GpuEngine.Core.Random;

namespace GpuEngine.Nn.Data;

/// <summary>How a <see cref="BatchLoader"/> goes through its examples.</summary>
public sealed record BatchLoaderOptions
{
    /// <summary>Rows per batch.</summary>
    public required int BatchSize { get; init; }

    /// <summary>A new order in every epoch. An endless source comes in its own order, new as it is.</summary>
    public bool Shuffle { get; init; }

    /// <summary>Leave out the rest that does not fill a batch.</summary>
    public bool DropLast { get; init; }

    /// <summary>Seed of the orders.</summary>
    public ulong Seed { get; init; }

    /// <summary>Batches made ahead by a background thread; 0 makes each when it is taken.</summary>
    public int Prefetch { get; init; } = 2;

    /// <summary>Give the bytes that examples are kept in, a quarter of the floats; the device standardises them.</summary>
    public bool Bytes { get; init; }

    /// <summary>For training: shuffled, only whole batches.</summary>
    public static BatchLoaderOptions Training(int batchSize, ulong seed) =>
        new() { BatchSize = batchSize, Shuffle = true, DropLast = true, Seed = seed };

    /// <summary>For evaluation: in order, every example once.</summary>
    public static BatchLoaderOptions Evaluation(int batchSize) => new() { BatchSize = batchSize };
}

/// <summary>
/// Puts examples into batches, epoch after epoch. What a batch holds follows from the source, the options and the
/// <see cref="LoaderCursor"/> alone, so a loader set to a saved cursor goes on exactly as the one that was stopped; the
/// thread that works ahead changes only when it is made. Nothing is allocated once it runs. Take, Cursor and Dispose
/// are for one thread at a time.
/// </summary>
public sealed class BatchLoader : IDisposable
{
    private readonly IExampleSource _source;
    private readonly BatchLoaderOptions _options;
    private readonly Thread? _worker;

    // Only the thread that fills batches touches these.
    private readonly int[] _order;
    private long _orderEpoch = -1;

    // Guarded by _gate. Batch number n lives in slot n % length of the ring; numbers _taken .. _made - 1 wait to be
    // taken and number _taken - 1 is in the caller's hands, which is why there is one slot more than batches made
    // ahead.
    private readonly object _gate = new();
    private readonly Batch[] _ring;
    private long _made;
    private long _taken;
    private LoaderCursor _toTake;
    private LoaderCursor _toMake;
    private long _restarts;
    private ExceptionDispatchInfo? _failure;
    private bool _disposed;

    /// <exception cref="UserException">The batch size is not positive, or larger than the source where only whole
    /// batches are wanted, or the source is empty.</exception>
    public BatchLoader(IExampleSource source, BatchLoaderOptions options)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegative(options.Prefetch);
        var size = options.BatchSize;
        if (size <= 0) throw new UserException($"A batch size of {size} is not possible; give a number from 1.");
        if (source.Count == 0)
            throw new UserException("There is no example to load; give a data set that is not empty.");
        BatchesPerEpoch = options.DropLast ? source.Count / size : (source.Count + size - 1) / size;
        if (BatchesPerEpoch == 0)
        {
            throw new UserException(
                $"A batch size of {size} is more than the {source.Count} examples there are; give a smaller one.");
        }

        (_source, _options) = (source, options);
        _order = options.Shuffle && !source.IsEndless ? new int[checked((int)source.Count)] : [];
        _ring = new Batch[options.Prefetch + 1];
        for (var i = 0; i < _ring.Length; i++) _ring[i] = new Batch(size, source.Shape, options.Bytes);
        if (options.Prefetch == 0) return;
        _worker = new Thread(Work) { IsBackground = true, Name = "batch loader" };
        _worker.Start();
    }
    /// <summary>Batches in one epoch.</summary>
    public long BatchesPerEpoch { get; }

    /// <summary>
    /// The batch that the next <see cref="Take"/> gives. Set it to go anywhere; the batch last taken stays valid until
    /// then.
    /// </summary>
    /// <exception cref="UserException">An epoch has no such batch.</exception>
    public LoaderCursor Cursor
    {
        get
        {
            lock (_gate) return _toTake;
        }

        set
        {
            if (value.Epoch < 0 || value.Batch < 0 || value.Batch > BatchesPerEpoch)
            {
                throw new UserException(
                    $"There is no batch {value.Batch} in epoch {value.Epoch}: an epoch has {BatchesPerEpoch} batches "
                    + $"of {_options.BatchSize}; continue with the data and the batch size that the cursor was saved "
                    + "with.");
            }

            lock (_gate)
            {
                _toTake = _toMake = value.Batch == BatchesPerEpoch ? new LoaderCursor(value.Epoch + 1, 0) : value;
                _made = _taken;
                _restarts++;
                Monitor.PulseAll(_gate);
            }
        }
    }

    /// <summary>The next batch; after the last one of an epoch comes the first of the next.</summary>
    /// <exception cref="UserException">The source could not be read; any other exception of the source comes out here
    /// too.</exception>
    public Batch Take()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_worker is null)
        {
            Fill(_ring[0], _toTake);
            _toTake = After(_toTake);
            return _ring[0];
        }

        lock (_gate)
        {
            while (_made == _taken && _failure is null) Monitor.Wait(_gate);
            if (_made == _taken) _failure!.Throw();
            var batch = _ring[_taken % _ring.Length];
            _taken++;
            _toTake = After(_toTake);
            Monitor.PulseAll(_gate);
            return batch;
        }
    }

    /// <summary>Stops the thread. The batches may no longer be used.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            Monitor.PulseAll(_gate);
        }

        _worker?.Join();
    }

    private void Work()
    {
        while (true)
        {
            Batch batch;
            LoaderCursor cursor;
            long restarts;
            lock (_gate)
            {
                while (_made - _taken >= _options.Prefetch && !_disposed) Monitor.Wait(_gate);
                if (_disposed) return;
                (batch, cursor, restarts) = (_ring[_made % _ring.Length], _toMake, _restarts);
            }

            ExceptionDispatchInfo? failure = null;
            try
            {
                Fill(batch, cursor);
            }
            catch (Exception e)
            {
                // Whatever it is, it belongs to the thread that waits for the batch.
                failure = ExceptionDispatchInfo.Capture(e);
            }

            lock (_gate)
            {
                if (restarts != _restarts) continue;   // the cursor moved meanwhile: nobody wants this batch
                _failure = failure;
                if (failure is null)
                {
                    _made++;
                    _toMake = After(_toMake);
                }

                Monitor.PulseAll(_gate);
                if (failure is not null) return;
            }
        }
    }

    private LoaderCursor After(LoaderCursor cursor) => cursor.Batch + 1 < BatchesPerEpoch
        ? cursor with { Batch = cursor.Batch + 1 }
        : new LoaderCursor(cursor.Epoch + 1, 0);

    private void Fill(Batch batch, LoaderCursor cursor)
    {
        if (_order.Length > 0 && _orderEpoch != cursor.Epoch)
        {
            Philox.Permutation(_order, _options.Seed, DataStream.Shuffle, (uint)cursor.Epoch);
            _orderEpoch = cursor.Epoch;
        }

        var length = _source.Shape.Length;
        var start = cursor.Batch * batch.Size;
        batch.Cursor = cursor;
        batch.Count = (int)Math.Min(batch.Size, _source.Count - start);
        for (var row = 0; row < batch.Count; row++)
        {
            var index = _source.IsEndless ? (cursor.Epoch * _source.Count) + start + row
                : _order.Length > 0 ? _order[start + row]
                : start + row;
            batch.Indices[row] = index;
            if (_options.Bytes) _source.ReadPixels(index, batch.Pixels.AsSpan(row * length, length), out batch.Labels[row]);
            else _source.Read(index, batch.Inputs.AsSpan(row * length, length), out batch.Labels[row]);
        }

        for (var row = batch.Count; row < batch.Size; row++)
        {
            if (_options.Bytes) batch.Pixels.AsSpan((row - 1) * length, length).CopyTo(batch.Pixels.AsSpan(row * length, length));
            else batch.Inputs.AsSpan((row - 1) * length, length).CopyTo(batch.Inputs.AsSpan(row * length, length));
            batch.Labels[row] = batch.Labels[row - 1];
            batch.Indices[row] = batch.Indices[row - 1];
        }
    }
}
