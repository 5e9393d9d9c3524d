using System.Text.Json.Nodes;
using GpuEngine.Core.Graph;

namespace GpuEngine.Bench.Kernels;

/// <summary>What of an op is timed.</summary>
internal enum Pass
{
    Forward,

    /// <summary>The gradients alone; what the forward pass saves is an input.</summary>
    Backward,

    /// <summary>Both, for ops that may do them at once.</summary>
    Both,
}

/// <summary>A case as a graph.</summary>
/// <param name="Outputs">What is computed.</param>
/// <param name="FloorBytes">Fewest bytes that any implementation must move: performance.md, section 8.</param>
internal sealed record CaseProgram(IReadOnlyList<NamedTensor> Outputs, long FloorBytes)
{
    /// <summary>Variables that a run replaces.</summary>
    public IReadOnlyList<Core.Plan.VariableUpdate> Updates { get; init; } = [];

    /// <summary>Integer inputs lie below this.</summary>
    public int IndexLimit { get; init; } = 8;
}

/// <summary>One line of the table.</summary>
/// <param name="Row">The row of performance.md, section 8, that it belongs to.</param>
/// <param name="Name">The op and what is fused into it.</param>
/// <param name="Shape">The shape of its main operand.</param>
/// <param name="DType">The dtype of that operand.</param>
/// <param name="Pass">What is timed.</param>
/// <param name="Peer">The function of bench/peers/kernel_peer.py that does the same.</param>
/// <param name="Build">The graph for a shape.</param>
internal sealed record KernelCase(int Row, string Name, Shape Shape, DType DType, Pass Pass, string Peer, Func<Shape, CaseProgram> Build)
{
    /// <summary>What the peer's function is told besides shape, dtype and pass.</summary>
    public JsonObject Options { get; init; } = [];

    /// <summary>Only run when asked for by name.</summary>
    public bool Extra { get; init; }

    /// <summary>"batch_norm+add+relu NHWC forward 256x14x14x1024 bf16".</summary>
    public string Label => $"{Name} {Pass.ToString().ToLowerInvariant()} {string.Join('x', Shape.ToArray())} {DType.Label()}";

    /// <summary>A shape for proof on the simulator: the channel axis of NHWC, NCHW and [rows, columns] alike stays longest.</summary>
    public Shape Tiny
    {
        get
        {
            var dims = Shape.ToArray();
            if (dims.Length == 1) return [Math.Min(dims[0], 4096)];
            var longest = Array.IndexOf(dims, dims.Skip(1).Max(), 1);
            return new Shape([.. dims.Select((d, axis) => Math.Min(d, axis == longest ? 64 : dims.Length == 2 ? 32 : 4))]);
        }
    }

    /// <summary>Whether the case is meant by a term of --only: "row7", or a part of the label.</summary>
    public bool Matches(string term) => term == $"row{Row}" || Label.Contains(term, StringComparison.Ordinal);
}
