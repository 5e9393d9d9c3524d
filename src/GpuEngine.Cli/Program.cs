Console.WriteLine("gpuengine");
