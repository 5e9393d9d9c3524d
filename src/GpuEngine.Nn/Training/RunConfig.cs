using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using GpuEngine.Core;

namespace GpuEngine.Nn.Training;

/// <summary>
/// Everything that decides what a run computes, as it is written to RUN/config.json and read by `--config`. Names are those of
/// the command line's options with underscores. A value that was not given is null and takes the default of its model, data set
/// or optimizer.
/// </summary>
public sealed record RunConfig
{
    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    };

    public string Model { get; init; } = "mlp";

    public int? Depth { get; init; }

    public int? Width { get; init; }

    public string? Norm { get; init; }

    public int? Groups { get; init; }

    public bool? Residual { get; init; }

    /// <summary>pre or post.</summary>
    public string? ResidualForm { get; init; }

    /// <summary>A number, or "depth" for 1/sqrt of the number of blocks.</summary>
    public string? BranchScale { get; init; }

    public bool? ZeroInitResidual { get; init; }

    public string? Activation { get; init; }

    public double? Dropout { get; init; }

    public string? Init { get; init; }

    public string Data { get; init; } = "shapeset";

    public string DataDir { get; init; } = "data";

    public double? Noise { get; init; }

    public long? Limit { get; init; }

    /// <summary>Training images held out for validation: a count, or a fraction below 1.</summary>
    public double? Validation { get; init; }

    public int? Epochs { get; init; }

    public int? BatchSize { get; init; }

    public string Optimizer { get; init; } = "adamw";

    public double? Lr { get; init; }

    public double? Momentum { get; init; }

    public double? WeightDecay { get; init; }

    public double? Dampening { get; init; }

    public bool? Nesterov { get; init; }

    public double[]? Betas { get; init; }

    public double? Eps { get; init; }

    public double? Alpha { get; init; }

    public bool? Centered { get; init; }

    public bool? Amsgrad { get; init; }

    public double? ClipNorm { get; init; }

    public double? ClipValue { get; init; }

    public string? Schedule { get; init; }

    /// <summary>As <see cref="Augmentation.Parse"/> reads it.</summary>
    public string? Augment { get; init; }

    /// <summary>As <see cref="TestTimeAveraging.Parse"/> reads it.</summary>
    public string? Tta { get; init; }

    /// <summary>The recipe that gave the options which nobody else did; see <see cref="Recipe"/>.</summary>
    public string? Recipe { get; init; }

    public double? LabelSmoothing { get; init; }

    public int? Patience { get; init; }

    public string Precision { get; init; } = "fp32";

    public string Device { get; init; } = "auto";

    public int Devices { get; init; } = 1;

    public int? Threads { get; init; }

    public ulong Seed { get; init; }

    public int? CheckpointEvery { get; init; }

    public int? KeepCheckpoints { get; init; }

    public string? InitFrom { get; init; }

    /// <summary>Cheap activations are made again in the backward pass.</summary>
    public bool? Recompute { get; init; }

    /// <summary>Segments whose inside is made again in the backward pass: a number, or "auto".</summary>
    public string? Checkpoint { get; init; }

    /// <summary>Passes to leave out, "-name,-name".</summary>
    public string? Passes { get; init; }

    /// <summary>Names that a config may use.</summary>
    public static IReadOnlyList<string> Names { get; } =
        [.. typeof(RunConfig).GetProperties().Where(p => p.CanWrite).Select(p => JsonNamingPolicy.SnakeCaseLower.ConvertName(p.Name))];

    public JsonObject ToJson() => JsonSerializer.SerializeToNode(this, Json)!.AsObject();

    /// <summary>Reads a config, and what its recipe adds; <paramref name="source"/> names it in messages.</summary>
    /// <exception cref="UserException">A name is unknown or a value has the wrong kind.</exception>
    public static RunConfig FromJson(JsonObject json, string source)
    {
        json = Training.Recipe.Under(json);
        foreach (var (name, value) in json)
        {
            if (!Names.Contains(name)) throw new UserException($"In {source}: {NearestName.Sentence("option", name, Names)}");
            // Read alone first, so that the message can name the option.
            try
            {
                new JsonObject { [name] = value?.DeepClone() }.Deserialize<RunConfig>(Json);
            }
            catch (JsonException e)
            {
                throw new UserException($"In {source}: option '{name}' has the value {value?.ToJsonString() ?? "null"}, which is not {Kind(name)}.", e);
            }
        }

        return json.Deserialize<RunConfig>(Json)!;
    }

    /// <summary>Reads a JSON file of options.</summary>
    /// <exception cref="UserException">The file is missing or not a JSON object.</exception>
    public static JsonObject ReadFile(string path)
    {
        if (!File.Exists(path)) throw new UserException($"The config file {path} does not exist; give the path of a JSON file of options.");
        try
        {
            return JsonNode.Parse(File.ReadAllText(path), documentOptions: new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true })
                as JsonObject ?? throw new JsonException("not an object");
        }
        catch (JsonException e)
        {
            throw new UserException($"The config file {path} is not a JSON object of options: {e.Message.TrimEnd('.')}.", e);
        }
    }

    private static string Kind(string name)
    {
        var property = typeof(RunConfig).GetProperties().First(p => JsonNamingPolicy.SnakeCaseLower.ConvertName(p.Name) == name);
        var type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        if (type == typeof(bool)) return "true or false";
        if (type == typeof(string)) return "a string";
        if (type == typeof(double)) return "a number";
        return type == typeof(double[]) ? "a list of numbers" : "a whole number in range";
    }
}
