using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// A convolution as matrix products by cuBLAS over patches that im2col.cu lays out, some images at a time. A window of one element with
/// stride 1 needs no columns: the image is the matrix ("gemm"). Sums over images run in the order of the images, so results depend on
/// the extents and the workspace limit alone. Tunable: "column_kibibytes", what columns and partial sums may take (64 MiB; one
/// image's worth where that is more).
/// </summary>
internal sealed class Im2colConvolution
{
    private const int Threads = 256;
    private const int ColumnKibibytes = 64 << 10;

    private readonly Node _node;
    private readonly CudaLimits _limits;
    private readonly ConvProblem _problem;
    private readonly DType _dtype;
    private readonly DType _sumType;
    private readonly bool _plain;
    private readonly long _reserved;
    private readonly long _chunk;
    private readonly List<PlannedStep> _steps = [];

    private Im2colConvolution(Node node, CudaLimits limits, ConvProblem problem)
    {
        (_node, _limits, _problem, _plain) = (node, limits, problem, IsPlain(problem));
        _dtype = node.Outputs[0].DType;
        _sumType = _dtype == DType.F64 ? DType.F64 : DType.F32;
        _reserved = CublasProduct.WorkspaceOf(limits);
        // Counts within a launch are of 31 bits.
        var most = Math.Clamp(
            Math.Min(limits.Tuned("column_kibibytes", ColumnKibibytes) * 1024L / Math.Max(1, ColumnBytes + PartBytes), int.MaxValue / (problem.X.Elements / Images)),
            1, Images);
        var chunks = (Images + most - 1) / most;
        _chunk = (Images + chunks - 1) / chunks;
    }

    /// <summary>Whether the image itself is the matrix of patches.</summary>
    public static bool IsPlain(ConvProblem p) =>
        p.W[2] == 1 && p.W[3] == 1 && p.Geometry.Stride.All(s => s == 1) && p.Geometry.Padding.All(s => s == 0);

    /// <summary>Whether it can run: cuBLAS is there, nothing is empty, one image's columns are counted in 31 bits.</summary>
    public static bool Fits(ConvProblem p, CudaLimits limits) =>
        limits.HasCublas && !p.IsEmpty && Patches(p) * Positions(p) * p.Geometry.Groups < int.MaxValue && p.X.Elements / p.X[0] < int.MaxValue
        && Math.Max(Positions(p), Patches(p)) * p.X[0] < int.MaxValue;

    public static PlannedKernel Create(Node node, CudaLimits limits, ConvProblem problem)
    {
        var plan = new Im2colConvolution(node, limits, problem);
        plan.Record();
        return new PlannedKernel(node, [.. plan._steps])
        {
            ScratchBytes = plan._reserved + plan.PartStart + (plan.UsesParts ? plan.PartCount * problem.W.Elements * plan._sumType.Size() : 0),
            ExactCost = plan.Bytes(),
        };
    }

    private int Groups => _problem.Geometry.Groups;

    private long Images => _problem.X[0];

    private long Depth => _problem.W[1];

    /// <summary>Filters of a group.</summary>
    private long Filters => _problem.W[0] / Groups;

    private static long Patches(ConvProblem p) => (long)p.W[1] * p.W[2] * p.W[3];

    private static long Positions(ConvProblem p) => (long)p.Y[2] * p.Y[3];

    private long Patch => Patches(_problem);

    private long Places => Positions(_problem);

    /// <summary>Sums of products leave in f32 where they are added up afterwards.</summary>
    private DType ColumnType => _problem.Role == ConvRole.Input ? _sumType : _dtype;

    /// <summary>Of one image.</summary>
    private long ColumnBytes => _plain ? 0 : Places * Patch * Groups * ColumnType.Size();

    /// <summary>Of one image's share of the weight gradient; with channels last all images of a chunk share one.</summary>
    private long PartBytes => _problem.Role == ConvRole.Weight && !_problem.IsChannelsLast ? _problem.W.Elements * _sumType.Size() : 0;

    private long PartStart => (_chunk * ColumnBytes + 255) / 256 * 256;

    private void Record()
    {
        for (long first = 0; first < Images; first += _chunk)
        {
            var images = Math.Min(_chunk, Images - first);
            switch (_problem.Role)
            {
                case ConvRole.Forward:
                    if (!_plain) Gather(Operand.In(0), first, images);
                    Products(first, images);
                    break;
                case ConvRole.Input:
                    Products(first, images);
                    if (!_plain) Spread(first, images);
                    break;
                default:
                    if (!_plain) Gather(Operand.In(1), first, images);
                    Products(first, images);
                    break;
            }
        }

        if (UsesParts) SumParts();
    }

