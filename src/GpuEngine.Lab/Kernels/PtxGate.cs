using System.Diagnostics;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Lab.Kernels;

/// <summary>What clang's NVPTX back end says of one set of compile-time constants.</summary>
/// <param name="Architecture">"sm_80" or "sm_90".</param>
/// <param name="Ptx">The result; null when it does not compile.</param>
/// <param name="Log">Warnings and errors.</param>
public sealed record PtxResult(string Architecture, string? Ptx, string Log);

/// <summary>tools/ptxgate: compiles kernels to PTX without CUDA, in a repository on Linux with clang.</summary>
public static class PtxGate
{
    private const int NoClang = 77;

    private static readonly string[] Architectures = ["sm_80", "sm_90"];

    /// <summary>Why there is no gate here, or null.</summary>
    public static string? Missing
    {
        get
        {
            if (KernelSources.Folder is null || OperatingSystem.IsWindows()) return "the PTX gate is a bash script of the repository";
            return Run([]).Code == NoClang ? "clang is not installed" : null;
        }
    }

    /// <summary>One compilation for each architecture.</summary>
    public static IReadOnlyList<PtxResult> Compile(KernelRequest request)
    {
        var folder = Directory.CreateTempSubdirectory("gpuengine-ptx-");
        try
        {
            var file = Path.Combine(KernelSources.Folder!, request.Source);
            string[] defines = [.. request.Defines.Select(d => $"-D{d.Name}={d.Value}")];
            return
            [
                .. Architectures.Select(architecture =>
                {
                    var (code, log) = Run(["-a", architecture, "-o", folder.FullName, file, .. defines]);
                    var path = Path.Combine(folder.FullName, $"{Path.GetFileNameWithoutExtension(request.Source)}.{architecture}.ptx");
                    // The last line counts what was compiled.
                    var said = string.Join('\n', log.TrimEnd().Split('\n')[..^1]);
                    return new PtxResult(architecture, code == 0 ? File.ReadAllText(path) : null, said);
                }),
            ];
        }
        finally
        {
            folder.Delete(true);
        }
    }

    private static (int Code, string Log) Run(string[] arguments)
    {
        var script = Path.Combine(KernelSources.Folder!, "..", "tools", "ptxgate", "ptxgate.sh");
        using var gate = Process.Start(new ProcessStartInfo("bash", [script, .. arguments]) { RedirectStandardOutput = true })!;
        var log = gate.StandardOutput.ReadToEnd();
        gate.WaitForExit();
        return (gate.ExitCode, log);
    }
}
