using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Optimizers;

/// <summary>
/// One optimizer step in one pass: each input is read once and each output written once, element i before element i + 1, so
/// outputs may lie over their inputs. Cut into workers' shares anywhere, the bits are the same.
/// </summary>
internal sealed unsafe class OptimizerKernel<T, TRule>(Node node) : CpuKernel
    where T : unmanaged, INumberBase<T>
    where TRule : struct, IUpdateRule<TRule, T>
{
    /// <summary>Shares are cut at multiples of 16 KiB of floats: whole pages, so that workers never share a cache line.</summary>
    private const int Grain = 4096;

    private readonly OptimizerOp _op = (OptimizerOp)node.Op;
    private readonly long _elements = node.Inputs[0].Type.Elements;
    private readonly int _states = ((OptimizerOp)node.Op).StateNames.Count;
    private readonly DType _lrType = node.Inputs[2 + ((OptimizerOp)node.Op).StateNames.Count].DType;
    private readonly DType _clipType = node.Inputs[^1].DType;
    private TRule _rule;
    private T _gradientFactor;

    protected override bool IsParallel => _elements >= 2 * Grain;

    public override void Run(CpuPool pool)
    {
        var lr = 2 + _states;
        _rule = TRule.Create(_op, new StepScalars(Scalar(lr, _lrType), *In<long>(lr + 1)));
        // Negation is exact, so the factor carries the sign and the loop multiplies once.
        var factor = _op.Clip ? T.CreateTruncating(Scalar(lr + 2, _clipType)) : T.One;
        _gradientFactor = _op.Maximize ? -factor : factor;
        base.Run(pool);
    }

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_elements, worker, workers, Grain);
        Update(start, end);
    }

    private double Scalar(int input, DType dtype) => dtype == DType.F64 ? *In<double>(input) : *In<float>(input);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Update(long start, long end)
    {
        var (rule, factor) = (_rule, new Vector<T>(_gradientFactor));
        // States that the op does not keep are read and written in one vector on the stack, which costs no memory traffic
        // and saves a loop for every number of states.
        Vector<T> spare = default;
        T* p = In<T>(0), g = In<T>(1), po = Out<T>(0);
        T* a = State(0), b = State(1), c = State(2), ao = NewState(0), bo = NewState(1), co = NewState(2);
        long aStep = _states > 0 ? 1 : 0, bStep = _states > 1 ? 1 : 0, cStep = _states > 2 ? 1 : 0;
        if (aStep == 0) a = ao = (T*)&spare;
        if (bStep == 0) b = bo = (T*)&spare;
        if (cStep == 0) c = co = (T*)&spare;
        var i = start;
        for (; i <= end - Vector<T>.Count; i += Vector<T>.Count)
        {
            var (w, x, y, z) = (Vector.Load(p + i), Vector.Load(a + i * aStep), Vector.Load(b + i * bStep), Vector.Load(c + i * cStep));
            rule.Apply(ref w, Vector.Load(g + i) * factor, ref x, ref y, ref z);
            w.Store(po + i);
            x.Store(ao + i * aStep);
            y.Store(bo + i * bStep);
            z.Store(co + i * cStep);
        }

        if (i < end) Tail(i, (int)(end - i));
    }

    /// <summary>The last elements, in a vector padded with zeros: the same instructions, so the same bits, as in the middle.</summary>
    private void Tail(long start, int count)
    {
        Vector<T> w = default, grad = default, x = default, y = default, z = default;
        Copy(In<T>(0) + start, (T*)&w, count);
        Copy(In<T>(1) + start, (T*)&grad, count);
        if (_states > 0) Copy(State(0) + start, (T*)&x, count);
        if (_states > 1) Copy(State(1) + start, (T*)&y, count);
        if (_states > 2) Copy(State(2) + start, (T*)&z, count);
        _rule.Apply(ref w, grad * new Vector<T>(_gradientFactor), ref x, ref y, ref z);
        Copy((T*)&w, Out<T>(0) + start, count);
        if (_states > 0) Copy((T*)&x, NewState(0) + start, count);
        if (_states > 1) Copy((T*)&y, NewState(1) + start, count);
        if (_states > 2) Copy((T*)&z, NewState(2) + start, count);
    }

    private T* State(int index) => index < _states ? In<T>(2 + index) : null;

    private T* NewState(int index) => index < _states ? Out<T>(1 + index) : null;

    private static void Copy(T* from, T* to, int count)
    {
        for (var i = 0; i < count; i++) to[i] = from[i];
    }
}
