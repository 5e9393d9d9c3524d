using System.Runtime.InteropServices;
using GpuEngine.Cuda.Interop;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public sealed class LibraryResolverTests : IDisposable
{
    private readonly FakeMachine _machine = new();
    private readonly List<string> _loaded = [];

    public void Dispose() => _machine.Dispose();

    [Fact]
    public void The_first_candidate_that_loads_is_used_and_the_ones_before_it_are_recorded()
    {
        _machine.Add("/usr/local/cuda/lib64/libcublasLt.so.12");
        var resolution = Resolver("/usr/local/cuda/lib64/libcublasLt.so.12").Resolve(CudaLibrary.CublasLt);
        Assert.Equal("/usr/local/cuda/lib64/libcublasLt.so.12", resolution.Path);
        Assert.Equal(
            [
                ("libcublasLt.so.13", ProbeOutcome.NotFound), ("libcublasLt.so.12", ProbeOutcome.NotFound),
                ("/usr/local/cuda/lib64/libcublasLt.so.13", ProbeOutcome.NotFound),
                ("/usr/local/cuda/lib64/libcublasLt.so.12", ProbeOutcome.Loaded),
            ],
            resolution.Probes.Select(p => (p.Candidate.Path, p.Outcome)));
    }

    [Fact]
    public void A_failure_lists_every_candidate_and_says_what_to_install()
    {
        _machine.Add("/usr/local/cuda/lib64/libcublas.so.12");
        var missing = Assert.Throws<MissingLibraryException>(() => Resolver().Load(CudaLibrary.Cublas));
        Assert.Contains("pip install nvidia-cublas-cu12", missing.Advice);
        Assert.StartsWith(missing.Advice, missing.Message);
        Assert.DoesNotContain('\n', missing.Advice);
        Assert.All(missing.Resolution.Probes, p => Assert.Contains(p.Candidate.Path, missing.Message));
        Assert.Contains("/usr/local/cuda/lib64/libcublas.so.12: bad ELF", missing.Message);
    }

    [Theory]
    [InlineData(CudaLibrary.Driver, "driver")]
    [InlineData(CudaLibrary.Nvrtc, "nvidia-cuda-nvrtc-cu12")]
    [InlineData(CudaLibrary.CublasLt, "cuBLAS")]
    [InlineData(CudaLibrary.Cudnn, "nvidia-cudnn-cu12")]
    [InlineData(CudaLibrary.Nccl, "nvidia-nccl-cu12")]
    public void Every_library_says_in_one_sentence_what_to_install(CudaLibrary library, string expected)
    {
        var missing = Assert.Throws<MissingLibraryException>(() => Resolver().Load(library));
        Assert.Contains(expected, missing.Advice);
        Assert.EndsWith(".", missing.Advice);
    }

    [Fact]
    public void A_library_can_be_switched_off_for_the_simulator_too()
    {
        _machine["GPUENGINE_LIBCUDNN"] = "none";
        var resolver = Resolver("libcudnn.so.9", "/sim.so", "libcublas.so.12");
        var missing = Assert.Throws<MissingLibraryException>(() => resolver.Load(CudaLibrary.Cudnn));
        Assert.Contains("switched off by GPUENGINE_LIBCUDNN=none", missing.Advice);
        Assert.True(resolver.Resolve(CudaLibrary.Cublas).Found);
        resolver = Resolver("/sim.so");
        resolver.UseSimulator("/sim.so");
        Assert.Equal(0, resolver.TryLoad(CudaLibrary.Cudnn));
        Assert.NotEqual(0, resolver.TryLoad(CudaLibrary.Driver));
    }

    [Fact]
    public void A_variable_that_names_a_bad_file_is_blamed_and_nothing_else_is_tried()
    {
        _machine["GPUENGINE_LIBCUDNN"] = "/typo/libcudnn.so.9";
        var missing = Assert.Throws<MissingLibraryException>(() => Resolver().Load(CudaLibrary.Cudnn));
        Assert.Contains("GPUENGINE_LIBCUDNN", missing.Advice);
        Assert.Contains("/typo/libcudnn.so.9", missing.Advice);
        Assert.Single(missing.Resolution.Probes);
    }

    [Fact]
    public void Nvrtc_without_its_builtins_beside_it_is_passed_over()
    {
        var good = "/usr/local/cuda-12.8/lib64";
        _machine.Add("/usr/local/cuda/lib64/libnvrtc.so.12", $"{good}/libnvrtc.so.12", $"{good}/libnvrtc-builtins.so.12.8");
        var resolution = Resolver("/usr/local/cuda/lib64/libnvrtc.so.12", $"{good}/libnvrtc.so.12", $"{good}/libnvrtc-builtins.so.12.8")
            .Resolve(CudaLibrary.Nvrtc);
        Assert.Equal($"{good}/libnvrtc.so.12", resolution.Path);
        Assert.Contains(
            resolution.Probes,
            p => p.Candidate.Path == "/usr/local/cuda/lib64/libnvrtc.so.12" && p.Outcome == ProbeOutcome.Incomplete);
        // The builtins are loaded first, so that NVRTC finds them by bare name.
        Assert.Equal([$"{good}/libnvrtc-builtins.so.12.8", $"{good}/libnvrtc.so.12"], _loaded);
    }

    [Fact]
    public void Builtins_of_another_major_version_do_not_count()
    {
        var folder = "/usr/local/cuda/lib64";
        _machine.Add($"{folder}/libnvrtc.so.12", $"{folder}/libnvrtc-builtins.so.13.0");
        var resolution = Resolver($"{folder}/libnvrtc.so.12", $"{folder}/libnvrtc-builtins.so.13.0").Resolve(CudaLibrary.Nvrtc);
        Assert.False(resolution.Found);
    }

    [Fact]
    public void What_cudnn_opens_by_name_is_loaded_before_it()
    {
        Resolver("libcudnn.so.9", "libcublas.so.12", "libcublasLt.so.12", "libnvrtc.so.12").Resolve(CudaLibrary.Cudnn);
        Assert.Equal(["libnvrtc.so.12", "libcublasLt.so.12", "libcublas.so.12", "libcudnn.so.9"], _loaded);
    }

    [Fact]
    public void A_library_is_searched_once()
    {
        var resolver = Resolver();
        Assert.Same(resolver.Resolve(CudaLibrary.Nccl), resolver.Resolve(CudaLibrary.Nccl));
    }

    [Fact]
    public void The_simulator_stands_in_for_every_library()
    {
        var resolver = Resolver("/sim/libcudasim.so");
        resolver.UseSimulator("/sim/libcudasim.so");
        foreach (var library in Enum.GetValues<CudaLibrary>())
        {
            var resolution = resolver.Resolve(library);
            Assert.Equal("/sim/libcudasim.so", resolution.Path);
            Assert.Equal(LibrarySource.Simulator, Assert.Single(resolution.Probes).Candidate.Source);
        }
    }

    [Fact]
    public void The_simulator_can_be_chosen_again_but_not_changed_nor_chosen_after_a_real_library()
    {
        var simulated = Resolver("/sim/a.so");
        simulated.UseSimulator("/sim/a.so");
        simulated.UseSimulator("/sim/a.so");
        Assert.Throws<InvalidOperationException>(() => simulated.UseSimulator("/sim/b.so"));

        var real = Resolver("libcuda.so.1");
        real.Load(CudaLibrary.Driver);
        Assert.Throws<InvalidOperationException>(() => real.UseSimulator("/sim/a.so"));
    }

    [Fact]
    public void A_search_in_vain_does_not_keep_the_simulator_from_being_chosen()
    {
        var resolver = Resolver("/sim/a.so");
        Assert.False(resolver.Resolve(CudaLibrary.Driver).Found);
        resolver.UseSimulator("/sim/a.so");
        Assert.True(resolver.Resolve(CudaLibrary.Driver).Found);
    }

    [Fact]
    public void A_simulator_that_does_not_load_says_how_to_build_it()
    {
        var resolver = Resolver();
        resolver.UseSimulator("/sim/a.so");
        var missing = Assert.Throws<MissingLibraryException>(() => resolver.Load(CudaLibrary.Driver));
        Assert.Contains("tools/cudasim/build.sh", missing.Advice);
    }

    [Fact]
    public void The_real_loader_tells_a_missing_file_from_a_bad_one()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The loader's words checked here are those of ld.so.");
        _machine.Add("/mine/libnccl.so.2");
        File.WriteAllText(_machine.Root + "/mine/libnccl.so.2", new string('x', 4096));
        _machine["GPUENGINE_CUDA_LIBRARY_PATH"] = "/mine";
        // The machine may have NCCL; then the search ends well, but the bad file was still tried first.
        var probe = new LibraryResolver(_machine.Linux).Resolve(CudaLibrary.Nccl).Probes[0];
        Assert.Equal(ProbeOutcome.LoadFailed, probe.Outcome);
        Assert.Contains("invalid ELF header", probe.Detail);
        Assert.DoesNotContain('\n', probe.Detail);
    }

    [Fact]
    public void The_real_loader_loads_and_the_file_behind_a_name_is_found()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Maps of the process are read from /proc.");
        // Any library that every Linux machine has stands for the real one: nothing of it is called.
        Assert.True(NativeLibrary.TryLoad("libm.so.6", out _));
        var path = LoadedModules.PathOf("libm.so.6");
        Assert.NotNull(path);
        Assert.True(File.Exists(path));
    }

    [Fact]
    public void The_file_behind_a_name_may_have_a_longer_version()
    {
        string[] maps =
        [
            "7f0000-7f1000 r--p 00000000 fe:01 1  /usr/lib/libcudadebugger.so.1",
            "7f0000-7f1000 r-xp 00000000 fe:01 2  /usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15",
            "7f0000-7f1000 rw-p 00000000 00:00 0",
        ];
        Assert.Equal("/usr/lib/x86_64-linux-gnu/libcuda.so.550.54.15", LoadedModules.PathIn(maps, "libcuda.so.1"));
        Assert.Null(LoadedModules.PathIn(maps, "libnccl.so.2"));
    }

    /// <summary>A loader that knows these paths of the fake machine, or bare names, and no others.</summary>
    private LibraryResolver Resolver(params string[] known) => new(_machine.Linux, (string path, out string error) =>
    {
        path = path.StartsWith(_machine.Root, StringComparison.Ordinal) ? path[_machine.Root.Length..] : path;
        var index = Array.IndexOf(known, path);
        error = path.Contains('/') ? "bad ELF" : $"{path}: cannot open shared object file: No such file or directory";
        if (index >= 0)
            _loaded.Add(path);
        // The driver's handle is asked for its version: a real library without that function answers "unknown".
        return index < 0 ? 0 : NativeLibrary.GetMainProgramHandle();
    });
}
