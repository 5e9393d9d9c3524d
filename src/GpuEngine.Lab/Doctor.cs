using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;

namespace GpuEngine.Lab;

/// <summary>What the machine has and what the engine will use of it, as one JSON object that is also printed for people.</summary>
public static class Doctor
{
    public static JsonObject Examine()
    {
        var kernels = Enum.GetValues<GemmKernel>().Where(k => k != GemmKernel.Auto && GemmPlan.IsSupported(k)).ToList();
        return new JsonObject
        {
            ["engine"] = typeof(Doctor).Assembly.GetName().Version?.ToString(3),
            ["runtime"] = RuntimeInformation.FrameworkDescription,
            ["system"] = RuntimeInformation.OSDescription,
            ["cpu"] = new JsonObject
            {
                ["architecture"] = RuntimeInformation.ProcessArchitecture.ToString(),
                ["processors"] = Environment.ProcessorCount,
                ["memory_bytes"] = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
                ["gemm_kernels"] = new JsonArray([.. kernels.Select(k => (JsonNode)JsonValue.Create(k.ToString().ToLowerInvariant()))]),
                ["gemm_kernel_used"] = kernels[0].ToString().ToLowerInvariant(),
                ["threads_used"] = CpuPool.DefaultThreads,
            },
            ["device_used"] = "cpu",
        };
    }
}
