using System.Text.Json;
using GpuEngine.Cuda;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>bench/gpu/kernel_requests.json is the catalog's list of compilations, for machines without .NET.</summary>
public class KernelRequestsFileTests
{
    private static readonly JsonSerializerOptions Layout = new() { WriteIndented = true };

    [Fact]
    public void The_file_equals_the_catalog()
    {
        var expected = JsonSerializer.Serialize(
            KernelCatalog.All.SelectMany(k => k.Variants.Select(v => new
            {
                file = k.File,
                entry = k.Entry,
                variant = v.Name,
                defines = v.Defines.Select(d => new[] { d.Name, d.Value }),
            })),
            Layout) + "\n";
        Assert.SkipWhen(KernelSources.Folder is null, "The file is only in a repository.");
        var path = Path.Combine(KernelSources.Folder!, "..", "bench", "gpu", "kernel_requests.json");
        // Set once to write it anew after a change of the catalog.
        if (Environment.GetEnvironmentVariable("GPUENGINE_UPDATE_FILES") == "1") File.WriteAllText(path, expected);
        Assert.Equal(expected, File.ReadAllText(path), ignoreLineEndingDifferences: true);
    }
}
