namespace GpuEngine.Nn.Data;

/// <summary>
/// Philox stream numbers of everything in this folder; the range is far above what layers and parameters count from 0,
/// so that one seed serves a whole run.
/// </summary>
internal static class DataStream
{
    public const uint Shuffle = 0xDA7A_0000;
    public const uint Flips = 0xDA7A_0001;
    public const uint ShapesetTrain = 0xDA7A_0010;
    public const uint ShapesetValidation = 0xDA7A_0011;
    public const uint ShapesetTest = 0xDA7A_0012;
    public const uint PlaygroundPoints = 0xDA7A_0020;
    public const uint PlaygroundOrder = 0xDA7A_0021;
    public const uint SyntheticTextures = 0xDA7A_0030;
    public const uint SyntheticTrain = 0xDA7A_0031;
    public const uint SyntheticValidation = 0xDA7A_0032;
    public const uint SyntheticTest = 0xDA7A_0033;

    /// <summary>Added to a synthetic stream: the labels beside the noise.</summary>
    public const uint SyntheticLabels = 0x10;
}
