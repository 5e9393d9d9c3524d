using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Layers;

/// <summary>
/// The output layer of LeNet-5 (LeCun et al. 1998, section II-B and figure 3): minus half the squared distance of [N, 84] to a
/// picture of each digit in 7x12 pixels of -1 and 1. It learns nothing.
/// </summary>
public sealed class DigitDistance(int classes) : Module
{
    private const int Pixels = 7 * 12;

    /// <summary>Twelve rows of the ten digits side by side.</summary>
    private static readonly string[] Pictures =
    [
        "....... ....... ....... ....... ....... ....... ....... ....... ....... .......",
        "..###.. ...#... ..###.. .#####. .....#. ####### ..####. ####### ..###.. ..###..",
        ".#...#. ..##... .#...#. #.....# ....##. #...... .#..... ......# .#...#. .#...#.",
        "#.....# .#.#... #.....# ......# ...#.#. #...... #...... .....#. .#...#. #.....#",
        "#.....# ...#... ......# ......# ..#..#. #.###.. #...... .....#. .#...#. #.....#",
        "#.....# ...#... .....#. ..####. .#...#. ##...#. #.###.. ....#.. ..###.. .#...##",
        "#.....# ...#... ....#.. ......# #....#. ......# ##...#. ....#.. .#...#. ..###.#",
        "#.....# ...#... ...#... ......# ####### ......# #.....# ...#... #.....# ......#",
        "#.....# ...#... ..#.... ......# .....#. ......# #.....# ...#... #.....# ......#",
        ".#...#. ...#... .#..... #.....# .....#. #....#. .#...#. ..#.... .#...#. .....#.",
        "..###.. .#####. ####### .#####. .....#. .####.. ..###.. ..#.... ..###.. .####..",
        "....... ....... ....... ....... ....... ....... ....... ....... ....... .......",
    ];

    public override Tensor Forward(Tensor input, Trace trace)
    {
        var codes = F.Literal([1, classes, Pixels], input.DType, [.. Enumerable.Range(0, classes).SelectMany(Code)]);
        var distance = F.Reshape(input, [input.Shape[0], 1, Pixels]) - codes;
        return F.Reshape(F.Sum(distance * distance, [2]), [input.Shape[0], classes]) * -0.5;
    }

    public override string ToString() => $"distances to {classes} digits";

    private static IEnumerable<double> Code(int digit) => Pictures.SelectMany(row => row.Split(' ')[digit]).Select(p => p == '#' ? 1.0 : -1.0);
}
