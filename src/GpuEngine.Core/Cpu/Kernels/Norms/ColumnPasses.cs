using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// The passes of batch_norm over a band of columns of [N, C]: registers lie along C, four rows are read side by side, so the
/// per-column arrays (first-level cache) are touched once for every four registers of data. Every column is computed alike,
/// wherever a band or a register begins.
/// </summary>
internal static unsafe class ColumnPasses<T, TVec, TSimd, TActivation, TResidual>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TActivation : struct, IFusedActivation<T>
    where TResidual : struct, IConstant
{
    private const int ShiftRows = 8;

    /// <summary>
    /// Mean = the mean of the first eight rows, which is subtracted before summing. Over n rows its distance d from the true
    /// mean obeys d^2 at most n/8 variances whatever the data, so sums of squares lose at most log2(n/8) bits to cancellation.
    /// </summary>
    public static void Shift(in ColumnBand<T> band)
    {
        var rows = Math.Min(band.Rows, ShiftRows);
        var reciprocal = T.One / T.CreateTruncating(rows);
        var share = TSimd.Broadcast(&reciprocal);
        for (var c = 0; c < band.Columns; c += TSimd.Width)
        {
            var lanes = band.Columns - c;
            var mask = TSimd.Mask(Math.Min(lanes, TSimd.Width));
            var sum = TSimd.Zero;
            for (var r = 0; r < rows; r++)
            {
                var address = band.X + r * band.Stride + c;
                sum = TSimd.Add(sum, lanes < TSimd.Width ? TSimd.LoadMasked(address, mask) : TSimd.Load(address));
            }

            TSimd.Store(band.Mean + c, TSimd.Multiply(sum, share));
            TSimd.Store(band.Sum + c, TSimd.Zero);
            TSimd.Store(band.Product + c, TSimd.Zero);
        }
    }

    /// <summary>Adds x - Mean to Sum and (x - Mean)^2 to Product.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Moments(in ColumnBand<T> band)
    {
        var b = band;
        var whole = b.Columns - b.Columns % TSimd.Width;
        var mask = TSimd.Mask(Math.Max(b.Columns - whole, 1));
        var r = 0;
        for (; r + 4 <= b.Rows; r += 4, b.X += 4 * b.Stride)
        {
            for (var c = 0; c < whole; c += TSimd.Width) MomentsOf<N4, N0>(b, c, mask);
            if (whole < b.Columns) MomentsOf<N4, N1>(b, whole, mask);
        }

        for (; r < b.Rows; r++, b.X += b.Stride)
        {
            for (var c = 0; c < whole; c += TSimd.Width) MomentsOf<N1, N0>(b, c, mask);
            if (whole < b.Columns) MomentsOf<N1, N1>(b, whole, mask);
        }
    }

    /// <summary>Result = activation((x - Mean) Scale + Bias + residual).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Apply(in ColumnBand<T> band, TActivation f)
    {
        var b = band;
        var whole = b.Columns - b.Columns % TSimd.Width;
        var mask = TSimd.Mask(Math.Max(b.Columns - whole, 1));
        var r = 0;
        for (; r + 4 <= b.Rows; r += 4)
        {
            for (var c = 0; c < whole; c += TSimd.Width) ApplyTo<N4, N0>(b, f, c, mask);
            if (whole < b.Columns) ApplyTo<N4, N1>(b, f, whole, mask);
            Advance(ref b, 4);
        }

        for (; r < b.Rows; r++)
        {
            for (var c = 0; c < whole; c += TSimd.Width) ApplyTo<N1, N0>(b, f, c, mask);
            if (whole < b.Columns) ApplyTo<N1, N1>(b, f, whole, mask);
            Advance(ref b, 1);
        }
    }

    /// <summary>Sum = sum of dz, Product = sum of dz (x - Mean), over the rows of the band.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BackwardSums(in ColumnBand<T> band, TActivation f)
    {
        var b = band;
        for (var c = 0; c < b.Columns; c += TSimd.Width)
        {
            TSimd.Store(b.Sum + c, TSimd.Zero);
            TSimd.Store(b.Product + c, TSimd.Zero);
        }

        var whole = b.Columns - b.Columns % TSimd.Width;
        var mask = TSimd.Mask(Math.Max(b.Columns - whole, 1));
        var r = 0;
        for (; r + 4 <= b.Rows; r += 4)
        {
            for (var c = 0; c < whole; c += TSimd.Width) SumsOf<N4, N0>(b, f, c, mask);
            if (whole < b.Columns) SumsOf<N4, N1>(b, f, whole, mask);
            Advance(ref b, 4);
        }

        for (; r < b.Rows; r++)
        {
            for (var c = 0; c < whole; c += TSimd.Width) SumsOf<N1, N0>(b, f, c, mask);
            if (whole < b.Columns) SumsOf<N1, N1>(b, f, whole, mask);
            Advance(ref b, 1);
        }
    }

    /// <summary>Result = Scale dz + Sum + (x - Mean) Product, and DResidual = dz.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BackwardApply(in ColumnBand<T> band, TActivation f)
    {
        var b = band;
        var whole = b.Columns - b.Columns % TSimd.Width;
        var mask = TSimd.Mask(Math.Max(b.Columns - whole, 1));
        var r = 0;
        for (; r + 4 <= b.Rows; r += 4)
        {
            for (var c = 0; c < whole; c += TSimd.Width) GradientOf<N4, N0>(b, f, c, mask);
            if (whole < b.Columns) GradientOf<N4, N1>(b, f, whole, mask);
            Advance(ref b, 4);
        }

        for (; r < b.Rows; r++)
        {
            for (var c = 0; c < whole; c += TSimd.Width) GradientOf<N1, N0>(b, f, c, mask);
            if (whole < b.Columns) GradientOf<N1, N1>(b, f, whole, mask);
            Advance(ref b, 1);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Advance(ref ColumnBand<T> band, int rows)
    {
        var step = rows * band.Stride;
        band.X += step;
        band.Result += step;
        band.Dy += step;
        if (TResidual.Value == 0) return;
        band.Residual += step;
        band.DResidual += step;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec Load<TTail>(T* address, TVec mask) where TTail : struct, IConstant =>
        TTail.Value != 0 ? TSimd.LoadMasked(address, mask) : TSimd.Load(address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<TTail>(T* address, TVec mask, TVec value) where TTail : struct, IConstant
    {
        if (TTail.Value != 0) TSimd.StoreMasked(address, mask, value);
        else TSimd.Store(address, value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void MomentsOf<TRows, TTail>(in ColumnBand<T> b, nint c, TVec mask)
        where TRows : struct, IConstant
        where TTail : struct, IConstant
    {
        var shift = TSimd.Load(b.Mean + c);
        var x = b.X + c;
        var d0 = TSimd.Subtract(Load<TTail>(x, mask), shift);
        var sum = d0;
        var squares = TSimd.Multiply(d0, d0);
        if (TRows.Value == 4)
        {
            var d1 = TSimd.Subtract(Load<TTail>(x + b.Stride, mask), shift);
            var d2 = TSimd.Subtract(Load<TTail>(x + 2 * b.Stride, mask), shift);
            var d3 = TSimd.Subtract(Load<TTail>(x + 3 * b.Stride, mask), shift);
            sum = TSimd.Add(TSimd.Add(d0, d1), TSimd.Add(d2, d3));
            squares = TSimd.Add(TSimd.MultiplyAdd(d1, d1, squares), TSimd.MultiplyAdd(d3, d3, TSimd.Multiply(d2, d2)));
        }

        TSimd.Store(b.Sum + c, TSimd.Add(TSimd.Load(b.Sum + c), sum));
        TSimd.Store(b.Product + c, TSimd.Add(TSimd.Load(b.Product + c), squares));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ApplyTo<TRows, TTail>(in ColumnBand<T> b, TActivation f, nint c, TVec mask)
        where TRows : struct, IConstant
        where TTail : struct, IConstant
    {
        var (mean, scale, bias) = (TSimd.Load(b.Mean + c), TSimd.Load(b.Scale + c), TSimd.Load(b.Bias + c));
        for (nint r = 0, at = c; r < TRows.Value; r++, at += b.Stride)
        {
            var z = TSimd.MultiplyAdd(TSimd.Subtract(Load<TTail>(b.X + at, mask), mean), scale, bias);
            if (TResidual.Value != 0) z = TSimd.Add(z, Load<TTail>(b.Residual + at, mask));
            Store<TTail>(b.Result + at, mask, f.Forward<TVec, TSimd>(z));
        }
    }

    /// <summary>dz of one register, and x - mean.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec Dz<TTail>(in ColumnBand<T> b, TActivation f, nint at, TVec mask, TVec mean, TVec scale, TVec bias, out TVec centred)
        where TTail : struct, IConstant
    {
        centred = TSimd.Subtract(Load<TTail>(b.X + at, mask), mean);
        var dy = Load<TTail>(b.Dy + at, mask);
        if (TActivation.IsIdentity) return dy;
        var z = TSimd.MultiplyAdd(centred, scale, bias);
        if (TResidual.Value != 0) z = TSimd.Add(z, Load<TTail>(b.Residual + at, mask));
        return f.Backward<TVec, TSimd>(dy, z);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SumsOf<TRows, TTail>(in ColumnBand<T> b, TActivation f, nint c, TVec mask)
        where TRows : struct, IConstant
        where TTail : struct, IConstant
    {
        var (mean, scale, bias) = (TSimd.Load(b.Mean + c), TSimd.Load(b.Scale + c), TSimd.Load(b.Bias + c));
        var sum = Dz<TTail>(b, f, c, mask, mean, scale, bias, out var x0);
        var product = TSimd.Multiply(sum, x0);
        if (TRows.Value == 4)
        {
            var z1 = Dz<TTail>(b, f, c + b.Stride, mask, mean, scale, bias, out var x1);
            var z2 = Dz<TTail>(b, f, c + 2 * b.Stride, mask, mean, scale, bias, out var x2);
            var z3 = Dz<TTail>(b, f, c + 3 * b.Stride, mask, mean, scale, bias, out var x3);
            sum = TSimd.Add(TSimd.Add(sum, z1), TSimd.Add(z2, z3));
            product = TSimd.Add(TSimd.MultiplyAdd(z1, x1, product), TSimd.MultiplyAdd(z3, x3, TSimd.Multiply(z2, x2)));
        }

        TSimd.Store(b.Sum + c, TSimd.Add(TSimd.Load(b.Sum + c), sum));
        TSimd.Store(b.Product + c, TSimd.Add(TSimd.Load(b.Product + c), product));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void GradientOf<TRows, TTail>(in ColumnBand<T> b, TActivation f, nint c, TVec mask)
        where TRows : struct, IConstant
        where TTail : struct, IConstant
    {
        var (mean, scale, bias) = (TSimd.Load(b.Mean + c), TSimd.Load(b.Scale + c), TSimd.Load(b.Bias + c));
        var (sum, product) = (TSimd.Load(b.Sum + c), TSimd.Load(b.Product + c));
        for (nint r = 0, at = c; r < TRows.Value; r++, at += b.Stride)
        {
            var dz = Dz<TTail>(b, f, at, mask, mean, scale, bias, out var centred);
            Store<TTail>(b.Result + at, mask, TSimd.MultiplyAdd(centred, product, TSimd.MultiplyAdd(scale, dz, sum)));
            if (TResidual.Value != 0) Store<TTail>(b.DResidual + at, mask, dz);
        }
    }
}
