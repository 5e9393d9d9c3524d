using GpuEngine.Core;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda;

/// <summary>Finds the simulator and puts it in the place of the CUDA libraries.</summary>
public static class Simulator
{
    /// <summary>Names the library file, in place of the one found.</summary>
    public const string PathVariable = "GPUENGINE_CUDASIM";

    private const string FileName = "libcudasim.so";

    /// <summary>
    /// The library: the one named by the environment, beside the program, or built in the repository; null when there is none.
    /// </summary>
    public static string? Find()
    {
        if (Environment.GetEnvironmentVariable(PathVariable) is { Length: > 0 } chosen) return chosen;
        var beside = Path.Combine(AppContext.BaseDirectory, FileName);
        if (File.Exists(beside)) return beside;
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (!File.Exists(Path.Combine(folder.FullName, "GpuEngine.sln"))) continue;
            string[] places =
            [
                Path.Combine(folder.FullName, "artifacts", "cudasim", FileName),
                Path.Combine(folder.FullName, "tools", "cudasim", "build", FileName),
            ];
            return places.FirstOrDefault(File.Exists);
        }

        return null;
    }

    /// <summary>Makes this process use the simulator.</summary>
    /// <exception cref="UserException">It is not built, or a real library is in use already.</exception>
    public static void Use()
    {
        if (NativeLibraries.IsSimulated) return;
        var path = Find() ?? throw new UserException(
            $"The simulator {FileName} is not built: run tools/cudasim/build.sh (it needs g++ or clang++), or set " +
            $"{PathVariable} to the file.");
        if (!File.Exists(path))
        {
            throw new UserException(
                $"The simulator '{path}' of {PathVariable} does not exist: run tools/cudasim/build.sh and name its {FileName}.");
        }

        try
        {
            NativeLibraries.UseSimulator(path);
        }
        catch (InvalidOperationException exception)
        {
            throw new UserException(
                "This process uses the real CUDA libraries already, and a process uses either those or the simulator: start " +
                "another one with --device sim.", exception);
        }
    }
}
