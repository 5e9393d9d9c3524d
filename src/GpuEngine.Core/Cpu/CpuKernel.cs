using GpuEngine.Core.Cpu.Threading;

namespace GpuEngine.Core.Cpu;

/// <summary>
/// One launch on the CPU: made for one node's shapes, bound once to its operands, run many times without allocating.
/// </summary>
public abstract unsafe class CpuKernel : IParallelWork
{
    private nint[] _inputs = [];
    private nint[] _outputs = [];

    /// <summary>Scratch that the kernel needs while it runs.</summary>
    public virtual long WorkspaceBytes => 0;

    /// <summary>
    /// How many workers the launch is worth. Below about ten thousand elements waking the team costs more than it saves.
    /// </summary>
    protected virtual bool IsParallel => false;

    protected nint Workspace { get; private set; }

    internal void Bind(nint[] inputs, nint[] outputs, nint workspace)
    {
        (_inputs, _outputs, Workspace) = (inputs, outputs, workspace);
        Bound();
    }

    /// <summary>Runs the launch; a kernel of several phases overrides it and forks once per phase.</summary>
    public virtual void Run(CpuPool pool)
    {
        if (IsParallel) pool.Run(this);
        else Execute(0, 1);
    }

    /// <summary>
    /// One worker's share. What is computed, and in which order it is summed, must not depend on the number of workers:
    /// results are bit-equal for any thread count.
    /// </summary>
    public abstract void Execute(int worker, int workers);

    /// <summary>Called once when operands are known.</summary>
    protected virtual void Bound()
    {
    }

    protected T* In<T>(int index) where T : unmanaged => (T*)_inputs[index];

    protected T* Out<T>(int index) where T : unmanaged => (T*)_outputs[index];

    protected int InputCount => _inputs.Length;

    /// <summary>The contiguous share [Start, End) of <paramref name="count"/> items, cut at multiples of <paramref name="grain"/>.</summary>
    protected static (long Start, long End) Share(long count, int worker, int workers, long grain = 1)
    {
        var units = (count + grain - 1) / grain;
        var start = units * worker / workers * grain;
        var end = units * (worker + 1) / workers * grain;
        return (Math.Min(start, count), Math.Min(end, count));
    }
}
