using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Cuda;

/// <summary>The kernels that prepare images, with the constants of the gate.</summary>
internal static class ImageKernels
{
    public static IReadOnlyList<CatalogKernel> All { get; } =
    [
        FileKernels.Kernel(
            "augment.cu", "augment", "crop, flip, colour jitter, normalisation and cutout in one pass", "augment",
            "T* y, const U* x, const i64* state, const float* mean, const float* deviation, const i32* flips, i64 images, i64 channels, i64 height, i64 width, i64 rows, " +
            "i64 columns, i64 pieces",
            Steps()),
    ];

    private static KernelVariant[] Steps() =>
    [
        .. new[] { DType.F32, DType.BF16 }.SelectMany(dtype => new[]
        {
            FileKernels.Variant("crop flip normalize cutout", dtype, Vector(dtype), One("CROP"), One("BYTE_WORDS"), Define("FLIPS", 1 << 23), One("NORMALIZE"), Define("CUTOUT", 8)),
            FileKernels.Variant("reflected crop of floats", dtype, Vector(dtype), KernelRequest.Define("PIXEL_DTYPE", dtype), One("CROP"), One("REFLECT"), One("FLIPS_GIVEN")),
            FileKernels.Variant("flip", dtype, Vector(dtype), Define("FLIPS", 1 << 23), One("VECTOR_READS")),
            FileKernels.Variant("resized crop", dtype, Define("VECTOR", 1), One("RESIZED"), Define("FLIPS", 1 << 23), One("NORMALIZE")),
            FileKernels.Variant("colours", dtype, Define("VECTOR", 4), One("CROP"), Define("COLORS", 4), Define("ADJUSTMENTS", 0x3210), One("CONTRAST"), Define("PLANES", 3), One("NORMALIZE")),
        }),
    ];

    private static (string, string) Define(string name, long value) => KernelRequest.Define(name, value);

    private static (string, string) One(string name) => Define(name, 1);

    private static (string, string) Vector(DType dtype) => Define("VECTOR", 16 / dtype.Size());
}
