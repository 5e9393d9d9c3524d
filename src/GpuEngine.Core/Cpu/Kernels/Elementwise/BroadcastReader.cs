using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Delivers an operand as contiguous tiles of a broadcast shape. A full operand is used where it lies; a repeated one is
/// unrolled into a scratch tile run by run.
/// </summary>
internal sealed unsafe class BroadcastReader
{
    private readonly int[] _extents;
    private readonly long[] _strides;
    private readonly int _size;

    public BroadcastReader(TensorType operand, Shape iteration)
    {
        _size = operand.DType.Size();
        IsFull = operand.Shape.Elements == iteration.Elements;
        var lead = iteration.Rank - operand.Shape.Rank;
        var own = operand.Shape.Strides();
        var extents = new List<int>();
        var strides = new List<long>();
        for (var axis = 0; axis < iteration.Rank; axis++)
        {
            var extent = iteration[axis];
            if (extent == 1) continue;
            var stride = axis < lead || operand.Shape[axis - lead] == 1 ? 0 : own[axis - lead];
            // Neighbouring axes merge when stepping over the inner one's end lands on the outer one's next element.
            if (extents.Count > 0 && strides[^1] == stride * extent)
            {
                extents[^1] *= extent;
                strides[^1] = stride;
            }
            else
            {
                extents.Add(extent);
                strides.Add(stride);
            }
        }

        if (extents.Count == 0)
        {
            extents.Add(1);
            strides.Add(0);
        }

        _extents = [.. extents];
        _strides = [.. strides];
    }

    /// <summary>True when no element is repeated, so tiles need no copy.</summary>
    public bool IsFull { get; }

    /// <summary>The operand's elements [start, start + count) in the order of the iteration shape.</summary>
    public byte* Tile(byte* operand, long start, int count, byte* scratch)
    {
        if (IsFull) return operand + start * _size;
        switch (_size)
        {
            case 8: Unroll((ulong*)operand, (ulong*)scratch, start, count); break;
            case 4: Unroll((uint*)operand, (uint*)scratch, start, count); break;
            case 2: Unroll((ushort*)operand, (ushort*)scratch, start, count); break;
            default: Unroll(operand, scratch, start, count); break;
        }

        return scratch;
    }

    [SkipLocalsInit]
    private void Unroll<T>(T* operand, T* scratch, long start, int count) where T : unmanaged
    {
        var rank = _extents.Length;
        var at = stackalloc int[rank];
        var rest = start;
        var offset = 0L;
        for (var axis = rank - 1; axis >= 0; axis--)
        {
            at[axis] = (int)(rest % _extents[axis]);
            rest /= _extents[axis];
            offset += at[axis] * _strides[axis];
        }

        var inner = rank - 1;
        var done = 0;
        while (done < count)
        {
            var run = Math.Min(count - done, _extents[inner] - at[inner]);
            var target = new Span<T>(scratch + done, run);
            if (_strides[inner] == 0) target.Fill(operand[offset]);
            else new ReadOnlySpan<T>(operand + offset, run).CopyTo(target);
            done += run;
            at[inner] += run;
            offset += run * _strides[inner];
            for (var axis = inner; axis > 0 && at[axis] == _extents[axis]; axis--)
            {
                offset += _strides[axis - 1] - at[axis] * _strides[axis];
                at[axis] = 0;
                at[axis - 1]++;
            }
        }
    }
}
