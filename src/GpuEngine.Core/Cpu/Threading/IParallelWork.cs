namespace GpuEngine.Core.Cpu.Threading;

/// <summary>A piece of work that <see cref="CpuPool.Run"/> executes once per worker.</summary>
public interface IParallelWork
{
    /// <summary>
    /// Does the share of <paramref name="worker"/>, 0 to <paramref name="workers"/> - 1. Shares usually run on threads of
    /// their own, share 0 always on the caller's; they must not wait for each other.
    /// </summary>
    void Execute(int worker, int workers);
}
