using GpuEngine.Core;

namespace GpuEngine.Nn.Initializers;

/// <summary>What LSUV did to one layer.</summary>
/// <param name="Layer">The layer's name.</param>
/// <param name="StartStd">Standard deviation of its output before.</param>
/// <param name="FinalStd">Standard deviation of its output after.</param>
/// <param name="Tries">Rescalings.</param>
public sealed record LsuvLayer(string Layer, double StartStd, double FinalStd, int Tries);

/// <summary>
/// Layer-sequential unit-variance initialisation (Mishkin and Matas 2016, algorithm 1): from orthonormal weights, layer by
/// layer in the order of the forward pass, divide the weight by the standard deviation of the layer's output until the output's
/// variance is within the tolerance of 1.
/// </summary>
public sealed class Lsuv(double tolerance = 0.1, int maxTries = 10)
{
    /// <summary>Runs the algorithm.</summary>
    /// <param name="layers">The layers with weights, first to last.</param>
    /// <param name="outputStd">Runs the network forward on one batch and returns the standard deviation, over all entries, of the
    /// layer's output before its activation.</param>
    /// <param name="divideWeight">Divides the layer's weight by a number.</param>
    /// <exception cref="UserException">A layer's output is constant or not finite.</exception>
    public IReadOnlyList<LsuvLayer> Run(IReadOnlyList<string> layers, Func<int, double> outputStd, Action<int, double> divideWeight)
    {
        var done = new List<LsuvLayer>();
        for (var layer = 0; layer < layers.Count; layer++)
        {
            var start = Measure(layers[layer], outputStd(layer));
            var (std, tries) = (start, 0);
            while (Math.Abs(std * std - 1) >= tolerance && tries < maxTries)
            {
                divideWeight(layer, std);
                tries++;
                std = Measure(layers[layer], outputStd(layer));
            }

            done.Add(new LsuvLayer(layers[layer], start, std, tries));
        }

        return done;
    }

    private static double Measure(string layer, double std) => double.IsFinite(std) && std > 0
        ? std
        : throw new UserException($"lsuv: the output of layer '{layer}' has standard deviation {std} on the first batch, so its weight cannot be scaled; check the data and the layers before it.");
}
