using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Element-wise functions on short contiguous tiles, found by op and dtype once and then called through a pointer:
/// (out, a, b, c, count). Vector code for the arithmetic comes from System.Numerics.Tensors.
/// </summary>
internal static unsafe class TileFunctions
{
    /// <summary>The function of an element-wise op on operands of the given dtype, or 0 when there is none.</summary>
    public static delegate*<void*, void*, void*, void*, int, void> Find(Op op, DType operand) => op switch
    {
        UnaryOp { Kind: UnaryKind.Not } => &Not,
        UnaryOp { Kind: UnaryKind.IsFinite } => operand == DType.F32 ? &IsFinite<float> : &IsFinite<double>,
        UnaryOp unary => operand switch
        {
            DType.F32 => Float<float>(unary.Kind),
            DType.F64 => Float<double>(unary.Kind),
            DType.I32 => Signed<int>(unary.Kind),
            DType.I64 => Signed<long>(unary.Kind),
            _ => null,
        },
        BinaryOp { Kind: BinaryKind.And } => &And,
        BinaryOp { Kind: BinaryKind.Or } => &Or,
        BinaryOp { Kind: BinaryKind.Pow } => operand switch
        {
            DType.F32 => &Pow<float>,
            DType.F64 => &Pow<double>,
            _ => null,
        },
        BinaryOp binary => operand switch
        {
            DType.F32 => Arithmetic<float>(binary.Kind),
            DType.F64 => Arithmetic<double>(binary.Kind),
            DType.I32 => Arithmetic<int>(binary.Kind),
            DType.I64 => Arithmetic<long>(binary.Kind),
            _ => null,
        },
        CompareOp compare => operand switch
        {
            DType.F32 => Comparison<float>(compare.Kind),
            DType.F64 => Comparison<double>(compare.Kind),
            DType.I32 => Comparison<int>(compare.Kind),
            DType.I64 => Comparison<long>(compare.Kind),
            _ => Comparison<byte>(compare.Kind),
        },
        WhereOp => operand.Size() switch
        {
            8 => &Where<ulong>,
            4 => &Where<uint>,
            2 => &Where<ushort>,
            _ => &Where<byte>,
        },
        _ => null,
    };

    private static delegate*<void*, void*, void*, void*, int, void> Float<T>(UnaryKind kind)
        where T : unmanaged, IBinaryFloatingPointIeee754<T> => kind switch
        {
            UnaryKind.Neg => &Neg<T>,
            UnaryKind.Abs => &Abs<T>,
            UnaryKind.Sign => &Sign<T>,
            UnaryKind.Exp => &Map<T, ExpFunction<T>>,
            UnaryKind.Expm1 => &Map<T, Expm1Function<T>>,
            UnaryKind.Log => &Log<T>,
            UnaryKind.Log1p => &Log1p<T>,
            UnaryKind.Sqrt => &Sqrt<T>,
            UnaryKind.Rsqrt => &Rsqrt<T>,
            UnaryKind.Reciprocal => &Reciprocal<T>,
            UnaryKind.Sin => &Sin<T>,
            UnaryKind.Cos => &Cos<T>,
            UnaryKind.Tanh => &Map<T, TanhFunction<T>>,
            UnaryKind.Sigmoid => &Map<T, SigmoidFunction<T>>,
            UnaryKind.Floor => &Floor<T>,
            UnaryKind.Erf => &Map<T, ErfFunction<T>>,
            _ => null,
        };

    private static delegate*<void*, void*, void*, void*, int, void> Signed<T>(UnaryKind kind) where T : unmanaged, IBinaryInteger<T> => kind switch
    {
        UnaryKind.Neg => &Neg<T>,
        UnaryKind.Abs => &Abs<T>,
        UnaryKind.Sign => &Sign<T>,
        _ => null,
    };

    private static delegate*<void*, void*, void*, void*, int, void> Arithmetic<T>(BinaryKind kind) where T : unmanaged, INumber<T> => kind switch
    {
        BinaryKind.Add => &Add<T>,
        BinaryKind.Sub => &Sub<T>,
        BinaryKind.Mul => &Mul<T>,
        BinaryKind.Div => &Div<T>,
        BinaryKind.Max => &Max<T>,
        BinaryKind.Min => &Min<T>,
        _ => null,
    };

    private static delegate*<void*, void*, void*, void*, int, void> Comparison<T>(CompareKind kind) where T : unmanaged, INumber<T> => kind switch
    {
        CompareKind.Lt => &Lt<T>,
        CompareKind.Le => &Le<T>,
        CompareKind.Gt => &Gt<T>,
        CompareKind.Ge => &Ge<T>,
        CompareKind.Eq => &Eq<T>,
        _ => &Ne<T>,
    };

    private static ReadOnlySpan<T> In<T>(void* p, int n) where T : unmanaged => new(p, n);

    private static Span<T> Out<T>(void* p, int n) where T : unmanaged => new(p, n);

    private static void Neg<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T> => TensorPrimitives.Negate(In<T>(a, n), Out<T>(o, n));

    private static void Abs<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T> => TensorPrimitives.Abs(In<T>(a, n), Out<T>(o, n));

    private static void Log<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, IBinaryFloatingPointIeee754<T> => TensorPrimitives.Log(In<T>(a, n), Out<T>(o, n));

