namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>What one call of a micro-kernel works on. Steps and strides count elements.</summary>
internal unsafe struct TileArguments<T>
    where T : unmanaged
{
    /// <summary>The first row of op(A) at the first k.</summary>
    public T* A;

    /// <summary>The first column of op(B) at the first k.</summary>
    public T* B;

    public T* C;

    /// <summary>From one k to the next in A.</summary>
    public nint AStep;

    /// <summary>From one row to the next in A; used when rows are strided.</summary>
    public nint ARow;

    /// <summary>From one k to the next in B.</summary>
    public nint BStep;

    public nint Ldc;

    public nint K;

    /// <summary>Lanes of the last register inside C; used by partial tiles.</summary>
    public int Lanes;

    /// <summary>Whether C holds a sum to continue.</summary>
    public bool AddC;

    public nint Batch;

    public nint Row;

    public nint Column;

    /// <summary>The epilogue struct of the kernel's type.</summary>
    public void* Epilogue;
}
