using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>How many elements one memory access of a kernel may take.</summary>
internal static class VectorWidth
{
    private const int AccessBytes = 16;

    /// <summary>
    /// The most elements of up to 16 bytes that divide every extent, or 1 where a tensor may start at an address that is no
    /// multiple of 16: a slice of another is the only one that can.
    /// </summary>
    /// <param name="dtype">The element type of the vectors.</param>
    /// <param name="extent">Elements between the starts of two rows.</param>
    /// <param name="tensors">What is accessed in vectors.</param>
    public static int Dividing(DType dtype, long extent, IEnumerable<Tensor> tensors)
    {
        if (tensors.Any(IsSlice)) return 1;
        var width = AccessBytes / dtype.Size();
        while (extent % width != 0) width /= 2;
        return width;
    }

    /// <summary>16 bytes, or one element where a tensor may be unaligned; the kernel does the rest of a row by itself.</summary>
    public static int Any(DType dtype, IEnumerable<Tensor> tensors) => Dividing(dtype, AccessBytes, tensors);

    private static bool IsSlice(Tensor tensor)
    {
        while (tensor.Node.Op is ReshapeOp or DetachOp) tensor = tensor.Node.Inputs[0];
        return tensor.Node.Op is SliceOp;
    }
}
