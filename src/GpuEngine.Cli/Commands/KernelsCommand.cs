using System.CommandLine;
using GpuEngine.Core;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Lab;
using GpuEngine.Lab.Kernels;

namespace GpuEngine.Cli.Commands;

/// <summary>`gpuengine kernels`: lists the kernels, proves them right, and tells what they take and move.</summary>
internal static class KernelsCommand
{
    private const string Help = """
        Lists the kernels, proves them right, and tells what they take and move.

        NAME is an op (layer_norm), a file of kernels/ (row_norm) or one kernel in it (row_norm_backward). An edited file is compiled
        anew at the next command; nothing has to be built.

        Examples:
          gpuengine kernels list
          gpuengine kernels check batch_norm --device sim
          gpuengine kernels traffic row_norm
        """;

    private const string ListHelp = """
        Lists every hand-written kernel: its file, its name, the ops that launch it, its dtypes, the sets of compile-time constants that the
        compile gate goes through, and what it does.

        Examples:
          gpuengine kernels list
          gpuengine kernels list layer_norm --json
        """;

    private const string CheckHelp = """
        Compares every op (or one, or those of one kernel file), forward and backward, in each dtype and each variant of its kernels, with its
        decomposition in float64 on the CPU. The worst error may be at most twice that of the plain computation in the same dtype.
        On the simulator every launch is watched for bad accesses and races, and each sample is run again in 10 random orders of its
        threads and blocks (--seeds), which must give the same bits. With --steps it also follows 20 training steps of two small nets on
        the CPU and checks that a second run gives the same bits. Ends with exit code 1 when anything differs.

        Examples:
          gpuengine kernels check --device cpu
          gpuengine kernels check batch_norm_backward --device sim --seeds 3
          gpuengine kernels check softmax --device cuda --dtype bf16
        """;

    private const string CompileHelp = """
        Compiles every entry (or those of NAME) with every set of its constants, past the cache: through NVRTC for the device, and, where clang is
        installed, through its NVPTX back end for sm_80 and sm_90. Ends with exit code 1 when anything does not compile.

        Examples:
          gpuengine kernels compile --device cuda
          gpuengine kernels compile cross_entropy --device sim --json compile.json
        """;

    private const string StatsHelp = """
        Tells what kernels take of a multiprocessor: registers, shared memory, local memory (spills), threads and occupancy. Registers are
        known to a GPU's driver alone; without one, the PTX gate tells shared memory and indexed local arrays.

        Examples:
          gpuengine kernels stats
          gpuengine kernels stats optimizers --json -
        """;

    private const string TrafficHelp = """
        Counts on the simulator what kernels move, each in every variant: bytes beside the fewest possible and beside what the launcher
        claims, 32-byte sectors beside the fewest possible, the worst bank conflict, barriers. NAME may also be a part of a case's label.

        Examples:
          gpuengine kernels traffic
          gpuengine kernels traffic cross_entropy --markdown
          gpuengine kernels traffic --write-readme
        """;

    public static Command Create() => new("kernels", Help) { ListCommand(), CheckCommand(), CompileCommand(), StatsCommand(), TrafficCommand() };

    private static Argument<string?> Name() => new("NAME") { Description = "op, kernel file or kernel [all]", Arity = ArgumentArity.ZeroOrOne };

    private static Option<string> On(string description) => new("--device") { Description = description, DefaultValueFactory = _ => "auto", HelpName = "D" };

    private static Option<string?> Json() => new("--json") { Description = "write the result as JSON to FILE; - is stdout", HelpName = "FILE" };

    private static Command ListCommand()
    {
        var name = Name();
        var json = new Option<bool>("--json") { Description = "print JSON alone" };
        var command = new Command("list", ListHelp) { name, json };
        command.SetAction(parsed => KernelsReports.List(KernelSelection.Of(parsed.GetValue(name)), parsed.GetValue(json)));
        return command;
    }

    private static Command CheckCommand()
    {
        var (name, device, json) = (Name(), On("auto, cpu, cuda or sim"), Json());
        var dtype = new Option<string?>("--dtype") { Description = "f32, f64 or bf16 [all]", HelpName = "T" };
        var seeds = new Option<int>("--seeds") { Description = "random schedules on the simulator", DefaultValueFactory = _ => 10, HelpName = "N" };
        var steps = new Option<bool>("--steps") { Description = "also follow training steps on the CPU" };
        var command = new Command("check", CheckHelp) { name, device, dtype, seeds, steps, json };
        command.SetAction(parsed =>
        {
            var given = parsed.GetValue(name);
            var ops = KernelSelection.Of(given).Ops;
            if (ops.Count == 0) throw new UserException($"No op of the catalog launches {given}, so there is nothing to check it by: name another, or see `gpuengine kernels list`.");
            if (parsed.GetValue(seeds) < 0) throw new UserException($"--seeds must be at least 0, but is {parsed.GetValue(seeds)}.");
            DType[] dtypes = parsed.GetValue(dtype) is { } one ? [FloatType(one)] : [DType.F32, DType.BF16, DType.F64];
            using var opened = Device.Open(parsed.GetValue(device)!);
            return KernelsCheck.Run(opened, given is null, ops, dtypes, parsed.GetValue(seeds), parsed.GetValue(steps), parsed.GetValue(json));
        });
        return command;
    }

    private static Command CompileCommand()
    {
        var (name, device, json) = (Name(), On("whose NVRTC: auto, cuda or sim; auto does without where there is no GPU"), Json());
        var command = new Command("compile", CompileHelp) { name, device, json };
        command.SetAction(parsed =>
        {
            var selection = KernelSelection.Of(parsed.GetValue(name));
            using var opened = Cuda(parsed.GetValue(device)!);
            return KernelsReports.Compile(selection, opened, parsed.GetValue(json));
        });
        return command;
    }

    private static Command StatsCommand()
    {
        var (name, json) = (Name(), Json());
        var command = new Command("stats", StatsHelp) { name, json };
        command.SetAction(parsed =>
        {
            var selection = KernelSelection.Of(parsed.GetValue(name));
            using var opened = Cuda("auto");
            return KernelsReports.Stats(selection, opened, parsed.GetValue(json));
        });
        return command;
    }

    private static Command TrafficCommand()
    {
        var name = new Argument<string?>("NAME") { Description = "op, kernel file, kernel or part of a label [all]", Arity = ArgumentArity.ZeroOrOne };
        var json = Json();
        var markdown = new Option<bool>("--markdown") { Description = "print the table as README.md has it" };
        var write = new Option<bool>("--write-readme") { Description = "put the table into README.md of this repository" };
        var command = new Command("traffic", TrafficHelp) { name, json, markdown, write };
        command.SetAction(parsed => KernelsReports.Traffic(parsed.GetValue(name), parsed.GetValue(markdown), parsed.GetValue(write), parsed.GetValue(json)));
        return command;
    }

    /// <summary>A CUDA device; for "auto" null where there is no GPU.</summary>
    private static CudaDevice? Cuda(string name)
    {
        if (name == "cpu") throw new UserException("--device must be auto, cuda or sim, but is cpu.");
        IDevice device = Device.Open(name);
        if (device is CudaDevice cuda) return cuda;
        device.Dispose();
        return null;
    }

    private static DType FloatType(string name)
    {
        var dtype = DTypes.Parse(name);
        return dtype.IsFloat() ? dtype : throw new UserException($"--dtype must be f32, f64 or bf16, but is {name}.");
    }
}