    private static void Sqrt<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, IBinaryFloatingPointIeee754<T> => TensorPrimitives.Sqrt(In<T>(a, n), Out<T>(o, n));

    private static void Sin<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, IBinaryFloatingPointIeee754<T> => TensorPrimitives.Sin(In<T>(a, n), Out<T>(o, n));

    private static void Cos<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, IBinaryFloatingPointIeee754<T> => TensorPrimitives.Cos(In<T>(a, n), Out<T>(o, n));

    private static void Floor<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, IBinaryFloatingPointIeee754<T> => TensorPrimitives.Floor(In<T>(a, n), Out<T>(o, n));

    private static void Reciprocal<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, IBinaryFloatingPointIeee754<T> => TensorPrimitives.Divide(T.One, In<T>(a, n), Out<T>(o, n));

    // The library's tanh and sigmoid are off by hundreds of units in the last place near 0 and in the tails; these are not.
    private static void Map<T, TFunction>(void* o, void* a, void* b, void* c, int n) where T : unmanaged where TFunction : IVectorFunction<T>
    {
        var x = (T*)a;
        var y = (T*)o;
        var i = 0;
        for (; i <= n - Vector512<T>.Count; i += Vector512<T>.Count) TFunction.Apply(Vector512.Load(x + i)).Store(y + i);
        if (i < n) Lanes.Store(y + i, n - i, TFunction.Apply(Lanes.Load(x + i, n - i)));
    }

    // The library's log1p adds 1 first and so loses the last bits near 0.
    private static void Log1p<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        for (var i = 0; i < n; i++) ((T*)o)[i] = NearOne.Log1p(((T*)a)[i]);
    }

    // One division after one root, each correctly rounded: the estimate instructions differ between processors.
    private static void Rsqrt<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        TensorPrimitives.Sqrt(In<T>(a, n), Out<T>(o, n));
        TensorPrimitives.Divide(T.One, In<T>(o, n), Out<T>(o, n));
    }

    private static void Sign<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T>
    {
        for (var i = 0; i < n; i++)
        {
            var x = ((T*)a)[i];
            ((T*)o)[i] = x > T.Zero ? T.One : x < T.Zero ? -T.One : x;
        }
    }

    private static void IsFinite<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T>
    {
        for (var i = 0; i < n; i++) ((bool*)o)[i] = T.IsFinite(((T*)a)[i]);
    }

    private static void Not(void* o, void* a, void* b, void* c, int n)
    {
        for (var i = 0; i < n; i++) ((byte*)o)[i] = (byte)(((byte*)a)[i] ^ 1);
    }

    private static void And(void* o, void* a, void* b, void* c, int n) => TensorPrimitives.BitwiseAnd(In<byte>(a, n), In<byte>(b, n), Out<byte>(o, n));

    private static void Or(void* o, void* a, void* b, void* c, int n) => TensorPrimitives.BitwiseOr(In<byte>(a, n), In<byte>(b, n), Out<byte>(o, n));

    private static void Pow<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, IBinaryFloatingPointIeee754<T> => TensorPrimitives.Pow(In<T>(a, n), In<T>(b, n), Out<T>(o, n));

    private static void Add<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T> => TensorPrimitives.Add(In<T>(a, n), In<T>(b, n), Out<T>(o, n));

    private static void Sub<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T> => TensorPrimitives.Subtract(In<T>(a, n), In<T>(b, n), Out<T>(o, n));

    private static void Mul<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T> => TensorPrimitives.Multiply(In<T>(a, n), In<T>(b, n), Out<T>(o, n));

    private static void Div<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T> => TensorPrimitives.Divide(In<T>(a, n), In<T>(b, n), Out<T>(o, n));

    private static void Max<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T> => TensorPrimitives.Max(In<T>(a, n), In<T>(b, n), Out<T>(o, n));

    private static void Min<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T> => TensorPrimitives.Min(In<T>(a, n), In<T>(b, n), Out<T>(o, n));

    private static void Lt<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T>
    {
        for (var i = 0; i < n; i++) ((bool*)o)[i] = ((T*)a)[i] < ((T*)b)[i];
    }

    private static void Le<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T>
    {
        for (var i = 0; i < n; i++) ((bool*)o)[i] = ((T*)a)[i] <= ((T*)b)[i];
    }

    private static void Gt<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T>
    {
        for (var i = 0; i < n; i++) ((bool*)o)[i] = ((T*)a)[i] > ((T*)b)[i];
    }

    private static void Ge<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T>
    {
        for (var i = 0; i < n; i++) ((bool*)o)[i] = ((T*)a)[i] >= ((T*)b)[i];
    }

    private static void Eq<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T>
    {
        for (var i = 0; i < n; i++) ((bool*)o)[i] = ((T*)a)[i] == ((T*)b)[i];
    }

    private static void Ne<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, INumber<T>
    {
        for (var i = 0; i < n; i++) ((bool*)o)[i] = ((T*)a)[i] != ((T*)b)[i];
    }

    private static void Where<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged
    {
        for (var i = 0; i < n; i++) ((T*)o)[i] = ((byte*)a)[i] != 0 ? ((T*)b)[i] : ((T*)c)[i];
    }
}
