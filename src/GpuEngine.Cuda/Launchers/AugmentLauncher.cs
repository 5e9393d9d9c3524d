using System.Globalization;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>augment.cu: images of u8, f32 and bf16 to f32 and bf16. One entry, compiled for the steps that the op has.</summary>
internal static class AugmentLauncher
{
    private const int Threads = 256;
    private const int MostChannels = 64;

    /// <summary>Groups of pixels that a thread makes, so that its draw is worth it.</summary>
    private const int GroupsPerThread = 4;

    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var op = (AugmentOp)node.Op;
        var (x, y) = (node.Inputs[0], node.Outputs[0]);
        if (x.DType is not (DType.U8 or DType.F32 or DType.BF16) || y.DType is not (DType.F32 or DType.BF16) || y.Type.Elements == 0) return null;
        var (images, channels, height, width) = (x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]);
        var (rows, columns) = (y.Shape[2], y.Shape[3]);
        if (channels > MostChannels || Math.Max((long)height * width, (long)rows * columns) * channels > int.MaxValue) return null;

        var adjustments = op.Jitter?.Adjustments(channels) ?? [];
        var planes = adjustments.Length == 0 ? 1 : channels;
        var readsVectors = op.Crop is null && op.ResizedCrop is null;
        var vector = VectorWidth.Dividing(y.DType, columns, readsVectors ? [x, y] : [y]);
        // Three planes at a time: more would not stay in registers.
        if (planes > 1) vector = Math.Min(vector, 4);
        // Of bytes in a window, words: none may reach beyond the images.
        var words = x.DType == DType.U8 && op.Crop is not null && (vector is 4 or 8) && x.Type.Elements % vector == 0 && VectorWidth.Any(DType.U8, [x]) > 1;
        var contrast = adjustments.Contains(ColorAdjustment.Contrast);
        var groups = (long)channels / planes * rows * (columns / vector);
        var pieces = contrast ? 1 : Math.Max(1, (groups + Threads * GroupsPerThread - 1) / (Threads * GroupsPerThread));
        if (images * pieces > int.MaxValue) return null;
        var request = new KernelRequest("augment.cu", "augment")
        {
            // One rounding per operation: the same bits as the CPU's.
            Fma = false,
            Defines =
            [
                KernelRequest.Define("DTYPE", y.DType), KernelRequest.Define("PIXEL_DTYPE", x.DType), KernelRequest.Define("VECTOR", vector),
                KernelRequest.Define("PLANES", planes), KernelRequest.Define("VECTOR_READS", readsVectors ? 1 : 0), KernelRequest.Define("CONTRAST", contrast ? 1 : 0),
                KernelRequest.Define("BYTE_WORDS", words ? 1 : 0),
                .. Steps(op, adjustments, height, width),
            ],
        };
        Operand[] operands = [Operand.Out(0), Operand.In(0), Operand.In(1), Operand.In(2, op.Normalizes), Operand.In(3, op.Normalizes), Operand.In(node.Inputs.Count - 1, op.FlipsGiven)];
        var shape = new LaunchShape(new Dim3((uint)(images * pieces)), new Dim3(Threads));
        var reads = op.ResizedCrop is not null ? 4 * y.Type.Elements * x.DType.Size()
            : op.Crop is not null ? y.Type.Elements * x.DType.Size()
            : x.Type.Bytes;
        var beside = images * pieces * (16 + (op.FlipsGiven ? 4 : 0) + (op.Normalizes ? 8 * channels : 0));
        return new PlannedKernel(node, new LaunchStep(request, shape, operands, [images, channels, height, width, rows, columns, pieces]))
        {
            ExactCost = new Cost((contrast ? 2 : 1) * reads + beside, y.Type.Bytes, node.Op.Cost(node).Flops),
        };
    }

    /// <summary>The macros of common/augment.cuh.</summary>
    private static IEnumerable<(string Name, string Value)> Steps(AugmentOp op, ColorAdjustment[] adjustments, int height, int width)
    {
        yield return ("STREAM", ((uint)op.Stream).ToString(CultureInfo.InvariantCulture) + "u");
        yield return KernelRequest.Define("FLIPS", (long)(op.FlipThreshold * (1 << 24)));
        yield return KernelRequest.Define("FLIPS_GIVEN", op.FlipsGiven ? 1 : 0);
        yield return KernelRequest.Define("NORMALIZE", op.Normalizes ? 1 : 0);
        yield return KernelRequest.Define("CUTOUT", op.Cutout?.Size ?? 0);
        if (op.Crop is { } crop)
        {
            yield return KernelRequest.Define("CROP", 1);
            yield return KernelRequest.Define("REFLECT", crop.Border == BorderMode.Reflect ? 1 : 0);
            yield return KernelRequest.Define("FILL", (float)crop.Fill);
            yield return KernelRequest.Define("PAD_TOP", crop.Padding[1]);
            yield return KernelRequest.Define("PAD_LEFT", crop.Padding[0]);
            yield return KernelRequest.Define("PAD_HEIGHT", crop.Padding[1] + crop.Padding[3]);
            yield return KernelRequest.Define("PAD_WIDTH", crop.Padding[0] + crop.Padding[2]);
            yield return KernelRequest.Define("PLACE_TOP", crop.Position?.Height ?? -1);
            yield return KernelRequest.Define("PLACE_LEFT", crop.Position?.Width ?? -1);
        }

        if (op.ResizedCrop is { } resized)
        {
            var fallback = resized.Fallback(height, width);
            yield return KernelRequest.Define("RESIZED", 1);
            yield return Number("SCALE_LOW", resized.ScaleLow);
            yield return Number("SCALE_SPAN", resized.ScaleHigh - resized.ScaleLow);
            yield return Number("RATIO_MIDDLE", resized.Middle);
            yield return Number("RATIO_HALF_SPAN", resized.HalfSpan);
            yield return KernelRequest.Define("FALLBACK_TOP", fallback.Top);
            yield return KernelRequest.Define("FALLBACK_LEFT", fallback.Left);
            yield return KernelRequest.Define("FALLBACK_HEIGHT", fallback.Height);
            yield return KernelRequest.Define("FALLBACK_WIDTH", fallback.Width);
        }

        if (adjustments.Length == 0) yield break;
        yield return KernelRequest.Define("COLORS", adjustments.Length);
        yield return KernelRequest.Define("ADJUSTMENTS", adjustments.Select((a, i) => (long)a << 4 * i).Sum());
        foreach (var adjustment in Enum.GetValues<ColorAdjustment>())
        {
            var range = op.Jitter![adjustment] ?? default;
            var name = adjustment.ToString().ToUpperInvariant();
            yield return Number(name + "_LOW", range.Low);
            yield return Number(name + "_SPAN", range.High - range.Low);
        }
    }

    /// <summary>A double, to the last bit.</summary>
    private static (string Name, string Value) Number(string name, double value)
    {
        var text = value.ToString("R", CultureInfo.InvariantCulture);
        return (name, text.Contains('.', StringComparison.Ordinal) || text.Contains('E', StringComparison.Ordinal) ? $"({text})" : $"({text}.0)");
    }
}
