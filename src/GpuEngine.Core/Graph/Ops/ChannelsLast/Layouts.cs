namespace GpuEngine.Core.Graph;

/// <summary>Images with their channels last, [N, H, W, C], beside the [N, C, H, W] of the API; weights [K, R, S, C/groups] alike.</summary>
internal static class Layouts
{
    private static readonly Ints ToLast = [0, 2, 3, 1], ToFirst = [0, 3, 1, 2];

    public static Tensor ChannelsLast(Tensor first) => F.Permute(first, ToLast);

    public static Tensor ChannelsFirst(Tensor last) => F.Permute(last, ToFirst);

    public static Shape ChannelsLast(Shape first) => [first[0], first[2], first[3], first[1]];

    public static Shape ChannelsFirst(Shape last) => [last[0], last[3], last[1], last[2]];
}
