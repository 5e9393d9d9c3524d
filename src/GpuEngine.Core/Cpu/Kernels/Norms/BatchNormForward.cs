using System.Numerics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// The operands of batch_norm, and the step from a channel's mean and variance to its outputs, for any layout. Scratch holds
/// per-channel arrays padded to whole registers: mean, scale = weight invstd and bias first, then a layout's own.
/// </summary>
internal abstract unsafe class BatchNormForward<T, TVec, TSimd> : CpuKernel, IBatchWork
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
{
    /// <summary>Arrays of scratch that this class fills.</summary>
    protected const int OwnArrays = 3;

    /// <summary>A register that starts at a channel may be read past the end of the last array.</summary>
    protected const int Overhang = 16;

    private readonly BatchNormOp _op;

    /// <summary>Whether mean and invstd are inputs (batch_norm_apply), so that y is all there is to make.</summary>
    private readonly bool _given;

    private readonly T _eps;
    private readonly T _kept;
    private readonly T _taken;
    private readonly T _unbiased;

    protected BatchNormForward(Node node)
    {
        _given = node.Op is BatchNormApplyOp;
        _op = NormKernels.BatchNormOf(node);
        var x = node.Inputs[0].Shape;
        (Samples, Channels, Places) = SignMask.View(x, _op.ChannelsLast);
        Padded = (Channels + 15) / 16 * 16;
        Count = (long)Samples * Places;
        _eps = T.CreateTruncating(_op.Eps);
        (_kept, _taken) = (T.CreateTruncating(1 - _op.Momentum), T.CreateTruncating(_op.Momentum));
        _unbiased = T.CreateTruncating(_op.UnbiasedRunning && Count > 1 ? Count / (Count - 1.0) : 1);
    }

    public bool NeedsSums => _op.Training && Count > 0;

    protected int Samples { get; }

    protected int Channels { get; }

    protected int Places { get; }

    /// <summary>Values per channel.</summary>
    protected long Count { get; }

    /// <summary>Entries of a per-channel array of scratch.</summary>
    protected int Padded { get; }

    protected T* X => In<T>(0);

    protected T* Residual => _op.Residual ? In<T>(InputCount - 1) : null;

    protected T* Mean => Array(0);

    protected T* Scale => Array(1);

    protected T* Bias => Array(2);

    protected abstract BatchSchedule Schedule { get; }

    public override void Run(CpuPool pool) => Schedule.Run(pool);

    public override void Execute(int worker, int workers) => Schedule.Execute(worker, workers);

    public void Prepare(int channel, int channels)
    {
    }

    public abstract void Sum(int chunk, int sample, int samples, int channel, int channels);

    public void Combine(int channel, int channels)
    {
        for (var c = channel; c < channel + channels; c += TSimd.Width)
        {
            var mask = TSimd.Mask(Math.Min(TSimd.Width, channel + channels - c));
            var (mean, variance) = (TSimd.Zero, TSimd.Zero);
            if (!_op.Training)
            {
                mean = TSimd.LoadMasked(In<T>(_op.FirstRunning) + c, mask);
                variance = TSimd.LoadMasked(In<T>(_op.FirstRunning + 1) + c, mask);
            }
            else if (Count > 0)
            {
                (mean, variance) = Statistics(c);
            }

            Finish(c, mask, mean, variance);
        }
    }

    public abstract void Apply(int sample, int samples, int channel, int channels);

    /// <summary>Mean and biased variance of the channels from c on, merged from the chunks.</summary>
    protected abstract (TVec Mean, TVec Variance) Statistics(int c);

    protected T* Array(int index) => (T*)Workspace + (long)index * Padded;

    private void Finish(int c, TVec mask, TVec mean, TVec variance)
    {
        var (eps, one) = (_eps, T.One);
        var invstd = _given ? variance : TSimd.Divide(TSimd.Broadcast(&one), TSimd.Sqrt(TSimd.Add(variance, TSimd.Broadcast(&eps))));
        TSimd.StoreMasked(Mean + c, mask, mean);
        TSimd.StoreMasked(Scale + c, mask, _op.Affine ? TSimd.Multiply(invstd, TSimd.LoadMasked(In<T>(1) + c, mask)) : invstd);
        TSimd.StoreMasked(Bias + c, mask, _op.Affine ? TSimd.LoadMasked(In<T>(2) + c, mask) : TSimd.Zero);
        if (_given) return;
        TSimd.StoreMasked(Out<T>(1) + c, mask, mean);
        TSimd.StoreMasked(Out<T>(2) + c, mask, invstd);
        if (!_op.Running) return;
        var runningMean = TSimd.LoadMasked(In<T>(_op.FirstRunning) + c, mask);
        var runningVar = TSimd.LoadMasked(In<T>(_op.FirstRunning + 1) + c, mask);
        if (NeedsSums)
        {
            var (kept, taken, unbiased) = (_kept, _taken, _unbiased);
            runningMean = TSimd.MultiplyAdd(mean, TSimd.Broadcast(&taken), TSimd.Multiply(runningMean, TSimd.Broadcast(&kept)));
            var newVar = TSimd.Multiply(variance, TSimd.Broadcast(&unbiased));
            runningVar = TSimd.MultiplyAdd(newVar, TSimd.Broadcast(&taken), TSimd.Multiply(runningVar, TSimd.Broadcast(&kept)));
        }

        TSimd.StoreMasked(Out<T>(3) + c, mask, runningMean);
        TSimd.StoreMasked(Out<T>(4) + c, mask, runningVar);
    }
}
