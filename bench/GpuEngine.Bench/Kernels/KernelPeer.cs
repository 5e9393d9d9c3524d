using System.Diagnostics;
using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Lab.Kernels;

namespace GpuEngine.Bench.Kernels;

/// <summary>What the peer says of a case.</summary>
/// <param name="Form">"eager", "compiled" or "cudnn".</param>
/// <param name="Cold">Seconds over as many sets of operands as ours.</param>
/// <param name="Warm">Seconds over one set, where that was asked for.</param>
/// <param name="Note">Which of its back ends ran, or why there is no time.</param>
internal sealed record PeerTiming(string Form, Timing? Cold, Timing? Warm, string? Note);

/// <summary>PyTorch in a process of its own, one line of JSON in, one line out: bench/peers/kernel_peer.py.</summary>
internal sealed class KernelPeer : IDisposable
{
    private readonly Process _process;

    /// <param name="python">An interpreter that has PyTorch.</param>
    /// <param name="device">"cuda", or "cpu" to prove the script.</param>
    /// <exception cref="UserException">It does not start.</exception>
    public KernelPeer(string python, string device)
    {
        // Beside the binaries in the GPU bundle, in bench/peers in the repository.
        var script = Path.Combine(AppContext.BaseDirectory, "peers/kernel_peer.py");
        if (!File.Exists(script)) script = Path.Combine(AppContext.BaseDirectory, "../../../../bench/peers/kernel_peer.py");
        var start = new ProcessStartInfo(python) { RedirectStandardInput = true, RedirectStandardOutput = true };
        start.ArgumentList.Add(Path.GetFullPath(script));
        start.ArgumentList.Add(device);
        try
        {
            _process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception exception)
        {
            throw new UserException($"--python {python} cannot be started ({exception.Message}): name an interpreter that has PyTorch, or use --peer none.", exception);
        }

        Version = _process.StandardOutput.ReadLine() ?? throw new UserException(
            $"--python {python} ended at once (its reason is above): name an interpreter that has PyTorch, or use --peer none.");
    }

    /// <summary>How the peer introduces itself.</summary>
    public string Version { get; }

    /// <param name="case">What to time.</param>
    /// <param name="shape">Its shape in this run.</param>
    /// <param name="form">"eager", "compiled" or "cudnn".</param>
    /// <param name="sets">Sets of operands.</param>
    /// <param name="warm">Whether one set is timed as well.</param>
    /// <param name="seconds">How long; 0 runs once.</param>
    public PeerTiming Measure(KernelCase @case, Shape shape, string form, int sets, bool warm, double seconds)
    {
        var request = new JsonObject
        {
            ["function"] = @case.Peer,
            ["shape"] = new JsonArray([.. shape.ToArray().Select(d => (JsonNode)d)]),
            ["dtype"] = @case.DType.Label(),
            ["pass"] = @case.Pass.ToString().ToLowerInvariant(),
            ["options"] = @case.Options.DeepClone(),
            ["form"] = form,
            ["sets"] = sets,
            ["warm"] = warm,
            ["seconds"] = seconds,
        };
        _process.StandardInput.WriteLine(request.ToJsonString());
        var line = _process.StandardOutput.ReadLine() ?? throw new UserException($"The peer ended at {@case.Label}; its reason is above.");
        var answer = JsonNode.Parse(line)!;
        return new PeerTiming(form, Read(answer["cold"]), Read(answer["warm"]), (string?)answer["note"]);
    }

    public void Dispose()
    {
        _process.StandardInput.Close();
        _process.WaitForExit();
        _process.Dispose();
    }

    private static Timing? Read(JsonNode? node) =>
        node is JsonArray numbers ? new Timing((double)numbers[0]!, (double)numbers[1]!, (double)numbers[2]!) : null;
}
