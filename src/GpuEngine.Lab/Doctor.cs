using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Lab;

/// <summary>What the machine has and what the engine will use of it, as one JSON object that is also printed for people.</summary>
public static class Doctor
{
    public static JsonObject Examine()
    {
        var cuda = CudaDoctor.Collect();
        return new JsonObject
        {
            ["engine"] = typeof(Doctor).Assembly.GetName().Version?.ToString(3),
            ["runtime"] = RuntimeInformation.FrameworkDescription,
            ["system"] = RuntimeInformation.OSDescription,
            ["cpu"] = Cpu(),
            ["cuda"] = new JsonObject
            {
                ["verdict"] = cuda.Verdict,
                ["usable"] = cuda.IsUsable,
                ["driver"] = cuda.DriverVersion,
                ["profiling"] = cuda.Profiling,
                ["devices"] = new JsonArray([.. cuda.Devices.Select(d => (JsonNode)Device(d))]),
                ["libraries"] = new JsonArray([.. cuda.Libraries.Select(l => (JsonNode)Library(l))]),
            },
            ["device_used"] = cuda.IsUsable ? "cuda" : "cpu",
        };
    }

    private static JsonObject Cpu()
    {
        var kernels = Enum.GetValues<GemmKernel>().Where(k => k != GemmKernel.Auto && GemmPlan.IsSupported(k)).ToList();
        return new JsonObject
        {
            ["architecture"] = RuntimeInformation.ProcessArchitecture.ToString(),
            ["processors"] = Environment.ProcessorCount,
            ["memory_bytes"] = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
            ["gemm_kernels"] = new JsonArray([.. kernels.Select(k => (JsonNode)JsonValue.Create(k.ToString().ToLowerInvariant()))]),
            ["gemm_kernel_used"] = kernels[0].ToString().ToLowerInvariant(),
            ["threads_used"] = CpuPool.DefaultThreads,
        };
    }

    private static JsonObject Device(DeviceReport device) => new()
    {
        ["name"] = device.Properties.Name,
        ["architecture"] = $"sm_{device.Properties.Architecture}",
        ["free_bytes"] = device.FreeBytes,
        ["problem"] = device.Problem,
    };

    private static JsonObject Library(LibraryReport library)
    {
        var json = new JsonObject
        {
            ["library"] = library.Library.DisplayName(),
            ["chosen"] = library.Path ?? "none",
            ["version"] = library.Version,
        };
        if (library.Advice is not null) json["advice"] = library.Advice;
        json["tried"] = new JsonArray([.. library.Tried.Select(t => (JsonNode)JsonValue.Create($"{t.Candidate.Path}: {t.Outcome} {t.Detail}".TrimEnd()))]);
        return json;
    }
}
