using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Initializers;
using GpuEngine.Nn.Layers;

namespace GpuEngine.Nn.Models;

/// <summary>AlexNet in its two usual forms.</summary>
public static class AlexNet
{
    /// <summary>
    /// The net of Krizhevsky et al. 2012: convolutions 2, 4 and 5 in two groups (the paper's two GPUs), local response
    /// normalisation, overlapping pooling. 60,965,224 parameters with 1000 classes. Weights start as in the paper, section 5.
    /// </summary>
    /// <exception cref="UserException">The images are neither 224x224 nor 227x227.</exception>
    public static Module TwoGroups(ExampleShape example, int classes)
    {
        // The paper says 224, but 55 rows of windows of 11 with stride 4 need 227: so 224 gets a border of 2.
        if (example.Height != example.Width || example.Height is not (224 or 227))
            throw new UserException($"alexnet takes images of 224x224 or 227x227, but these have {example.Height}x{example.Width}; use lenet5 or resnet20 for small images.");
        var small = new Normal(0, 0.01);
        return new Sequential(
        [
            ("conv1", new Conv2d(example.Channels, 96, 11, 4, example.Height == 224 ? 2 : 0, init: small)), ("relu1", Relu()), ("norm1", Norm()), ("pool1", Pool()),
            ("conv2", new Conv2d(96, 256, 5, 1, 2, 2, init: small)), ("relu2", Relu()), ("norm2", Norm()), ("pool2", Pool()),
            ("conv3", new Conv2d(256, 384, 3, 1, 1, init: small)), ("relu3", Relu()),
            ("conv4", new Conv2d(384, 384, 3, 1, 1, 2, init: small)), ("relu4", Relu()),
            ("conv5", new Conv2d(384, 256, 3, 1, 1, 2, init: small)), ("relu5", Relu()), ("pool5", Pool()),
            ("flatten", new Flatten()),
            ("fc6", new Linear(256 * 6 * 6, 4096, init: small)), ("relu6", Relu()), ("drop6", new Dropout()),
            ("fc7", new Linear(4096, 4096, init: small)), ("relu7", Relu()), ("drop7", new Dropout()),
            ("fc8", new Linear(4096, classes, init: small)),
        ]);
    }

    /// <summary>
    /// The one-tower form (Krizhevsky 2014, "One weird trick") with torchvision's names and initialisation; 61,100,840 parameters
    /// with 1000 classes. Images from 63x63 up.
    /// </summary>
    /// <exception cref="UserException">The images are too small.</exception>
    public static Module OneTower(ExampleShape example, int classes)
    {
        if (example.Height < 63 || example.Width < 63)
            throw new UserException($"alexnet-one-tower takes images of at least 63x63, but these have {example.Height}x{example.Width}; use lenet5 or resnet20 for small images.");
        return new Sequential(
        [
            ("features", new Sequential(
                new Conv2d(example.Channels, 64, 11, 4, 2), Relu(), Pool(), new Conv2d(64, 192, 5, 1, 2), Relu(), Pool(), new Conv2d(192, 384, 3, 1, 1), Relu(),
                new Conv2d(384, 256, 3, 1, 1), Relu(), new Conv2d(256, 256, 3, 1, 1), Relu(), Pool())),
            ("avgpool", new AdaptiveAvgPool2d(6)), ("flatten", new Flatten()),
            ("classifier", new Sequential(
                new Dropout(), new Linear(256 * 6 * 6, 4096), Relu(), new Dropout(), new Linear(4096, 4096), Relu(), new Linear(4096, classes))),
        ]);
    }

    private static Activate Relu() => new(new Relu());

    private static MaxPool2d Pool() => new(3, 2);

    // The paper's alpha of 1e-4 multiplies the plain sum; torch divides by the size, as does this op.
    private static LocalResponseNorm Norm() => new(5, 5e-4, 0.75, 2);
}
