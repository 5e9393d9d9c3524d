using GpuEngine.Core.Cpu;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Tests.Cuda;
using Xunit;

namespace GpuEngine.Tests.Images;

/// <summary>The CPU's kernel, the CUDA kernel and the decomposition make the same pixels: the first two to the bit.</summary>
[Collection("device")]
public sealed class AugmentBitsTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    private static readonly ColorJitter Colors = new(FactorRange.Around(0.4), FactorRange.Around(0.4), FactorRange.Around(0.4));

    /// <summary>One per path: vectors and odd widths, planes read in vectors or not, one block and several per image, nothing to do.</summary>
    private static readonly AugmentCase[] All =
    [
        new("flip", new() { Flip = 0.5 }, [9, 3, 5, 8]),
        new("flip odd", new() { Flip = 0.5 }, [9, 2, 3, 7]),
        new("flip bytes", new() { Flip = 0.5 }, [9, 1, 3, 12]) { Images = DType.U8 },
        new("crop", Crop(8, 8, 4), [7, 3, 8, 8]) { Images = DType.U8, Normalizes = true },
        new("crop flip cutout", Crop(9, 6, 2) with { Flip = 0.5, Cutout = new(5) }, [7, 3, 9, 6]) { Images = DType.U8, Normalizes = true },
        new("reflected crop", Crop(8, 8, 3, BorderMode.Reflect) with { Flip = 0.5 }, [7, 2, 8, 8]),
        new("reflected bytes", Crop(8, 16, 5, BorderMode.Reflect) with { Flip = 0.5 }, [7, 3, 8, 16]) { Images = DType.U8, Normalizes = true },
        new("bytes of other rows", Crop(4, 8, 1) with { Flip = 0.5 }, [8, 2, 6, 10]) { Images = DType.U8 },
        new("given flips", Crop(6, 8, 2, BorderMode.Reflect), [8, 3, 6, 8]) { Images = DType.U8, Normalizes = true, GivesFlips = true },
        new("given flips alone", new(), [5, 1, 2, 3]) { GivesFlips = true },
        new("smaller crop", Crop(4, 4, 0), [7, 2, 9, 11]),
        new("filled crop", Crop(5, 5, 3, fill: 0.3), [4, 1, 5, 5]),
        new("many blocks", Crop(40, 72, 4) with { Flip = 0.5, Cutout = new(8) }, [2, 3, 40, 72]) { Images = DType.U8, Normalizes = true },
        new("resized crop", new() { ResizedCrop = new((8, 8)), Flip = 0.5 }, [9, 3, 8, 8]) { Images = DType.U8, Normalizes = true },
        new("resized crop odd", new() { ResizedCrop = new((7, 5), 0.5, 0.9, 0.5, 3) }, [9, 2, 13, 6]),
        new("resized crop that never fits", new() { ResizedCrop = new((4, 4), 1, 1, 1, 1) }, [2, 1, 3, 20]),
        new("brightness", new() { Jitter = new(FactorRange.Around(0.5)) }, [5, 3, 4, 6]),
        new("contrast", new() { Jitter = new(Contrast: FactorRange.Around(0.5)) }, [5, 3, 7, 6]),
        new("saturation", new() { Jitter = new(Saturation: FactorRange.Around(0.5)) }, [5, 3, 4, 6]) { Images = DType.U8 },
        new("hue", new() { Jitter = new(Hue: new(-0.5, 0.5)) }, [5, 3, 6, 6]) { Images = DType.U8 },
        new("all colours", new() { Jitter = Colors with { Hue = new(-0.1, 0.1) } }, [30, 3, 6, 8]) { Images = DType.U8, Normalizes = true },
        new("grey colours", new() { Jitter = Colors, Flip = 0.5 }, [8, 1, 28, 28]) { Images = DType.U8, Normalizes = true },
        new("all", Crop(32, 32, 4) with { Flip = 0.5, Jitter = Colors, Cutout = new(8) }, [4, 3, 32, 32]) { Images = DType.U8, Normalizes = true },
        new("normalize", new(), [3, 5, 3, 4]) { Normalizes = true },
        new("one pixel", Crop(1, 1, 1) with { Flip = 1, Cutout = new(1) }, [1, 1, 1, 1]) { Normalizes = true },
        new("nothing", new(), [2, 2, 3, 5]) { Images = DType.U8 },
    ];

    public static TheoryData<string> Names => [.. All.Select(c => c.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void The_device_makes_the_cpus_bits(string name)
    {
        using var cpu = new CpuDevice(2);
        foreach (var test in Dtypes(name))
        {
            Assert.NotNull(CudaKernels.Create(Node(test), new CudaLimits()));
            Assert.Equal(test.Run(cpu), test.Run(under.Shared));
            under.AssertNothingFound();
        }
    }

    // The allowance is a few roundings of f32 on numbers up to 4; in bf16 the fused kernel rounds once, at the end.
    [Theory]
    [MemberData(nameof(Names))]
    public void The_cpus_kernel_follows_the_decomposition(string name)
    {
        using var cpu = new CpuDevice(2);
        using var plain = new CpuDevice(1, useFusedKernels: false);
        foreach (var test in Dtypes(name))
        {
            Assert.True(cpu.HasKernel(Node(test)) || test.Images == DType.BF16);
            var expected = test.Run(plain);
            var actual = test.Run(cpu);
            var allowed = test.Op.To == DType.BF16 || test.Images == DType.BF16 ? 0.02 : 4e-6;
            Assert.Equal(expected.Length, actual.Length);
            for (var i = 0; i < expected.Length; i++) Assert.Equal(expected[i], actual[i], allowed);
        }
    }

    [Fact]
    public void An_empty_batch_stays_empty()
    {
        using var cpu = new CpuDevice(1);
        var test = new AugmentCase("empty", Crop(4, 4, 1) with { Flip = 0.5 }, [0, 3, 4, 4]);
        Assert.Empty(test.Run(cpu));
        Assert.Empty(test.Run(under.Shared));
    }

    [Fact]
    public void The_same_bits_for_any_number_of_threads()
    {
        using var one = new CpuDevice(1);
        using var three = new CpuDevice(3);
        var test = All.First(c => c.Name == "all") with { Shape = [11, 3, 32, 32] };
        Assert.Equal(test.Run(one), test.Run(three));
    }

    /// <summary>The case as it is, and to and from bf16.</summary>
    private static IEnumerable<AugmentCase> Dtypes(string name)
    {
        var test = All.First(c => c.Name == name);
        yield return test;
        yield return test with { Op = test.Op with { To = DType.BF16 } };
        if (test.Images == DType.F32) yield return test with { Images = DType.BF16 };
    }

    private static Node Node(AugmentCase test)
    {
        var (images, generator) = (F.Input("images", test.Images, test.Shape), F.Input("generator", DType.I64, [2]));
        return F.Augment(images, test.Op, generator).Node;
    }

    private static AugmentOp Crop(int height, int width, int padding, BorderMode border = BorderMode.Zeros, double fill = 0) =>
        new() { Crop = new((height, width), Ints.Repeat(padding, 4), border, fill) };
}
