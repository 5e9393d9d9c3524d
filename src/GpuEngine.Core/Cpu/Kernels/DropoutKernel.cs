using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Dropout, and its backward pass, which is the same op on dy. The random words of a tile are drawn into the first-level cache
/// and compared there; seed and offset are read at every run.
/// </summary>
internal sealed unsafe class DropoutKernel<T>(Node node) : CpuKernel where T : unmanaged, INumber<T>
{
    private const int Tile = 2048;
    private readonly long _elements = node.Outputs[0].Type.Elements;
    private readonly uint _stream = (uint)((DropoutOp)node.Op).Stream;
    private readonly T _scale = T.CreateTruncating(((DropoutOp)node.Op).Scale);

    /// <summary>The upper 24 bits of a word make the uniform number; it is dropped when they are below this.</summary>
    private readonly uint _threshold = (uint)(((DropoutOp)node.Op).Threshold * (1 << 24));

    protected override bool IsParallel => _elements >= 8192;

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Execute(int worker, int workers)
    {
        var (seed, offset) = ((ulong)In<long>(1)[0], (uint)In<long>(1)[1]);
        var (start, end) = Share(_elements, worker, workers, Lanes.Grain);
        var words = stackalloc uint[Tile + Vector512<uint>.Count];
        for (var at = start; at < end; at += Tile)
        {
            var n = (int)Math.Min(Tile, end - at);
            Philox.FillBits(words, n, seed, _stream, offset, at);
            // A tail is compared as a whole register too.
            new Span<uint>(words + n, Vector512<uint>.Count).Clear();
            var x = In<T>(0) + at;
            var y = Out<T>(0) + at;
            var scale = Vector512.Create(_scale);
            var i = 0;
            for (; i <= n - Vector512<T>.Count; i += Vector512<T>.Count) (Vector512.Load(x + i) * scale & DropoutMask.Kept<T>(words + i, _threshold)).Store(y + i);
            if (i < n) Lanes.Store(y + i, n - i, Lanes.Load(x + i, n - i) * scale & DropoutMask.Kept<T>(words + i, _threshold));
        }
    }
}

/// <summary>From random words to the elements that dropout keeps.</summary>
internal static unsafe class DropoutMask
{
    /// <summary>All bits set in the lanes whose word, less its lowest 8 bits, reaches the threshold.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Kept<T>(uint* words, uint threshold) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
            return Vector512.GreaterThanOrEqual((Vector512.Load(words) >>> 8).AsInt32(), Vector512.Create((int)threshold)).As<int, T>();
        var pair = Vector256.WidenLower(Vector256.Load(words));
        var wide = Vector512.Create(pair, Vector256.WidenUpper(Vector256.Load(words))) >>> 8;
        return Vector512.GreaterThanOrEqual(wide.AsInt64(), Vector512.Create((long)threshold)).As<long, T>();
    }
}
