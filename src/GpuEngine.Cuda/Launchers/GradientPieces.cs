using System.Globalization;
using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// How one or two gradients are cut for the sum of their squares (kernels/common/gradient_norm.cuh): by the sizes alone, so that the
/// sum does not depend on the device.
/// </summary>
/// <param name="Length">Elements of a piece.</param>
/// <param name="Count">Pieces.</param>
/// <param name="Defines">The constants of the kernel.</param>
internal sealed record GradientPieces(long Length, long Count, (string, string)[] Defines)
{
    /// <summary>Gradients that one launch takes.</summary>
    public const int MostGradients = 2;

    /// <summary>What fits into a kernel's constants beside everything else.</summary>
    private const int MostSegments = 4096;

    /// <summary>The elements of a piece are a multiple of this, so that pieces begin at whole lines.</summary>
    private const int Grain = 1024;

    /// <summary>Of a small gradient: enough to keep a block busy.</summary>
    private const int Shortest = 4 * Grain;

    /// <summary>Pieces of a large gradient.</summary>
    private const int Most = 1024;

    /// <summary>One f64 for each piece.</summary>
    public long ScratchBytes => Count * sizeof(double);

    /// <summary>The pieces, or null where the kernels do not fit.</summary>
    public static GradientPieces? Of(ClipGradNormOp op, Tensor[] grads)
    {
        var total = grads.Sum(t => t.Type.Elements);
        if (op.NormType != 2 || grads.Length > MostGradients || total == 0 || op.Segments.Count > MostSegments) return null;
        if (grads.Any(t => t.DType is not (DType.F32 or DType.BF16))) return null;
        var length = Math.Max(Shortest, (((total + Most - 1) / Most) + Grain - 1) / Grain * Grain);
        List<(string, string)> defines = [("MAX_NORM", KernelRequest.Define("", (float)op.MaxNorm).Value), ("INCLUSIVE", op.Inclusive ? "1" : "0")];
        if (op.Segments.Count == 0) return new GradientPieces(length, grads.Sum(t => (t.Type.Elements + length - 1) / length), [.. defines]);
        var ends = op.SegmentEnds([.. grads.Select(t => t.Type)]);
        // A piece may begin with a segment: all must begin at whole vectors.
        if (ends[..^1].Any(s => s % 8 != 0) || (grads.Length > 1 && grads[0].Type.Elements % 8 != 0)) return null;
        var first = new long[ends.Length];
        for (var s = 1; s < ends.Length; s++) first[s] = first[s - 1] + (ends[s] - ends[s - 1] + length - 1) / length;
        defines.AddRange(
        [
            ("SEGMENTS", op.Segments.Count.ToString(CultureInfo.InvariantCulture)), ("SEGMENT_STARTS", string.Join(',', ends)),
            ("SEGMENT_PIECES", string.Join(',', first)),
        ]);
        return new GradientPieces(length, first[^1], [.. defines]);
    }
}
