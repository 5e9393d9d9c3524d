using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// Generated kernels: element-wise programs with broadcasting, and the moves that are such a program over a strided view
/// (permute, slice, broadcast_to).
/// </summary>
internal sealed class Elementwise : CudaKernel
{
    private const int Threads = 256;
    private readonly StridedView[] _views;
    private readonly int[] _sizes;
    private readonly bool _hasLayout;
    private readonly long _count;
    private readonly LaunchShape _shape;
    private readonly Layout _layout;
    private readonly DevicePointer[] _addresses;

    private Elementwise(Node node, CudaLimits limits, ElementwiseProgram program, StridedView[] views) : base(node)
    {
        _views = views;
        _sizes = [.. program.Inputs.Select(d => d.Size())];
        _addresses = new DevicePointer[views.Length];
        _count = node.Outputs[0].Type.Elements;
        var plan = Plan(node.Outputs[0].Shape, views);
        _hasLayout = plan.Access.Contains(Access.Strided);
        var words = (Span<long>)_layout;
        plan.Words.CopyTo(words);
        var source = ElementwiseSource.Write(program, plan.Access, plan.Rank, plan.WideIndex);
        Requests = [new KernelRequest("elementwise", ElementwiseSource.Entry) { GeneratedText = source, Fma = false }];
        _shape = new LaunchShape(new Dim3((uint)limits.Blocks(_hasLayout ? _count : (_count + 3) / 4, Threads)), new Dim3(Threads));
    }

    public override IReadOnlyList<KernelRequest> Requests { get; }

    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var shape = node.Outputs[0].Shape;
        return new Elementwise(
            node, limits, ElementwiseProgram.Of(node), [.. node.Inputs.Select(t => StridedView.Broadcast(t.Shape, shape))]);
    }

    public static CudaKernel? Region(Node node, CudaLimits limits)
    {
        var shape = node.Outputs[0].Shape;
        return new Elementwise(
            node, limits, ((ElementwiseRegionOp)node.Op).Program,
            [.. node.Inputs.Select(t => StridedView.Broadcast(t.Shape, shape))]);
    }

    public static CudaKernel? Constant(Node node, CudaLimits limits) => new Elementwise(
        node, limits, ElementwiseProgram.Constant(((ConstantOp)node.Op).Value, node.Outputs[0].DType), []);

    public static CudaKernel? Permute(Node node, CudaLimits limits)
    {
        var strides = node.Inputs[0].Shape.Strides();
        return Move(node, limits, new StridedView([.. ((PermuteOp)node.Op).Order.Select(a => strides[a])]));
    }

    public static CudaKernel? Slice(Node node, CudaLimits limits)
    {
        var op = (SliceOp)node.Op;
        var strides = node.Inputs[0].Shape.Strides();
        var offset = strides.Select((s, axis) => s * op.Starts[axis]).Sum();
        return Move(node, limits, new StridedView([.. strides.Select((s, axis) => s * op.Steps[axis])], offset));
    }

    /// <summary>Whether the layout of so many inputs over such an output fits into the kernel's argument.</summary>
    public static bool Fits(Shape shape, IEnumerable<Shape> inputs)
    {
        var plan = Plan(shape, [.. inputs.Select(s => StridedView.Broadcast(s, shape))]);
        return plan.Words.Length <= ElementwiseSource.LayoutWords;
    }

    public override void Launch(CudaStream stream)
    {
        if (_count == 0) return;
        var arguments = new KernelArguments();
        arguments.Add(Out(0));
        foreach (var address in _addresses) arguments.Add(address);
        if (_hasLayout) arguments.Add(_layout);
        arguments.Add(_count);
        Function().Launch(stream, _shape, ref arguments);
    }

    protected override void Bound()
    {
        for (var i = 0; i < _addresses.Length; i++) _addresses[i] = In(i) + _views[i].Offset * _sizes[i];
    }

    private static Elementwise Move(Node node, CudaLimits limits, StridedView view) =>
        new(node, limits, new ElementwiseProgram([node.Inputs[0].DType], []), [view]);

    private static (Access[] Access, int Rank, bool WideIndex, long[] Words) Plan(Shape shape, StridedView[] views)
    {
        var contiguous = shape.Strides();
        var (extents, strides) = AxisMerge.Apply(shape.ToArray(), [contiguous, .. views.Select(v => v.Strides)]);
        var access = new Access[views.Length];
        List<long> words = [.. extents];
        for (var i = 0; i < views.Length; i++)
        {
            var own = strides[i + 1];
            // One element alone is flat, not scalar: only the thread that writes it may read it, for the two may be one place.
            access[i] = own.SequenceEqual(strides[0]) ? Access.Flat : own.All(s => s == 0) ? Access.Scalar : Access.Strided;
            if (access[i] == Access.Strided) words.AddRange(own);
        }

        // Offsets of an input stay below the largest of the two sizes; 2^31 leaves room for the last addition.
        var reach = views.Select(v => v.Strides.Select((s, axis) => s * Math.Max(0, shape[axis] - 1)).Sum()).Append(shape.Elements).Max();
        return (access, extents.Length, reach > int.MaxValue, access.Contains(Access.Strided) ? [.. words] : []);
    }

    [InlineArray(ElementwiseSource.LayoutWords)]
    private struct Layout
    {
        private long _first;
    }
}
