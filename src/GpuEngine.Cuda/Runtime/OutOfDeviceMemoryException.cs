namespace GpuEngine.Cuda.Runtime;

/// <summary>Device memory ran out.</summary>
public sealed class OutOfDeviceMemoryException : Exception
{
    /// <summary>Says what was asked for, what is free, and, where the caller knows it, what to change.</summary>
    public OutOfDeviceMemoryException(
        string device, string purpose, long requestedBytes, long freeBytes, long totalBytes, string? advice = null)
        : base($"Out of device memory on {device}: {Size(requestedBytes)} were asked for ({purpose}), " +
               $"{Size(freeBytes)} of {Size(totalBytes)} are free." + (advice is null ? "" : $" {advice}"))
    {
        Device = device;
        Purpose = purpose;
        RequestedBytes = requestedBytes;
        FreeBytes = freeBytes;
        TotalBytes = totalBytes;
    }

    /// <summary>The device's name.</summary>
    public string Device { get; }

    /// <summary>What the memory was for.</summary>
    public string Purpose { get; }

    /// <summary>Bytes asked for in one allocation.</summary>
    public long RequestedBytes { get; }

    /// <summary>Bytes free at that time, in pieces that may be smaller.</summary>
    public long FreeBytes { get; }

    /// <summary>Bytes the device has.</summary>
    public long TotalBytes { get; }

    /// <summary>The same failure with a sentence on what to change, for callers who know what the memory is made of.</summary>
    public OutOfDeviceMemoryException WithAdvice(string advice) =>
        new(Device, Purpose, RequestedBytes, FreeBytes, TotalBytes, advice);

    /// <summary>Bytes in the largest binary unit that leaves at least one before the point.</summary>
    internal static string Size(long bytes)
    {
        string[] units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
        var value = (double)bytes;
        var unit = 0;
        for (; value >= 1024 && unit < units.Length - 1; unit++)
            value /= 1024;
        return unit == 0 ? $"{bytes} bytes" : $"{value:0.00} {units[unit]}";
    }
}
