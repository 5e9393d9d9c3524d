using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Bench.Kernels;

/// <summary>
/// A program loaded several times, each time with operands of its own. Runs rotate over the sets, so that with enough of them
/// no run finds its operands in the cache that the last one left.
/// </summary>
internal sealed class RotatingReplay : IDisposable
{
    private readonly CudaDevice _device;
    private readonly CudaVariableStore[] _stores;
    private readonly CudaExecutable[] _sets;

    /// <param name="device">Where it runs.</param>
    /// <param name="program">What runs.</param>
    /// <param name="workingSet">Bytes that all sets together should have, at least.</param>
    /// <param name="mostSets">Limit of the number of sets.</param>
    public RotatingReplay(CudaDevice device, CaseProgram program, long workingSet, int mostSets)
    {
        _device = device;
        var plan = Planner.Plan(new TensorProgram("case", program.Outputs, program.Updates), device.Target);
        BytesPerSet = plan.PeakBytes(device.Target.Alignment).Values.Sum();
        var count = (int)Math.Clamp((workingSet + BytesPerSet - 1) / BytesPerSet, 1, mostSets);
        _stores = new CudaVariableStore[count];
        _sets = new CudaExecutable[count];
        for (var i = 0; i < count; i++)
        {
            _stores[i] = (CudaVariableStore)device.CreateStore();
            _sets[i] = (CudaExecutable)device.Load(plan, _stores[i]);
            Fill(plan.Program, program, i);
        }

        // Libraries load lazily at a first call, which no capture may see.
        for (var i = 0; i < count; i++) _sets[i].LaunchAll();
        device.Stream.Synchronize();
    }

    public long BytesPerSet { get; }

    public int Sets => _sets.Length;

    /// <summary>Queues run number <paramref name="run"/>.</summary>
    public void Launch(int run) => _sets[run % _sets.Length].LaunchAll();

    public void Dispose()
    {
        foreach (var set in _sets) set?.Dispose();
        foreach (var store in _stores) store?.Dispose();
    }

    /// <summary>Random operands: zeros let chips clock higher, and a variance must not be negative.</summary>
    private void Fill(TensorProgram plan, CaseProgram program, int set)
    {
        foreach (var input in plan.Inputs) RandomOperands.Fill(_device, _sets[set].InputSpan(TensorProgram.InputName(input)), input.Type, program.IndexLimit);
        foreach (var variable in plan.Variables)
            RandomOperands.Fill(_device, new DeviceSpan<byte>(_stores[set].Pointer(variable), variable.Type.Bytes), variable.Type, program.IndexLimit);
    }
}

/// <summary>Fills device memory with random numbers fast: a tile is drawn on the host and doubled on the device.</summary>
internal static class RandomOperands
{
    private const int TileElements = 1 << 20;

    private static readonly Dictionary<(DType, int, bool), byte[]> Tiles = [];

    /// <summary>
    /// Matrices: normal. Vectors and scalars, among them weights and statistics: between 0.5 and 1.5. f64 scalars, the learning
    /// rate among them: 1e-3. Integers: below the limit.
    /// </summary>
    public static void Fill(CudaDevice device, DeviceSpan<byte> target, TensorType type, int indexLimit)
    {
        var matrix = type.Shape.Rank > 1;
        if (!Tiles.TryGetValue((type.DType, indexLimit, matrix), out var tile))
        {
            var random = new Random(Tiles.Count + 1);
            double Draw() => type.DType switch
            {
                DType.I32 or DType.I64 => random.Next(indexLimit),
                DType.U8 => random.Next(256),
                DType.Bool => random.Next(2),
                DType.F64 => 1e-3,
                _ => matrix ? Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()) : 0.5 + random.NextDouble(),
            };
            Tiles[(type.DType, indexLimit, matrix)] = tile = ElementData.FromDoubles(type.DType, [.. Enumerable.Range(0, TileElements).Select(_ => Draw())]);
        }

        var done = Math.Min(target.Bytes, tile.Length);
        if (done == 0) return;
        device.Stream.CopyToDevice<byte>(tile.AsSpan(0, (int)done), target.Slice(0, done));
        for (; done < target.Bytes; done += Math.Min(done, target.Bytes - done))
        {
            var more = Math.Min(done, target.Bytes - done);
            device.Stream.Copy<byte>(target.Slice(0, more), target.Slice(done, more));
        }
    }
}
