using System.Numerics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// group_norm, layer_norm, instance_norm and rms_norm: workers share out the rows, and each row goes through its passes while
/// it is in the cache. TElements 1 gives each element its own weight, 0 each unit (a channel's places, or the whole row where
/// there are no weights).
/// </summary>
internal sealed unsafe class RowNormForward<T, TVec, TSimd, TActivation, TElements> : CpuKernel
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TActivation : struct, IFusedActivation<T>
    where TElements : struct, IConstant
{
    private readonly RowNormOp _op;
    private readonly RowLayout _layout;
    private readonly TActivation _activation;
    private readonly T _eps;
    private readonly (T Kept, T Taken, double Unbiased) _running;

    public RowNormForward(Node node, TActivation activation)
    {
        _op = (RowNormOp)node.Op;
        _layout = RowCuts.Effective(_op, node.Inputs[0].Shape);
        _activation = activation;
        _eps = T.CreateTruncating(_op.Eps);
        if (_op is InstanceNormOp { Running: true } op)
            _running = (T.CreateTruncating(1 - op.Momentum), T.CreateTruncating(op.Momentum), _layout.Length / (_layout.Length - 1.0));
    }

    // Variances of the rows for the running statistics; zeros for the bias that rms_norm has not.
    public override long WorkspaceBytes => HasRunning ? _layout.Rows * sizeof(T) : NeedsZeros ? _layout.Parameters * sizeof(T) : 0;

    protected override bool IsParallel => RowCuts.IsParallel(_layout);

    private bool HasRunning => _op is InstanceNormOp { Running: true };

    private bool NeedsZeros => TElements.Value != 0 && !_op.Centred;

    public override void Run(CpuPool pool)
    {
        if (NeedsZeros) new Span<T>((T*)Workspace, _layout.Parameters).Clear();
        base.Run(pool);
        if (HasRunning) UpdateRunning();
    }

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_layout.Rows, worker, workers);
        for (var row = start; row < end; row++) Normalise(row);
    }

    private void Normalise(long row)
    {
        var at = row * _layout.Length;
        var moments = RunMoments<T, TVec, TSimd>.Of(In<T>(0) + at, _layout.Length, _op.Centred);
        var mean = T.CreateTruncating(moments.Mean);
        var variance = T.CreateTruncating(moments.Variance);
        var invstd = T.One / T.Sqrt(variance + _eps);
        if (_op.Centred) Out<T>(1)[row] = mean;
        Out<T>(_op.Centred ? 2 : 1)[row] = invstd;
        if (HasRunning) ((T*)Workspace)[row] = variance;

        var first = (int)(row % _layout.Groups) * _layout.Units;
        var run = new Run<T> { X = In<T>(0) + at, Result = Out<T>(0) + at, Mean = mean, Scale = invstd };
        if (TElements.Value != 0)
        {
            run.Length = (nint)_layout.Length;
            run.Weights = In<T>(1) + first;
            run.Biases = (_op.Centred ? In<T>(2) : (T*)Workspace) + first;
            RunPasses<T, TVec, TSimd, TActivation, N0, TElements>.Apply(run, _activation);
            return;
        }

        run.Length = _layout.Inner;
        for (var unit = 0; unit < _layout.Units; unit++)
        {
            if (_op.Affine)
            {
                run.Scale = invstd * In<T>(1)[first + unit];
                run.Bias = _op.Centred ? In<T>(2)[first + unit] : T.Zero;
            }

            RunPasses<T, TVec, TSimd, TActivation, N0, TElements>.Apply(run, _activation);
            run.X += run.Length;
            run.Result += run.Length;
        }
    }

    private void UpdateRunning()
    {
        var (batch, channels) = ((int)(_layout.Rows / Math.Max(_layout.Groups, 1)), _layout.Groups);
        var (oldMean, oldVar) = (_op.FirstExtraInput, _op.FirstExtraInput + 1);
        for (var c = 0; c < channels; c++)
        {
            var (mean, variance) = (In<T>(oldMean)[c], In<T>(oldVar)[c]);
            if (batch > 0 && _layout.Length > 0)
            {
                var (sumMean, sumVar) = (0.0, 0.0);
                for (var n = 0; n < batch; n++)
                {
                    sumMean += double.CreateTruncating(Out<T>(1)[(long)n * channels + c]);
                    sumVar += double.CreateTruncating(((T*)Workspace)[(long)n * channels + c]);
                }

                mean = mean * _running.Kept + T.CreateTruncating(sumMean / batch) * _running.Taken;
                variance = variance * _running.Kept + T.CreateTruncating(sumVar / batch * _running.Unbiased) * _running.Taken;
            }

            Out<T>(3)[c] = mean;
            Out<T>(4)[c] = variance;
        }
    }
}

/// <summary>How the row norms are cut.</summary>
internal static class RowCuts
{
    public static bool IsParallel(RowLayout layout) => layout.Rows * layout.Length >= BatchSchedule.ParallelElements;

    /// <summary>Whether neighbouring elements have weights of their own.</summary>
    public static bool HasElementWeights(RowNormOp op, Shape x) => op.Affine && op.Layout(x).Inner == 1;

    /// <summary>The op's layout; without weights a row is one unit, whatever its channels.</summary>
    public static RowLayout Effective(RowNormOp op, Shape x)
    {
        var layout = op.Layout(x);
        return op.Affine ? layout : new RowLayout(layout.Rows, op is InstanceNormOp ? layout.Groups : 1, 1, (int)layout.Length);
    }
}
