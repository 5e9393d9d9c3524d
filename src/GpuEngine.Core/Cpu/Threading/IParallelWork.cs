namespace GpuEngine.Core.Cpu.Threading;

/// <summary>A piece of work that <see cref="CpuPool.Run"/> executes once on each worker.</summary>
public interface IParallelWork
{
    /// <summary>Does the share of <paramref name="worker"/>, 0 to <paramref name="workers"/> - 1; worker 0 is the caller.</summary>
    void Execute(int worker, int workers);
}
