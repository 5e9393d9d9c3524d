using System.Text.Json.Nodes;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Lab.Kernels;

/// <summary>What of an op is timed.</summary>
public enum Pass
{
    Forward,

    /// <summary>The gradients alone; what the forward pass saves is an input.</summary>
    Backward,

    /// <summary>Both, for ops that may do them at once.</summary>
    Both,

    /// <summary>A step of an optimizer.</summary>
    Step,
}

/// <summary>A case as a graph.</summary>
/// <param name="Outputs">What is computed.</param>
/// <param name="MainBytes">
/// Fewest bytes of its large tensors that any implementation must move: performance.md, section 8.
/// </param>
public sealed record CaseProgram(IReadOnlyList<NamedTensor> Outputs, long MainBytes)
{
    /// <summary>Variables that a run replaces.</summary>
    public IReadOnlyList<VariableUpdate> Updates { get; init; } = [];

    /// <summary>Integer inputs lie below this.</summary>
    public int IndexLimit { get; init; } = 8;

    /// <summary>The program as devices plan it.</summary>
    public TensorProgram ToProgram() => new("case", Outputs, Updates);

    /// <summary>
    /// <see cref="MainBytes"/> and, once each, the small tensors that come in or stay when the program is over: parameters,
    /// statistics, class indices. Small is what has at most an eighth of the main operand's elements; bit masks are part of the main bytes.
    /// </summary>
    /// <param name="elements">Elements of the main operand.</param>
    public long FloorBytes(long elements)
    {
        var program = ToProgram();
        var read = program.Nodes.SelectMany(n => n.Inputs).ToHashSet();
        var ends = program.Nodes.SelectMany(n => n.Outputs).Where(t => t.Node.Op is InputOp or VariableOp || !read.Contains(t));
        return MainBytes + ends.Where(t => t.Type.Elements * 8 <= elements && t.DType is not (DType.U8 or DType.I32)).Sum(t => t.Type.Bytes);
    }
}

/// <summary>One line of the table.</summary>
/// <param name="Row">The row of performance.md, section 8, that it belongs to.</param>
/// <param name="Name">The op and what is fused into it.</param>
/// <param name="Shape">The shape of its main operand.</param>
/// <param name="DType">The dtype of that operand.</param>
/// <param name="Pass">What is timed.</param>
/// <param name="Peer">The function of bench/peers/kernel_peer.py that does the same.</param>
/// <param name="Build">The graph for a shape.</param>
public sealed record KernelCase(int Row, string Name, Shape Shape, DType DType, Pass Pass, string Peer, Func<Shape, CaseProgram> Build)
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
