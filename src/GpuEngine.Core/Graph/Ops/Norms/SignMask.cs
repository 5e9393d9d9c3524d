namespace GpuEngine.Core.Graph;

/// <summary>
/// One bit per element of x: 1 where relu passes the gradient, which is everywhere but at z &lt;= 0 (so also at NaN). Bits of neighbours are
/// packed into bytes, the first in the lowest bit, so many to a byte as divide their number: gcd(C, 8) channels where a row of channels is
/// contiguous, else gcd(length, 8) places of a plane. Rows of channels [rows, C] give the shape [C / packed, rows], so that a slice of
/// channels has its bits together; planes [N, C, length] give [N, C, length / packed].
/// </summary>
public static class SignMask
{
    /// <summary>The type of the mask of x.</summary>
    public static TensorType TypeOf(Shape x, bool channelsLast)
    {
        var (rows, channels, length) = View(x, channelsLast);
        var packed = Packed(x, channelsLast);
        Shape shape = length == 1 ? [channels / packed, rows] : [rows, channels, length / packed];
        return new TensorType(DType.U8, shape);
    }

    /// <summary>How many elements a byte holds.</summary>
    public static int Packed(Shape x, bool channelsLast)
    {
        var (_, channels, length) = View(x, channelsLast);
        var extent = length == 1 ? channels : length;
        return extent % 8 == 0 ? 8 : extent & -extent;
    }

    /// <summary>x as [rows, channels, length], the length being 1 where a row of channels is contiguous.</summary>
    public static (int Rows, int Channels, int Length) View(Shape x, bool channelsLast) => channelsLast
        ? ((int)x.Product(0, x.Rank - 1), x[^1], 1)
        : (x[0], x[1], (int)x.Product(2, x.Rank));

    /// <summary>The mask of a pre-activation.</summary>
    public static Tensor Pack(Tensor z, bool channelsLast)
    {
        var (rows, channels, length) = View(z.Shape, channelsLast);
        var packed = Packed(z.Shape, channelsLast);
        var bits = F.Cast(F.Not(F.Le(z, F.Scalar(0, z.DType))), DType.F32);
        var bytes = F.Sum(F.Reshape(bits, Bits(rows, channels, length, packed)) * Weights(packed), [3]);
        if (length > 1) return F.Cast(F.Reshape(bytes, [rows, channels, length / packed]), DType.U8);
        return F.Cast(F.Permute(F.Reshape(bytes, [rows, channels / packed]), [1, 0]), DType.U8);
    }

    /// <summary>The bits of a mask as bools of x's shape.</summary>
    public static Tensor Unpack(Tensor mask, Shape x, bool channelsLast)
    {
        var (rows, channels, length) = View(x, channelsLast);
        var packed = Packed(x, channelsLast);
        var bytes = F.Cast(mask, DType.F32);
        if (length == 1) bytes = F.Permute(bytes, [1, 0]);
        var shape = Bits(rows, channels, length, packed);
        var shifted = F.Floor(F.Reshape(bytes, shape.With(3, 1)) / Weights(packed));
        return F.Reshape(F.Gt(shifted - F.Floor(shifted * 0.5) * 2, F.Scalar(0.5, DType.F32)), x);
    }

    private static Shape Bits(int rows, int channels, int length, int packed) =>
        length == 1 ? [rows, channels / packed, 1, packed] : [rows, channels, length / packed, packed];

    private static Tensor Weights(int packed) => F.Literal([packed], DType.F32, [.. Enumerable.Range(0, packed).Select(k => (double)(1 << k))]);
}
