using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public class MemoryAndStreamTests : DeviceTests
{
    [Fact]
    public void A_device_describes_itself()
    {
        var p = Context.Properties;
        Assert.NotEmpty(p.Name);
        Assert.StartsWith("GPU-", p.Uuid);
        Assert.Equal(32, p.WarpSize);
        Assert.InRange(p.Architecture, 70, 200);
        Assert.True(p.SharedBytesPerBlockOptIn >= p.SharedBytesPerBlock);
        Assert.True(p.SharedBytesPerMultiprocessor >= p.SharedBytesPerBlockOptIn);
        var (free, total) = Context.MemoryInfo();
        Assert.InRange(free, 1, total);
        Assert.True(CudaDevices.Start() >= 12000);
    }

    [Fact]
    public void A_device_that_is_not_there_is_a_user_error()
    {
        var error = Assert.Throws<Core.UserException>(() => CudaContext.Open(99));
        Assert.Contains("99", error.Message);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(4096)]
    [InlineData(100_003)]
    public void What_is_copied_there_comes_back(int length)
    {
        var values = Enumerable.Range(0, length).Select(i => i * 0.5f).ToArray();
        using var a = Upload(values);
        using var b = Context.Allocate(a.Bytes, "copy");
        Stream.Copy<float>(a.Span<float>(), b.Span<float>());
        Assert.Equal(values, Download<float>(b));
    }

    [Fact]
    public void Pinned_copies_and_fills()
    {
        using var staging = Context.AllocatePinned<int>(100);
        using var result = Context.AllocatePinned<int>(100);
        using var memory = Context.Allocate(400, "test");
        for (var i = 0; i < 100; i++)
            staging.Span[i] = i;
        Stream.CopyToDevice(staging, memory.Span<int>());
        Stream.Fill(memory.Span<int>(0, 10), -1);
        Stream.FillBytes(memory.Span<int>(40, 10), 0);
        Stream.Fill(memory.Span<float>(80, 1), 1.5f);
        Stream.CopyToHost<int>(memory.Span<int>(), result);
        Stream.Synchronize();
        var expected = Enumerable.Range(0, 100).ToArray();
        expected.AsSpan(0, 10).Fill(-1);
        expected.AsSpan(10, 10).Clear();
        expected[20] = BitConverter.SingleToInt32Bits(1.5f);
        Assert.Equal(expected, result.Span.ToArray());
    }

    [Fact]
    public void Nothing_can_be_allocated_copied_and_filled()
    {
        using var memory = Context.Allocate(0, "nothing");
        Assert.Equal(0, memory.Span<float>().Length);
        Stream.CopyToDevice<float>([], memory.Span<float>());
        Stream.Fill(memory.Span<float>(), 1f);
        Stream.CopyToHost(memory.Span<float>(), Span<float>.Empty);
    }

    [Fact]
    public void Lengths_that_differ_are_an_error_before_the_driver_sees_them()
    {
        using var memory = Context.Allocate(16, "test");
        Assert.Throws<ArgumentException>(() => Stream.CopyToDevice<float>(new float[3], memory.Span<float>()));
        Assert.Throws<ArgumentException>(() => Stream.CopyToHost(memory.Span<float>(), new float[5].AsSpan()));
        Assert.Throws<ArgumentException>(() => Stream.Copy<float>(memory.Span<float>(0, 2), memory.Span<float>(0, 3)));
        Assert.Throws<ArgumentException>(() => Stream.Fill(memory.Span<double>(), 1.0));
        Assert.Throws<ArgumentException>(() => memory.Span<float>(2, 1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => memory.Span<float>(0, 5).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => memory.Span<float>(16, 1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => Context.Allocate(-1, "test"));
        Assert.Throws<ArgumentOutOfRangeException>(() => Context.AllocatePinned<int>(0));
    }

    [Fact]
    public void Use_after_dispose_is_an_error_and_dispose_may_be_repeated()
    {
        var memory = Context.Allocate(16, "test");
        memory.Dispose();
        memory.Dispose();
        Assert.Throws<ObjectDisposedException>(() => memory.Address);
        var pinned = Context.AllocatePinned<int>(4);
        pinned.Dispose();
        Assert.Throws<ObjectDisposedException>(() => pinned.Span.Length);
        var stream = Context.CreateStream(StreamPriority.High);
        stream.Dispose();
        Assert.Throws<ObjectDisposedException>(stream.Synchronize);
        Context.Synchronize();
    }

    [Fact]
    public void What_was_made_from_a_context_outlives_its_dispose()
    {
        var context = CudaContext.Open();
        var memory = context.Allocate(16, "test");
        var stream = context.CreateStream();
        context.Dispose();
        stream.Fill(memory.Span<int>(), 3);
        var back = new int[4];
        stream.CopyToHost(memory.Span<int>(), back.AsSpan());
        Assert.Equal([3, 3, 3, 3], back);
        memory.Dispose();
        stream.Dispose();
        Assert.Throws<ObjectDisposedException>(() => context.Allocate(16, "test"));
    }

    [Fact]
    public void A_context_works_on_every_thread()
    {
        using var memory = Upload(1, 2, 3);
        var sums = new int[4];
        var threads = Enumerable.Range(0, sums.Length).Select(i => new Thread(() =>
        {
            using var stream = Context.CreateStream();
            var back = new int[3];
            stream.CopyToHost(memory.Span<int>(), back.AsSpan());
            sums[i] = back.Sum();
        })).ToArray();
        Stream.Synchronize();
        Array.ForEach(threads, t => t.Start());
        Array.ForEach(threads, t => t.Join());
        Assert.All(sums, sum => Assert.Equal(6, sum));
    }

    [Fact]
    public void Events_order_streams_and_measure_time()
    {
        using var other = Context.CreateStream();
        using var start = Context.CreateEvent(timing: true);
        using var filled = Context.CreateEvent();
        using var end = Context.CreateEvent(timing: true);
        using var memory = Context.Allocate(1 << 20, "test");
        Stream.Record(start);
        Stream.Fill(memory.Span<int>(), 5);
        Stream.Record(filled);
        other.WaitFor(filled);
        var back = new int[1 << 18];
        other.CopyToHost(memory.Span<int>(), back.AsSpan());
        Stream.Record(end);
        end.Synchronize();
        Assert.All(back, value => Assert.Equal(5, value));
        Assert.True(filled.IsComplete);
        Assert.True(Stream.IsIdle);
        Assert.True(end.MillisecondsSince(start) >= 0);
        // An event without timing cannot be measured from.
        Assert.Throws<CudaException>(() => end.MillisecondsSince(filled));
    }

    [Fact]
    public void A_failed_dispose_is_reported_by_the_next_synchronisation_and_only_once()
    {
        CudaUnderTest.RequireSimulator();
        var memory = Context.Allocate(64, "weights");
        Assert.Equal(CUresult.CUDA_SUCCESS, CuDriver.cuMemFree_v2(memory.Address.Raw));
        memory.Dispose();
        var error = Assert.Throws<CudaException>(Stream.Synchronize);
        Assert.Contains("cuMemFree_v2(64 bytes of weights)", error.Message);
        Assert.Contains("released", error.Message);
        Stream.Synchronize();
        Cudasim.cudasim_findings_clear();
    }

    [Fact]
    public void Two_failed_disposes_are_reported_together()
    {
        CudaUnderTest.RequireSimulator();
        for (var i = 0; i < 2; i++)
        {
            var memory = Context.Allocate(64, $"arena {i}");
            Assert.Equal(CUresult.CUDA_SUCCESS, CuDriver.cuMemFree_v2(memory.Address.Raw));
            memory.Dispose();
        }

        Assert.Equal(2, Assert.Throws<AggregateException>(Context.Synchronize).InnerExceptions.Count);
        Context.Synchronize();
        Cudasim.cudasim_findings_clear();
    }

    [Fact]
    public void Out_of_memory_is_told_in_numbers()
    {
        var (_, total) = Context.MemoryInfo();
        var error = Assert.Throws<OutOfDeviceMemoryException>(() => Context.Allocate(total * 2, "activations"));
        Assert.Equal((total * 2, total), (error.RequestedBytes, error.TotalBytes));
        Assert.InRange(error.FreeBytes, 1, total);
        Assert.Contains("activations", error.Message);
        // The context is unharmed.
        using var memory = Upload(1, 2);
        Assert.Equal([1, 2], Download<int>(memory));
    }
}
