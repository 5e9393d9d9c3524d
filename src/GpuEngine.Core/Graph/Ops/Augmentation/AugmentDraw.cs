namespace GpuEngine.Core.Graph;

/// <summary>
/// Which random numbers an image uses. Image n owns the elements 64 n .. 64 n + 63 of the op's stream (sixteen blocks of four words), whatever
/// steps there are: a step that is added or removed changes no other. An integer below k is floor(u k) of the 24-bit uniform number u,
/// without rounding.
/// </summary>
public static class AugmentDraw
{
    /// <summary>Words per image.</summary>
    public const int Words = 64;

    /// <summary>The flip: flipped where the uniform number is below the probability.</summary>
    public const int Flip = 0;

    /// <summary>Top and left of a crop.</summary>
    public const int Top = 1, Left = 2;

    /// <summary>The order of the colour adjustments, and the first of their four factors in the order of <see cref="ColorAdjustment"/>.</summary>
    public const int Order = 3, Factors = 4;

    /// <summary>Row and column of the cutout's centre.</summary>
    public const int CutoutRow = 8, CutoutColumn = 9;

    /// <summary>The first attempt of a resized crop; each has four: share of the area, ratio, top, left.</summary>
    public const int Attempts = 16;
}
