using GpuEngine.Cuda.Interop;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public sealed class LibraryCandidatesTests : IDisposable
{
    private readonly FakeMachine _machine = new();

    public void Dispose() => _machine.Dispose();

    [Fact]
    public void A_bare_machine_has_only_the_names_for_the_system_loader()
    {
        Assert.Equal(["libcuda.so.1", "libcuda.so"], Linux(CudaLibrary.Driver));
        Assert.Equal(["libnvrtc.so.13", "libnvrtc.so.12"], Linux(CudaLibrary.Nvrtc));
        Assert.Equal(["libcublas.so.13", "libcublas.so.12"], Linux(CudaLibrary.Cublas));
        Assert.Equal(["libcublasLt.so.13", "libcublasLt.so.12"], Linux(CudaLibrary.CublasLt));
        Assert.Equal(["libcudnn.so.9"], Linux(CudaLibrary.Cudnn));
        Assert.Equal(["libnccl.so.2"], Linux(CudaLibrary.Nccl));
    }

    [Fact]
    public void Windows_has_its_own_names_and_no_nccl()
    {
        Assert.Equal(["nvcuda.dll"], Windows(CudaLibrary.Driver));
        Assert.Equal(["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"], Windows(CudaLibrary.Nvrtc));
        Assert.Equal(["cublas64_13.dll", "cublas64_12.dll"], Windows(CudaLibrary.Cublas));
        Assert.Equal(["cublasLt64_13.dll", "cublasLt64_12.dll"], Windows(CudaLibrary.CublasLt));
        Assert.Equal(["cudnn64_9.dll"], Windows(CudaLibrary.Cudnn));
        Assert.Empty(Windows(CudaLibrary.Nccl));
    }

    [Fact]
    public void A_variable_that_names_a_file_is_the_only_candidate()
    {
        _machine.Add("/usr/local/cuda/lib64/libnvrtc.so.12");
        _machine["GPUENGINE_LIBNVRTC"] = "/somewhere/libnvrtc.so.12";
        var only = Assert.Single(List(CudaLibrary.Nvrtc));
        Assert.Equal(new LibraryCandidate("/somewhere/libnvrtc.so.12", LibrarySource.Environment), only);
    }

    [Fact]
    public void Sources_come_in_the_order_of_the_design()
    {
        _machine.Add(
            "/mine/x", "/usr/local/cuda-12.8/lib64/x", "/conda/lib/x", "/venv/lib/python3.12/site-packages/nvidia/cublas/lib/x");
        _machine["GPUENGINE_CUDA_LIBRARY_PATH"] = "/mine:/not-there";
        _machine["CONDA_PREFIX"] = "/conda";
        _machine["VIRTUAL_ENV"] = "/venv";
        Assert.Equal(
            [
                LibrarySource.Environment, LibrarySource.SystemLoader, LibrarySource.Toolkit, LibrarySource.Conda,
                LibrarySource.PythonWheel,
            ],
            List(CudaLibrary.Cublas).Select(c => c.Source).Distinct());
    }

    [Fact]
    public void The_driver_is_never_taken_from_a_toolkit_whose_libcuda_is_a_stub()
    {
        _machine.Add("/usr/local/cuda/lib64/stubs/libcuda.so", "/usr/local/cuda/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1");
        var paths = Linux(CudaLibrary.Driver);
        Assert.DoesNotContain(paths, p => p.Contains("/usr/local/cuda"));
        Assert.Contains("/usr/lib/wsl/lib/libcuda.so.1", paths);
    }

    [Fact]
    public void Toolkits_are_the_variables_then_the_default_then_the_newest_version()
    {
        _machine.Add(
            "/usr/local/cuda-12.8/lib64/x", "/usr/local/cuda-13.0/lib64/x", "/usr/local/cuda-9.0/lib64/x",
            "/usr/local/cuda/targets/x86_64-linux/lib/x", "/tools/cuda/lib64/x");
        _machine["CUDA_PATH"] = "/tools/cuda";
        Assert.Equal(
            [
                "/tools/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib", "/usr/local/cuda-13.0/lib64",
                "/usr/local/cuda-12.8/lib64", "/usr/local/cuda-9.0/lib64",
            ],
            LibraryCandidates.ToolkitFolders(_machine.Linux));
    }

    [Fact]
    public void Windows_toolkits_have_bin_x64_since_cuda_13()
    {
        _machine.Add("/Programs/NVIDIA GPU Computing Toolkit/CUDA/v13.0/bin/x64/x", "/Programs/NVIDIA GPU Computing Toolkit/CUDA/v12.8/bin/x");
        _machine["ProgramFiles"] = "/Programs";
        var root = "/Programs/NVIDIA GPU Computing Toolkit/CUDA";
        Assert.Equal(
            [$"{root}/v13.0/bin/x64", $"{root}/v13.0/bin", $"{root}/v12.8/bin"],
            LibraryCandidates.ToolkitFolders(_machine.Windows));
    }

    [Theory]
    [InlineData(CudaLibrary.Nvrtc, "nvidia/cu13/lib/libnvrtc.so.13", "nvidia/cuda_nvrtc/lib/libnvrtc.so.12")]
    [InlineData(CudaLibrary.Cublas, "nvidia/cu13/lib/libcublas.so.13", "nvidia/cublas/lib/libcublas.so.12")]
    [InlineData(CudaLibrary.CublasLt, "nvidia/cu13/lib/libcublasLt.so.13", "nvidia/cublas/lib/libcublasLt.so.12")]
    [InlineData(CudaLibrary.Cudnn, "nvidia/cudnn/lib/libcudnn.so.9", "nvidia/cudnn/lib/libcudnn.so.9")]
    [InlineData(CudaLibrary.Nccl, "nvidia/nccl/lib/libnccl.so.2", "nvidia/nccl/lib/libnccl.so.2")]
    public void Wheels_of_both_cuda_versions_are_found(CudaLibrary library, string cuda13, string cuda12)
    {
        var site = "/venv/lib/python3.12/site-packages";
        _machine.Add($"{site}/{cuda13}", $"{site}/{cuda12}");
        _machine["VIRTUAL_ENV"] = "/venv";
        var paths = Linux(library);
        Assert.Contains($"{site}/{cuda13}", paths);
        Assert.Contains($"{site}/{cuda12}", paths);
    }

    [Fact]
    public void A_driver_for_cuda_12_gets_the_version_12_names_first()
    {
        Assert.Equal(["libnvrtc.so.12", "libnvrtc.so.13"], Linux(CudaLibrary.Nvrtc, driverMajor: 12));
        Assert.Equal(["libnvrtc.so.13", "libnvrtc.so.12"], Linux(CudaLibrary.Nvrtc, driverMajor: 13));
    }

    private IReadOnlyList<LibraryCandidate> List(CudaLibrary library) =>
        LibraryCandidates.List(LibraryDescriptor.Of(library), _machine.Linux, 0);

    private IEnumerable<string> Linux(CudaLibrary library, int driverMajor = 0) =>
        LibraryCandidates.List(LibraryDescriptor.Of(library), _machine.Linux, driverMajor).Select(c => c.Path);

    private IEnumerable<string> Windows(CudaLibrary library) =>
        LibraryCandidates.List(LibraryDescriptor.Of(library), _machine.Windows, 0).Select(c => c.Path);
}
