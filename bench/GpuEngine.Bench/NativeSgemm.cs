using System.Runtime.InteropServices;

namespace GpuEngine.Bench;

/// <summary>
/// A single-precision matrix product of an installed library, called in this process so that small sizes are not
/// charged for an interpreter. Row-major, C = A B.
/// </summary>
internal abstract unsafe class NativeSgemm
{
    /// <summary>Library, version and the kernel it chose on this processor.</summary>
    public abstract string Name { get; }

    /// <summary>The libraries found on this machine; a missing one is left out.</summary>
    public static IEnumerable<NativeSgemm> Installed()
    {
        if (NativeLibrary.TryLoad("/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0", out var openBlas)
            || NativeLibrary.TryLoad("libopenblas.so.0", out openBlas))
            yield return new OpenBlas(openBlas);
        if (NativeLibrary.TryLoad("libdnnl.so.2", out var oneDnn) || NativeLibrary.TryLoad("libdnnl.so.3", out oneDnn))
            yield return new OneDnn(oneDnn);
    }

    public abstract void SetThreads(int threads);

    public abstract void Multiply(int m, int n, int k, float* a, float* b, float* c);

    private sealed class OpenBlas : NativeSgemm
    {
        private const int RowMajor = 101;
        private const int NoTrans = 111;
        private readonly delegate* unmanaged<int, void> _setThreads;
        private readonly delegate* unmanaged<
            int, int, int, int, int, int, float, float*, int, float*, int, float, float*, int, void> _sgemm;

        public OpenBlas(nint library)
        {
            _setThreads = (delegate* unmanaged<int, void>)NativeLibrary.GetExport(library, "openblas_set_num_threads");
            _sgemm = (delegate* unmanaged<
                int, int, int, int, int, int, float, float*, int, float*, int, float, float*, int, void>)
                NativeLibrary.GetExport(library, "cblas_sgemm");
            var core = (delegate* unmanaged<byte*>)NativeLibrary.GetExport(library, "openblas_get_corename");
            Name = $"OpenBLAS {Marshal.PtrToStringUTF8((nint)core())}";
        }

        public override string Name { get; }

        public override void SetThreads(int threads) => _setThreads(threads);

        public override void Multiply(int m, int n, int k, float* a, float* b, float* c) =>
            _sgemm(RowMajor, NoTrans, NoTrans, m, n, k, 1, a, k, b, n, 0, c, n);
    }

    private sealed class OneDnn : NativeSgemm
    {
        private readonly delegate* unmanaged<int, void> _setThreads;
        private readonly delegate* unmanaged<
            byte, byte, long, long, long, float, float*, long, float*, long, float, float*, long, int> _sgemm;

        public OneDnn(nint library)
        {
            _sgemm = (delegate* unmanaged<
                byte, byte, long, long, long, float, float*, long, float*, long, float, float*, long, int>)
                NativeLibrary.GetExport(library, "dnnl_sgemm");
            _setThreads = (delegate* unmanaged<int, void>)NativeLibrary.GetExport(
                NativeLibrary.Load("libgomp.so.1"), "omp_set_num_threads");
            var version = (delegate* unmanaged<int*>)NativeLibrary.GetExport(library, "dnnl_version");
            var isa = (delegate* unmanaged<int>)NativeLibrary.GetExport(library, "dnnl_get_effective_cpu_isa");
            Name = $"oneDNN {version()[0]}.{version()[1]} isa 0x{isa():x}";
        }

        public override string Name { get; }

        public override void SetThreads(int threads) => _setThreads(threads);

        public override void Multiply(int m, int n, int k, float* a, float* b, float* c)
        {
            var status = _sgemm((byte)'N', (byte)'N', m, n, k, 1, a, k, b, n, 0, c, n);
            if (status != 0) throw new InvalidOperationException($"dnnl_sgemm ended with status {status}.");
        }
    }
}
