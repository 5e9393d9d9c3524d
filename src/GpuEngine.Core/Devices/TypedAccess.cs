using System.Runtime.InteropServices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Devices;

/// <summary>Reading and writing device values as spans of their element type.</summary>
public static class TypedAccess
{
    public static void Write<T>(this IExecutable executable, string input, ReadOnlySpan<T> values) where T : unmanaged =>
        executable.Write(input, MemoryMarshal.AsBytes(values));

    public static void Read<T>(this IExecutable executable, string output, Span<T> values) where T : unmanaged =>
        executable.Read(output, MemoryMarshal.AsBytes(values));

    /// <summary>One element of a scalar output.</summary>
    public static T ReadScalar<T>(this IExecutable executable, string output) where T : unmanaged
    {
        T value = default;
        executable.Read(output, MemoryMarshal.AsBytes(new Span<T>(ref value)));
        return value;
    }

    public static void Write<T>(this IVariableStore store, Variable variable, ReadOnlySpan<T> values) where T : unmanaged =>
        store.Write(variable, MemoryMarshal.AsBytes(values));

    public static void Read<T>(this IVariableStore store, Variable variable, Span<T> values) where T : unmanaged =>
        store.Read(variable, MemoryMarshal.AsBytes(values));

    public static T[] ReadArray<T>(this IVariableStore store, Variable variable) where T : unmanaged
    {
        var values = new T[variable.Type.Elements];
        store.Read<T>(variable, values);
        return values;
    }
}
