using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;

namespace GpuEngine.Nn.Layers;

/// <summary>
/// A learnable tensor of a module. It holds no values: a <see cref="Training.ModelVariables"/> places all parameters of a model
/// in flat arenas and fills them.
/// </summary>
/// <param name="Name">The name within its module: "weight", "bias".</param>
/// <param name="Shape">Its shape.</param>
/// <param name="Init">How it starts.</param>
public sealed record Parameter(string Name, Shape Shape, Initializer Init)
{
    /// <summary>False exempts the parameter from weight decay (He et al. 2015 on the slopes of PReLU).</summary>
    public bool Decays { get; init; } = true;

    // Two parameters of equal name and shape are still two parameters.
    public bool Equals(Parameter? other) => ReferenceEquals(this, other);

    public override int GetHashCode() => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(this);
}

/// <summary>State of a module that is not learned by gradients: running statistics. It is saved with the weights.</summary>
/// <param name="Name">The name within its module: "running_mean".</param>
/// <param name="Shape">Its shape.</param>
/// <param name="Start">The value of every element at the start.</param>
public sealed record ModuleBuffer(string Name, Shape Shape, double Start)
{
    /// <summary>True when the start is made of the training images instead; see <see cref="WhiteningConv2d"/>.</summary>
    public bool WhitensImages { get; init; }

    public bool Equals(ModuleBuffer? other) => ReferenceEquals(this, other);

    public override int GetHashCode() => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(this);
}
