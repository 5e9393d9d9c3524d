using System.Numerics;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public unsafe class KernelArgumentsTests
{
    [Fact]
    public void Every_argument_can_be_read_back_through_its_pointer()
    {
        var arguments = new KernelArguments();
        arguments.Add(new DevicePointer(0x1122334455667788));
        arguments.Add((byte)7);
        arguments.Add(-3);
        arguments.Add(2.5f);
        arguments.Add(-1e300);
        arguments.Add(new Vector4(1, 2, 3, 4));
        arguments.Add((short)-9);
        arguments.Add(new DeviceSpan<float>(new DevicePointer(0xabc), 10));
        arguments.Add(new ReadOnlyDeviceSpan<float>(new DevicePointer(0xdef), 10));
        Assert.Equal(9, arguments.Count);

        var p = stackalloc void*[KernelArguments.MaxCount];
        arguments.Pointers(p);
        Assert.Equal(0x1122334455667788UL, *(ulong*)p[0]);
        Assert.Equal(7, *(byte*)p[1]);
        Assert.Equal(-3, *(int*)p[2]);
        Assert.Equal(2.5f, *(float*)p[3]);
        Assert.Equal(-1e300, *(double*)p[4]);
        Assert.Equal(new Vector4(1, 2, 3, 4), *(Vector4*)p[5]);
        Assert.Equal(-9, *(short*)p[6]);
        Assert.Equal(0xabcUL, *(ulong*)p[7]);
        Assert.Equal(0xdefUL, *(ulong*)p[8]);
    }

    [Fact]
    public void No_arguments_are_fine()
    {
        var arguments = new KernelArguments();
        var p = stackalloc void*[1];
        p[0] = (void*)42;
        arguments.Pointers(p);
        Assert.Equal(42, (nint)p[0]);
    }

    [Fact]
    public void Full_is_an_error_by_count_and_by_bytes()
    {
        Assert.Throws<InvalidOperationException>(() =>
        {
            var arguments = new KernelArguments();
            for (var i = 0; i <= KernelArguments.MaxCount; i++)
                arguments.Add(i);
        });
        Assert.Throws<InvalidOperationException>(() =>
        {
            var arguments = new KernelArguments();
            for (var i = 0; i <= KernelArguments.MaxBytes / 64; i++)
                arguments.Add(default(Matrix4x4));
        });
    }

    [Fact]
    public void The_limits_themselves_fit()
    {
        var arguments = new KernelArguments();
        for (var i = 0; i < KernelArguments.MaxBytes / 64; i++)
            arguments.Add(Matrix4x4.Identity * i);
        var p = stackalloc void*[KernelArguments.MaxCount];
        arguments.Pointers(p);
        for (var i = 0; i < arguments.Count; i++)
            Assert.Equal(Matrix4x4.Identity * i, *(Matrix4x4*)p[i]);
    }

    [Fact]
    public void Packing_allocates_nothing()
    {
        Pack();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++)
            Pack();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        static void Pack()
        {
            var arguments = new KernelArguments();
            arguments.Add(new DevicePointer(1));
            arguments.Add(2);
            arguments.Add(3f);
            var p = stackalloc void*[KernelArguments.MaxCount];
            arguments.Pointers(p);
        }
    }

    [Fact]
    public void Attributes_follow_the_shape()
    {
        var attributes = stackalloc CUlaunchAttribute[2];
        var plain = CudaFunction.Config(new(5), new LaunchShape(new(1, 2, 3), new(4, 5, 6), 7), attributes);
        Assert.Equal((1u, 2u, 3u), (plain.gridDimX, plain.gridDimY, plain.gridDimZ));
        Assert.Equal((4u, 5u, 6u), (plain.blockDimX, plain.blockDimY, plain.blockDimZ));
        Assert.Equal((7u, (nint)5, 0u), (plain.sharedMemBytes, plain.hStream.Value, plain.numAttrs));

        var shape = new LaunchShape(8, 32) { Cluster = new(2, 1, 4), Cooperative = true };
        var both = CudaFunction.Config(default, shape, attributes);
        Assert.Equal(2u, both.numAttrs);
        Assert.Equal(CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, attributes[0].id);
        Assert.Equal((2u, 1u, 4u), (attributes[0].clusterDimX, attributes[0].clusterDimY, attributes[0].clusterDimZ));
        Assert.Equal(CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_COOPERATIVE, attributes[1].id);
        Assert.Equal(1, attributes[1].cooperative);
    }
}
