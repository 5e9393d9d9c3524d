using System.Diagnostics;
using GpuEngine.Cuda;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Runs tools/ptxgate on a list of compilations; skips the calling test where there is no clang.</summary>
internal static class PtxGate
{
    /// <summary>What the script answers where there is no clang.</summary>
    private const int NoClang = 77;

    /// <summary>The kernels/ folder of the repository; skips the calling test outside of one.</summary>
    public static string Folder
    {
        get
        {
            var missing = KernelSources.Folder is null || OperatingSystem.IsWindows();
            Assert.SkipWhen(missing, "The compile gate is a bash script of the repository.");
            return KernelSources.Folder!;
        }
    }

    /// <summary>Asserts that every line (a file and its options, quoted for the shell) compiles for every architecture.</summary>
    public static void Compile(IReadOnlyCollection<string> lines, params string[] architectures)
    {
        var script = Path.Combine(Folder, "..", "tools", "ptxgate", "ptxgate.sh");
        var list = Path.GetTempFileName();
        try
        {
            File.WriteAllLines(list, lines);
            using var gate = Process.Start(new ProcessStartInfo("bash", [script, "-a", string.Join(',', architectures), "--list", list])
            {
                RedirectStandardOutput = true,
            })!;
            var log = gate.StandardOutput.ReadToEnd();
            gate.WaitForExit();
            Assert.SkipWhen(gate.ExitCode == NoClang, log);
            Assert.True(gate.ExitCode == 0, log);
            Assert.Contains($"{architectures.Length * lines.Count} compiled", log, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(list);
        }
    }
}
