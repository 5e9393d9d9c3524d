using System.Globalization;
using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>The macros by which a kernel is compiled with dropout (kernels/common/dropout.cuh).</summary>
internal static class DropoutMacros
{
    /// <summary>Of an op, or of none; then everything may still be scaled.</summary>
    public static (string Name, string Value)[] Of(DropoutOp? op, double scale = 1) => op is null
        ? [KernelRequest.Define("DROPOUT", 0L), KernelRequest.Define("SCALE", (float)scale)]
        :
        [
            KernelRequest.Define("DROPOUT", 1L), ("THRESHOLD", Unsigned((long)(op.Threshold * (1 << 24)))),
            KernelRequest.Define("SCALE", (float)op.Scale), ("STREAM", Unsigned((uint)op.Stream)),
        ];

    private static string Unsigned(long value) => value.ToString(CultureInfo.InvariantCulture) + "u";
}
