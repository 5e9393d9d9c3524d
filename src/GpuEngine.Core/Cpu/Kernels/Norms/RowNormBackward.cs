using System.Numerics;
using System.Numerics.Tensors;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// The gradient of the row norms. Samples fall into groups whose number depends on the shape alone; each group has sums of its
/// own for dweight and dbias, which are added in order at the end. Workers share out the groups.
/// </summary>
internal sealed unsafe class RowNormBackward<T, TVec, TSimd, TActivation, TElements> : CpuKernel
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TActivation : struct, IFusedActivation<T>
    where TElements : struct, IConstant
{
    /// <summary>Groups where every element has a weight: enough for many workers, few enough for little scratch.</summary>
    private const int MaxGroups = 32;

    private readonly RowNormOp _of;
    private readonly RowLayout _layout;
    private readonly TActivation _activation;
    private readonly int _invstd;
    private readonly long _samples;
    private readonly long _groupSamples;
    private readonly int _groups;
    private bool _adding;

    public RowNormBackward(Node node, TActivation activation)
    {
        var op = (RowNormBackwardOp)node.Op;
        _of = op.Of;
        _invstd = op.InvStdInput;
        _layout = RowCuts.Effective(_of, node.Inputs[1].Shape);
        _activation = activation;
        _samples = _layout.Rows / Math.Max(_layout.Groups, 1);
        _groupSamples = TElements.Value == 0 ? 1 : Math.Max(1, (_samples + MaxGroups - 1) / MaxGroups);
        _groups = (int)((_samples + _groupSamples - 1) / _groupSamples);
    }

    // Two sums per group and parameter; zeros for the bias that is not there.
    public override long WorkspaceBytes => _of.Affine ? (2L * _groups + 1) * _layout.Parameters * sizeof(T) : 0;

    protected override bool IsParallel => RowCuts.IsParallel(_layout);

    private T* Zeros => GroupSums(_groups);

    private bool HasBias => _of.Centred && _of.Activation is not null;

    public override void Run(CpuPool pool)
    {
        if (_of.Affine) new Span<T>(Zeros, _layout.Parameters).Clear();
        _adding = false;
        base.Run(pool);
        if (!_of.Affine) return;
        _adding = true;
        if ((long)_groups * _layout.Parameters >= 32768) base.Run(pool);
        else Execute(0, 1);
    }

    public override void Execute(int worker, int workers)
    {
        if (_adding)
        {
            var (from, to) = Share(_layout.Parameters, worker, workers, 16);
            AddGroups((int)from, (int)(to - from));
            return;
        }

        var (start, end) = Share(_groups, worker, workers);
        for (var group = start; group < end; group++)
        {
            if (_of.Affine) new Span<T>(GroupSums(group), 2 * _layout.Parameters).Clear();
            var last = Math.Min(_samples, (group + 1) * _groupSamples) * _layout.Groups;
            for (var row = group * _groupSamples * _layout.Groups; row < last; row++) Row(row, GroupSums(group));
        }
    }

    private T* GroupSums(long group) => (T*)Workspace + group * 2 * _layout.Parameters;

    /// <summary>dweight and dbias of some parameters, group after group.</summary>
    private void AddGroups(int first, int count)
    {
        for (var output = 1; output <= (_of.Centred ? 2 : 1); output++)
        {
            var sum = new Span<T>(Out<T>(output) + first, count);
            sum.Clear();
            for (var group = 0; group < _groups; group++)
                TensorPrimitives.Add(sum, new ReadOnlySpan<T>(GroupSums(group) + (output - 1) * _layout.Parameters + first, count), sum);
        }
    }

    private void Row(long row, T* sums)
    {
        var at = row * _layout.Length;
        var first = (int)(row % _layout.Groups) * _layout.Units;
        var invstd = In<T>(_invstd)[row];
        var run = new Run<T>
        {
            X = In<T>(1) + at,
            Dy = In<T>(0) + at,
            Result = Out<T>(0) + at,
            Length = TElements.Value != 0 ? (nint)_layout.Length : _layout.Inner,
            Mean = _of.Centred ? In<T>(2)[row] : T.Zero,
            Scale = invstd,
        };
        if (TElements.Value != 0)
        {
            run.Weights = In<T>(_invstd + 1) + first;
            run.Biases = (HasBias ? In<T>(_invstd + 2) : Zeros) + first;
            run.DWeights = sums + first;
            run.DBiases = sums + _layout.Parameters + first;
            var (sum, product) = RunPasses<T, TVec, TSimd, TActivation, N0, TElements>.BackwardSums(run, _activation);
            Through(ref run, invstd, double.CreateTruncating(sum), double.CreateTruncating(product));
            RunPasses<T, TVec, TSimd, TActivation, N0, TElements>.BackwardApply(run, _activation);
            return;
        }

        var (all, allProduct) = (0.0, 0.0);
        var start = run;
        for (var unit = 0; unit < _layout.Units; unit++, Next(ref run))
        {
            var weight = Parameters(ref run, first + unit, invstd);
            var (sum, product) = RunPasses<T, TVec, TSimd, TActivation, N0, TElements>.BackwardSums(run, _activation);
            all += double.CreateTruncating(weight * sum);
            allProduct += double.CreateTruncating(weight * product);
            if (!_of.Affine) continue;
            sums[first + unit] = product * invstd;
            sums[_layout.Parameters + first + unit] = sum;
        }

        run = start;
        Through(ref run, invstd, all, allProduct);
        for (var unit = 0; unit < _layout.Units; unit++, Next(ref run))
        {
            Parameters(ref run, first + unit, invstd);
            RunPasses<T, TVec, TSimd, TActivation, N0, TElements>.BackwardApply(run, _activation);
        }
    }

    private static void Next(ref Run<T> run)
    {
        run.X += run.Length;
        run.Dy += run.Length;
        run.Result += run.Length;
    }

    /// <summary>Sets the scale and bias of a unit; returns its weight.</summary>
    private T Parameters(ref Run<T> run, int parameter, T invstd)
    {
        if (!_of.Affine) return T.One;
        var weight = In<T>(_invstd + 1)[parameter];
        run.Scale = invstd * weight;
        run.Bias = HasBias ? In<T>(_invstd + 2)[parameter] : T.Zero;
        return weight;
    }

    /// <summary>What flows through the row's mean and variance: -invstd mean(g) and -invstd^3 mean(g (x - mean)) (x - mean).</summary>
    private void Through(ref Run<T> run, T invstd, double sum, double product)
    {
        var scale = double.CreateTruncating(invstd);
        run.Offset = _of.Centred ? T.CreateTruncating(-scale * sum / _layout.Length) : T.Zero;
        run.Factor = T.CreateTruncating(-scale * scale * scale * product / _layout.Length);
    }
}
