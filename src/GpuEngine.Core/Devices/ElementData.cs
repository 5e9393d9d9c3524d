using System.Runtime.InteropServices;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Devices;

/// <summary>Element data as doubles and back, for places where convenience matters and speed does not.</summary>
public static class ElementData
{
    /// <summary>The bytes of the values in the dtype; floats round to nearest even, integers truncate.</summary>
    public static byte[] FromDoubles(DType dtype, ReadOnlySpan<double> values) => dtype switch
    {
        DType.F32 => Bytes(values, static v => (float)v),
        DType.F64 => Bytes(values, static v => v),
        DType.BF16 => Bytes(values, static v => Bf16.FromSingle((float)v)),
        DType.I32 => Bytes(values, static v => (int)v),
        DType.I64 => Bytes(values, static v => (long)v),
        DType.U8 => Bytes(values, static v => (byte)v),
        _ => Bytes(values, static v => v != 0),
    };

    public static double[] ToDoubles(DType dtype, ReadOnlySpan<byte> bytes) => dtype switch
    {
        DType.F32 => Doubles<float>(bytes, static v => v),
        DType.F64 => Doubles<double>(bytes, static v => v),
        DType.BF16 => Doubles<Bf16>(bytes, static v => v.ToSingle()),
        DType.I32 => Doubles<int>(bytes, static v => v),
        DType.I64 => Doubles<long>(bytes, static v => v),
        DType.U8 => Doubles<byte>(bytes, static v => v),
        _ => Doubles<byte>(bytes, static v => v),
    };

    private static byte[] Bytes<T>(ReadOnlySpan<double> values, Func<double, T> convert) where T : unmanaged
    {
        var data = new T[values.Length];
        for (var i = 0; i < data.Length; i++) data[i] = convert(values[i]);
        return MemoryMarshal.AsBytes(data.AsSpan()).ToArray();
    }

    private static double[] Doubles<T>(ReadOnlySpan<byte> bytes, Func<T, double> convert) where T : unmanaged
    {
        var data = MemoryMarshal.Cast<byte, T>(bytes);
        var values = new double[data.Length];
        for (var i = 0; i < values.Length; i++) values[i] = convert(data[i]);
        return values;
    }
}
