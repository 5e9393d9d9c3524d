using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Runtime;
using GpuEngine.Lab.Kernels;

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
        var plan = Planner.Plan(program.ToProgram(), device.Target);
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

    /// <summary>Fills device memory with random numbers fast: a tile is drawn on the host and doubled on the device.</summary>
    public static void Fill(CudaDevice device, DeviceSpan<byte> target, TensorType type, int indexLimit)
    {
        if (target.Bytes == 0) return;
        var tile = RandomOperands.Tile(type, indexLimit);
        var done = Math.Min(target.Bytes, tile.Length);
        device.Stream.CopyToDevice<byte>(tile.AsSpan(0, (int)done), target.Slice(0, done));
        while (done < target.Bytes)
        {
            var more = Math.Min(done, target.Bytes - done);
            device.Stream.Copy<byte>(target.Slice(0, more), target.Slice(done, more));
            done += more;
        }
    }

    private void Fill(TensorProgram plan, CaseProgram program, int set)
    {
        foreach (var input in plan.Inputs) Fill(_device, _sets[set].InputSpan(TensorProgram.InputName(input)), input.Type, program.IndexLimit);
        foreach (var variable in plan.Variables)
            Fill(_device, new DeviceSpan<byte>(_stores[set].Pointer(variable), variable.Type.Bytes), variable.Type, program.IndexLimit);
    }
}
