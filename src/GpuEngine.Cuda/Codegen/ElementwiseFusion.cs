using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// Joins element-wise primitives into regions that run as one launch: a node moves into the region of its readers when all of
/// them are in that one region and it has the region's shape, so nothing is computed twice and no intermediate is stored.
/// Constants become literals.
/// </summary>
internal static class ElementwiseFusion
{
    private const int MaxInputs = 12;
    private const int MaxSteps = 96;

    public static TensorProgram Apply(TensorProgram program)
    {
        var regions = FormRegions(program);
        var map = new Dictionary<Tensor, Tensor>();
        foreach (var node in program.Nodes)
        {
            using var scope = Scope.Restore(node.Scope);
            if (regions.TryGetValue(node, out var region))
            {
                if (region.Root == node) map[node.Outputs[0]] = Build(region, map);
                continue;
            }

            // Every node is renewed, so that those that stay keep their places in the order of execution.
            var outputs = node.Op is Leaf ? node.Outputs : node.Op.Apply([.. node.Inputs.Select(t => map[t])]).Outputs;
            for (var i = 0; i < outputs.Count; i++) map[node.Outputs[i]] = outputs[i];
        }

        return program.Map(map);
    }

    private static Dictionary<Node, Region> FormRegions(TensorProgram program)
    {
        var readers = new Dictionary<Tensor, List<Node>>();
        foreach (var node in program.Nodes)
        {
            foreach (var input in node.Inputs)
            {
                if (!readers.TryGetValue(input, out var list)) readers[input] = list = [];
                list.Add(node);
            }
        }

        var roots = program.Roots.ToHashSet();
        var regions = new Dictionary<Node, Region>();
        foreach (var node in program.Nodes.Reverse().Where(n => ElementwiseProgram.IsStep(n.Op)))
        {
            var output = node.Outputs[0];
            if (!roots.Contains(output) && readers.TryGetValue(output, out var list) && regions.TryGetValue(list[0], out var region)
                && list.All(n => regions.GetValueOrDefault(n) == region) && region.TryAbsorb(node))
            {
                regions[node] = region;
                continue;
            }

            regions[node] = new Region(node);
        }

        return regions;
    }

    private static Tensor Build(Region region, Dictionary<Tensor, Tensor> map)
    {
        var inputs = region.Inputs.Where(t => t.Node.Op is not ConstantOp).ToList();
        var places = new Dictionary<Tensor, int>();
        for (var i = 0; i < inputs.Count; i++) places[inputs[i]] = i;
        var steps = new List<ElementwiseStep>();
        foreach (var constant in region.Inputs.Where(t => t.Node.Op is ConstantOp))
        {
            steps.Add(ElementwiseProgram.ConstantStep(((ConstantOp)constant.Node.Op).Value, constant.DType));
            places[constant] = inputs.Count + steps.Count - 1;
        }

        foreach (var node in region.Nodes.OrderBy(n => n.Id))
        {
            // A broadcast is only a way of reading, which the layout of the input says already.
            var op = node.Op is BroadcastToOp ? BroadcastToOpAnywhere : node.Op;
            steps.Add(new ElementwiseStep(op, [.. node.Inputs.Select(t => places[t])], node.Outputs[0].DType));
            places[node.Outputs[0]] = inputs.Count + steps.Count - 1;
        }

        var type = region.Root.Outputs[0].Type;
        var inPlace = inputs.FindIndex(t => t.Type == type && t.Node.Op is VariableOp);
        if (inPlace < 0) inPlace = inputs.FindIndex(t => t.Type == type);
        var program = new ElementwiseProgram([.. inputs.Select(t => t.DType)], steps);
        return new ElementwiseRegionOp(program, type.Shape, inPlace).Apply([.. inputs.Select(t => map[t])]).Outputs[0];
    }

    private static readonly BroadcastToOp BroadcastToOpAnywhere = new(Shape.Scalar);

    private sealed class Region(Node root)
    {
        public Node Root { get; } = root;

        public List<Node> Nodes { get; } = [root];

        /// <summary>What the region reads from outside, constants included, each once.</summary>
        public List<Tensor> Inputs { get; private set; } = [.. root.Inputs.Distinct()];

        public bool TryAbsorb(Node node)
        {
            var shape = Root.Outputs[0].Shape;
            if (node.Outputs[0].Shape != shape || Nodes.Count >= MaxSteps) return false;
            List<Tensor> inputs = [.. Inputs.Where(t => t != node.Outputs[0]).Concat(node.Inputs).Distinct()];
            var stored = inputs.Where(t => t.Node.Op is not ConstantOp).ToList();
            if (stored.Count > MaxInputs || !Elementwise.Fits(shape, stored.Select(t => t.Shape))) return false;
            Inputs = inputs;
            Nodes.Add(node);
            return true;
        }
    }
}
