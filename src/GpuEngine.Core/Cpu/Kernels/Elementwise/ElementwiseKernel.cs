using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Runs an element-wise op tile by tile: operands come from where they lie or, repeated by broadcasting, from a tile of
/// scratch that stays in the first-level cache.
/// </summary>
internal sealed unsafe class ElementwiseKernel : CpuKernel
{
    private const int TileElements = 1024;
    private const int TileBytes = TileElements * sizeof(double);

    private readonly delegate*<void*, void*, void*, void*, int, void> _function;
    private readonly BroadcastReader[] _readers;
    private readonly long _elements;
    private readonly int _outputSize;
    private readonly int _workers;

    private ElementwiseKernel(Node node, delegate*<void*, void*, void*, void*, int, void> function, int workers)
    {
        _function = function;
        _workers = workers;
        var output = node.Outputs[0].Type;
        _elements = output.Elements;
        _outputSize = output.DType.Size();
        _readers = [.. node.Inputs.Select(t => new BroadcastReader(t.Type, output.Shape))];
    }

    public override long WorkspaceBytes => _readers.Any(r => !r.IsFull) ? (long)_workers * _readers.Length * TileBytes : 0;

    protected override bool IsParallel => _elements >= 16384;

    public static CpuKernel? Create(Node node, int workers)
    {
        if (node.Op is ConstantOp) return new FillKernel(node);
        var function = node.Op switch
        {
            CastOp cast => CastFunctions.Find(node.Inputs[0].DType, cast.To),
            BroadcastToOp => CastFunctions.Find(node.Inputs[0].DType, node.Inputs[0].DType),
            WhereOp => TileFunctions.Find(node.Op, node.Inputs[1].DType),
            _ => TileFunctions.Find(node.Op, node.Inputs[0].DType),
        };
        return function == null ? null : new ElementwiseKernel(node, function, workers);
    }

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_elements, worker, workers, TileElements);
        var scratch = (byte*)Workspace + (long)worker * _readers.Length * TileBytes;
        var operands = stackalloc byte*[3];
        for (var at = start; at < end; at += TileElements)
        {
            var count = (int)Math.Min(TileElements, end - at);
            for (var i = 0; i < _readers.Length; i++) operands[i] = _readers[i].Tile(In<byte>(i), at, count, scratch + i * TileBytes);
            _function(Out<byte>(0) + at * _outputSize, operands[0], operands[1], operands[2], count);
        }
    }
}
