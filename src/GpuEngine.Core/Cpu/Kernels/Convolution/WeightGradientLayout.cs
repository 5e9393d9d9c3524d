using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Where the operands and sums of a weight gradient lie in its workspace. Everything counts elements.</summary>
internal sealed unsafe class WeightGradientLayout<T> where T : unmanaged
{
    private const int MostRowsTogether = 3;

    private readonly int _lanes;
    private readonly int _zeroRows;

    public WeightGradientLayout(ConvGeometry g, Shape x, Shape w, Shape y, int register)
    {
        (Groups, InChannels, OutChannels) = (g.Groups, w[1], w[0] / g.Groups);
        (KernelHeight, KernelWidth, OutputHeight, OutputColumns) = (w[2], w[3], y[2], y[3]);
        Rows = ConvAxis.Forward(y[2], x[2], w[2], g.Stride[0], g.Padding[0], g.Dilation[0]);
        Columns = ConvAxis.Forward(y[3], x[3], w[3], g.Stride[1], g.Padding[1], g.Dilation[1]);
        InputPlane = x[2] * x[3];
        Pitch = Columns.PadLow + x[3] + Columns.PadHigh;
        // Rows of a tile may be channels of one place: their planes must not fall on the same cache sets.
        Plane = x[2] * Pitch;
        if (Plane * sizeof(T) % 512 == 0) Plane += register;
        TapStep = g.Dilation[1];
        FullPanel = 2 * register;
        _lanes = (OutChannels + register - 1) / register * register;
        Panels = (_lanes + FullPanel - 1) / FullPanel;

        var shifts = g.Dilation[0] % g.Stride[0] == 0;
        RowShift = shifts ? g.Dilation[0] / g.Stride[0] : 0;
        RowParts = shifts && _lanes == register ? (KernelHeight + MostRowsTogether - 1) / MostRowsTogether : KernelHeight;
        RowsTogether = (KernelHeight + RowParts - 1) / RowParts;
        _zeroRows = (RowsTogether - 1) * RowShift;
        Registers = RowsTogether > 1 ? RowsTogether : Math.Min(_lanes, FullPanel) / register;
        RowsAreTaps = KernelWidth > InChannels;

        SumElements = RoundUp((nint)Groups * InChannels * Taps * _lanes);
        ImageElements = RoundUp((nint)InChannels * Plane);
        GradientElements = RoundUp((nint)(OutputHeight + 2 * _zeroRows) * OutputColumns * _lanes);
        Table = GC.AllocateArray<int>(Math.Max(1, (OutputHeight + _zeroRows) * OutputColumns), pinned: true);
        for (var p = 0; p < OutputHeight + _zeroRows; p++)
        {
            for (var q = 0; q < OutputColumns; q++) Table[p * OutputColumns + q] = p * g.Stride[0] * Pitch + q * g.Stride[1];
        }
    }

    public int Groups { get; }

    /// <summary>Per group, as is <see cref="OutChannels"/>.</summary>
    public int InChannels { get; }

    public int OutChannels { get; }

    public int KernelHeight { get; }

    public int KernelWidth { get; }

    public int Taps => KernelHeight * KernelWidth;

    public int OutputHeight { get; }

    public int OutputColumns { get; }

    public int Pixels => OutputHeight * OutputColumns;

    public ConvAxis Rows { get; }

    public ConvAxis Columns { get; }

    /// <summary>A channel of the input as it is given, and with the zeros beside its rows.</summary>
    public int InputPlane { get; }

    public nint Plane { get; }

    public int Pitch { get; }

    /// <summary>From one tap of a row of the window to the next.</summary>
    public int TapStep { get; }

    /// <summary>Output channels per panel: two registers, fewer in the last one.</summary>
    public int FullPanel { get; }

    public int Panels { get; }

    /// <summary>Whether the rows of a tile are the taps of a row of the window rather than input channels.</summary>
    public bool RowsAreTaps { get; }

    /// <summary>Rows of the window that share a tile (at most), in <see cref="RowParts"/> parts.</summary>
    public int RowsTogether { get; }

    public int RowParts { get; }

    /// <summary>Output rows between two rows of the window that meet the same input.</summary>
    public int RowShift { get; }

    /// <summary>The most registers per row of a tile.</summary>
    public int Registers { get; }

    public nint SumElements { get; }

    /// <summary>One group of one image, padded.</summary>
    public nint ImageElements { get; }

    /// <summary>The gradient of one group of one image, [panel][row][column][lane], with rows of zeros around.</summary>
    public nint GradientElements { get; }

    /// <summary>Where the input of each output pixel lies, also of the rows of zeros that follow.</summary>
    public int[] Table { get; }

    public int PanelWidth(int panel) => Math.Min(FullPanel, _lanes - panel * FullPanel);

    /// <summary>Row <paramref name="row"/> of a panel of a gradient.</summary>
    public T* Gradient(T* gradient, int panel, int row)
    {
        var rows = (nint)panel * FullPanel * (OutputHeight + 2 * _zeroRows);
        return gradient + (rows + (nint)(row + _zeroRows) * PanelWidth(panel)) * OutputColumns;
    }

    /// <summary>The sums of a panel for an input channel: [tap][lane].</summary>
    public T* At(T* sums, int group, int panel, int channel) =>
        sums + ((nint)group * _lanes + panel * FullPanel) * InChannels * Taps + (nint)channel * Taps * PanelWidth(panel);

    /// <summary>The output rows [Start, End) that meet the input at row r of the window, prolonged for the rows that share its tile.</summary>
    public (int Start, int End) OutputRows(int r, int together)
    {
        var (offset, stride) = (Rows.Classes[0].Offsets[r], Rows.InStep);
        var start = Math.Max(0, (-offset + stride - 1) / stride);
        var end = Math.Min(OutputHeight + (together - 1) * RowShift, (Rows.Input - 1 - offset + stride) / stride);
        return end <= start ? (0, 0) : (start, end);
    }

    private static nint RoundUp(nint elements) => (elements + 63) / 64 * 64;
}