    /// <summary>The weight gradient is one product only with channels last in one chunk, or of one image.</summary>
    private bool UsesParts => _problem.Role == ConvRole.Weight && (_problem.IsChannelsLast ? _chunk < Images : Images > 1);

    private long PartCount => _problem.IsChannelsLast ? 1 : _chunk;

    private Operand Columns => Operand.Scratch(_reserved);

    private Operand Parts => Operand.Scratch(_reserved + PartStart);

    /// <summary>The image side of the products: the columns, or the images themselves.</summary>
    private Operand Patched(Operand images, long first) =>
        _plain ? images with { Offset = first * Depth * Groups * Places * _dtype.Size() } : Columns;

    private void Products(long first, long images)
    {
        var size = _dtype.Size();
        var results = first * _problem.W[0] * Places * size;
        switch (_problem.Role)
        {
            case ConvRole.Forward:
                Multiply(Patched(Operand.In(0), first), Operand.In(1), Operand.Out(0) with { Offset = results }, images, _dtype, false);
                break;
            case ConvRole.Input:
                var to = _plain ? Patched(Operand.Out(0), first) : Columns;
                Multiply(to, Operand.In(1), Operand.In(0) with { Offset = results }, images, _plain ? _dtype : _sumType, false);
                break;
            default:
                Multiply(
                    Patched(Operand.In(1), first), UsesParts ? Parts : Operand.Out(0), Operand.In(0) with { Offset = results }, images,
                    UsesParts ? _sumType : _dtype, UsesParts && first > 0);
                break;
        }
    }

    /// <summary>One of patches, weights and results from the other two, for all groups and the images of a chunk.</summary>
    private void Multiply(Operand patches, Operand weights, Operand results, long images, DType output, bool adds)
    {
        if (_problem.IsChannelsLast)
        {
            // Patches [rows, patch], results [rows, filters], weights [filters, patch], per group.
            var rows = images * Places;
            MatrixLayout patch = _plain ? new(Depth * Groups, Depth) : new(Patch, rows * Patch);
            MatrixLayout weight = new(Patch, Filters * Patch), result = new(Filters * Groups, Filters);
            Add(
                patches, weights, results, (patch, weight, result), output, adds, Groups,
                _problem.Role switch
                {
                    ConvRole.Forward => (rows, Filters, Patch),
                    ConvRole.Input => (rows, Patch, Filters),
                    _ => (Filters, Patch, rows),
                });
            return;
        }

        // Patches [patch, places], results [filters, places], weights [filters, patch], per group and image; the inner batch is the
        // larger of the two.
        var (patchStep, resultStep, weightStep) = (Patch * Places, Filters * Places, Filters * Patch);
        var overImages = images >= Groups;
        for (var i = 0L; i < (overImages ? Groups : images); i++)
        {
            var (image, group) = overImages ? (0L, i) : (i, 0L);
            var isWeight = _problem.Role == ConvRole.Weight;
            // Every image has a weight gradient of its own.
            var weightImage = isWeight ? Groups * weightStep : 0;
            MatrixLayout patch = new(Places, overImages ? patchStep * Groups : patchStep);
            MatrixLayout result = new(Places, overImages ? resultStep * Groups : resultStep);
            MatrixLayout weight = new(Patch, overImages ? weightImage : weightStep);
            Add(
                At(patches, (image * Groups + group) * patchStep, _problem.Role == ConvRole.Input ? output : _dtype),
                At(weights, image * weightImage + group * weightStep, isWeight ? output : _dtype),
                At(results, (image * Groups + group) * resultStep, _dtype),
                (patch, weight, result), output, adds, overImages ? images : Groups,
                _problem.Role switch
                {
                    ConvRole.Forward => (Filters, Places, Patch),
                    ConvRole.Input => (Patch, Places, Filters),
                    _ => (Filters, Patch, Places),
                });
        }
    }

    private static Operand At(Operand operand, long elements, DType dtype) => operand with { Offset = operand.Offset + elements * dtype.Size() };

