using GpuEngine.Nn.Data;
using GpuEngine.Nn.Initializers;
using GpuEngine.Nn.Layers;

namespace GpuEngine.Nn.Models;

/// <summary>
/// LeNet-5 (LeCun et al. 1998) in the form used today: two 5x5 convolutions with ReLU and 2x2 max pooling, then 120, 84 and
/// the classes. 28x28 images are padded to 32x32 as in the paper. <see cref="LeNet5Original"/> is the net as published.
/// </summary>
public static class LeNet5
{
    public static Module Create(ExampleShape example, int classes, string activation = "relu")
    {
        var padding = example.Height == 28 && example.Width == 28 ? 2 : 0;
        // Two "valid" 5x5 convolutions (the first padded where needed), each followed by halving.
        var (h, w) = (Pooled(example.Height, padding), Pooled(example.Width, padding));
        return new Sequential(
        [
            ("conv1", new Conv2d(example.Channels, 6, 5, padding: padding, init: new Kaiming())),
            ("act1", Activate.Named(activation, 6)),
            ("pool1", new MaxPool2d(2)),
            ("conv2", new Conv2d(6, 16, 5, init: new Kaiming())),
            ("act2", Activate.Named(activation, 16)),
            ("pool2", new MaxPool2d(2)),
            ("flatten", new Flatten()),
            ("fc1", new Linear(16 * h * w, 120, init: new Kaiming())),
            ("act3", Activate.Named(activation, 120)),
            ("fc2", new Linear(120, 84, init: new Kaiming())),
            ("act4", Activate.Named(activation, 84)),
            ("classifier", new Linear(84, classes, init: new LeCun())),
        ]);
    }

    private static int Pooled(int extent, int padding) => Math.Max(0, ((extent + 2 * padding - 4) / 2 - 4) / 2);
}
