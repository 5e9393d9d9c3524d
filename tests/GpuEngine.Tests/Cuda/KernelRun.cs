using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// One launcher run by itself, outside any plan: every tensor in an allocation of its own between guard bands, outputs filled with
/// NaN before. It fails when a guard changes.
/// </summary>
internal static class KernelRun
{
    private const int Guard = 256;
    private const byte Mark = 0xA5;

    /// <summary>The outputs as doubles.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="kernel">An unbound launcher.</param>
    /// <param name="inputs">Values of the node's inputs.</param>
    /// <param name="launches">How often it is launched, with the same operands.</param>
    /// <param name="guard">Bytes before and after each tensor; 0 leaves it to the simulator's memory check, which sees reads too.</param>
    public static double[][] Outputs(CudaDevice device, CudaKernel kernel, IReadOnlyList<double[]> inputs, int guard = Guard, int launches = 1)
    {
        var node = kernel.Node;
        var memories = new List<DeviceMemory>();
        try
        {
            DevicePointer Place(TensorType type, double[]? values)
            {
                var memory = device.Context.Allocate(type.Bytes + 2 * guard, "test");
                memories.Add(memory);
                var bytes = new byte[type.Bytes + 2 * guard];
                Array.Fill(bytes, Mark);
                var content = values is null
                    ? type.DType.IsFloat() ? ElementData.FromDoubles(type.DType, [.. Enumerable.Repeat(double.NaN, (int)type.Elements)]) : null
                    : ElementData.FromDoubles(type.DType, values);
                content?.CopyTo(bytes, guard);
                device.Stream.CopyToDevice<byte>(bytes, memory.Span<byte>());
                return memory.Address + guard;
            }

            DeviceMemory Zeroed(long bytes)
            {
                var memory = device.Context.Allocate(Math.Max(bytes, 4), "test");
                memories.Add(memory);
                device.Stream.FillBytes(memory.Span<byte>(), 0);
                return memory;
            }

            device.Library.Compile(kernel.Requests);
            DevicePointer[] ins = [.. node.Inputs.Select((t, i) => Place(t.Type, inputs[i]))];
            DevicePointer[] outs = [.. node.Outputs.Select(t => Place(t.Type, null))];
            kernel.Bind(device.Library, outs, ins, Zeroed(kernel.WorkspaceBytes).Address, Zeroed(kernel.CounterBytes).Address);
            for (var i = 0; i < launches; i++) kernel.Launch(device.Stream);
            var results = new double[node.Outputs.Count][];
            for (var i = 0; i < results.Length; i++)
            {
                var memory = memories[node.Inputs.Count + i];
                var bytes = new byte[memory.Bytes];
                device.Stream.CopyToHost(memory.Span<byte>(), bytes.AsSpan());
                Assert.True(bytes.Take(guard).Concat(bytes.TakeLast(guard)).All(b => b == Mark), $"{node.Op.Name} wrote outside output {i}");
                results[i] = ElementData.ToDoubles(node.Outputs[i].DType, bytes.AsSpan(guard, bytes.Length - 2 * guard));
            }

            return results;
        }
        finally
        {
            foreach (var memory in memories) memory.Dispose();
        }
    }
}
