namespace GpuEngine.Cuda.Runtime;

/// <summary>An address in device memory. It owns nothing and knows no length.</summary>
public readonly record struct DevicePointer(ulong Value)
{
    /// <summary>The address <paramref name="bytes"/> further on.</summary>
    public static DevicePointer operator +(DevicePointer start, long bytes) =>
        new(start.Value + (ulong)bytes);

    /// <summary>Whether this is no address.</summary>
    public bool IsNull => Value == 0;

    /// <inheritdoc/>
    public override string ToString() => $"0x{Value:x}";

    internal Interop.CUdeviceptr Raw => new(Value);
}
