namespace GpuEngine.Core.Graph;

/// <summary>Element types. Names in files and on the command line follow safetensors: f32, f64, bf16, i32, i64, u8, bool.</summary>
public enum DType
{
    F32,
    F64,

    /// <summary>Storage only: arithmetic on it is done in f32 and rounded once to nearest even.</summary>
    BF16,
    I32,
    I64,
    U8,

    /// <summary>One byte per element, 0 or 1: comparison results and masks.</summary>
    Bool,
}

public static class DTypes
{
    /// <summary>Bytes per element.</summary>
    public static int Size(this DType dtype) => dtype switch
    {
        DType.F64 or DType.I64 => 8,
        DType.F32 or DType.I32 => 4,
        DType.BF16 => 2,
        _ => 1,
    };

    public static bool IsFloat(this DType dtype) => dtype is DType.F32 or DType.F64 or DType.BF16;

    public static bool IsInteger(this DType dtype) => dtype is DType.I32 or DType.I64 or DType.U8;

    /// <summary>The short name used in messages, files and options.</summary>
    public static string Label(this DType dtype) => dtype.ToString().ToLowerInvariant();

    /// <summary>Parses a short name.</summary>
    /// <exception cref="UserException">The name is not one of the known types.</exception>
    public static DType Parse(string label)
    {
        foreach (var dtype in Enum.GetValues<DType>())
        {
            if (dtype.Label().Equals(label, StringComparison.OrdinalIgnoreCase)) return dtype;
        }

        throw new UserException(NearestName.Sentence("dtype", label, [.. Enum.GetValues<DType>().Select(d => d.Label())]));
    }
}
