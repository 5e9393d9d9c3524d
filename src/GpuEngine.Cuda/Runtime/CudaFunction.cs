using System.Diagnostics.CodeAnalysis;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>One kernel of a loaded module. It lives as long as its module.</summary>
public sealed unsafe class CudaFunction
{
    private readonly CudaModule _module;
    private readonly CudaContext _context;
    private readonly CUfunction _function;

    internal CudaFunction(CudaModule module, string name, CUfunction function)
    {
        _module = module;
        _context = module.Context;
        _function = function;
        Name = name;
        MaxThreadsPerBlock = Get(CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
        StaticSharedBytes = Get(CUfunction_attribute.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
        Registers = Get(CUfunction_attribute.CU_FUNC_ATTRIBUTE_NUM_REGS);
        LocalBytes = Get(CUfunction_attribute.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
    }

    /// <summary>The kernel's name.</summary>
    public string Name { get; }

    /// <summary>Most threads a block may have, given the kernel's registers.</summary>
    public int MaxThreadsPerBlock { get; }

    /// <summary>Shared memory declared in the kernel, per block.</summary>
    public int StaticSharedBytes { get; }

    /// <summary>Registers per thread.</summary>
    public int Registers { get; }

    /// <summary>Local memory per thread: above zero means spilled registers or indexed local arrays.</summary>
    public int LocalBytes { get; }

    /// <summary>Allows launches with this much dynamic shared memory (needed above 48 KiB).</summary>
    public void AllowDynamicShared(int bytes)
    {
        _context.EnsureCurrent();
        var status = CuDriver.cuFuncSetAttribute(
            _function, CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
        if (status != CUresult.CUDA_SUCCESS)
        {
            throw CudaException.From(status, $"cuFuncSetAttribute({Name}, dynamic shared memory of {bytes} bytes)",
                $"The device allows {_context.Properties.SharedBytesPerBlockOptIn} bytes per block, of which the kernel " +
                $"declares {StaticSharedBytes} itself.");
        }
    }

    /// <summary>Allows clusters of more than 8 blocks, which not every device of the generation can run.</summary>
    public void AllowNonPortableClusters()
    {
        _context.EnsureCurrent();
        CuDriver.cuFuncSetAttribute(
            _function, CUfunction_attribute.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1).ThrowIfFailed();
    }

    /// <summary>Blocks of this kernel that one multiprocessor runs at a time.</summary>
    public int MaxActiveBlocksPerMultiprocessor(int blockSize, uint dynamicSharedBytes)
    {
        _context.EnsureCurrent();
        CuDriver.cuOccupancyMaxActiveBlocksPerMultiprocessor(
            out var blocks, _function, blockSize, dynamicSharedBytes).ThrowIfFailed();
        return blocks;
    }

    /// <summary>Clusters of this shape that the device runs at a time; zero means it cannot be launched.</summary>
    public int MaxActiveClusters(in LaunchShape shape)
    {
        _context.EnsureCurrent();
        var attributes = stackalloc CUlaunchAttribute[2];
        var config = Config(default, shape, attributes);
        CuDriver.cuOccupancyMaxActiveClusters(out var clusters, _function, &config).ThrowIfFailed();
        return clusters;
    }

    /// <summary>
    /// Queues a launch. Unsafe in one respect that nobody verifies: the arguments must agree with the kernel's parameters in
    /// number, order and type, and every address must be good for what the kernel does with it.
    /// </summary>
    /// <exception cref="CudaException">The launch is refused, or, when launches are waited for, fails on the device.</exception>
    public void Launch(CudaStream stream, in LaunchShape shape, scoped ref KernelArguments arguments)
    {
        _context.EnsureCurrent();
        ObjectDisposedException.ThrowIf(_module.IsClosed, _module);
        var pointers = stackalloc void*[KernelArguments.MaxCount];
        arguments.Pointers(pointers);
        var queue = stream.Raw;
        CUresult status;
        if (shape.HasCluster)
        {
            var attributes = stackalloc CUlaunchAttribute[2];
            var config = Config(queue, shape, attributes);
            status = CuDriver.cuLaunchKernelEx(&config, _function, pointers, null);
        }
        else if (shape.Cooperative)
        {
            status = CuDriver.cuLaunchCooperativeKernel(
                _function, shape.Grid.X, shape.Grid.Y, shape.Grid.Z, shape.Block.X, shape.Block.Y, shape.Block.Z,
                shape.SharedBytes, queue, pointers);
        }
        else
        {
            status = CuDriver.cuLaunchKernel(
                _function, shape.Grid.X, shape.Grid.Y, shape.Grid.Z, shape.Block.X, shape.Block.Y, shape.Block.Z,
                shape.SharedBytes, queue, pointers, null);
        }

        stream.Note(Name);
        if (status != CUresult.CUDA_SUCCESS)
            ThrowLaunch(status, stream, shape, arguments.Count);
        if (_context.SyncLaunches)
            Wait(stream, shape, arguments.Count);
    }

    /// <summary>A launch with its attributes, of which there are at most two.</summary>
    internal static CUlaunchConfig Config(CUstream stream, in LaunchShape shape, CUlaunchAttribute* attributes)
    {
        var count = 0u;
        if (shape.HasCluster)
        {
            attributes[count++] = new CUlaunchAttribute
            {
                id = CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                clusterDimX = shape.Cluster.X,
                clusterDimY = shape.Cluster.Y,
                clusterDimZ = shape.Cluster.Z,
            };
        }

        if (shape.Cooperative)
        {
            attributes[count++] = new CUlaunchAttribute
            {
                id = CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_COOPERATIVE,
                cooperative = 1,
            };
        }

        return new CUlaunchConfig
        {
            gridDimX = shape.Grid.X,
            gridDimY = shape.Grid.Y,
            gridDimZ = shape.Grid.Z,
            blockDimX = shape.Block.X,
            blockDimY = shape.Block.Y,
            blockDimZ = shape.Block.Z,
            sharedMemBytes = shape.SharedBytes,
            hStream = stream,
            attrs = attributes,
            numAttrs = count,
        };
    }

    /// <summary>Waits for the launch just queued, so that its error carries its name.</summary>
    private void Wait(CudaStream stream, in LaunchShape shape, int arguments)
    {
        var status = stream.WaitUnlessCapturing();
        if (status != CUresult.CUDA_SUCCESS)
        {
            throw CudaException.From(status, $"Kernel {Name} ({shape}, {arguments} arguments)",
                "It ran and failed on the device; every launch was waited for, so it is this one.");
        }
    }

    [DoesNotReturn]
    private void ThrowLaunch(CUresult status, CudaStream stream, in LaunchShape shape, int arguments)
    {
        var call = $"Launch of kernel {Name} ({shape}, {arguments} arguments)";
        var note = status switch
        {
            CUresult.CUDA_ERROR_INVALID_VALUE or CUresult.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
                or CUresult.CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE or CUresult.CUDA_ERROR_INVALID_CLUSTER_SIZE =>
                $"The kernel takes at most {MaxThreadsPerBlock} threads per block at {Registers} registers each; the device " +
                $"has {_context.Properties.MultiprocessorCount} multiprocessors and allows " +
                $"{_context.Properties.SharedBytesPerBlockOptIn} bytes of shared memory per block.",
            _ => null,
        };
        // Any other status is most likely the failure of earlier work that this call is the first to hear of.
        throw note is null ? stream.Failure(status, call) : CudaException.From(status, call, note);
    }

    private int Get(CUfunction_attribute attribute)
    {
        _context.EnsureCurrent();
        CuDriver.cuFuncGetAttribute(out var value, attribute, _function).ThrowIfFailed();
        return value;
    }
}
