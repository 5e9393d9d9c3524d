using System.Numerics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// The operands of batch_norm's gradient, and the step from a channel's sums of dz and dz (x - mean) to its outputs. Scratch
/// holds per-channel arrays: mean, scale, bias, the two factors of dx = scale dz + a + (x - mean) b, then the chunks' sums.
/// </summary>
internal abstract unsafe class BatchNormBackward<T, TVec, TSimd> : CpuKernel, IBatchWork
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
{
    private const int OwnArrays = 5;

    /// <summary>A register that starts at a channel may be read past the end of the last array.</summary>
    private const int Overhang = 16;

    private readonly BatchNormBackwardOp _op;
    private readonly T _minusShare;

    protected BatchNormBackward(Node node)
    {
        _op = (BatchNormBackwardOp)node.Op;
        var x = node.Inputs[1].Shape;
        (Samples, Channels, Places) = SignMask.View(x, _op.ChannelsLast);
        Padded = (Channels + 15) / 16 * 16;
        // In evaluation the statistics are constants, and nothing flows through them.
        _minusShare = _op.Training && x.Elements > 0 ? T.CreateTruncating(-1.0 / ((double)Samples * Places)) : T.Zero;
    }

    public bool NeedsSums => _op.Training || _op.Affine;

    public override long WorkspaceBytes => ((OwnArrays + 2L * Schedule.Chunks) * Padded + Overhang) * sizeof(T);

    protected int Samples { get; }

    protected int Channels { get; }

    protected int Places { get; }

    protected int Padded { get; }

    protected T* Dy => In<T>(0);

    protected T* X => In<T>(1);

    protected T* Residual => _op.Residual ? In<T>(InputCount - 1) : null;

    protected T* DResidual => _op.Residual ? Out<T>(_op.Affine ? 3 : 1) : null;

    protected T* Mean => Array(0);

    protected T* Scale => Array(1);

    protected T* Bias => Array(2);

    /// <summary>a of dx = scale dz + a + (x - mean) b.</summary>
    protected T* Offset => Array(3);

    /// <summary>b of dx = scale dz + a + (x - mean) b.</summary>
    protected T* Factor => Array(4);

    protected abstract BatchSchedule Schedule { get; }

    public override void Run(CpuPool pool) => Schedule.Run(pool);

    public override void Execute(int worker, int workers) => Schedule.Execute(worker, workers);

    public void Prepare(int channel, int channels)
    {
        for (var c = channel; c < channel + channels; c += TSimd.Width)
        {
            var mask = TSimd.Mask(Math.Min(TSimd.Width, channel + channels - c));
            var invstd = TSimd.LoadMasked(In<T>(3) + c, mask);
            TSimd.StoreMasked(Mean + c, mask, TSimd.LoadMasked(In<T>(2) + c, mask));
            TSimd.StoreMasked(Scale + c, mask, _op.Affine ? TSimd.Multiply(invstd, TSimd.LoadMasked(In<T>(4) + c, mask)) : invstd);
            TSimd.StoreMasked(Bias + c, mask, _op.Affine && _op.Activation is not null ? TSimd.LoadMasked(In<T>(5) + c, mask) : TSimd.Zero);
        }
    }

    public abstract void Sum(int chunk, int sample, int samples, int channel, int channels);

    public void Combine(int channel, int channels)
    {
        var minusShare = _minusShare;
        for (var c = channel; c < channel + channels; c += TSimd.Width)
        {
            var mask = TSimd.Mask(Math.Min(TSimd.Width, channel + channels - c));
            var (sum, product) = (TSimd.Zero, TSimd.Zero);
            for (var chunk = 0; NeedsSums && chunk < Schedule.Chunks; chunk++)
            {
                sum = TSimd.Add(sum, TSimd.Load(SumOf(chunk) + c));
                product = TSimd.Add(product, TSimd.Load(ProductOf(chunk) + c));
            }

            var invstd = TSimd.LoadMasked(In<T>(3) + c, mask);
            var sumXhat = TSimd.Multiply(product, invstd);
            if (_op.Affine)
            {
                TSimd.StoreMasked(Out<T>(1) + c, mask, sumXhat);
                TSimd.StoreMasked(Out<T>(2) + c, mask, sum);
            }

            var share = TSimd.Multiply(TSimd.Load(Scale + c), TSimd.Broadcast(&minusShare));
            TSimd.StoreMasked(Offset + c, mask, TSimd.Multiply(share, sum));
            TSimd.StoreMasked(Factor + c, mask, TSimd.Multiply(TSimd.Multiply(share, sumXhat), invstd));
        }
    }

    public abstract void Apply(int sample, int samples, int channel, int channels);

    protected T* SumOf(int chunk) => Array(OwnArrays + 2 * chunk);

    protected T* ProductOf(int chunk) => Array(OwnArrays + 1 + 2 * chunk);

    private T* Array(int index) => (T*)Workspace + (long)index * Padded;
}
