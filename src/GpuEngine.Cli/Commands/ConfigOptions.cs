using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Training;

namespace GpuEngine.Cli.Commands;

/// <summary>One option of a run, by its name on the command line; in config.json dashes are underscores.</summary>
internal sealed record ConfigOption(string Name, string Value, string Meaning, ConfigKind Kind)
{
    public string ConfigName => Name.TrimStart('-').Replace('-', '_');
}

internal enum ConfigKind
{
    Text, Whole, Number, Numbers, Flag,
}

/// <summary>
/// The options that describe a model, its data and its training, shared by the commands that need some of them. What is given on
/// the command line becomes a JSON object with the names of config.json.
/// </summary>
internal static class ConfigOptions
{
    public static IReadOnlyList<ConfigOption> Model { get; } =
    [
        new("--model", "M", $"{string.Join(", ", ModelCatalog.Names)} [mlp]", ConfigKind.Text),
        new("--depth", "N", "hidden layers of mlp [4; with shapeset 20]", ConfigKind.Whole),
        new("--width", "N", "units of each hidden layer of mlp [512; with shapeset 256]", ConfigKind.Whole),
        new("--norm", "KIND", "batch, group, layer, instance or none [batch]", ConfigKind.Text),
        new("--groups", "N", "groups of group norm [8]", ConfigKind.Whole),
        new("--residual", "", "join the hidden layers of mlp in pre-activation residual blocks of two [off; with shapeset on, --residual false turns it off]", ConfigKind.Flag),
        new("--residual-form", "FORM", "pre: norm and activation before each layer of a branch; post: after it [pre]", ConfigKind.Text),
        new("--branch-scale", "X", "factor of each residual branch of mlp: a number, or depth for 1/sqrt(blocks) [1]", ConfigKind.Text),
        new("--zero-init-residual", "", "start the last norm of each residual branch at zero [off]", ConfigKind.Flag),
        new("--activation", "A", "activation by torch's name, attributes after colons (leaky_relu:0.1) [relu]", ConfigKind.Text),
        new("--dropout", "P", "probability of dropping a hidden unit [0]", ConfigKind.Number),
        new("--init", "I", "initialiser of hidden weights (he_normal, xavier_uniform, normal:0:0.01, orthogonal, lsuv, ...) [by activation]", ConfigKind.Text),
    ];

    public static IReadOnlyList<ConfigOption> Data { get; } =
    [
        new("--data", "D", "shapeset, mnist, fashion-mnist, cifar10, cifar100, synthetic:CxHxW:classes, circle, xor, gaussian, spiral [shapeset]", ConfigKind.Text),
        new("--data-dir", "DIR", "folder of the data files, or of folders named after the data sets [data]", ConfigKind.Text),
        new("--noise", "X", "noise of the playground point sets, 0 to 0.5", ConfigKind.Number),
        new("--limit", "IMAGES", "use the first so many training images; of an endless set: images per epoch", ConfigKind.Whole),
        new("--validation", "X", "training images held out for validation: a count, or a fraction below 1 [0.1]", ConfigKind.Number),
    ];

