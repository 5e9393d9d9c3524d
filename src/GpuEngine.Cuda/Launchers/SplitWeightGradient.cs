using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// conv_weight_gradient.cu ("split_k"): weight gradients of 3 x 3 windows with step 1 and channels first, f32 and bf16, in one launch over
/// shares of the positions and one that adds the shares up. Tunable: "splits".
/// </summary>
internal static class SplitWeightGradient
{
    public const string Name = "split_k";

    private const int Threads = 256;

    /// <summary>Static shared memory of a block, with a little to spare.</summary>
    private const int SharedBytes = 47 << 10;

    /// <summary>What __launch_bounds__ of the kernel says.</summary>
    private const int BlocksPerMultiprocessor = 3;

    private static readonly int[] Bands = [16, 8, 4, 2, 1];

    public static bool Fits(ConvProblem p, DType dtype)
    {
        var g = p.Geometry;
        return p is { Role: ConvRole.Weight, IsChannelsLast: false, IsEmpty: false } && g.Groups == 1 && dtype is DType.F32 or DType.BF16
            && p.W[2] == 3 && p.W[3] == 3 && g.Stride.All(s => s == 1) && g.Dilation.All(d => d == 1) && Band(p) > 0;
    }

    public static PlannedKernel Create(Node node, CudaLimits limits, ConvProblem p)
    {
        var (channels, filters) = (Pairs(p.W[1]), Pairs(p.W[0]));
        var band = Band(p);
        var tiles = (long)((p.W[1] + 2 * channels - 1) / (2 * channels)) * ((p.W[0] + 2 * filters - 1) / (2 * filters));
        var items = (long)p.X[0] * ((p.Y[2] + band - 1) / band);
        var splits = limits.Tuned("splits", (int)Math.Clamp(limits.Multiprocessors * BlocksPerMultiprocessor / tiles, 1, items));
        var dtype = KernelRequest.Define("DTYPE", node.Outputs[0].DType);
        var request = new KernelRequest("conv_weight_gradient.cu", "conv_weight_gradient")
        {
            Defines =
            [
                dtype, KernelRequest.Define("C_PAIRS", channels), KernelRequest.Define("K_PAIRS", filters), KernelRequest.Define("BAND", band),
                KernelRequest.Define("COLUMNS", Columns(p)), KernelRequest.Define("PAD_H", p.Geometry.Padding[0]),
                KernelRequest.Define("PAD_W", p.Geometry.Padding[1]),
            ],
        };
        var count = p.W.Elements;
        var add = new LaunchShape(new Dim3((uint)limits.Blocks((count + 31) / 32 * Threads, Threads)), new Dim3(Threads));
        var cost = node.Op.Cost(node);
        var parts = splits * count * sizeof(float);
        return new PlannedKernel(
            node,
            new LaunchStep(
                request, new LaunchShape(new Dim3((uint)(splits * tiles)), new Dim3(Threads)), [Operand.Scratch(), Operand.In(0), Operand.In(1)],
                [p.X[0], p.X[1], p.X[2], p.X[3], p.W[0], p.Y[2], p.Y[3], splits]),
            new LaunchStep(new KernelRequest("im2col.cu", "sum_parts") { Defines = [dtype] }, add, [Operand.Out(0), Operand.Scratch()], [count, splits]))
        {
            ScratchBytes = parts,
            ExactCost = cost with { BytesRead = cost.BytesRead + parts, BytesWritten = cost.BytesWritten + parts },
        };
    }

    /// <summary>Pairs of channels or filters in a tile: a power of two, 16 at most.</summary>
    private static int Pairs(int extent)
    {
        var pairs = 1;
        while (pairs < 16 && 2 * pairs < extent) pairs *= 2;
        return pairs;
    }

    /// <summary>Positions of a row in whole vectors.</summary>
    private static int Columns(ConvProblem p) => (p.Y[3] + 3) / 4 * 4;

    /// <summary>The longest band of rows that is no longer than the image needs and fits into shared memory; 0 where none does.</summary>
    private static int Band(ConvProblem p)
    {
        var (channels, filters, columns) = (2 * Pairs(p.W[1]), 2 * Pairs(p.W[0]), Columns(p));
        return Bands.FirstOrDefault(band => (band < 2 * p.Y[2] || band == 1) && Bytes(band) <= SharedBytes);

        int Bytes(int band) => sizeof(float) * (channels * Plane((band + 2) * (columns + 4)) + filters * Plane(band * columns));
        static int Plane(int floats) => floats + (36 - floats % 32) % 32;
    }
}
