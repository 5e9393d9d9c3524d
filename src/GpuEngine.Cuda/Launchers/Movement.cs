using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>A copy of the whole tensor by the copy engine.</summary>
internal sealed class Copy(Node node) : CudaKernel(node)
{
    public override IReadOnlyList<KernelRequest> Requests => [];

    public override void Launch(CudaStream stream)
    {
        var bytes = Node.Outputs[0].Type.Bytes;
        stream.Copy(new ReadOnlyDeviceSpan<byte>(In(0), bytes), new DeviceSpan<byte>(Out(0), bytes));
    }
}

/// <summary>Given values, uploaded once when the plan is loaded.</summary>
internal sealed class Literal(Node node) : CudaKernel(node)
{
    private readonly byte[] _values = ElementData.FromDoubles(node.Outputs[0].DType, ((LiteralOp)node.Op).Values);

    public override IReadOnlyList<KernelRequest> Requests => [];

    public override void Launch(CudaStream stream) =>
        stream.CopyToDevice<byte>(_values, new DeviceSpan<byte>(Out(0), _values.Length));
}

/// <summary>Inputs one after the other along an axis: one launch per input, each a copy of rows.</summary>
internal sealed class Concat : CudaKernel
{
    private readonly (long Width, long Pitch, long OffsetBytes, long Count)[] _parts;
    private readonly LaunchShape[] _shapes;

    public Concat(Node node, CudaLimits limits) : base(node)
    {
        var (axis, output) = (((ConcatOp)node.Op).Axis, node.Outputs[0]);
        var inner = output.Shape.Product(axis + 1, output.Rank);
        var pitch = output.Shape[axis] * inner;
        _parts = new (long, long, long, long)[node.Inputs.Count];
        var start = 0L;
        for (var i = 0; i < _parts.Length; i++)
        {
            var width = node.Inputs[i].Shape[axis] * inner;
            _parts[i] = (width, pitch, start * output.DType.Size(), node.Inputs[i].Type.Elements);
            start += width;
        }

        _shapes = [.. _parts.Select(p => new LaunchShape(new Dim3((uint)limits.Blocks(p.Count, 256)), new Dim3(256)))];
        Requests = [Moves.Request("copy_rows", PrimitiveSource.CopyRows, output.DType)];
    }

    public override IReadOnlyList<KernelRequest> Requests { get; }

    public override void Launch(CudaStream stream)
    {
        for (var i = 0; i < _parts.Length; i++)
        {
            var part = _parts[i];
            if (part.Count == 0) continue;
            var arguments = new KernelArguments();
            arguments.Add(Out(0) + part.OffsetBytes);
            arguments.Add(In(i));
            arguments.Add(part.Width);
            arguments.Add(part.Pitch);
            arguments.Add(part.Width);
            arguments.Add(part.Count);
            Function().Launch(stream, _shapes[i], ref arguments);
        }
    }
}

/// <summary>
/// Copies the parts of a flat arena that were not produced in place. Gaps are zero since the arena was allocated, and nobody
/// else uses them.
/// </summary>
internal sealed class Pack(Node node) : CudaKernel(node)
{
    private readonly PackOp _op = (PackOp)node.Op;

    public override IReadOnlyList<KernelRequest> Requests => [];

    public override void Launch(CudaStream stream)
    {
        for (var i = 0; i < InputCount; i++)
        {
            var type = Node.Inputs[i].Type;
            var to = Out(0) + (long)_op.Offsets[i] * type.DType.Size();
            if (to == In(i)) continue;
            stream.Copy(new ReadOnlyDeviceSpan<byte>(In(i), type.Bytes), new DeviceSpan<byte>(to, type.Bytes));
        }
    }
}

/// <summary>Requests of the kernels that move elements of a size, whatever they mean.</summary>
internal static class Moves
{
    public static KernelRequest Request(string entry, string text, DType dtype, DType? index = null) => new(entry, entry)
    {
        GeneratedText = text,
        Defines =
        [
            ("BITS", dtype.Size() switch { 8 => "u64", 4 => "u32", 2 => "u16", _ => "u8" }),
            ("INDEX", KernelRequest.StorageType(index ?? DType.I32)),
        ],
    };

    public static CudaKernel Pad(Node node, CudaLimits limits)
    {
        var op = (PadOp)node.Op;
        var (input, output) = (node.Inputs[0].Shape, node.Outputs[0].Shape);
        long[] sizes =
        [
            .. output.Select(e => (long)e), .. op.Low.Select(v => (long)v), .. op.Interior.Select(v => v + 1L),
            .. input.Select(e => (long)e), .. input.Strides(),
        ];
        var request = Request("pad", PrimitiveSource.Pad(output.Rank), node.Outputs[0].DType);
        return GeneratedKernel.Over(output.Elements, node, limits, request, sizes);
    }

    public static CudaKernel Iota(Node node, CudaLimits limits)
    {
        var type = node.Outputs[0].Type;
        var request = new KernelRequest("iota", "iota")
        {
            GeneratedText = PrimitiveSource.Iota,
            Defines = [KernelRequest.Define("STORAGE", type.DType), ("COMPUTE", KernelRequest.ComputeType(type.DType))],
        };
        return GeneratedKernel.Over(type.Elements, node, limits, request);
    }
}
