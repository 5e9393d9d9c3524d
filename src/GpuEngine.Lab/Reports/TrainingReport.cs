using System.Globalization;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Files;
using GpuEngine.Nn.Training;

namespace GpuEngine.Lab.Reports;

/// <summary>The report of a training run: how it learned, where the time went, where the memory went, with which options.</summary>
public static class TrainingReport
{
    public static void Write(JobResult result, RunConfig config, Dataset data)
    {
        var page = new HtmlPage($"{config.Model} on {data.Name}")
            .Lead(Text($"Test error {result.Test.Error:P2} (loss {result.Test.Loss:F4}) on {result.Test.Examples} images after {result.Epochs.Count} epochs."));
        if (result.Averaged is { } averaged) page.Paragraph(Text($"With the probabilities of several views averaged ({config.Tta}): test error {averaged.Error:P2} (loss {averaged.Loss:F4})."));
        Curves(page, result.Epochs);
        Bottlenecks(page, result);
        Memory(page, result);
        page.Heading("Options").Table(["option", "value"], config.ToJson().Select(o => (IReadOnlyList<string>)[o.Key, o.Value?.ToJsonString() ?? ""]));
        AtomicFile.WriteAllText(result.Report, page.ToString());
    }

    private static void Curves(HtmlPage page, IReadOnlyList<EpochMetrics> epochs)
    {
        double[] x = [.. epochs.Select(e => (double)e.Epoch)];
        List<Curve> losses = [new("training", x, [.. epochs.Select(e => e.TrainLoss)])];
        List<Curve> errors = [new("training", x, [.. epochs.Select(e => 1 - e.TrainAccuracy)])];
        if (epochs.Any(e => e.ValLoss is not null))
        {
            losses.Add(new("validation", x, [.. epochs.Select(e => e.ValLoss ?? double.NaN)]));
            errors.Add(new("validation", x, [.. epochs.Select(e => 1 - (e.ValAccuracy ?? double.NaN))]));
        }

        page.Heading("Learning").Charts(
            LineChart.Draw("Loss", "epoch", "cross entropy", losses),
            LineChart.Draw("Error", "epoch", "share of wrong answers", errors),
            LineChart.Draw("Learning rate", "epoch", "rate at the end of the epoch", [new("lr", x, [.. epochs.Select(e => e.Lr)])]),
            LineChart.Draw("Speed", "epoch", "images per second", [new("training", x, [.. epochs.Select(e => e.ImagesPerSecond)])]));
    }

    private static void Bottlenecks(HtmlPage page, JobResult result)
    {
        var (ledger, rates) = (result.Ledger, result.Ledger.Rates);
        page.Heading("Where a step's time goes").Paragraph(Text(
            $"One training step takes {ledger.Seconds * 1e3:F2} ms; {ledger.ByOp().Sum(r => r.LimitSeconds) * 1e3:F2} ms if every op ran at the limit of this machine, measured in the same run: copy {rates.BytesPerSecond / 1e9:F1} GB/s (bytes read plus written), GEMM {rates.FlopsPerSecond / 1e9:F0} GFLOP/s on random data, an empty launch {rates.LaunchSeconds * 1e6:F1} us. Bytes and flops are exact by formula; times are medians."));
        string[] columns = ["op", "launches", "ms/step", "share", "MB", "MFLOP", "GB/s", "GFLOP/s", "at its limit", "bound by"];
        page.Table(columns, ledger.ByOp().Select(r => Row(r, ledger.Seconds, r.Op)));
        page.Heading("The slowest layers").Table(columns, ledger.ByLayer().Take(20).Select(r => Row(r, ledger.Seconds, $"{r.Layer} {r.Op}")));
    }

    private static IReadOnlyList<string> Row(Measure.LedgerRow r, double total, string name) =>
    [
        name, Text($"{r.Launches}"), Text($"{r.Seconds * 1e3:F3}"), Text($"{r.Seconds / total:P1}"), Text($"{r.Cost.Bytes / 1e6:F2}"), Text($"{r.Cost.Flops / 1e6:F1}"),
        Text($"{r.GigabytesPerSecond:F1}"), Text($"{r.GigaflopsPerSecond:F1}"), Text($"{r.LimitSeconds / r.Seconds:P0}"), r.Verdict.ToString().ToLowerInvariant(),
    ];

    private static void Memory(HtmlPage page, JobResult result) =>
        page.Heading("Device memory").Table(
            ["class", "bytes"],
            result.AllocatedBytes.OrderByDescending(p => p.Value).Select(p => (IReadOnlyList<string>)[p.Key.ToString().ToLowerInvariant(), Text($"{p.Value:N0}")]));

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
