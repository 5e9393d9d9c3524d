using System.Runtime.Versioning;
using System.Text;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public sealed class KernelCacheTests : IDisposable
{
    private static readonly CompilerOptions Options = new();
    private readonly string _folder = Path.Combine(Directory.CreateTempSubdirectory("gpuengine-cache-").FullName, "kernels");
    private readonly List<string> _warnings = [];
    private readonly CountingCompiler _compiler = new();

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(_folder)!, recursive: true);

    [Fact]
    public void The_second_request_is_served_from_memory()
    {
        var cache = Cache();
        var first = Get(cache, Source("a"));
        Assert.Same(first, Get(cache, Source("a")));
        Assert.Equal((1, 1, 0), (_compiler.Compiled, cache.Compiled, cache.FromFolder));
    }

    [Fact]
    public void A_warm_start_compiles_nothing_and_gives_the_same_bytes_and_log()
    {
        var first = Get(Cache(), Source("a"));
        var warm = Cache();
        var second = Get(warm, Source("a"));
        Assert.Equal(first.Image.ToArray(), second.Image.ToArray());
        Assert.Equal(first.Log, second.Log);
        Assert.Equal((1, 0, 1), (_compiler.Compiled, warm.Compiled, warm.FromFolder));
        Assert.Empty(_warnings);
    }

    [Fact]
    public void Everything_that_decides_the_image_decides_the_key()
    {
        var source = new KernelSource("k.cu", "#include \"h.cuh\"\n", new Dictionary<string, string> { ["h.cuh"] = "1", ["u.cuh"] = "1" });
        string Key(KernelSource s, string[]? options = null, string arch = "sm_90", string compiler = "NVRTC 12.8") =>
            KernelKey.Of(s, options ?? ["-a", "-b"], arch, compiler);
        var key = Key(source);
        Assert.Equal(64, key.Length);
        Assert.Equal(key, Key(source));
        Assert.NotEqual(key, Key(source with { Text = source.Text + " " }));
        Assert.NotEqual(key, Key(source with { Name = "l.cu" }));
        Assert.NotEqual(key, Key(source, ["-b", "-a"]));
        Assert.NotEqual(key, Key(source, ["-a-b"]));
        Assert.NotEqual(key, Key(source, arch: "sm_80"));
        Assert.NotEqual(key, Key(source, compiler: "NVRTC 13.0"));
        Assert.NotEqual(key, Key(With("h.cuh")));
        // A header nobody includes changes nothing.
        Assert.Equal(key, Key(With("u.cuh")));

        KernelSource With(string changed) =>
            source with { Headers = source.Headers.ToDictionary(h => h.Key, h => h.Key == changed ? "2" : h.Value) };
    }

    [Fact]
    public void A_changed_header_recompiles_exactly_what_includes_it()
    {
        var sources = new[] { "a.cuh", "b.cuh", "c.cuh" }.Select(h => (h, $"#include \"{h}\"\n")).ToArray();
        Dictionary<string, string> headers = new() { ["a.cuh"] = "", ["b.cuh"] = "#include \"a.cuh\"\n", ["c.cuh"] = "" };
        CompileAll(Cache());
        headers["a.cuh"] = "int changed;";
        var second = Cache();
        CompileAll(second);
        Assert.Equal((2, 1), (second.Compiled, second.FromFolder));

        void CompileAll(KernelCache cache)
        {
            foreach (var (name, text) in sources)
                Get(cache, new KernelSource(name, text, headers));
        }
    }

    [Fact]
    public void Source_options_and_log_lie_beside_the_image()
    {
        Get(Cache(), Source("a", name: "kernels/batch_norm.cu"));
        var files = Directory.GetFiles(_folder).Select(f => Path.GetFileName(f)).ToArray();
        Assert.All(files, f => Assert.StartsWith("batch_norm-", f));
        Assert.Equal([".cu", ".cubin", ".log", ".options"], files.Select(f => Path.GetExtension(f)).Order());
        Assert.Equal("a", File.ReadAllText(One("*.cu")));
        Assert.Contains("--std=c++17", File.ReadAllText(One("*.options")));
        Assert.Contains(_compiler.Identity, File.ReadAllText(One("*.options")));
    }

    [Fact]
    public void Ptx_and_binaries_have_their_own_extension()
    {
        Cache().GetOrCompile(Source("a"), Options, "compute_90", _compiler);
        Assert.Single(Directory.GetFiles(_folder, "*.ptx"));
    }

    [Theory]
    [InlineData("")]
    [InlineData("garbage")]
    public void A_damaged_image_is_a_miss_and_is_replaced(string damage)
    {
        var good = Get(Cache(), Source("a"));
        File.WriteAllText(One("*.cubin"), damage);
        var second = Cache();
        Assert.Equal(good.Image.ToArray(), Get(second, Source("a")).Image.ToArray());
        Assert.Equal(1, second.Compiled);
        Assert.Equal(good.Image.ToArray(), File.ReadAllBytes(One("*.cubin")));
    }

    [Fact]
    public void One_flipped_bit_is_damage()
    {
        Get(Cache(), Source("a"));
        var path = One("*.cubin");
        var bytes = File.ReadAllBytes(path);
        bytes[^1] ^= 1;
        File.WriteAllBytes(path, bytes);
        var second = Cache();
        Get(second, Source("a"));
        Assert.Equal(1, second.Compiled);
    }

    [Fact]
    public void Another_entry_of_the_same_key_is_as_good()
    {
        Get(Cache(), Source("a"));
        var path = One("*.cubin");
        // What another process published with other bytes, and what a third one damaged.
        var stem = Path.GetFileName(path)[..^(".cubin".Length + 32)];
        File.WriteAllText(Path.Combine(_folder, $"{stem}{new string('0', 32)}.cubin"), "damaged");
        var second = Cache();
        Get(second, Source("a"));
        Assert.Equal((0, 1), (second.Compiled, second.FromFolder));
    }

    [Fact]
    public void A_folder_that_is_a_file_works_in_memory_and_is_told_once()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_folder)!);
        File.WriteAllText(_folder, "in the way");
        var cache = Cache();
        Get(cache, Source("a"));
        Get(cache, Source("b"));
        Get(cache, Source("a"));
        Assert.Equal(2, _compiler.Compiled);
        var warning = Assert.Single(_warnings);
        Assert.Contains(_folder, warning);
        Assert.Contains(KernelCache.FolderVariable, warning);
        Assert.EndsWith(".", warning);
    }

    [Fact]
    public void A_file_system_that_takes_no_files_works_in_memory()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "/proc refuses files even from root; other systems have no such place.");
        var cache = new KernelCache("/proc/gpuengine-kernels", _warnings.Add);
        Get(cache, Source("a"));
        Get(cache, Source("a"));
        Assert.Equal(1, _compiler.Compiled);
        Assert.Single(_warnings);
    }

    [Fact]
    [UnsupportedOSPlatform("windows")]
    public void A_read_only_folder_is_read_but_not_written()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Unix file modes.");
        Assert.SkipWhen(Environment.IsPrivilegedProcess, "A privileged process may write everywhere; run as a user.");
        Get(Cache(), Source("a"));
        File.SetUnixFileMode(_folder, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        try
        {
            var cache = Cache();
            Get(cache, Source("a"));
            Get(cache, Source("b"));
            Assert.Equal((1, 1), (cache.Compiled, cache.FromFolder));
            Assert.Single(_warnings);
        }
        finally
        {
            File.SetUnixFileMode(_folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    [Fact]
    public void A_folder_in_the_place_of_an_image_is_a_miss()
    {
        Get(Cache(), Source("a"));
        var path = One("*.cubin");
        File.Delete(path);
        Directory.CreateDirectory(path);
        var cache = Cache();
        Get(cache, Source("a"));
        Assert.Equal(1, cache.Compiled);
    }

    [Fact]
    public void No_folder_means_memory_alone()
    {
        var cache = new KernelCache(null, _warnings.Add);
        Get(cache, Source("a"));
        Get(cache, Source("a"));
        Assert.Equal(1, _compiler.Compiled);
        Assert.False(Directory.Exists(_folder));
    }

    [Fact]
    public void A_compile_error_is_thrown_every_time_and_keeps_nothing()
    {
        var cache = Cache();
        _compiler.Fails = true;
        Assert.Throws<KernelCompileException>(() => Get(cache, Source("a")));
        Assert.Throws<KernelCompileException>(() => Get(cache, Source("a")));
        Assert.Empty(Directory.Exists(_folder) ? Directory.GetFiles(_folder) : []);
        _compiler.Fails = false;
        Get(cache, Source("a"));
        Assert.Equal(1, cache.Compiled);
    }

    [Fact]
    public void Threads_that_want_one_kernel_compile_it_once()
    {
        var cache = Cache();
        Parallel.For(0, 32, _ => Get(cache, Source("a")));
        Assert.Equal(1, _compiler.Compiled);
    }

    [Fact]
    public void Two_processes_may_fill_one_folder_at_once()
    {
        // Two caches share nothing but the folder, as two processes do.
        var caches = new[] { Cache(), Cache(), Cache(), Cache() };
        Parallel.For(0, 64, i =>
        {
            var image = Get(caches[i % caches.Length], Source($"kernel {i / caches.Length}"));
            Assert.Equal($"image of kernel {i / caches.Length}", Encoding.UTF8.GetString(image.Image.Span));
        });
        Assert.Empty(_warnings);
        Assert.Empty(Directory.GetFiles(_folder, "*.tmp"));
        var warm = Cache();
        for (var k = 0; k < 16; k++)
            Get(warm, Source($"kernel {k}"));
        Assert.Equal((0, 16), (warm.Compiled, warm.FromFolder));
    }

    private KernelCache Cache() => new(_folder, _warnings.Add);

    private CompiledKernel Get(KernelCache cache, KernelSource source) =>
        cache.GetOrCompile(source, Options, "sm_90", _compiler);

    private string One(string pattern) => Assert.Single(Directory.GetFiles(_folder, pattern));

    private static KernelSource Source(string text, string name = "k.cu") => new(name, text);

    /// <summary>"Compiles" by naming the source, so that an image tells what it was made from.</summary>
    private sealed class CountingCompiler : IKernelCompiler
    {
        private int _compiled;

        public bool Fails { get; set; }

        public int Compiled => _compiled;

        public string Identity => "counting compiler 1";

        public CompiledKernel Compile(KernelSource source, IReadOnlyList<string> options, string architecture)
        {
            if (Fails)
                throw new KernelCompileException(source, "NVRTC_ERROR_COMPILATION", options, Identity, "k.cu(1): error: no");
            Interlocked.Increment(ref _compiled);
            return new(source.Name, architecture, Encoding.UTF8.GetBytes($"image of {source.Text}"), "a warning");
        }
    }
}
