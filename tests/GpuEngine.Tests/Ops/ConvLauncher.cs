using System.Runtime.InteropServices;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Kernels;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Tests.Ops;

/// <summary>
/// Runs one convolution kernel of a chosen instruction set on memory of its own: operands end where the allocation's guard values
/// begin, and the workspace and the result start out as NaN, so that what is not written or is read too far shows.
/// </summary>
internal static unsafe class ConvLauncher
{
    private const int Guard = 4096;

    public static double[] Run(Node node, double[][] inputs, CpuPool pool, GemmKernel kernel, ConvMethod method = ConvMethod.Direct)
    {
        var type = node.Outputs[0].Type;
        var launch = ConvolutionKernels.Create(node, pool.Threads, kernel, method)!;
        var buffers = new List<nint>();
        nint Allocate(long bytes)
        {
            var memory = (byte*)NativeMemory.AlignedAlloc((nuint)(bytes + 2 * Guard), 64);
            new Span<byte>(memory, (int)bytes + 2 * Guard).Fill(0xff);
            buffers.Add((nint)memory);
            return (nint)memory + Guard;
        }

        try
        {
            var operands = new nint[inputs.Length];
            for (var i = 0; i < operands.Length; i++)
            {
                var bytes = ElementData.FromDoubles(node.Inputs[i].DType, inputs[i]);
                operands[i] = Allocate(bytes.Length);
                bytes.CopyTo(new Span<byte>((void*)operands[i], bytes.Length));
            }

            var result = Allocate(type.Bytes);
            var workspace = Allocate(launch.WorkspaceBytes);
            launch.Bind(operands, [result], workspace);
            // Twice: a run must not depend on what the one before left in the workspace.
            launch.Run(pool);
            launch.Run(pool);
            Assert(result, type.Bytes);
            Assert(workspace, launch.WorkspaceBytes);
            return ElementData.ToDoubles(type.DType, new ReadOnlySpan<byte>((void*)result, (int)type.Bytes));
        }
        finally
        {
            foreach (var buffer in buffers) NativeMemory.AlignedFree((void*)buffer);
        }
    }

    private static void Assert(nint memory, long bytes)
    {
        var before = new ReadOnlySpan<byte>((byte*)memory - Guard, Guard);
        var after = new ReadOnlySpan<byte>((byte*)memory + bytes, Guard);
        Xunit.Assert.True(!before.ContainsAnyExcept((byte)0xff) && !after.ContainsAnyExcept((byte)0xff), "wrote outside of its memory");
    }
}