    private void Add(
        Operand patches, Operand weights, Operand results, (MatrixLayout Patch, MatrixLayout Weight, MatrixLayout Result) layouts,
        DType output, bool adds, long batch, (long M, long N, long K) extents)
    {
        var (patch, weight, result) = layouts;
        static MatrixLayout Turned(MatrixLayout layout) => layout with { Transposed = true };
        var ((a, first), (b, second), (c, third)) = (_problem.Role, _problem.IsChannelsLast) switch
        {
            (ConvRole.Forward, true) => ((patches, patch), (weights, Turned(weight)), (results, result)),
            (ConvRole.Forward, false) => ((weights, weight), (patches, patch), (results, result)),
            (ConvRole.Input, true) => ((results, result), (weights, weight), (patches, patch)),
            (ConvRole.Input, false) => ((weights, Turned(weight)), (results, result), (patches, patch)),
            (_, true) => ((results, Turned(result)), (patches, patch), (weights, weight)),
            _ => ((results, result), (patches, Turned(patch)), (weights, weight)),
        };
        _steps.Add(new ProductStep(a, b, c)
        {
            Extents = (extents.M, extents.N, extents.K, batch),
            Layouts = (first, second, third),
            DType = _dtype,
            OutputType = output,
            Adds = adds,
            Compute = CublasProduct.ComputeType(_dtype, _limits),
            Reserved = _reserved,
        });
    }

    private void Gather(Operand from, long first, long images)
    {
        var x = _node.Inputs[from.Index];
        var width = 16 / _dtype.Size();
        // Where channels do not fill vectors, a vector of columns is put together from elements.
        var vector = _problem.IsChannelsLast ? VectorWidth.Dividing(_dtype, Depth, [x]) : 1;
        var gathers = vector < width;
        var elements = images * Places * Patch * Groups;
        Launch("im2col", width, gathers, (elements + width - 1) / width, [Columns, from], first, images);
    }

    private void Spread(long first, long images)
    {
        var dx = _node.Outputs[0];
        var vector = VectorWidth.Dividing(_dtype, _problem.IsChannelsLast ? Depth : _problem.X[3], [dx]);
        var elements = images * _problem.X.Elements / Images;
        Launch("col2im", vector, !_problem.IsChannelsLast, elements / vector, [Operand.Out(0), Columns], first, images);
    }

    private void SumParts()
    {
        var count = _problem.W.Elements;
        var request = Request("sum_parts", []);
        _steps.Add(new LaunchStep(
            request, new LaunchShape(new Dim3((uint)_limits.Blocks((count + 31) / 32 * Threads, Threads)), new Dim3(Threads)),
            [Operand.Out(0), Parts], [count, PartCount]));
    }

    private void Launch(string entry, int vector, bool gathers, long items, Operand[] operands, long first, long images)
    {
        var (x, y, w, g) = (_problem.X, _problem.Y, _problem.W, _problem.Geometry);
        var request = Request(
            entry,
            [
                KernelRequest.Define("CHANNELS_LAST", _problem.IsChannelsLast ? 1 : 0), KernelRequest.Define("VECTOR", vector),
                KernelRequest.Define("GATHER", gathers ? 1 : 0), KernelRequest.Define("WINDOW_H", w[2]), KernelRequest.Define("WINDOW_W", w[3]),
                KernelRequest.Define("STRIDE_H", g.Stride[0]), KernelRequest.Define("STRIDE_W", g.Stride[1]),
                KernelRequest.Define("PAD_H", g.Padding[0]), KernelRequest.Define("PAD_W", g.Padding[1]),
                KernelRequest.Define("DILATION_H", g.Dilation[0]), KernelRequest.Define("DILATION_W", g.Dilation[1]),
            ]);
        _steps.Add(new LaunchStep(
            request, new LaunchShape(new Dim3((uint)_limits.Blocks(items, Threads)), new Dim3(Threads)), operands,
            [first, images, x[1], x[2], x[3], y[2], y[3], g.Groups]));
    }

    private KernelRequest Request(string entry, IReadOnlyList<(string, string)> defines) =>
        new("im2col.cu", entry) { Defines = [KernelRequest.Define("DTYPE", _dtype), .. defines] };

    /// <summary>
    /// What moves through memory: operands once, columns and parts written and read; an image's element that several taps read
    /// counts once, the cache has it.
    /// </summary>
    private Cost Bytes()
    {
        var columns = Images * ColumnBytes;
        var parts = UsesParts ? PartCount * _problem.W.Elements * _sumType.Size() * ((Images + _chunk - 1) / _chunk) : 0;
        var cost = _node.Op.Cost(_node);
        return cost with { BytesRead = cost.BytesRead + columns + parts, BytesWritten = cost.BytesWritten + columns + parts };
    }
}
