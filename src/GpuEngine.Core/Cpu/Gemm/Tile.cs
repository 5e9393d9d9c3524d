namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>The numbers of a tile of C, as constants that the JIT folds into the kernel.</summary>
internal interface ITile
{
    /// <summary>Rows, 1 to 14.</summary>
    static abstract int Rows { get; }

    /// <summary>Registers per row, 1 or 2.</summary>
    static abstract int Columns { get; }

    /// <summary>Whether the last register of a row reaches over the edge of C and is masked.</summary>
    static abstract bool Partial { get; }

    /// <summary>
    /// Whether rows of A lie apart by a stride (a row-major A read in place) or side by side (packed, transposed).
    /// </summary>
    static abstract bool StridedRows { get; }
}

internal readonly struct Tile<TRows, TColumns, TPartial, TStrided> : ITile
    where TRows : struct, IConstant
    where TColumns : struct, IConstant
    where TPartial : struct, IConstant
    where TStrided : struct, IConstant
{
    public static int Rows => TRows.Value;

    public static int Columns => TColumns.Value;

    public static bool Partial => TPartial.Value != 0;

    public static bool StridedRows => TStrided.Value != 0;
}

/// <summary>A number as a type.</summary>
internal interface IConstant
{
    static abstract int Value { get; }
}

internal readonly struct N0 : IConstant
{
    public static int Value => 0;
}

internal readonly struct N1 : IConstant
{
    public static int Value => 1;
}

internal readonly struct N2 : IConstant
{
    public static int Value => 2;
}

internal readonly struct N3 : IConstant
{
    public static int Value => 3;
}

internal readonly struct N4 : IConstant
{
    public static int Value => 4;
}

internal readonly struct N5 : IConstant
{
    public static int Value => 5;
}

internal readonly struct N6 : IConstant
{
    public static int Value => 6;
}

internal readonly struct N7 : IConstant
{
    public static int Value => 7;
}

internal readonly struct N8 : IConstant
{
    public static int Value => 8;
}

internal readonly struct N9 : IConstant
{
    public static int Value => 9;
}

internal readonly struct N10 : IConstant
{
    public static int Value => 10;
}

internal readonly struct N11 : IConstant
{
    public static int Value => 11;
}

internal readonly struct N12 : IConstant
{
    public static int Value => 12;
}

internal readonly struct N13 : IConstant
{
    public static int Value => 13;
}

internal readonly struct N14 : IConstant
{
    public static int Value => 14;
}