    public static IReadOnlyList<ConfigOption> Training { get; } =
    [
        new("--recipe", "R", $"options that are known to work together, under those given: {string.Join(", ", Recipe.Names)}", ConfigKind.Text),
        new("--epochs", "N", "passes over the training images [5; with shapeset 24]", ConfigKind.Whole),
        new("--batch-size", "B", "images per step [128]", ConfigKind.Whole),
        new("--optimizer", "O", "sgd, adagrad, rmsprop, adam, adamw or a literal variant of the lectures [adamw]", ConfigKind.Text),
        new("--lr", "X", "learning rate [the optimizer's default; of the default job 0.005]", ConfigKind.Number),
        new("--momentum", "X", "momentum of sgd and rmsprop", ConfigKind.Number),
        new("--weight-decay", "X", "L2 penalty in the gradient; decoupled in adamw", ConfigKind.Number),
        new("--dampening", "X", "dampening of sgd's momentum", ConfigKind.Number),
        new("--nesterov", "", "Nesterov momentum in sgd", ConfigKind.Flag),
        new("--betas", "B1,B2", "decay rates of adam and adamw", ConfigKind.Numbers),
        new("--eps", "X", "term in the denominator of adagrad, rmsprop, adam, adamw", ConfigKind.Number),
        new("--alpha", "X", "decay rate of rmsprop", ConfigKind.Number),
        new("--centered", "", "centered rmsprop", ConfigKind.Flag),
        new("--amsgrad", "", "keep the maximum of the second moments in adam and adamw", ConfigKind.Flag),
        new("--clip-norm", "X", "clip the gradient's global norm to X", ConfigKind.Number),
        new("--clip-value", "X", "clip every entry of the gradient to [-X, X]", ConfigKind.Number),
        new("--schedule", "S", "constant, cosine, step:EPOCHS:GAMMA, multistep:STEPS:GAMMA, onecycle, warmup:STEPS+... [cosine]", ConfigKind.Text),
        new("--augment", "SPEC", "random transforms of training images, with commas between: crop:PADDING[:reflect], resized-crop[:LOW:HIGH], flip[:P], jitter:B[:C[:S[:H]]], cutout:SIZE [none]", ConfigKind.Text),
        new("--tta", "SPEC", "test-time averaging: flip, crops:COUNT[:SHIFT] or both with a comma; of train: in the final test [none]", ConfigKind.Text),
        new("--label-smoothing", "X", "label smoothing of the training loss [0]", ConfigKind.Number),
        new("--patience", "N", "stop after N epochs without a lower validation loss", ConfigKind.Whole),
        new("--precision", "P", "fp32, tf32 or bf16 (storage; weights stay fp32) [fp32]", ConfigKind.Text),
        new("--device", "D", "auto, cpu, cuda or sim [auto]", ConfigKind.Text),
        new("--devices", "N", "number of devices [1]", ConfigKind.Whole),
        new("--threads", "N", "CPU threads [all]", ConfigKind.Whole),
        new("--seed", "S", "seed of weights, shuffling, dropout and generated data [0]", ConfigKind.Whole),
        new("--checkpoint-every", "STEPS", "also save a checkpoint every so many steps [at the end of epochs only]", ConfigKind.Whole),
        new("--keep-checkpoints", "N", "checkpoints kept [3]", ConfigKind.Whole),
        new("--recompute", "", "do not keep activations that are cheap to make again: less memory, a few percent more time [off]", ConfigKind.Flag),
        new("--checkpoint", "N", "keep only the borders of N segments of the model, or of auto, and make the rest again: least memory, about one more forward pass", ConfigKind.Text),
        new("--passes", "-P,-P", $"leave passes out: {string.Join(", ", GpuEngine.Core.Graph.PassOptions.Names.Select(n => "-" + n))}", ConfigKind.Text),
        new("--init-from", "FILE", "safetensors file with starting weights", ConfigKind.Text),
    ];

    /// <summary>Adds the options to a command and returns what reads them back.</summary>
    public static Func<ParseResult, JsonObject> AddTo(Command command, params IEnumerable<ConfigOption>[] groups)
    {
        var added = new List<(ConfigOption Spec, Option Option)>();
        foreach (var spec in groups.SelectMany(g => g))
        {
            Option option = spec.Kind == ConfigKind.Flag
                ? new Option<bool>(spec.Name) { Description = spec.Meaning }
                : new Option<string?>(spec.Name) { Description = spec.Meaning, HelpName = spec.Value };
            command.Options.Add(option);
            added.Add((spec, option));
        }

        return parsed =>
        {
            var json = new JsonObject();
            foreach (var (spec, option) in added)
            {
                if (parsed.GetResult(option) is not { Implicit: false }) continue;
                json[spec.ConfigName] = option is Option<bool> flag ? parsed.GetValue(flag) : Read(spec, parsed.GetValue((Option<string?>)option) ?? "");
            }

            return json;
        };
    }

    private static JsonNode Read(ConfigOption option, string text)
    {
        var style = NumberStyles.Float;
        var culture = CultureInfo.InvariantCulture;
        switch (option.Kind)
        {
            case ConfigKind.Text:
                return JsonValue.Create(text);
            case ConfigKind.Whole when long.TryParse(text, NumberStyles.AllowLeadingSign, culture, out var whole):
                return JsonValue.Create(whole);
            case ConfigKind.Number when double.TryParse(text, style, culture, out var number) && double.IsFinite(number):
                return JsonValue.Create(number);
            case ConfigKind.Numbers:
                var parts = text.Split(',');
                if (parts.All(p => double.TryParse(p, style, culture, out var n) && double.IsFinite(n)))
                    return new JsonArray([.. parts.Select(p => (JsonNode)JsonValue.Create(double.Parse(p, style, culture)))]);
                break;
        }

        var expected = option.Kind switch
        {
            ConfigKind.Whole => "a whole number",
            ConfigKind.Number => "a number",
            _ => "numbers with commas between them",
        };
        throw new UserException($"Option {option.Name} takes {expected}, but '{text}' was given.");
    }
}
