using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Plan;

/// <summary>What the planner must know of a device before anything is allocated.</summary>
public interface IPlanTarget
{
    /// <summary>True when the device runs this node with a kernel of its own; a fused op without one is decomposed.</summary>
    bool HasKernel(Node node);

    /// <summary>Scratch bytes of the node's kernel.</summary>
    long WorkspaceBytes(Node node);

    /// <summary>Alignment in bytes of every slice of an arena.</summary>
    int Alignment { get; }

    /// <summary>True when bf16 tensors must be widened to f32 for every computation (a device without bf16 kernels).</summary>
    bool WidensBf16 { get; }

    /// <summary>Whether convolutions in this dtype are faster with the channels of images last.</summary>
    bool PrefersChannelsLast(DType compute) => false;

    /// <summary>
    /// The device's own rewrite of the lowered program (joining launches, say), just before storage is assigned. It must keep
    /// names, order and types of outputs, and the updates.
    /// </summary>
    TensorProgram Rewrite(TensorProgram program) => program;
}
