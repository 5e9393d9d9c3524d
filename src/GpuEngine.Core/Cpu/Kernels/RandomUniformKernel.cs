using System.Numerics;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Uniform numbers from Philox; seed and offset are read at every run. f64 holds the same 24-bit numbers as f32.</summary>
internal sealed unsafe class RandomUniformKernel<T>(Node node) : CpuKernel where T : unmanaged, INumber<T>
{
    private const int Chunk = 4096;
    private readonly long _elements = node.Outputs[0].Type.Elements;
    private readonly uint _stream = (uint)((RandomUniformOp)node.Op).Stream;

    protected override bool IsParallel => _elements >= 16384;

    public override void Execute(int worker, int workers)
    {
        var (seed, offset) = ((ulong)In<long>(0)[0], (uint)In<long>(0)[1]);
        var (start, end) = Share(_elements, worker, workers, 4);
        if (typeof(T) == typeof(float))
        {
            Philox.FillUniform((float*)Out<T>(0) + start, end - start, seed, _stream, offset, start);
            return;
        }

        Span<float> chunk = stackalloc float[Chunk];
        for (var at = start; at < end; at += Chunk)
        {
            var part = chunk[..(int)Math.Min(Chunk, end - at)];
            Philox.FillUniform(part, seed, _stream, offset, at);
            for (var i = 0; i < part.Length; i++) Out<T>(0)[at + i] = T.CreateTruncating(part[i]);
        }
    }
}
