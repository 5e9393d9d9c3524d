// Clean kernels: no alarm in any order, results and counters equal to what one works out by hand.
#include <cmath>

#include "harness.h"

namespace {

Kernels& clean() {
    static Kernels* kernels = nullptr;
    option("check", "all");
    if (!kernels) kernels = new Kernels(kernel_text("clean.cu"), {}, {"batch_norm<float, 4>", "batch_norm<bf16, 4>"});
    return *kernels;
}

std::vector<float> noise(size_t n) {
    std::vector<float> v(n);
    uint32_t state = 7;
    for (auto& x : v) {
        state = state * 1664525 + 1013904223;
        x = static_cast<float>(state >> 8) / (1 << 24) - 0.5f;
    }
    return v;
}

}  // namespace

TEST(clean_transpose) {
    auto& k = clean();
    const int rows = 96, columns = 64;
    const auto x = noise(rows * columns);
    under_all_schedules([&] {
        Buffer in(x), out(x.size() * 4);
        Shape shape{columns / 32, 32};
        shape.grid_y = rows / 32;
        shape.block_y = 8;
        CHECK(launch(k.function("transpose"), shape, out.pointer, in.pointer, rows, columns));
        const auto y = out.read<float>();
        bool right = true;
        for (int r = 0; r < rows; ++r)
            for (int c = 0; c < columns; ++c)
                right = right && y[static_cast<size_t>(c * rows + r)] == x[static_cast<size_t>(r * columns + c)];
        EXPECT(right);
        const uint64_t bytes = rows * columns * 4, requests = rows * columns / 32;
        EXPECT_EQ(bytes, counter("global_read_bytes"));
        EXPECT_EQ(bytes, counter("unique_read_bytes"));
        EXPECT_EQ(bytes, counter("global_write_bytes"));
        EXPECT_EQ(requests, counter("global_read_requests"));
        EXPECT_EQ(requests * 4, counter("global_read_sectors"));
        EXPECT_EQ(requests * 4, counter("global_write_sectors"));
        EXPECT_EQ(requests * 2, counter("shared_requests"));
        EXPECT_EQ(0u, counter("shared_excess_wavefronts"));
        EXPECT_EQ(1u, counter("shared_max_ways"));
        EXPECT_EQ(6u, counter("barriers"));
        EXPECT_EQ(6u, counter("blocks"));
        EXPECT_EQ(1536u, counter("threads"));
    });
}

TEST(clean_batch_norm) {
    auto& k = clean();
    const int rows = 50, channels = 64;
    const auto x = noise(rows * channels);
    std::vector<float> gamma(channels, 2.0f), beta(channels, 1.0f), before;
    under_all_schedules([&] {
        Buffer in(x), out(x.size() * 4), mean(channels * 4), variance(channels * 4), g(gamma), b(beta);
        Shape shape{channels / 32, 32, rows * 32 * 4};
        shape.block_y = 4;
        CHECK(launch(k.function(k.lowered[0].c_str()), shape, out.pointer, mean.pointer, variance.pointer, in.pointer,
                     g.pointer, b.pointer, rows, channels, 1e-5f));
        const auto y = out.read<float>(), mu = mean.read<float>(), var = variance.read<float>();
        for (int c = 0; c < channels; ++c) {
            double s = 0, q = 0;
            for (int r = 0; r < rows; ++r) s += x[static_cast<size_t>(r * channels + c)] / rows;
            for (int r = 0; r < rows; ++r) q += std::pow(x[static_cast<size_t>(r * channels + c)] - s, 2) / rows;
            EXPECT(std::fabs(mu[static_cast<size_t>(c)] - s) < 1e-6 &&
                   std::fabs(var[static_cast<size_t>(c)] - q) < 1e-6);
            const auto last = static_cast<size_t>((rows - 1) * channels + c);
            EXPECT(std::fabs(y[last] - ((x[last] - s) / std::sqrt(q + 1e-5) * 2 + 1)) < 1e-5);
        }
        if (before.empty()) before = y;
        EXPECT(before == y);
        const uint64_t bytes = rows * channels * 4;
        // x once, gamma and beta by each of four warps; y once, mean and variance once.
        EXPECT_EQ(bytes + 2 * 4 * channels * 4, counter("global_read_bytes"));
        EXPECT_EQ(bytes + 2 * channels * 4, counter("unique_read_bytes"));
        EXPECT_EQ(bytes + 2 * channels * 4, counter("global_write_bytes"));
        EXPECT_EQ(bytes + 2 * channels * 4, counter("unique_write_bytes"));
        EXPECT_EQ(2u, counter("barriers"));
    });
    // The bf16 instance moves half the bytes.
    fresh("all");
    std::vector<uint16_t> half(x.size(), 0x3f80);
    Buffer in(half), out(half.size() * 2), mean(channels * 4), variance(channels * 4), g(gamma), b(beta);
    Shape shape{channels / 32, 32, rows * 32 * 4};
    shape.block_y = 4;
    CHECK(launch(k.function(k.lowered[1].c_str()), shape, out.pointer, mean.pointer, variance.pointer, in.pointer,
                 g.pointer, b.pointer, rows, channels, 1e-5f));
    EXPECT_EQ(static_cast<uint64_t>(rows * channels * 2 + 2 * channels * 4), counter("unique_read_bytes"));
    EXPECT_EQ(2u, counter("global_read_sectors") * 32 / (rows * channels * 2 + 2 * 4 * channels * 4) +
                      1);  // 32 x 2 bytes: two whole sectors
    EXPECT_EQ(0u, found(""));
}

TEST(clean_adam) {
    auto& k = clean();
    const int n = 4096;
    const auto x = noise(n);
    under_all_schedules([&] {
        Buffer p(x), m{std::vector<float>(n)}, v{std::vector<float>(n)}, g(x), rate(std::vector<float>(1, 0.1f));
        CHECK(launch(k.function("adam"), {n / 1024, 256}, p.pointer, m.pointer, v.pointer, g.pointer, rate.pointer, n));
        EXPECT_EQ(static_cast<uint64_t>(16 * n + 4), counter("unique_read_bytes"));
        EXPECT_EQ(static_cast<uint64_t>(12 * n), counter("unique_write_bytes"));
        EXPECT_EQ(static_cast<uint64_t>(12 * n), counter("global_write_bytes"));
        EXPECT_EQ(static_cast<uint64_t>(3 * n / 128),
                  counter("global_write_requests"));  // 128 parameters per warp and array
        EXPECT_EQ(static_cast<uint64_t>(3 * n / 8), counter("global_write_sectors"));
        EXPECT_EQ(static_cast<uint64_t>(4 * n / 128 + n / 128),
                  counter("global_read_requests"));  // and the rate, once per warp
        EXPECT_EQ(static_cast<uint64_t>(4 * n / 8 + n / 128), counter("global_read_sectors"));
    });
}
