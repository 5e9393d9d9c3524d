using System.Globalization;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// A convolution that can be run in several ways: by an algorithm of cuDNN or by a launcher of our own. When it is bound, the fastest
/// is taken: measured once on scratch and kept in the <see cref="AlgorithmCache"/>, so that it is the same in every run. Where
/// measuring is off (the simulator, whose clock says nothing) it is the first in a fixed order: cuDNN's by its own estimate, then ours.
/// Kernels that only lose are compiled for the measurement alone, and not at all once the choice is known.
/// </summary>
internal sealed class ConvolutionKernel : CudaKernel
{
    private readonly ConvProblem _problem;
    private readonly ConvEpilogue? _epilogue;
    private readonly CudaLimits _limits;
    private readonly IReadOnlyList<OwnWay> _own;
    private CudnnConvolution? _cudnn;
    private CudnnAlgorithm? _algorithm;
    private CudaKernel? _chosen;
    private DevicePointer[] _inputs = [];

    /// <param name="node">A convolution that is not empty.</param>
    /// <param name="limits">What the device has.</param>
    /// <param name="problem">The node's extents.</param>
    /// <param name="own">Our ways, the preferred one first.</param>
    /// <param name="epilogue">What comes behind the sum, in the same launch where cuDNN runs it.</param>
    public ConvolutionKernel(Node node, CudaLimits limits, ConvProblem problem, IReadOnlyList<OwnWay> own, ConvEpilogue? epilogue = null) : base(node)
    {
        (_problem, _limits, _own, _epilogue) = (problem, limits, own, epilogue);
        AsksCudnn = limits.HasCudnn;
        WorkspaceBytes = Math.Max(AsksCudnn ? CudnnConvolution.Budget : 0, own.Max(o => o.Planned.WorkspaceBytes));
    }

    /// <summary>One of our launchers.</summary>
    /// <param name="Name">The variant's name.</param>
    /// <param name="Planned">An unbound kernel.</param>
    /// <param name="Again">Another one, to be bound to scratch.</param>
    public sealed record OwnWay(string Name, CudaKernel Planned, Func<CudaKernel> Again);

    private bool AsksCudnn { get; }

    public override long WorkspaceBytes { get; }

    /// <summary>Nothing is known to be needed before the choice.</summary>
    public override IReadOnlyList<KernelRequest> Requests => [];

    public override string Decision =>
        Way is { } way ? way : $"{(_limits.MeasuresConvolutions ? "measured" : "first")} of {(AsksCudnn ? "cudnn, " : "")}{string.Join(", ", _own.Select(o => o.Name))}";

    public override string? Way => _algorithm is { } a ? $"cudnn algorithm {a.Algorithm}{_epilogue}" : _chosen is null ? null : NameOf(_chosen);

    /// <summary>Whether cuDNN runs it; known once bound.</summary>
    internal bool UsesCudnn => _algorithm is not null;

    public override Cost Cost => _chosen?.Cost ?? base.Cost;

    public override void Launch(CudaStream stream)
    {
        if (_algorithm is { } algorithm)
        {
            var status = _cudnn!.Run(Library!.Cudnn(stream), algorithm, Out(0), _inputs, Workspace);
            // Listed, yet refused: the first launch is never part of a capture, so there is time to go another way.
            if (!CudnnConvolution.IsRefusal(status))
            {
                status.ThrowIfFailed($"cuDNN {Node.Op.Name}, algorithm {algorithm.Algorithm}");
                return;
            }

            Warn($"it lists algorithm {algorithm.Algorithm} and refuses to run it");
            _algorithm = null;
            Take(_own[0].Planned);
        }

        _chosen!.Launch(stream);
    }

    public override void Dispose()
    {
        _cudnn?.Dispose();
        foreach (var way in _own) way.Planned.Dispose();
        base.Dispose();
    }

    protected override void Bound()
    {
        _inputs = [.. Enumerable.Range(0, InputCount).Select(In)];
        IReadOnlyList<CudnnAlgorithm> algorithms = [];
        if (AsksCudnn)
        {
            var reason = "";
            try
            {
                var handle = Library!.Cudnn(null);
                _cudnn = new CudnnConvolution(_problem, Node.Outputs[0].DType, _limits.AllowTf32, _epilogue);
                algorithms = _cudnn.Algorithms(handle, out reason);
            }
            catch (CudaException exception)
            {
                // A cuDNN that cannot start (a part of it missing, say) is one without algorithms.
                reason = exception.Message.TrimEnd('.');
            }

            if (algorithms.Count == 0) Warn(reason);
        }

        string[] names = [.. algorithms.Select(NameOf), .. OwnAllowed(algorithms.Count).Select(o => o.Name)];
        var name = names.Length > 1 && _limits.MeasuresConvolutions ? Measured(names, algorithms) : names[0];
        _algorithm = Parse(name);
        if (_algorithm is null) Take(_own.First(o => o.Name == name).Planned);
    }

