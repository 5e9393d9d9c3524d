using System.CommandLine;
using System.Text.Json.Nodes;
using GpuEngine.Lab;
using Spectre.Console;

namespace GpuEngine.Cli.Commands;

/// <summary>`gpuengine doctor`: what this machine has and what will be used.</summary>
internal static class DoctorCommand
{
    private const string Help = """
        Shows the processor, the devices, every library that was looked for and where, and what will be used.

        Examples:
          gpuengine doctor
          gpuengine doctor --json
        """;

    public static Command Create()
    {
        var json = new Option<bool>("--json") { Description = "as JSON on stdout" };
        var command = new Command("doctor", Help) { json };
        command.SetAction(parsed =>
        {
            var report = Doctor.Examine();
            if (parsed.GetValue(json)) Output.Json(report, "-");
            else Print(report, 0);
            return CommandLine.Done;
        });
        return command;
    }

    private static void Print(JsonObject report, int depth)
    {
        foreach (var (name, value) in report)
        {
            var indent = new string(' ', depth * 2);
            switch (value)
            {
                case JsonObject inner:
                    System.Console.Out.WriteLine($"{indent}{name}:");
                    Print(inner, depth + 1);
                    break;
                case JsonArray { Count: > 0 } array when array[0] is JsonObject:
                    System.Console.Out.WriteLine($"{indent}{name}:");
                    foreach (var item in array) PrintItem((JsonObject)item!, depth + 1);
                    break;
                case JsonArray array:
                    System.Console.Out.WriteLine($"{indent}{name}: {(array.Count == 0 ? "none" : string.Join(", ", array))}");
                    break;
                default:
                    System.Console.Out.WriteLine($"{indent}{name}: {value}");
                    break;
            }
        }
    }

    private static void PrintItem(JsonObject item, int depth)
    {
        System.Console.Out.WriteLine(new string(' ', depth * 2) + "- " + string.Join(", ", item.Where(p => p.Value is not (JsonObject or JsonArray)).Select(p => $"{p.Key} {p.Value}")));
        foreach (var (name, value) in item)
        {
            if (value is JsonObject or JsonArray) Print(new JsonObject { [name] = value.DeepClone() }, depth + 1);
        }
    }
}
