using System.Runtime.CompilerServices;

namespace GpuEngine.Cuda.Runtime;

/// <summary>
/// Borrowed device memory that may be written. As a ref struct it cannot be stored on the heap, so it cannot outlive the
/// method that borrowed it.
/// </summary>
public readonly ref struct DeviceSpan<T> where T : unmanaged
{
    /// <summary>A view of <paramref name="length"/> elements; the caller vouches for them.</summary>
    public DeviceSpan(DevicePointer address, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        Address = address;
        Length = length;
    }

    /// <summary>Address of the first element.</summary>
    public DevicePointer Address { get; }

    /// <summary>Elements.</summary>
    public long Length { get; }

    /// <summary>Bytes.</summary>
    public long Bytes => Length * Unsafe.SizeOf<T>();

    /// <summary>A part of this view.</summary>
    public DeviceSpan<T> Slice(long start, long length)
    {
        DeviceRange.Check(start, length, Length);
        return new(Address + start * Unsafe.SizeOf<T>(), length);
    }

    /// <summary>The same memory, read-only.</summary>
    public static implicit operator ReadOnlyDeviceSpan<T>(DeviceSpan<T> span) => new(span.Address, span.Length);
}

/// <summary>Borrowed device memory that may only be read.</summary>
public readonly ref struct ReadOnlyDeviceSpan<T> where T : unmanaged
{
    /// <summary>A view of <paramref name="length"/> elements; the caller vouches for them.</summary>
    public ReadOnlyDeviceSpan(DevicePointer address, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        Address = address;
        Length = length;
    }

    /// <summary>Address of the first element.</summary>
    public DevicePointer Address { get; }

    /// <summary>Elements.</summary>
    public long Length { get; }

    /// <summary>Bytes.</summary>
    public long Bytes => Length * Unsafe.SizeOf<T>();

    /// <summary>A part of this view.</summary>
    public ReadOnlyDeviceSpan<T> Slice(long start, long length)
    {
        DeviceRange.Check(start, length, Length);
        return new(Address + start * Unsafe.SizeOf<T>(), length);
    }
}

internal static class DeviceRange
{
    /// <summary>Throws unless [start, start + length) lies in [0, available).</summary>
    public static void Check(long start, long length, long available)
    {
        // Written without a sum, which could overflow.
        if (start < 0 || length < 0 || start > available || length > available - start)
        {
            throw new ArgumentOutOfRangeException(
                nameof(start), $"The range of {length} from {start} is outside the {available} available.");
        }
    }
}
