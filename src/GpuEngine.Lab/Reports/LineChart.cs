using System.Globalization;
using System.Net;
using System.Text;

namespace GpuEngine.Lab.Reports;

/// <summary>One curve.</summary>
public sealed record Curve(string Name, IReadOnlyList<double> X, IReadOnlyList<double> Y);

/// <summary>A line chart as SVG text, readable in light and dark pages. Points that are not finite are left out.</summary>
public static class LineChart
{
    private const int Width = 640, Height = 300, Left = 64, Right = 16, Top = 34, Bottom = 40;

    private static readonly string[] Colors = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2"];

    public static string Draw(string title, string xLabel, string yLabel, IReadOnlyList<Curve> curves, bool logY = false)
    {
        var points = curves.SelectMany(c => c.X.Zip(c.Y)).Where(p => Usable(p.Second, logY)).ToList();
        var svg = new StringBuilder();
        svg.Append(Invariant($"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"{WebUtility.HtmlEncode(title)}\">"));
        svg.Append(Invariant($"<text x=\"{Left}\" y=\"18\" class=\"title\">{WebUtility.HtmlEncode(title)}</text>"));
        if (points.Count == 0) return svg.Append("<text x=\"64\" y=\"150\">no finite values</text></svg>").ToString();
        var x = new Axis(points.Min(p => p.First), points.Max(p => p.First), false);
        var y = new Axis(points.Min(p => p.Second), points.Max(p => p.Second), logY);
        Grid(svg, x, y, xLabel, yLabel);
        for (var i = 0; i < curves.Count; i++) Line(svg, curves[i], i, x, y, logY);
        return svg.Append("</svg>").ToString();
    }

    private static void Grid(StringBuilder svg, Axis x, Axis y, string xLabel, string yLabel)
    {
        foreach (var tick in y.Ticks())
        {
            var at = Py(y, tick);
            svg.Append(Invariant($"<line x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{at:F1}\" y2=\"{at:F1}\" class=\"grid\"/>"));
            svg.Append(Invariant($"<text x=\"{Left - 8}\" y=\"{at + 4:F1}\" text-anchor=\"end\">{Number(tick)}</text>"));
        }

        foreach (var tick in x.Ticks())
            svg.Append(Invariant($"<text x=\"{Px(x, tick):F1}\" y=\"{Height - Bottom + 16}\" text-anchor=\"middle\">{Number(tick)}</text>"));
        svg.Append(Invariant($"<text x=\"{(Left + Width - Right) / 2}\" y=\"{Height - 6}\" text-anchor=\"middle\">{WebUtility.HtmlEncode(xLabel)}</text>"));
        svg.Append(Invariant($"<text x=\"14\" y=\"{(Top + Height - Bottom) / 2}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {(Top + Height - Bottom) / 2})\">{WebUtility.HtmlEncode(yLabel)}</text>"));
    }

    private static void Line(StringBuilder svg, Curve curve, int index, Axis x, Axis y, bool logY)
    {
        var color = Colors[index % Colors.Length];
        var path = string.Join(" ", curve.X.Zip(curve.Y).Where(p => Usable(p.Second, logY)).Select(p => Invariant($"{Px(x, p.First):F1},{Py(y, p.Second):F1}")));
        svg.Append(Invariant($"<polyline points=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>"));
        foreach (var (px, py) in curve.X.Zip(curve.Y).Where(p => Usable(p.Second, logY)))
            svg.Append(Invariant($"<circle cx=\"{Px(x, px):F1}\" cy=\"{Py(y, py):F1}\" r=\"2.5\" fill=\"{color}\"><title>{WebUtility.HtmlEncode(curve.Name)}: {Number(py)} at {Number(px)}</title></circle>"));
        svg.Append(Invariant($"<text x=\"{Width - Right}\" y=\"{Top + 14 * index}\" text-anchor=\"end\" fill=\"{color}\" class=\"legend\">{WebUtility.HtmlEncode(curve.Name)}</text>"));
    }

    private static bool Usable(double value, bool log) => double.IsFinite(value) && (!log || value > 0);

    private static double Px(Axis axis, double value) => Left + axis.Share(value) * (Width - Left - Right);

    private static double Py(Axis axis, double value) => Height - Bottom - axis.Share(value) * (Height - Top - Bottom);

    private static string Number(double value) => value.ToString(Math.Abs(value) is >= 1e5 or (> 0 and < 1e-3) ? "0.##e0" : "0.####", CultureInfo.InvariantCulture);

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    /// <summary>A linear or logarithmic scale with round ticks.</summary>
    private sealed class Axis
    {
        private readonly double _low;
        private readonly double _high;
        private readonly bool _log;

        public Axis(double low, double high, bool log)
        {
            _log = log;
            var (a, b) = log ? (Math.Log10(low), Math.Log10(high)) : (low, high);
            if (a == b) (a, b) = (a - 0.5, b + 0.5);
            (_low, _high) = (a, b);
        }

        public double Share(double value) => ((_log ? Math.Log10(value) : value) - _low) / (_high - _low);

        public IEnumerable<double> Ticks()
        {
            var raw = (_high - _low) / 5;
            var unit = Math.Pow(10, Math.Floor(Math.Log10(raw)));
            var step = unit * ((raw / unit) switch { < 1.5 => 1, < 3.5 => 2, < 7.5 => 5, _ => 10 });
            for (var t = Math.Ceiling(_low / step) * step; t <= _high + step * 1e-9; t += step)
                yield return _log ? Math.Pow(10, t) : Math.Abs(t) < step * 1e-9 ? 0 : t;
        }
    }
}
