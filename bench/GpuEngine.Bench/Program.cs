if (args is ["gemm", ..]) return GpuEngine.Bench.GemmComparison.Run(args[1..]);
BenchmarkDotNet.Running.BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
return 0;
