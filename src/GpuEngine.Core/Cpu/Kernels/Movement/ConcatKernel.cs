using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Inputs one after the other along an axis: for every outer index, one run per input.</summary>
internal sealed unsafe class ConcatKernel(Node node) : CpuKernel
{
    private readonly long _outer = node.Outputs[0].Shape.Product(0, ((ConcatOp)node.Op).Axis);

    private readonly long[] _runs =
        [.. node.Inputs.Select(t => t.Shape.Product(((ConcatOp)node.Op).Axis, t.Rank) * t.DType.Size())];

    private readonly long _pitch = node.Outputs[0].Shape.Product(((ConcatOp)node.Op).Axis, node.Outputs[0].Rank) * node.Outputs[0].DType.Size();

    public override void Execute(int worker, int workers)
    {
        for (var outer = 0L; outer < _outer; outer++)
        {
            var target = Out<byte>(0) + outer * _pitch;
            for (var i = 0; i < _runs.Length; i++)
            {
                Buffer.MemoryCopy(In<byte>(i) + outer * _runs[i], target, _runs[i], _runs[i]);
                target += _runs[i];
            }
        }
    }
}

/// <summary>Copies into the flat arena those parts that could not be produced there.</summary>
internal sealed unsafe class PackKernel(Node node) : CpuKernel
{
    public override void Execute(int worker, int workers)
    {
        var pack = (PackOp)node.Op;
        for (var i = 0; i < pack.Offsets.Count; i++)
        {
            var bytes = node.Inputs[i].Type.Bytes;
            var target = Out<byte>(0) + (long)pack.Offsets[i] * node.Inputs[i].DType.Size();
            if (target != In<byte>(i)) Buffer.MemoryCopy(In<byte>(i), target, bytes, bytes);
        }
    }
}
