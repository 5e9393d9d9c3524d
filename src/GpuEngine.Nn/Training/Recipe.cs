using System.Text.Json.Nodes;
using GpuEngine.Core;

namespace GpuEngine.Nn.Training;

/// <summary>
/// Options that a paper or a record run used together. They stand under the options that are given: whoever names an option has it, and
/// config.json holds what came out. Lengths are shares of the run, so that a smaller --epochs shortens everything in proportion.
/// </summary>
/// <param name="Name">As --recipe takes it.</param>
/// <param name="Summary">One line for lists.</param>
/// <param name="Options">By their names in config.json.</param>
public sealed record Recipe(string Name, string Summary, JsonObject Options)
{
    /// <summary>What belongs to the recipe's optimizer and means nothing to another.</summary>
    private static readonly string[] OfOptimizer = ["lr", "momentum", "weight_decay", "nesterov", "dampening"];

    /// <summary>
    /// He et al. 2015, section 4.2: 64k iterations of 128 images, that is 182 epochs of the 45,000 images that a validation split of 0.1
    /// leaves (351 steps each, 63,882 in all); the rate falls to a tenth at 32k and 48k, half and three quarters of the run.
    /// </summary>
    private static JsonObject ResNet(string model, string schedule) => new()
    {
        ["model"] = model,
        ["data"] = "cifar10",
        ["optimizer"] = "sgd",
        ["lr"] = 0.1,
        ["momentum"] = 0.9,
        ["weight_decay"] = 1e-4,
        ["batch_size"] = 128,
        ["epochs"] = 182,
        ["schedule"] = schedule,
        ["augment"] = "crop:4,flip",
        ["validation"] = 0.1,
    };

    public static IReadOnlyList<Recipe> All { get; } =
    [
        new("resnet-cifar", "He et al. 2015 on CIFAR-10: resnet20, 64k iterations", ResNet("resnet20", "multistep:50%,75%:0.1")),
        // "until the training error is below 80% (about 400 iterations)": the 400, so that a run follows from its options alone.
        new("resnet110", "the same with resnet110 and 400 iterations at a tenth of the rate first", ResNet("resnet110", "warmup:400:0.1+multistep:50%,75%:0.1")),
        // The record's rate of 11.5 and decay of 0.0153 belong to a sum over 1024 images and to steps that Nesterov's momentum 0.85 does not
        // lengthen: a mean has 11.5 / (1 + 1 / 0.15) = 1.5, and the decay 0.0153 / 11.5 beside it. The rate goes 0.2 -> 1 -> 0.07 with its
        // peak at 23% of the run. Left out: lookahead, the freezing of the first bias after three epochs, the tenth part of an epoch.
        new("airbench-like", "Jordan 2024 on CIFAR-10: airbench94, 10 epochs", new JsonObject
        {
            ["model"] = "airbench94", ["data"] = "cifar10", ["optimizer"] = "sgd", ["lr"] = 1.5, ["momentum"] = 0.85, ["nesterov"] = true,
            ["weight_decay"] = 0.0153 / 11.5, ["batch_size"] = 1024, ["epochs"] = 10, ["label_smoothing"] = 0.2, ["validation"] = 0,
            ["schedule"] = "onecycle:pct_start=0.23:anneal=linear:div_factor=5:final_div_factor=2.857", ["augment"] = "crop:2:reflect,flip:alternating",
            ["tta"] = "flip,crops:3",
        }),
    ];

    public static IReadOnlyList<string> Names { get; } = [.. All.Select(r => r.Name)];

    /// <summary>The options with those of their recipe under them; without a recipe as they are.</summary>
    /// <exception cref="UserException">There is no such recipe.</exception>
    public static JsonObject Under(JsonObject given)
    {
        if (given["recipe"] is not JsonValue value || !value.TryGetValue<string>(out var name)) return given;
        var recipe = All.FirstOrDefault(r => r.Name == name) ?? throw new UserException(NearestName.Sentence("recipe", name, Names));
        var options = recipe.Options.DeepClone().AsObject();
        if (given["optimizer"] is JsonValue other && other.TryGetValue<string>(out var optimizer) && optimizer != options["optimizer"]!.GetValue<string>())
        {
            foreach (var option in OfOptimizer) options.Remove(option);
        }

        return TrainingSetup.Merge(options, given);
    }
}
