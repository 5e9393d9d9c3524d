using System.Globalization;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// C++ expressions of the element-wise primitives, rounded like the CPU device's: f32 and f64 in themselves, bf16 in f32 with
/// one rounding per step. No contraction and no approximation, so that fusing does not change a bit.
/// </summary>
internal static class ElementwiseExpression
{
    /// <summary>Conversions that C++ leaves undefined out of range: they saturate, NaN becomes 0, as in the CPU device.</summary>
    public const string Helpers = """
        template <class F>
        DEVICE i64 saturate_i64(F x) {
            return x != x ? 0 : x >= F(9223372036854775808.0) ? 0x7fffffffffffffffll
                 : x < F(-9223372036854775808.0) ? -0x7fffffffffffffffll - 1 : static_cast<i64>(x);
        }
        template <class F>
        DEVICE i32 saturate_i32(F x) {
            return x != x ? 0 : x >= F(2147483648.0) ? 0x7fffffff : x <= F(-2147483648.0) ? -0x7fffffff - 1 : static_cast<i32>(x);
        }
        template <>
        DEVICE i32 saturate_i32<i64>(i64 x) {
            return x > 0x7fffffffll ? 0x7fffffff : x < -0x80000000ll ? -0x7fffffff - 1 : static_cast<i32>(x);
        }
        template <class F>
        DEVICE F larger(F a, F b) {
            return a != a ? a : b != b ? b : a > b ? a : b;
        }
        template <class F>
        DEVICE F smaller(F a, F b) {
            return a != a ? a : b != b ? b : a < b ? a : b;
        }

        """;

    /// <summary>The value of a step from its operands' names, in the compute type of its dtype.</summary>
    public static string Of(ElementwiseStep step, IReadOnlyList<string> x, IReadOnlyList<DType> types)
    {
        var value = Raw(step, x, types);
        return step.DType == DType.BF16 && !IsExact(step.Op) ? $"bf16_to_float(float_to_bf16({value}))" : value;
    }

    /// <summary>A constant in a dtype's compute type.</summary>
    public static string Literal(double value, DType dtype) => dtype switch
    {
        // A constant beside bf16 tensors keeps its f32 value, as a Python number does in torch and on the CPU device.
        DType.F32 or DType.BF16 => Runtime.CompilerOptions.Constant((float)value),
        DType.F64 when double.IsNaN(value) => "(0.0/0.0)",
        DType.F64 when double.IsInfinity(value) => value > 0 ? "(1.0/0.0)" : "(-1.0/0.0)",
        DType.F64 => value.ToString("E17", CultureInfo.InvariantCulture),
        DType.Bool => value != 0 ? "1" : "0",
        // The smallest i64 has no literal of its own.
        DType.I64 when value <= long.MinValue => "(-0x7fffffffffffffffll - 1)",
        DType.I64 => $"{((long)value).ToString(CultureInfo.InvariantCulture)}ll",
        DType.I32 when value <= int.MinValue => "(-0x7fffffff - 1)",
        _ => ((long)value).ToString(CultureInfo.InvariantCulture),
    };

    // These return one of their operands, or one with another sign: nothing to round.
    private static bool IsExact(Op op) => op is WhereOp or BroadcastToOp or ConstantOp
        or UnaryOp { Kind: UnaryKind.Neg or UnaryKind.Abs or UnaryKind.Sign or UnaryKind.Floor }
        or BinaryOp { Kind: BinaryKind.Max or BinaryKind.Min };

    private static string Raw(ElementwiseStep step, IReadOnlyList<string> x, IReadOnlyList<DType> types)
    {
        switch (step.Op)
        {
            case ConstantOp constant: return Literal(constant.Value, step.DType);
            case BroadcastToOp or CopyOp: return x[0];
            case UnaryOp unary: return Unary(unary.Kind, x[0], types[0]);
            case BinaryOp binary: return Binary(binary.Kind, x[0], x[1], types[0]);
            case CompareOp compare: return $"static_cast<u8>({x[0]} {Sign(compare.Kind)} {x[1]})";
            case WhereOp: return $"{x[0]} ? {x[1]} : {x[2]}";
            case CastOp cast: return Cast(x[0], types[0], cast.To);
            default: throw new InvalidOperationException($"{step.Op.Name} is not element-wise.");
        }
    }

    private static string Unary(UnaryKind kind, string x, DType dtype)
    {
        var s = dtype == DType.F64 ? "" : "f";
        var one = dtype == DType.F64 ? "1.0" : "1.0f";
        var type = KernelRequest.ComputeType(dtype);
        return kind switch
        {
            UnaryKind.Neg => $"static_cast<{type}>(-{x})",
            UnaryKind.Abs when dtype.IsFloat() => $"fabs{s}({x})",
            UnaryKind.Abs => $"static_cast<{type}>({x} < 0 ? -{x} : {x})",
            UnaryKind.Sign => $"static_cast<{type}>({x} > 0 ? 1 : {x} < 0 ? -1 : {x})",
            UnaryKind.Rsqrt => $"{one} / sqrt{s}({x})",
            UnaryKind.Reciprocal => $"{one} / {x}",
            UnaryKind.Sigmoid => $"{one} / ({one} + exp{s}(-{x}))",
            UnaryKind.Not => $"static_cast<u8>({x} ^ 1)",
            UnaryKind.IsFinite => $"static_cast<u8>({x} - {x} == 0)",
            _ => $"{kind.ToString().ToLowerInvariant()}{s}({x})",
        };
    }

    private static string Binary(BinaryKind kind, string a, string b, DType dtype)
    {
        var type = KernelRequest.ComputeType(dtype);
        return kind switch
        {
            BinaryKind.Add => $"static_cast<{type}>({a} + {b})",
            BinaryKind.Sub => $"static_cast<{type}>({a} - {b})",
            BinaryKind.Mul => $"static_cast<{type}>({a} * {b})",
            BinaryKind.Div => $"static_cast<{type}>({a} / {b})",
            BinaryKind.Max => $"larger<{type}>({a}, {b})",
            BinaryKind.Min => $"smaller<{type}>({a}, {b})",
            BinaryKind.Pow when dtype == DType.F64 => $"pow({a}, {b})",
            BinaryKind.Pow when dtype.IsFloat() => $"powf({a}, {b})",
            BinaryKind.Pow => $"static_cast<{type}>(pow(static_cast<double>({a}), static_cast<double>({b})))",
            BinaryKind.And => $"static_cast<u8>({a} & {b})",
            _ => $"static_cast<u8>({a} | {b})",
        };
    }

    private static string Cast(string x, DType from, DType to)
    {
        var isFloat = from.IsFloat();
        return to switch
        {
            DType.F32 or DType.BF16 => $"static_cast<float>({x})",
            DType.F64 => $"static_cast<double>({x})",
            DType.I32 when isFloat || from == DType.I64 => $"saturate_i32({x})",
            DType.I32 => $"static_cast<i32>({x})",
            DType.I64 when isFloat => $"saturate_i64({x})",
            DType.I64 => $"static_cast<i64>({x})",
            DType.U8 when isFloat => $"static_cast<u8>(saturate_i64({x}))",
            DType.U8 => $"static_cast<u8>({x})",
            _ => $"static_cast<u8>({x} != 0)",
        };
    }

    private static string Sign(CompareKind kind) => kind switch
    {
        CompareKind.Lt => "<",
        CompareKind.Le => "<=",
        CompareKind.Gt => ">",
        CompareKind.Ge => ">=",
        CompareKind.Eq => "==",
        _ => "!=",
    };
}
