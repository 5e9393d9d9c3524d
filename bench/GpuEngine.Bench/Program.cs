if (args is ["kernels", ..]) return GpuEngine.Bench.Kernels.KernelBench.Run(args[1..]);
if (args is ["train-step", ..]) return GpuEngine.Bench.TrainStepComparison.Run(args[1..]);
if (args is ["gemm", ..]) return GpuEngine.Bench.GemmComparison.Run(args[1..]);
if (args is ["norms", ..]) return GpuEngine.Bench.NormBench.Run(args[1..]);
BenchmarkDotNet.Running.BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
return 0;
