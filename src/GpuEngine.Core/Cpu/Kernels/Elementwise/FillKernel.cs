using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Constants: one value everywhere, 0 1 2 ..., or a literal. Runs once, when a plan is loaded.</summary>
internal sealed unsafe class FillKernel(Node node) : CpuKernel
{
    public override void Execute(int worker, int workers)
    {
        var type = node.Outputs[0].Type;
        for (var i = 0L; i < type.Elements; i++)
        {
            var value = node.Op switch
            {
                ConstantOp constant => constant.Value,
                LiteralOp literal => literal.Values[i],
                _ => i,
            };
            Store(type.DType, i, value);
        }
    }

    private void Store(DType dtype, long i, double value)
    {
        switch (dtype)
        {
            case DType.F32: Out<float>(0)[i] = (float)value; break;
            case DType.F64: Out<double>(0)[i] = value; break;
            case DType.BF16: Out<Bf16>(0)[i] = Bf16.FromSingle((float)value); break;
            case DType.I32: Out<int>(0)[i] = (int)value; break;
            case DType.I64: Out<long>(0)[i] = (long)value; break;
            case DType.U8: Out<byte>(0)[i] = (byte)value; break;
            default: Out<bool>(0)[i] = value != 0; break;
        }
    }
}
