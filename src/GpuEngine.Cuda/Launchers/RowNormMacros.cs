using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>The constants of a norm of rows that do not depend on its mapping.</summary>
/// <param name="Defines">Macros.</param>
/// <param name="ParameterBytes">Bytes of weight and bias per parameter, as far as the kernel reads them.</param>
/// <param name="FastMath">
/// With an activation in bf16: an error of 2^-20 in exp and division disappears in a result of 8 bits, and the exact ones would cost
/// more time than the memory.
/// </param>
internal sealed record RowNormMacros((string, string)[] Defines, int ParameterBytes, bool FastMath)
{
    /// <summary>Null where the kernels do not fit.</summary>
    public static RowNormMacros? Of(RowNormOp op, Tensor x, Tensor[] parameters)
    {
        if (x.DType is not (DType.F32 or DType.BF16) || x.Type.Elements == 0 || ActivationMacros.Of(op.Activation) is not { } activation) return null;
        var dtype = parameters.Length > 0 ? parameters[0].DType : DType.F32;
        if (dtype == DType.F64 || parameters.Any(p => p.DType != dtype)) return null;
        return new RowNormMacros(
            [
                KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("PARAM_DTYPE", dtype), KernelRequest.Define("CENTRED", op.Centred ? 1 : 0),
                KernelRequest.Define("AFFINE", op.Affine ? 1 : 0), KernelRequest.Define("WITH_BIAS", parameters.Length > 1 ? 1 : 0),
                KernelRequest.Define("PARAM_ALIGNED", VectorWidth.Any(dtype, parameters) > 1 ? 1 : 0), KernelRequest.Define("EPS", (float)op.Eps), .. activation,
            ],
            parameters.Length * dtype.Size(), x.DType == DType.BF16 && op.Activation is not (null or Identity));
    }
}
