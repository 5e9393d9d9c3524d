using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Lab;
using GpuEngine.Lab.Ops;

namespace GpuEngine.Cli.Commands;

/// <summary>`gpuengine op`: runs one op from file to file.</summary>
internal static class OpCommand
{
    private const string Help = """
        Runs one op on the tensors of a safetensors file and writes its results to another. Tensors carry the argument names of
        torch.nn.functional (input, weight, bias, running_mean, target, ...); the result is `output`. With --grad the input file
        also holds `grad_output`, and the result holds grad_input, grad_weight, ... Optimizers take param, grad and their state by
        torch's names.

        Examples:
          gpuengine op --list
          gpuengine op conv2d --in in.safetensors --out out.safetensors --attr stride=[2,2] --attr padding=1
          gpuengine op batch_norm --in in.safetensors --out out.safetensors --attr training=true --attr eps=1e-5 --grad
          gpuengine op adamw --in in.safetensors --out out.safetensors --attr lr=1e-3 --attr step=10
        """;

    public static Command Create()
    {
        var name = new Argument<string?>("NAME") { Description = "op by torch's name", Arity = ArgumentArity.ZeroOrOne };
        var input = new Option<string?>("--in") { Description = "safetensors file with the op's tensors", HelpName = "FILE" };
        var output = new Option<string?>("--out") { Description = "safetensors file to write", HelpName = "FILE" };
        var attributes = new Option<string[]>("--attr") { Description = "attribute; the value is JSON (repeatable)", HelpName = "k=v", AllowMultipleArgumentsPerToken = false };
        var grad = new Option<bool>("--grad") { Description = "also run backward from grad_output" };
        var device = new Option<string>("--device") { Description = "auto, cpu, cuda or sim", DefaultValueFactory = _ => "auto", HelpName = "D" };
        var dtype = new Option<string?>("--dtype") { Description = "f32, f64 or bf16: what floating tensors are converted to [the file's own]", HelpName = "T" };
        var threads = new Option<int>("--threads") { Description = "CPU threads [all]", HelpName = "N" };
        var list = new Option<bool>("--list") { Description = "list all ops with their arguments and attributes" };
        var json = new Option<bool>("--json") { Description = "with --list: as JSON on stdout" };
        var command = new Command("op", Help) { name, input, output, attributes, grad, device, dtype, threads, list, json };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(list)) return List(parsed.GetValue(json));
            var spec = OpCatalog.Find(parsed.GetValue(name) ?? throw new UserException("`gpuengine op` needs the NAME of an op; see `gpuengine op --list`."));
            var from = parsed.GetValue(input) ?? throw new UserException($"`gpuengine op {spec.Name}` needs --in FILE, a safetensors file with its tensors.");
            var to = parsed.GetValue(output) ?? throw new UserException($"`gpuengine op {spec.Name}` needs --out FILE, the safetensors file to write.");
            using var opened = Device.Open(parsed.GetValue(device)!, parsed.GetValue(threads));
            OpRunner.Run(opened, spec, from, to, Parse(parsed.GetValue(attributes) ?? []), parsed.GetValue(grad), FloatType(parsed.GetValue(dtype)));
            return CommandLine.Done;
        });
        return command;
    }

    private static DType? FloatType(string? name)
    {
        if (name is null) return null;
        var dtype = DTypes.Parse(name);
        return dtype.IsFloat() ? dtype : throw new UserException($"--dtype must be f32, f64 or bf16, but is {name}.");
    }

    private static Dictionary<string, JsonNode?> Parse(string[] attributes)
    {
        var result = new Dictionary<string, JsonNode?>();
        foreach (var attribute in attributes)
        {
            var split = attribute.IndexOf('=', StringComparison.Ordinal);
            if (split < 1) throw new UserException($"--attr takes name=value, but '{attribute}' was given.");
            var (key, text) = (attribute[..split], attribute[(split + 1)..]);
            try
            {
                result[key] = JsonNode.Parse(text);
            }
            catch (JsonException)
            {
                // A bare word is meant as a string: --attr reduction=sum. Python's spellings are understood too.
                result[key] = text switch
                {
                    "True" => JsonValue.Create(true),
                    "False" => JsonValue.Create(false),
                    "None" => null,
                    _ when text.Length > 0 && (char.IsLetter(text[0]) || text[0] == '_') => JsonValue.Create(text),
                    _ => throw new UserException($"--attr {key}: '{text}' is not JSON; write a number, true, false, \"text\" or [1,2]."),
                };
            }
        }

        return result;
    }

    private static int List(bool json)
    {
        if (!json)
        {
            foreach (var spec in OpCatalog.All)
            {
                var arguments = string.Join(", ", spec.Arguments.Select(a => a.Optional ? $"[{a.Name}]" : a.Name));
                var attributes = string.Join(", ", spec.Attributes.Select(a => $"{a.Name}={OpCall.ToJson(a.Default)?.ToJsonString() ?? "none"}"));
                System.Console.Out.WriteLine($"{spec.Name}({arguments}{(attributes.Length > 0 ? "; " + attributes : "")})  {spec.Summary}");
            }

            return CommandLine.Done;
        }

        var array = new JsonArray();
        foreach (var spec in OpCatalog.All)
        {
            array.Add((JsonNode)new JsonObject
            {
                ["name"] = spec.Name,
                ["summary"] = spec.Summary,
                ["differentiable"] = spec.Differentiable,
                ["arguments"] = new JsonArray([.. spec.Arguments.Select(a => (JsonNode)new JsonObject { ["name"] = a.Name, ["optional"] = a.Optional, ["differentiable"] = a.Differentiable })]),
                ["attributes"] = new JsonArray([.. spec.Attributes.Select(a => (JsonNode)new JsonObject { ["name"] = a.Name, ["default"] = OpCall.ToJson(a.Default), ["meaning"] = a.Meaning })]),
            });
        }

        System.Console.Out.WriteLine(array.ToJsonString(Output.Indented));
        return CommandLine.Done;
    }
}
