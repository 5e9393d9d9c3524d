using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>Which calls a capture forbids elsewhere meanwhile (allocation, synchronisation, ...).</summary>
public enum CaptureMode
{
    /// <summary>On every thread.</summary>
    Global = 0,

    /// <summary>On the capturing thread.</summary>
    ThreadLocal = 1,

    /// <summary>Nowhere.</summary>
    Relaxed = 2,
}

/// <summary>A recording in progress.</summary>
public sealed class CudaGraphCapture : IDisposable
{
    private readonly CudaStream _stream;
    private bool _ended;

    internal CudaGraphCapture(CudaStream stream, CaptureMode mode)
    {
        _stream = stream;
        stream.Context.EnsureCurrent();
        CuDriver.cuStreamBeginCapture_v2(stream.Raw, (CUstreamCaptureMode)mode).ThrowIfFailed();
    }

    /// <summary>Ends the recording.</summary>
    /// <exception cref="CudaException">A call in between was not allowed in a capture, or a forked stream was not joined.</exception>
    public CudaGraph End()
    {
        ObjectDisposedException.ThrowIf(_ended, this);
        _ended = true;
        _stream.Context.EnsureCurrent();
        CuDriver.cuStreamEndCapture(_stream.Raw, out var graph).ThrowIfFailed();
        return new CudaGraph(_stream.Context, graph);
    }

    /// <summary>Throws the recording away if it was not ended.</summary>
    public void Dispose()
    {
        if (_ended)
            return;
        _ended = true;
        // The recording is most likely invalid already (an exception brought us here), which the status would only repeat.
        if (_stream.Context.TryMakeCurrent() == CUresult.CUDA_SUCCESS
            && CuDriver.cuStreamEndCapture(_stream.Raw, out var graph) == CUresult.CUDA_SUCCESS && graph.Value != 0)
        {
            _ = CuDriver.cuGraphDestroy(graph);
        }
    }
}

/// <summary>Recorded work: a template from which an executable is made or updated.</summary>
public sealed unsafe class CudaGraph : CudaResource
{
    internal CudaGraph(CudaContext context, CUgraph graph) : base(context, graph.Value)
    {
    }

    /// <summary>Launches, copies and fills in it.</summary>
    public int NodeCount
    {
        get
        {
            Context.EnsureCurrent();
            nuint count = 0;
            CuDriver.cuGraphGetNodes(Raw, null, &count).ThrowIfFailed();
            return (int)count;
        }
    }

    internal CUgraph Raw => new(Live);

    /// <summary>Makes an executable; <paramref name="name"/> is how error messages call it.</summary>
    public CudaGraphExec Instantiate(string name)
    {
        Context.EnsureCurrent();
        CuDriver.cuGraphInstantiateWithFlags(out var exec, Raw, 0).ThrowIfFailed();
        return new(Context, exec, name);
    }

    private protected override string ReleaseCall => "cuGraphDestroy";

    private protected override CUresult Release(nint value) => CuDriver.cuGraphDestroy(new(value));
}

/// <summary>An executable graph: one call replays everything that was recorded.</summary>
public sealed class CudaGraphExec : CudaResource
{
    private readonly string _name;

    internal CudaGraphExec(CudaContext context, CUgraphExec exec, string name) : base(context, exec.Value) => _name = $"graph {name}";

    private CUgraphExec Raw => new(Live);

    /// <summary>Queues one replay.</summary>
    public void Launch(CudaStream stream)
    {
        Context.EnsureCurrent();
        var status = CuDriver.cuGraphLaunch(Raw, stream.Raw);
        stream.Note(_name);
        if (status != CUresult.CUDA_SUCCESS)
            throw stream.Failure(status, $"Launch of {_name}");
        if (Context.SyncLaunches)
        {
            status = stream.WaitUnlessCapturing();
            if (status != CUresult.CUDA_SUCCESS)
                throw CudaException.From(status, $"Running {_name}", "It ran and failed on the device.");
        }
    }

    /// <summary>Moves what the graph needs to the device ahead of the first launch.</summary>
    public void Upload(CudaStream stream)
    {
        Context.EnsureCurrent();
        CuDriver.cuGraphUpload(Raw, stream.Raw).ThrowIfFailed();
    }

    /// <summary>
    /// Gives the executable the addresses and arguments of another recording of the same work. False, with the reason, when
    /// the recordings differ too much; then instantiate anew.
    /// </summary>
    public bool TryUpdate(CudaGraph graph, out string reason)
    {
        Context.EnsureCurrent();
        var status = CuDriver.cuGraphExecUpdate_v2(Raw, graph.Raw, out var info);
        reason = status == CUresult.CUDA_SUCCESS ? "" : info.result.ToString();
        if (status is not (CUresult.CUDA_SUCCESS or CUresult.CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE))
            status.ThrowIfFailed("cuGraphExecUpdate_v2");
        return status == CUresult.CUDA_SUCCESS;
    }

    private protected override string ReleaseCall => $"cuGraphExecDestroy({_name})";

    private protected override CUresult Release(nint value) => CuDriver.cuGraphExecDestroy(new(value));
}
