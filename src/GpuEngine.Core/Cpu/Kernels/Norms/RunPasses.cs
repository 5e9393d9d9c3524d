using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// The passes over a contiguous run. An element's arithmetic is the same whether its weight and bias are shared by the run
/// (TElements 0: a channel's plane) or its own (1: layer_norm), so layer_norm and group_norm agree bit for bit where they
/// mean the same.
/// </summary>
internal static unsafe class RunPasses<T, TVec, TSimd, TActivation, TResidual, TElements>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TActivation : struct, IFusedActivation<T>
    where TResidual : struct, IConstant
    where TElements : struct, IConstant
{
    /// <summary>Result = activation((x - mean) scale + bias + residual).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Apply(in Run<T> run, TActivation f)
    {
        var r = run;
        var shared = new Shared(r);
        nint i = 0;
        for (; i + TSimd.Width <= r.Length; i += TSimd.Width) ApplyTo<N0>(r, shared, f, i, default);
        if (i < r.Length) ApplyTo<N1>(r, shared, f, i, TSimd.Mask((int)(r.Length - i)));
    }

    /// <summary>
    /// The sums of dz and dz (x - mean). With weights of their own, the elements enter the sums as dz weight, and their shares
    /// of dweight and dbias are added to DWeights and DBiases.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static (T Sum, T Product) BackwardSums(in Run<T> run, TActivation f)
    {
        var r = run;
        var shared = new Shared(r);
        var (s0, s1) = (TSimd.Zero, TSimd.Zero);
        var (p0, p1) = (TSimd.Zero, TSimd.Zero);
        nint i = 0;
        for (; i + 2 * TSimd.Width <= r.Length; i += 2 * TSimd.Width)
        {
            SumsOf<N0>(r, shared, f, i, default, ref s0, ref p0);
            SumsOf<N0>(r, shared, f, i + TSimd.Width, default, ref s1, ref p1);
        }

        for (; i + TSimd.Width <= r.Length; i += TSimd.Width) SumsOf<N0>(r, shared, f, i, default, ref s0, ref p0);
        if (i < r.Length) SumsOf<N1>(r, shared, f, i, TSimd.Mask((int)(r.Length - i)), ref s1, ref p1);
        return (TSimd.Sum(TSimd.Add(s0, s1)), TSimd.Sum(TSimd.Add(p0, p1)));
    }

    /// <summary>Result = scale dz + offset + (x - mean) factor, and DResidual = dz.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BackwardApply(in Run<T> run, TActivation f)
    {
        var r = run;
        var shared = new Shared(r);
        nint i = 0;
        for (; i + TSimd.Width <= r.Length; i += TSimd.Width) GradientOf<N0>(r, shared, f, i, default);
        if (i < r.Length) GradientOf<N1>(r, shared, f, i, TSimd.Mask((int)(r.Length - i)));
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
    private static TVec ScaleOf<TTail>(in Run<T> r, in Shared shared, nint i, TVec mask) where TTail : struct, IConstant =>
        TElements.Value != 0 ? TSimd.Multiply(shared.Scale, Load<TTail>(r.Weights + i, mask)) : shared.Scale;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec BiasOf<TTail>(in Run<T> r, in Shared shared, nint i, TVec mask) where TTail : struct, IConstant =>
        TElements.Value != 0 ? Load<TTail>(r.Biases + i, mask) : shared.Bias;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ApplyTo<TTail>(in Run<T> r, in Shared shared, TActivation f, nint i, TVec mask) where TTail : struct, IConstant
    {
        var centred = TSimd.Subtract(Load<TTail>(r.X + i, mask), shared.Mean);
        var z = TSimd.MultiplyAdd(centred, ScaleOf<TTail>(r, shared, i, mask), BiasOf<TTail>(r, shared, i, mask));
        if (TResidual.Value != 0) z = TSimd.Add(z, Load<TTail>(r.Residual + i, mask));
        Store<TTail>(r.Result + i, mask, f.Forward<TVec, TSimd>(z));
    }

    /// <summary>dz of one register, and x - mean.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec Dz<TTail>(in Run<T> r, in Shared shared, TActivation f, nint i, TVec mask, out TVec centred) where TTail : struct, IConstant
    {
        centred = TSimd.Subtract(Load<TTail>(r.X + i, mask), shared.Mean);
        var dy = Load<TTail>(r.Dy + i, mask);
        if (TActivation.IsIdentity) return dy;
        var z = TSimd.MultiplyAdd(centred, ScaleOf<TTail>(r, shared, i, mask), BiasOf<TTail>(r, shared, i, mask));
        if (TResidual.Value != 0) z = TSimd.Add(z, Load<TTail>(r.Residual + i, mask));
        return f.Backward<TVec, TSimd>(dy, z);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SumsOf<TTail>(in Run<T> r, in Shared shared, TActivation f, nint i, TVec mask, ref TVec sum, ref TVec product)
        where TTail : struct, IConstant
    {
        // dy reads as zero in masked-off lanes, so they add nothing whatever x - mean is there.
        var dz = Dz<TTail>(r, shared, f, i, mask, out var centred);
        var g = dz;
        if (TElements.Value != 0)
        {
            g = TSimd.Multiply(dz, Load<TTail>(r.Weights + i, mask));
            var xhat = TSimd.Multiply(centred, shared.Scale);
            Store<TTail>(r.DWeights + i, mask, TSimd.MultiplyAdd(dz, xhat, Load<TTail>(r.DWeights + i, mask)));
            Store<TTail>(r.DBiases + i, mask, TSimd.Add(dz, Load<TTail>(r.DBiases + i, mask)));
        }

        sum = TSimd.Add(sum, g);
        product = TSimd.MultiplyAdd(g, centred, product);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void GradientOf<TTail>(in Run<T> r, in Shared shared, TActivation f, nint i, TVec mask) where TTail : struct, IConstant
    {
        var dz = Dz<TTail>(r, shared, f, i, mask, out var centred);
        var own = TSimd.MultiplyAdd(ScaleOf<TTail>(r, shared, i, mask), dz, shared.Offset);
        Store<TTail>(r.Result + i, mask, TSimd.MultiplyAdd(centred, shared.Factor, own));
        if (TResidual.Value != 0) Store<TTail>(r.DResidual + i, mask, dz);
    }

    /// <summary>The run's numbers, one in every lane.</summary>
    private readonly struct Shared(in Run<T> run)
    {
        public readonly TVec Mean = Spread(run.Mean);
        public readonly TVec Scale = Spread(run.Scale);
        public readonly TVec Bias = Spread(run.Bias);
        public readonly TVec Offset = Spread(run.Offset);
        public readonly TVec Factor = Spread(run.Factor);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static TVec Spread(T value) => TSimd.Broadcast(&value);
    }
}
