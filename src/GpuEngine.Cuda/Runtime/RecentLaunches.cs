namespace GpuEngine.Cuda.Runtime;

/// <summary>
/// The names of the last launches of a stream. A device error shows up at the next synchronisation and does not say whose
/// it is; these narrow it down at the cost of one store per launch.
/// </summary>
internal sealed class RecentLaunches
{
    private const int Kept = 8;

    private readonly string[] _names = new string[Kept];
    private int _count;

    public void Add(string name)
    {
        _names[_count & (Kept - 1)] = name;
        _count++;
    }

    /// <summary>One or two sentences: the launches, newest first, and how to learn which one failed.</summary>
    public string Describe()
    {
        if (_count == 0)
            return "Nothing was launched on this stream.";
        var kept = Math.Min(_count, Kept);
        var names = Enumerable.Range(1, kept).Select(back => _names[(_count - back) & (Kept - 1)]);
        return $"Last launches on this stream, newest first: {string.Join(", ", names)}. " +
               $"Set {CudaContext.SyncLaunchesVariable}=1 to learn which launch failed.";
    }
}
