using System.Globalization;
using GpuEngine.Core;

namespace GpuEngine.Nn.Initializers;

/// <summary>
/// The text form of initializers: a name and its arguments, separated by colons; arguments may be left out from the end.
/// </summary>
internal static class InitializerText
{
    private static readonly Entry[] Entries =
    [
        new("default", "default", 0, _ => new Kaiming(normal: false, a: Math.Sqrt(5))),
        new("zeros", "zeros", 0, _ => new Constant(0)),
        new("ones", "ones", 0, _ => new Constant(1)),
        new("constant", "constant:VALUE", 1, a => new Constant(a.Number(0, 0))),
        new("normal", "normal:MEAN:STD", 2, a => new Normal(a.Number(0, 0), a.Number(1, 1))),
        new("uniform", "uniform:LOW:HIGH", 2, a => new Uniform(a.Number(0, 0), a.Number(1, 1))),
        new("xavier_uniform", "xavier_uniform:GAIN", 1, a => new Xavier(false, a.Number(0, 1))),
        new("xavier_normal", "xavier_normal:GAIN", 1, a => new Xavier(true, a.Number(0, 1))),
        new("glorot_uniform", "glorot_uniform:GAIN", 1, a => new Xavier(false, a.Number(0, 1))),
        new("glorot_normal", "glorot_normal:GAIN", 1, a => new Xavier(true, a.Number(0, 1))),
        new("kaiming_uniform", "kaiming_uniform:MODE:NONLINEARITY:SLOPE", 3, a => Kaiming(a, false)),
        new("kaiming_normal", "kaiming_normal:MODE:NONLINEARITY:SLOPE", 3, a => Kaiming(a, true)),
        new("he_uniform", "he_uniform:MODE:NONLINEARITY:SLOPE", 3, a => Kaiming(a, false)),
        new("he_normal", "he_normal:MODE:NONLINEARITY:SLOPE", 3, a => Kaiming(a, true)),
        new("lecun_uniform", "lecun_uniform", 0, _ => new LeCun(false)),
        new("lecun_normal", "lecun_normal", 0, _ => new LeCun(true)),
        new("orthogonal", "orthogonal:GAIN", 1, a => new Orthogonal(a.Number(0, 1))),
        new("lsuv", "lsuv", 0, _ => new LsuvStart()),
        new("xavier_literal", "xavier_literal", 0, _ => new XavierLiteral()),
        new("he_literal", "he_literal", 0, _ => new HeLiteral()),
    ];

    public static IReadOnlyList<string> Names => [.. Entries.Select(e => e.Name)];

    public static Initializer Read(string text)
    {
        var parts = text.Split(':');
        var entry = Entries.FirstOrDefault(e => e.Name == parts[0]) ?? throw new UserException(NearestName.Sentence("initializer", parts[0], Names));
        if (parts.Length - 1 > entry.Arguments) throw new UserException($"--init '{text}': too many arguments; it is written {entry.Form}.");
        return entry.Make(new Arguments(text, entry.Form, parts[1..]));
    }

    private static Kaiming Kaiming(Arguments a, bool normal)
    {
        var mode = a.Word(0, "fan_in") switch
        {
            "fan_in" => FanMode.FanIn,
            "fan_out" => FanMode.FanOut,
            var other => throw new UserException($"--init '{a.Text}': {NearestName.Sentence("mode", other, ["fan_in", "fan_out"])}"),
        };
        return new Kaiming(normal, mode, a.Word(1, "leaky_relu"), a.Number(2, 0));
    }

    private sealed record Entry(string Name, string Form, int Arguments, Func<Arguments, Initializer> Make);

    private sealed record Arguments(string Text, string Form, string[] Values)
    {
        public string Word(int index, string otherwise) => index < Values.Length ? Values[index] : otherwise;

        public double Number(int index, double otherwise)
        {
            if (index >= Values.Length) return otherwise;
            if (double.TryParse(Values[index], NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value)) return value;
            throw new UserException($"--init '{Text}': '{Values[index]}' is not a number; it is written {Form}.");
        }
    }
}
