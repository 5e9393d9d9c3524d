using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Plan;

/// <summary>
/// Buffers for what a plan needs only while it runs (activations and workspace). Plans over the same variables run one after the other, so
/// they share them: a plan takes the smallest buffer that is large enough, or a new one.
/// </summary>
/// <param name="allocate">Makes a zeroed buffer of so many bytes; the text says what it is for.</param>
/// <typeparam name="T">A device's buffers.</typeparam>
public sealed class ScratchPool<T>(Func<long, string, T> allocate) where T : class, IDisposable
{
    private readonly List<(MemoryClass Class, long Bytes, T Buffer)> _buffers = [];
    private readonly Dictionary<T, int> _users = [];

    /// <summary>A buffer, and whether it was made for this user.</summary>
    public (T Buffer, bool IsNew) Rent(MemoryClass memoryClass, long bytes, string purpose)
    {
        var found = ScratchPool.Choose(_buffers.Where(b => b.Class == memoryClass).Select(b => b.Bytes), bytes);
        if (found is { } size)
        {
            var buffer = _buffers.First(b => b.Class == memoryClass && b.Bytes == size).Buffer;
            _users[buffer]++;
            return (buffer, false);
        }

        var made = allocate(bytes, purpose);
        _buffers.Add((memoryClass, bytes, made));
        _users.Add(made, 1);
        return (made, true);
    }

    /// <summary>Takes a buffer back and frees it when nobody else has it.</summary>
    public void Return(T buffer)
    {
        if (--_users[buffer] > 0) return;
        _users.Remove(buffer);
        _buffers.RemoveAll(b => b.Buffer == buffer);
        buffer.Dispose();
    }
}

/// <summary>What is shared between plans, and what plans need together.</summary>
public static class ScratchPool
{
    /// <summary>Whether arenas of this class hold nothing from one run to the next.</summary>
    public static bool IsShared(MemoryClass memoryClass) => memoryClass is MemoryClass.Activations or MemoryClass.Workspace;

    /// <summary>
    /// Bytes by class of plans that are loaded in this order over one set of variables, as a device allocates them: every variable once, the
    /// plans' own arenas, and the shared ones.
    /// </summary>
    public static IReadOnlyDictionary<MemoryClass, long> BytesTogether(IReadOnlyList<ExecutionPlan> plans, int alignment)
    {
        var bytes = Enum.GetValues<MemoryClass>().ToDictionary(c => c, _ => 0L);
        foreach (var variable in plans.SelectMany(p => p.Program.Variables).Distinct()) bytes[variable.MemoryClass] += ExecutionPlan.Aligned(variable.Type.Bytes, alignment);
        var buffers = new List<(MemoryClass Class, long Bytes)>();
        foreach (var (memoryClass, size) in plans.SelectMany(p => p.ArenaBytes))
        {
            if (IsShared(memoryClass))
            {
                if (Choose(buffers.Where(b => b.Class == memoryClass).Select(b => b.Bytes), size) is not null) continue;
                buffers.Add((memoryClass, size));
            }

            bytes[memoryClass] += size;
        }

        return bytes;
    }

    internal static long? Choose(IEnumerable<long> sizes, long bytes) => sizes.Where(s => s >= bytes).Select(s => (long?)s).Min();
}
