namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// A block of rows and columns of [N, C] tensors (all with the same row stride), and per-column arrays. The tensors' pointers
/// show the block's first element; the arrays are padded to whole registers and start at the block's first column.
/// </summary>
internal unsafe struct ColumnBand<T> where T : unmanaged
{
    public T* X;
    public T* Residual;

    /// <summary>y, or dx.</summary>
    public T* Result;
    public T* Dy;
    public T* DResidual;

    /// <summary>Elements from one row to the next.</summary>
    public nint Stride;
    public int Rows;
    public int Columns;

    public T* Mean;
    public T* Scale;
    public T* Bias;

    /// <summary>Forward: the sum of x - shift; backward: the sum of dz. Later minus what is subtracted from scale dz.</summary>
    public T* Sum;

    /// <summary>Forward: the sum of (x - shift)^2; backward: the sum of dz (x - mean). Later minus its factor in dx.</summary>
    public T* Product;
}
