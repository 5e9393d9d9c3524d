using System.Runtime.CompilerServices;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>activation(C + bias), the bias running along the axis <typeparamref name="TAxis"/>, or absent.</summary>
/// <param name="bias">N elements for <see cref="PerColumn"/>, M for <see cref="PerRow"/>, per product of the
/// batch.</param>
/// <param name="batchStride">Elements between the biases of two products of the batch; 0 when they share one.</param>
public readonly unsafe struct BiasEpilogue<T, TAxis, TActivation>(T* bias, nint batchStride) : IGemmEpilogue<T>
    where T : unmanaged
    where TAxis : struct, IBiasAxis
    where TActivation : struct, IActivation
{
    private readonly T* _bias = bias;
    private readonly nint _batchStride = batchStride;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVec Apply<TSimd, TVec>(TVec value, nint batch, nint row, nint column, bool partial, TVec mask)
        where TSimd : struct, ISimd<TVec, T>
        where TVec : struct
    {
        var bias = _bias + (batch * _batchStride);
        if (TAxis.Axis == GemmBias.PerColumn)
        {
            bias += column;
            value = TSimd.Add(value, partial ? TSimd.LoadMasked(bias, mask) : TSimd.Load(bias));
        }
        if (TAxis.Axis == GemmBias.PerRow) value = TSimd.Add(value, TSimd.Broadcast(bias + row));
        return TActivation.Apply<T, TVec, TSimd>(value);
    }
}

/// <summary>The axis of C along which a bias runs, as a type.</summary>
public interface IBiasAxis
{
    static abstract GemmBias Axis { get; }
}

public readonly struct NoBias : IBiasAxis
{
    public static GemmBias Axis => GemmBias.None;
}

/// <summary>One bias per column of C: the outputs of a linear layer.</summary>
public readonly struct PerColumn : IBiasAxis
{
    public static GemmBias Axis => GemmBias.PerColumn;
}

/// <summary>One bias per row of C: the output channels of a convolution.</summary>
public readonly struct PerRow : IBiasAxis
{
    public static GemmBias Axis => GemmBias.PerRow;
}

/// <summary>An element-wise function on registers.</summary>
public interface IActivation
{
    static abstract TVec Apply<T, TVec, TSimd>(TVec value)
        where T : unmanaged
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T>;
}

public readonly struct Identity : IActivation
{
    public static TVec Apply<T, TVec, TSimd>(TVec value)
        where T : unmanaged
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => value;
}

/// <summary>max(0, x); NaN stays NaN.</summary>
public readonly struct Relu : IActivation
{
    public static TVec Apply<T, TVec, TSimd>(TVec value)
        where T : unmanaged
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => TSimd.Max(TSimd.Zero, value);
}
