using GpuEngine.Cli;

return CommandLine.Run(args);
