using System.Diagnostics;
using GpuEngine.Cuda;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Every compilation of the catalog through clang's NVPTX back end: the device branch of every #if compiles.</summary>
public class PtxGateTests
{
    /// <summary>What the script answers where there is no clang.</summary>
    private const int NoClang = 77;

    [Fact]
    public void Every_catalog_entry_compiles_to_ptx()
    {
        Assert.SkipWhen(KernelSources.Folder is null || OperatingSystem.IsWindows(), "The compile gate is a bash script of the repository.");
        var script = Path.Combine(KernelSources.Folder!, "..", "tools", "ptxgate", "ptxgate.sh");
        // Entries of one file with the same macros are one compilation.
        var lines = KernelCatalog.All.SelectMany(k => k.Variants.Select(v =>
            $"'{Path.Combine(KernelSources.Folder!, k.File)}' {string.Join(' ', v.Defines.Select(d => $"'-D{d.Name}={d.Value}'"))}")).Distinct().ToArray();
        var list = Path.GetTempFileName();
        try
        {
            File.WriteAllLines(list, lines);
            using var gate = Process.Start(new ProcessStartInfo("bash", [script, "--list", list]) { RedirectStandardOutput = true })!;
            var log = gate.StandardOutput.ReadToEnd();
            gate.WaitForExit();
            Assert.SkipWhen(gate.ExitCode == NoClang, log);
            Assert.True(gate.ExitCode == 0, log);
            Assert.Contains($"{2 * lines.Length} compiled", log, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(list);
        }
    }
}
