using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Hand-written and generated kernels through clang's NVPTX back end: the device branch of every #if compiles.</summary>
public class PtxGateTests
{
    [Fact]
    public void Every_catalog_entry_compiles_to_ptx()
    {
        // Entries of one file with the same macros are one compilation.
        var lines = KernelCatalog.All
            .SelectMany(k => k.Variants.Select(v => Line(Path.Combine(PtxGate.Folder, k.File), v.Defines)))
            .Distinct().ToArray();
        PtxGate.Compile(lines, "sm_80", "sm_90");
    }

    [Fact]
    public void Generated_kernels_of_every_primitive_compile_to_ptx()
    {
        var folder = Directory.CreateTempSubdirectory("gpuengine-ptx-");
        try
        {
            var target = new CudaPlanTarget(new CudaLimits(), new CudaDeviceOptions());
            var requests =
                from dtype in new[] { DType.F32, DType.F64, DType.BF16 }
                from build in DevicePrimitiveTests.Cases.Values
                let y = DevicePrimitiveTests.JoinInputs(build(dtype)).Y
                from launch in Planner.Plan(new TensorProgram("gate", [new("y", y)]), target).Launches
                from request in target.NewKernel(launch.Node).Requests
                where request.GeneratedText is not null
                select request;
            var lines = new List<string>();
            foreach (var request in requests.DistinctBy(r => r.ImageKey))
            {
                var file = Path.Combine(folder.FullName, $"{request.Entry}_{lines.Count}.cu");
                File.WriteAllText(file, request.GeneratedText);
                lines.Add($"{Line(file, request.Defines)} '-I{Path.Combine(PtxGate.Folder, "common")}'");
            }

            PtxGate.Compile(lines, "sm_80");
        }
        finally
        {
            folder.Delete(true);
        }
    }

    private static string Line(string file, IEnumerable<(string Name, string Value)> defines) =>
        $"'{file}' {string.Join(' ', defines.Select(d => $"'-D{d.Name}={d.Value}'"))}";
}