    private void Take(CudaKernel kernel)
    {
        _chosen = kernel;
        kernel.Bind(Library!, [Out(0)], _inputs, Workspace, Counters);
        _cudnn?.Dispose();
        _cudnn = null;
    }

    /// <summary>
    /// Our ways that stand a chance: asked for cuDNN by name, none while it has an algorithm; and none whose one run might take seconds.
    /// </summary>
    private IEnumerable<OwnWay> OwnAllowed(int algorithms)
    {
        if (algorithms > 0 && _limits.Variant == "cudnn") return [];
        var large = Node.Op.Cost(Node).Flops > Convolution.DirectMostFlops;
        return large && (algorithms > 0 || _own.Count > 1) ? _own.Where(o => o.Name != Convolution.Direct) : _own;
    }

    private string Measured(string[] names, IReadOnlyList<CudnnAlgorithm> algorithms)
    {
        var key = Key(names);
        var known = Library!.Choices.Find(key);
        if (known is not null && names.Contains(known)) return known;
        if (known is not null) Library.Choices.Remove(key);
        using var trial = ConvolutionTrial.TryCreate(Library, Node);
        // Without memory for a trial the estimate decides, and nothing is kept: another run may have the room.
        if (trial is null) return names[0];
        var times = new List<(string Name, double Milliseconds)>();
        var lines = new List<string>();
        foreach (var algorithm in algorithms)
        {
            var seconds = trial.Median(
                stream => !CudnnConvolution.IsRefusal(
                    _cudnn!.Run(Library.Cudnn(stream), algorithm, trial.Output, trial.Inputs, Workspace)), Best());
            Note(NameOf(algorithm), seconds);
        }

        foreach (var way in OwnAllowed(algorithms.Count))
        {
            using var kernel = way.Again();
            Library.Compile(kernel.Requests);
            kernel.Bind(Library, [trial.Output], trial.Inputs, Workspace, Counters);
            var seconds = trial.Median(
                stream =>
                {
                    kernel.Launch(stream);
                    return true;
                }, Best());
            Note(way.Name, seconds);
        }

        if (times.Count == 0) return names[^1];
        return Library.Choices.Publish(key, times.MinBy(t => t.Milliseconds).Name, string.Join('\n', lines));

        void Note(string name, double? milliseconds)
        {
            if (milliseconds is { } ms) times.Add((name, ms));
            lines.Add(milliseconds is null ? $"refused or hopeless: {name}" : string.Create(CultureInfo.InvariantCulture, $"{milliseconds:F4} ms {name}"));
        }

        double Best() => times.Count == 0 ? double.PositiveInfinity : times.Min(t => t.Milliseconds);
    }

    /// <summary>Everything that the choice depends on, on one line.</summary>
    private string Key(string[] names)
    {
        var (p, g) = (_problem, _problem.Geometry);
        var device = Library!.Context.Properties;
        var cudnn = AsksCudnn ? Cudnn.cudnnGetVersion().ToString(CultureInfo.InvariantCulture) : "none";
        return $"convolution {p.Role}{_epilogue} x{p.X} w{p.W} stride{g.Stride} padding{g.Padding} dilation{g.Dilation} groups {g.Groups} " +
            $"{(p.IsChannelsLast ? "NHWC" : "NCHW")} {Node.Outputs[0].DType.Label()}{(_limits.AllowTf32 ? " tf32" : "")} | {device.Name} sm_{device.Architecture} | " +
            $"cuDNN {cudnn} | {string.Join(", ", names)}";
    }

    /// <summary>What lacks only the epilogue is no loss to speak of: the convolution alone says what it lacks itself.</summary>
    private void Warn(string reason)
    {
        if (_epilogue is null) Library!.WarnOnce("cudnn", Refused(reason));
    }

    private string Refused(string reason) =>
        $"cuDNN has no usable algorithm for a convolution ({Node.Op.Name} of {_problem.X} with filters {_problem.W} in " +
        $"{Node.Outputs[0].DType.Label()}: {reason}), so this one and others like it run as {_own[0].Name} instead; the results are the same, the time may be longer.";

    private string NameOf(CudaKernel kernel) => _own.First(o => o.Planned == kernel).Name;

    private static string NameOf(CudnnAlgorithm a) => string.Create(CultureInfo.InvariantCulture, $"cudnn {a.Algorithm} math {(int)a.Math}");

    private static CudnnAlgorithm? Parse(string name)
    {
        var words = name.Split(' ');
        return words is ["cudnn", var number, "math", var math]
            ? new CudnnAlgorithm(int.Parse(number, CultureInfo.InvariantCulture), (cudnnMathType_t)int.Parse(math, CultureInfo.InvariantCulture))
            : null;
    }
}
