namespace GpuEngine.Cuda.Interop;

/// <summary>
/// Where one library may be: its variable, its file names by system and CUDA major version, its folders in Python wheels.
/// </summary>
/// <remarks>
/// Names and wheel folders are those of NVIDIA's own loader (NVIDIA/cuda-python,
/// cuda_pathfinder/_dynamic_libs/descriptor_catalog.py); the Windows NVRTC name is nvrtc64_&lt;major&gt;0_0.dll in every
/// release of a major version.
/// </remarks>
internal sealed record LibraryDescriptor(
    CudaLibrary Library,
    string Variable,
    IReadOnlyList<LibraryFile> Linux,
    IReadOnlyList<LibraryFile> Windows,
    IReadOnlyList<string> WheelsLinux,
    IReadOnlyList<string> WheelsWindows,
    string Advice)
{
    /// <summary>The logical name used by the import attributes.</summary>
    public string ImportName => Library switch
    {
        CudaLibrary.Driver => CuDriver.Library,
        CudaLibrary.Nvrtc => Nvrtc.Library,
        CudaLibrary.Cublas => Cublas.Library,
        CudaLibrary.CublasLt => CublasLt.Library,
        CudaLibrary.Cudnn => Cudnn.Library,
        CudaLibrary.Nccl => Nccl.Library,
        _ => Nvtx.Library,
    };

    public static IReadOnlyList<LibraryDescriptor> All { get; } =
    [
        new(CudaLibrary.Driver, "GPUENGINE_LIBCUDA",
            [new("libcuda.so.1"), new("libcuda.so")], [new("nvcuda.dll")], [], [],
            "The CUDA driver is missing: install the NVIDIA driver (version 525 or newer), or use --device cpu or sim."),
        new(CudaLibrary.Nvrtc, "GPUENGINE_LIBNVRTC",
            Versioned("libnvrtc.so.{0}"), Versioned("nvrtc64_{0}0_0.dll"),
            ["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"], ["nvidia/cu13/bin/x86_64", "nvidia/cuda_nvrtc/bin"],
            "NVRTC, the CUDA run-time compiler, is missing: install a CUDA 12 or 13 toolkit, or run " +
            "'pip install nvidia-cuda-nvrtc-cu12' (CUDA 13: nvidia-cuda-nvrtc)."),
        new(CudaLibrary.Cublas, "GPUENGINE_LIBCUBLAS",
            Versioned("libcublas.so.{0}"), Versioned("cublas64_{0}.dll"),
            ["nvidia/cu13/lib", "nvidia/cublas/lib"], ["nvidia/cu13/bin/x86_64", "nvidia/cublas/bin"],
            "cuBLAS is missing: install a CUDA 12 or 13 toolkit, or run 'pip install nvidia-cublas-cu12' " +
            "(CUDA 13: nvidia-cublas)."),
        new(CudaLibrary.CublasLt, "GPUENGINE_LIBCUBLASLT",
            Versioned("libcublasLt.so.{0}"), Versioned("cublasLt64_{0}.dll"),
            ["nvidia/cu13/lib", "nvidia/cublas/lib"], ["nvidia/cu13/bin/x86_64", "nvidia/cublas/bin"],
            "cuBLASLt is missing: it comes with cuBLAS, so install a CUDA 12 or 13 toolkit, or run " +
            "'pip install nvidia-cublas-cu12' (CUDA 13: nvidia-cublas)."),
        new(CudaLibrary.Cudnn, "GPUENGINE_LIBCUDNN",
            [new("libcudnn.so.9")], [new("cudnn64_9.dll")], ["nvidia/cudnn/lib"], ["nvidia/cudnn/bin"],
            "cuDNN 9 is missing: run 'pip install nvidia-cudnn-cu12' (CUDA 13: nvidia-cudnn-cu13) or install NVIDIA's " +
            "cuDNN 9 package; without it convolutions run as im2col and cuBLAS."),
        new(CudaLibrary.Nccl, "GPUENGINE_LIBNCCL",
            [new("libnccl.so.2")], [], ["nvidia/nccl/lib"], [],
            "NCCL 2 is missing: run 'pip install nvidia-nccl-cu12' (CUDA 13: nvidia-nccl-cu13) or install NVIDIA's libnccl2 " +
            "package (Linux only); one device needs no NCCL."),
        // NVTX 2's shared library ended with CUDA 12.8. NVTX 3 is a header, but toolkits from 12.9 on also install it as
        // libnvtx3interop for languages that cannot include one.
        new(CudaLibrary.Nvtx, "GPUENGINE_LIBNVTX",
            [new("libnvtx3interop.so"), new("libnvtx3interop.so.1"), new("libnvToolsExt.so.1")],
            [new("nvtx3interop.dll"), new("nvToolsExt64_1.dll")],
            ["nvidia/cu13/lib", "nvidia/nvtx/lib"], ["nvidia/cu13/bin/x86_64", "nvidia/nvtx/bin"],
            "NVTX is missing: ranges are left out of Nsight's timeline; a CUDA toolkit of any version brings it."),
    ];

    public static LibraryDescriptor Of(CudaLibrary library) => All[(int)library];

    public IReadOnlyList<LibraryFile> Files(bool windows) => windows ? Windows : Linux;

    public IReadOnlyList<string> Wheels(bool windows) => windows ? WheelsWindows : WheelsLinux;

    /// <summary>Newest first: a library of the driver's own major version, else the older one, which also runs.</summary>
    private static LibraryFile[] Versioned(string format) =>
        [new(string.Format(format, 13), 13), new(string.Format(format, 12), 12)];
}

/// <summary>A file name and the CUDA major version it needs from the driver (0: any).</summary>
internal readonly record struct LibraryFile(string Name, int CudaMajor = 0);
