namespace GpuEngine.Cuda.Interop;

/// <summary>The native libraries the engine can use. Only the driver and NVRTC are needed to run at all.</summary>
public enum CudaLibrary
{
    /// <summary>The CUDA driver.</summary>
    Driver,

    /// <summary>The run-time compiler.</summary>
    Nvrtc,

    /// <summary>Dense linear algebra.</summary>
    Cublas,

    /// <summary>Matrix products with fused epilogues.</summary>
    CublasLt,

    /// <summary>Convolutions.</summary>
    Cudnn,

    /// <summary>Collectives between devices.</summary>
    Nccl,

    /// <summary>Ranges for Nsight.</summary>
    Nvtx,
}

/// <summary>How people call the libraries.</summary>
public static class CudaLibraryNames
{
    /// <summary>The name the vendor writes, such as "cuBLASLt".</summary>
    public static string DisplayName(this CudaLibrary library) => library switch
    {
        CudaLibrary.Driver => "CUDA driver",
        CudaLibrary.Nvrtc => "NVRTC",
        CudaLibrary.Cublas => "cuBLAS",
        CudaLibrary.CublasLt => "cuBLASLt",
        CudaLibrary.Cudnn => "cuDNN",
        CudaLibrary.Nccl => "NCCL",
        CudaLibrary.Nvtx => "NVTX",
        _ => library.ToString(),
    };
}
