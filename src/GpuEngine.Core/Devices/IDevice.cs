using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Devices;

/// <summary>Something that runs plans. Devices are used from one thread at a time.</summary>
public interface IDevice : IDisposable
{
    /// <summary>"cpu", "cuda:0", "sim:0".</summary>
    string Name { get; }

    /// <summary>What the planner needs to know.</summary>
    IPlanTarget Target { get; }

    /// <summary>Storage for variables, shared by all plans that are loaded with it.</summary>
    IVariableStore CreateStore();

    /// <summary>Allocates the plan's arenas and binds its launches.</summary>
    IExecutable Load(ExecutionPlan plan, IVariableStore store);
}

/// <summary>
/// The values of variables on a device. A variable gets zeroed storage the first time it is named, by a caller or by a plan.
/// </summary>
public interface IVariableStore : IDisposable
{
    /// <summary>Bytes allocated so far, by class.</summary>
    IReadOnlyDictionary<MemoryClass, long> AllocatedBytes { get; }

    /// <summary>Overwrites a variable; the bytes are its elements in row-major order.</summary>
    /// <exception cref="ArgumentException">The length is not the variable's.</exception>
    void Write(Variable variable, ReadOnlySpan<byte> bytes);

    /// <summary>Copies a variable out; waits for runs in flight.</summary>
    /// <exception cref="ArgumentException">The length is not the variable's.</exception>
    void Read(Variable variable, Span<byte> bytes);
}

/// <summary>A plan that is ready to run.</summary>
public interface IExecutable : IDisposable
{
    ExecutionPlan Plan { get; }

    /// <summary>Bytes allocated for the plan's arenas, by class.</summary>
    IReadOnlyDictionary<MemoryClass, long> AllocatedBytes { get; }

    /// <summary>Sets an input for the runs that follow.</summary>
    /// <exception cref="ArgumentException">There is no such input, or the length is not its size.</exception>
    void Write(string input, ReadOnlySpan<byte> bytes);

    /// <summary>Runs every launch once. Allocates no managed memory.</summary>
    void Run();

    /// <summary>Runs once and adds each launch's seconds to <paramref name="seconds"/> (one entry per launch of the plan).</summary>
    void RunTimed(Span<double> seconds);

    /// <summary>
    /// How a launch of the plan runs where the device chose among several ways ("cudnn algorithm 1"), for reports; null where it had no choice.
    /// </summary>
    string? WayOf(int launch) => null;

    /// <summary>Copies an output of the last run out; waits for it.</summary>
    /// <exception cref="ArgumentException">There is no such output, or the length is not its size.</exception>
    void Read(string output, Span<byte> bytes);
}
