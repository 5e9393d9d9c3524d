using System.Runtime.CompilerServices;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// The weights of a <see cref="ConvTask"/> in the order in which tiles read them: per group, per block of output channels, per class
/// of output rows and columns: [tap row][input channel][tap column][channel of the block]; and, per class, where the image lies at
/// each of these steps. Tap rows are outermost, so that a tile at the edge leaves out those that fall outside.
/// </summary>
internal sealed unsafe class ConvWeights<T> where T : unmanaged
{
    private readonly ConvTask _task;
    private readonly int _padTo;
    private readonly nint[] _classOffsets;
    private readonly int[] _tables;
    private readonly nint[] _tableOffsets;

    /// <param name="task">The convolution.</param>
    /// <param name="block">Output channels of a block.</param>
    /// <param name="padTo">The last block is filled up to a multiple of this.</param>
    /// <param name="plane">Elements between two channels of the image.</param>
    /// <param name="pitch">Elements between two rows of the image.</param>
    public ConvWeights(ConvTask task, int block, int padTo, nint plane, int pitch)
    {
        (_task, _padTo, Block) = (task, padTo, block);
        Blocks = (task.OutChannels + block - 1) / block;
        var columnClasses = task.Columns.Classes.Length;
        _classOffsets = new nint[task.Rows.Classes.Length * columnClasses + 1];
        _tableOffsets = new nint[_classOffsets.Length];
        var table = new List<int>();
        for (var i = 0; i < _classOffsets.Length - 1; i++)
        {
            var (rows, columns) = (task.Rows.Classes[i / columnClasses], task.Columns.Classes[i % columnClasses]);
            foreach (var row in rows.Offsets)
            {
                for (var c = 0; c < task.InChannels; c++)
                {
                    foreach (var column in columns.Offsets) table.Add(checked((int)(row * pitch + c * plane + column)));
                }
            }

            _classOffsets[i + 1] = table.Count;
            _tableOffsets[i + 1] = table.Count;
        }

        _tables = GC.AllocateArray<int>(Math.Max(1, table.Count), pinned: true);
        table.CopyTo(_tables);
        Depth = table.Count;
        Elements = (nint)task.Groups * GroupElements;
    }

    public int Block { get; }

    public int Blocks { get; }

    /// <summary>Taps times input channels, over all classes.</summary>
    public nint Depth { get; }

    public nint Elements { get; }

    /// <summary>Blocks of all groups: the units of <see cref="Pack"/>.</summary>
    public int Units => _task.Groups * Blocks;

    private nint GroupElements => Depth * Width(0, Blocks - 1);

    /// <summary>Output channels of a block with the filling.</summary>
    public int BlockWidth(int index) => (int)(Width(0, index) - Width(0, index - 1));

    /// <summary>The steps of a class at which its tap row number <paramref name="tapRow"/> begins.</summary>
    public nint Step(int columnClass, int tapRow) =>
        (nint)tapRow * _task.InChannels * _task.Columns.Classes[columnClass].Taps.Length;

    public int* Table(int rowClass, int columnClass) =>
        (int*)Unsafe.AsPointer(ref _tables[0]) + _tableOffsets[rowClass * _task.Columns.Classes.Length + columnClass];

    /// <summary>The first weight of a class in a block of a group.</summary>
    public T* At(T* packed, int group, int block, int rowClass, int columnClass) =>
        packed + group * GroupElements + Depth * Width(0, block - 1)
            + _classOffsets[rowClass * _task.Columns.Classes.Length + columnClass] * BlockWidth(block);

    /// <summary>Packs the blocks [start, end) of all groups.</summary>
    public void Pack(T* weights, T* packed, int start, int end)
    {
        for (var unit = start; unit < end; unit++)
        {
            var (group, block) = (unit / Blocks, unit % Blocks);
            var (first, width) = (block * Block, BlockWidth(block));
            var real = Math.Min(width, _task.OutChannels - first);
            var source = weights + group * _task.GroupStride + first * _task.OutStride;
            var target = At(packed, group, block, 0, 0);
            foreach (var rows in _task.Rows.Classes)
            {
                foreach (var columns in _task.Columns.Classes)
                {
                    foreach (var r in rows.Taps)
                    {
                        for (var c = 0; c < _task.InChannels; c++)
                        {
                            foreach (var s in columns.Taps)
                            {
                                var from = source + c * _task.InStride + r * _task.KernelWidth + s;
                                for (var o = 0; o < real; o++) target[o] = from[o * _task.OutStride];
                                for (var o = real; o < width; o++) target[o] = default;
                                target += width;
                            }
                        }
                    }
                }
            }
        }
    }

    /// <summary>Channels, with the filling, of blocks [first, last].</summary>
    private nint Width(int first, int last)
    {
        var channels = Math.Min((last + 1) * Block, _task.OutChannels) - first * Block;
        return last < first ? 0 : (nint)(channels + _padTo - 1) / _padTo * _padTo;
    }
}
