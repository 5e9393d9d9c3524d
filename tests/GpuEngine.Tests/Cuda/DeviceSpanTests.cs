using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public class DeviceSpanTests
{
    [Fact]
    public void A_slice_moves_by_elements()
    {
        var span = new DeviceSpan<double>(new DevicePointer(1000), 10).Slice(3, 4);
        Assert.Equal((1024UL, 4L, 32L), (span.Address.Value, span.Length, span.Bytes));
        ReadOnlyDeviceSpan<double> read = span;
        Assert.Equal((1032UL, 3L), (read.Slice(1, 3).Address.Value, read.Slice(1, 3).Length));
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(10, 0)]
    [InlineData(0, 10)]
    public void Its_edges_are_inside(long start, long length) =>
        Assert.Equal(length, new DeviceSpan<int>(default, 10).Slice(start, length).Length);

    [Theory]
    [InlineData(-1, 1)]
    [InlineData(0, -1)]
    [InlineData(0, 11)]
    [InlineData(10, 1)]
    [InlineData(11, 0)]
    [InlineData(1, long.MaxValue)]
    public void Beyond_them_is_an_error(long start, long length)
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new DeviceSpan<int>(default, 10).Slice(start, length).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => new ReadOnlyDeviceSpan<int>(default, 10).Slice(start, length).Length);
    }

    [Fact]
    public void A_negative_length_is_an_error() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new DeviceSpan<int>(default, -1).Length);
}
