namespace GpuEngine.Core.Graph;

/// <summary>
/// Shapes or dtypes that do not fit together, found while a graph is being built. The message names the op (or layer)
/// and the shapes on both sides; layers put their own name in front while it passes through them.
/// </summary>
public sealed class ShapeException : Exception
{
    public ShapeException(string message) : base(message)
    {
    }

    public ShapeException(string message, Exception innerException) : base(message, innerException)
    {
    }
}
