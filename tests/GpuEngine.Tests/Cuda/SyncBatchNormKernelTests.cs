using System.Runtime.InteropServices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Totals over devices: gathered and through peer pointers, uneven and empty shares.</summary>
[Collection("device")]
public class SyncBatchNormKernelTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>A batch of rows cut unevenly, one share empty with nonsense in its mean: as if it were one batch.</summary>
    [Theory]
    [InlineData(new[] { 5, 1, 0, 30, 7 })]
    [InlineData(new[] { 12 })]
    [InlineData(new[] { 3, 0, 0, 1, 2, 9, 4, 0, 11, 2 })]
    public void Shares_of_a_batch_have_its_statistics(int[] shares)
    {
        const int Channels = 130;
        var random = new System.Random(2);
        // Mean 1000, variance 1: a formula with E[x^2] would lose them.
        var batch = Enumerable.Range(0, Channels).Select(c => Enumerable.Range(0, shares.Sum()).Select(_ => 1000 + c + Math.Sqrt(12) * (random.NextDouble() - 0.5)).ToArray()).ToArray();
        var rows = Rows(batch, shares);
        var op = new SyncBatchNormStatsOp(0.1, 1e-5, true);
        var (mean0, var0) = (Enumerable.Range(0, Channels).Select(c => (double)c).ToArray(), Enumerable.Repeat(2.0, Channels).ToArray());
        var node = op.Apply(F.Input("rows", DType.F32, [shares.Length, 3, Channels]), F.Input("m", DType.F32, [Channels]), F.Input("v", DType.F32, [Channels]));
        var found = KernelRun.Outputs(under.Shared, CudaKernels.Create(node, new CudaLimits())!, [[.. rows.SelectMany(r => r)], mean0, var0]);
        for (var c = 0; c < Channels; c++)
        {
            var (count, mean) = (batch[c].Length, batch[c].Average());
            var m2 = batch[c].Sum(x => (x - mean) * (x - mean));
            Assert.Equal(count, found[2][c]);
            // Means come and go in f32, a unit of which is 1.2e-4 here; each merge may cost half of one. A variance feels it squared and in
            // the deviations between shares.
            Assert.Equal(mean, found[0][c], 5e-4);
            Assert.Equal(1 / Math.Sqrt(m2 / count + 1e-5), found[1][c], 2e-3);
            Assert.Equal(0.9 * c + 0.1 * mean, found[3][c], 1e-4);
            Assert.Equal(0.9 * 2 + 0.1 * m2 / (count - 1), found[4][c], 2e-3);
        }

        // Every device reads the rows where they lie and finds the same bits.
        Assert.Equal(found[..3], Peers(PeerTotals.Statistics(shares.Length, Channels, new SyncBatchNormStatsOp(0.1, 1e-5, false)), rows, Channels));
        under.AssertNothingFound();
    }

    [Fact]
    public void Nothing_but_empty_shares_leaves_the_running_statistics()
    {
        var op = new SyncBatchNormStatsOp(0.1, 1e-5, true);
        var node = op.Apply(F.Input("rows", DType.F32, [2, 3, 2]), F.Input("m", DType.F32, [2]), F.Input("v", DType.F32, [2]));
        double[] rows = [0, 1, double.NaN, 7, double.NaN, 0, 0, 0, 5, 5, 5, 5];
        var found = KernelRun.Outputs(under.Shared, CudaKernels.Create(node, new CudaLimits())!, [rows, [3, 3], [4, 4]]);
        // Channel 0 saw nothing; channel 1 one value, whose variance is 0.
        Assert.Equal([0, 7], found[0]);
        Assert.Equal((float)(1 / Math.Sqrt(1e-5f)), found[1][0], 1e-4);
        Assert.Equal([0, 1], found[2]);
        Assert.Equal(3, found[3][0]);
        Assert.Equal(4, found[4][0]);
        Assert.Equal(3.6, found[4][1], 1e-6);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(17)]
    public void Sums_are_added_in_the_order_of_ranks(int ranks)
    {
        const int Channels = 67;
        var random = new System.Random(4);
        var rows = Enumerable.Range(0, ranks).Select(_ => Enumerable.Range(0, 2 * Channels).Select(_ => (double)(float)(random.NextDouble() - 0.5)).ToArray()).ToArray();
        var node = new SyncBatchNormSumsOp().Apply(F.Input("rows", DType.F32, [ranks, 2, Channels]));
        var found = KernelRun.Outputs(under.Shared, CudaKernels.Create(node, new CudaLimits())!, [[.. rows.SelectMany(r => r)]]);
        for (var i = 0; i < 2 * Channels; i++) Assert.Equal(rows.Aggregate(0.0f, (sum, r) => sum + (float)r[i]), found[0][i]);
        Assert.Equal(found[0], Peers(PeerTotals.Sums(ranks, Channels), rows, Channels)[0]);
        under.AssertNothingFound();
    }

    [Fact]
    public void Wrong_calls_are_refused()
    {
        Assert.Throws<ArgumentException>(() => PeerTotals.Sums(0, 4));
        var rows = F.Input("rows", DType.F32, [2, 3, 4]);
        Assert.Throws<ShapeException>(() => F.SyncBatchNormSums(rows));
        Assert.Throws<ShapeException>(() => F.SyncBatchNormStats(rows, F.Input("m", DType.F32, [4])));
        Assert.Throws<ShapeException>(() => F.SyncBatchNormStats(rows, F.Input("m", DType.F32, [5]), F.Input("v", DType.F32, [5])));
    }

    /// <summary>(count, mean, m2) of each share; an empty one has a mean that nobody must look at.</summary>
    private static double[][] Rows(double[][] batch, int[] shares)
    {
        var first = 0;
        return
        [
            .. shares.Select(share =>
            {
                var own = batch.Select(values => values[first..(first + share)]).ToArray();
                first += share;
                var means = own.Select(v => v.Length == 0 ? double.NaN : (double)(float)v.Average()).ToArray();
                return own.Select(v => (double)v.Length).Concat(means).Concat(own.Select((v, c) => v.Sum(x => (x - means[c]) * (x - means[c])))).ToArray();
            }),
        ];
    }

    /// <summary>Each rank's rows in an allocation of its own, as on devices of their own.</summary>
    private double[][] Peers(PeerTotals totals, double[][] rows, int channels)
    {
        var device = under.Shared;
        var memories = new List<DeviceMemory>();
        DeviceMemory Place(ReadOnlySpan<byte> bytes)
        {
            var memory = device.Context.Allocate(bytes.Length, "test");
            memories.Add(memory);
            device.Stream.CopyToDevice(bytes, memory.Span<byte>());
            return memory;
        }

        try
        {
            ulong[] addresses = [.. rows.Select(r => Place(MemoryMarshal.AsBytes<float>(r.Select(v => (float)v).ToArray())).Address.Value)];
            var table = Place(MemoryMarshal.AsBytes<ulong>(addresses)).Address;
            Assert.Equal(8L * addresses.Length, totals.TableBytes);
            var isSum = totals.Request.Entry == "sync_batch_norm_sums";
            DeviceMemory[] results = [.. Enumerable.Range(0, isSum ? 1 : 3).Select(_ => Place(new byte[sizeof(float) * (isSum ? 2 : 1) * channels]))];
            device.Library.Compile([totals.Request]);
            var function = device.Library.Function(totals.Request);
            if (isSum) totals.LaunchSums(device.Stream, function, results[0].Address, table);
            else totals.LaunchStatistics(device.Stream, function, new(results[0].Address, results[1].Address, results[2].Address, default, default), table, default, default);
            return
            [
                .. results.Select(memory =>
                {
                    var found = new float[memory.Bytes / sizeof(float)];
                    device.Stream.CopyToHost(memory.Span<float>(), found.AsSpan());
                    return found.Select(v => (double)v).ToArray();
                }),
            ];
        }
        finally
        {
            foreach (var memory in memories) memory.Dispose();
        }
    }
}
