// kernels/common: values against plain arithmetic, and no alarm under any schedule.
#include <cmath>

#include "harness.h"

namespace {

Kernels& common() {
    static Kernels* kernels = nullptr;
    option("check", "all");
    if (!kernels)
        kernels = new Kernels(kernel_text("common_all.cu"), {},
                              {"copy_scaled<bf16, 8>", "copy_scaled<float, 4>", "copy_scaled<f16, 8>"});
    return *kernels;
}

// Philox4x32-10 once more, written from the paper's description.
void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
        const uint32_t n[4] = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
                               static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
        std::memcpy(c, n, sizeof n);
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
}

uint32_t bits_of(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

float float_of(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

std::vector<float> wave(size_t n, float offset) {
    std::vector<float> v(n);
    for (size_t i = 0; i < n; ++i) v[i] = offset + std::sin(static_cast<float>(i) * 0.37f);
    return v;
}

}  // namespace

TEST(common_philox_known_answers) {
    auto& k = common();
    Buffer words(64 * 16), uniforms(64 * 16);
    fresh("all");
    CHECK(launch(k.function("philox_words"), {1, 64}, words.pointer, uniforms.pointer, uint64_t{0}, 0u, 0u, 64));
    // The first known answer of the Random123 distribution: zero counter, zero key.
    const auto w = words.read<uint32_t>();
    EXPECT_EQ(0x6627e8d5u, w[0]);
    EXPECT_EQ(0xe169c58du, w[1]);
    EXPECT_EQ(0xbc57ac4cu, w[2]);
    EXPECT_EQ(0x9b00dbd8u, w[3]);
    CHECK(launch(k.function("philox_words"), {1, 64}, words.pointer, uniforms.pointer, uint64_t{0x123456789abcdef0}, 7u,
                 9u, 64));
    const auto v = words.read<uint32_t>();
    const auto u = uniforms.read<float>();
    for (uint32_t q = 0; q < 64; ++q) {
        uint32_t c[4] = {q, 0, 7, 9};
        philox(c, 0x9abcdef0, 0x12345678);
        for (int i = 0; i < 4; ++i) {
            EXPECT_EQ(c[i], v[4 * q + i]);
            EXPECT(u[4 * q + i] == static_cast<float>(c[i] >> 8) / 16777216.0f);
        }
    }
    EXPECT_EQ(0u, found(""));
}

TEST(common_half_precision_types_round_to_nearest_even) {
    auto& k = common();
    std::vector<float> in = {0.0f,        -0.0f,       1.0f,          -2.5f,         65504.0f,  65519.99f,
                             65520.0f,    1e-8f,       5.96e-8f,      2.98e-8f,      2.981e-8f, 6.1e-5f,
                             1e30f,       -1e38f,      3.4e38f,       INFINITY,      -INFINITY, NAN,
                             1.00390625f, 1.01171875f, 1.0048828125f, 1.00146484375f};
    uint32_t state = 1;
    while (in.size() < 20000) {
        state = state * 1664525 + 1013904223;
        in.push_back(float_of(state));
    }
    const auto n = static_cast<int>(in.size());
    Buffer x(in), b(in.size() * 2), h(in.size() * 2), fb(in.size() * 4), fh(in.size() * 4);
    fresh("none");
    CHECK(launch(k.function("convert"), {80, 256}, b.pointer, h.pointer, fb.pointer, fh.pointer, x.pointer, n));
    const auto bits = b.read<uint16_t>(), half = h.read<uint16_t>();
    const auto back_b = fb.read<float>(), back_h = fh.read<float>();
    for (size_t i = 0; i < in.size(); ++i) {
        if (std::isnan(in[i])) {
            EXPECT_EQ(0x7fff, bits[i]);
            EXPECT_EQ(0x7fff, half[i]);
            continue;
        }
        // bf16 by the definition: of the two neighbours the nearer, on a tie the even one.
        const uint32_t down = bits_of(in[i]) & 0xffff0000u, rest = bits_of(in[i]) & 0xffffu;
        const uint32_t up = down + 0x10000u;
        const uint32_t right = rest > 0x8000u || (rest == 0x8000u && (down >> 16 & 1)) ? up : down;
        EXPECT_EQ(right >> 16, bits[i]);
        EXPECT_EQ(right, bits_of(back_b[i]));
        // f16 through double arithmetic: scale so that the unit in the last place is one, round to even.
        const double a = std::fabs(static_cast<double>(in[i]));
        int exponent = 0;
        std::frexp(a, &exponent);
        const double unit = std::ldexp(1.0, std::max(exponent - 11, -24));
        double rounded = std::nearbyint(a / unit) * unit;
        if (rounded > 65504.0) rounded = INFINITY;
        EXPECT(std::fabs(static_cast<double>(back_h[i])) == rounded);
        EXPECT_EQ(bits_of(in[i]) >> 31, bits_of(back_h[i]) >> 31);
    }
}

TEST(common_vectors_are_single_accesses) {
    auto& k = common();
    const auto in = wave(512, 0);
    Buffer x(in), y(in.size() * 4);
    fresh("all");
    CHECK(launch(k.function(k.lowered[1].c_str()), {2, 64}, y.pointer, x.pointer, 2.0f, 128));
    EXPECT_EQ(0u, found(""));
    EXPECT_EQ(4u, counter("global_read_requests"));
    EXPECT_EQ(64u, counter("global_read_sectors"));
    EXPECT_EQ(4u, counter("global_write_requests"));
    EXPECT_EQ(2048u, counter("global_write_bytes"));
    EXPECT(y.read<float>()[511] == in[511] * 2);
    std::vector<uint16_t> half(512, 0x3f80);  // 1.0 in bf16
    Buffer a(half), b(1024);
    CHECK(launch(k.function(k.lowered[0].c_str()), {1, 64}, b.pointer, a.pointer, 3.0f, 64));
    EXPECT_EQ(2u, counter("global_read_requests"));
    EXPECT_EQ(1024u, counter("global_read_bytes"));
    EXPECT_EQ(2u, counter("global_write_requests"));
    EXPECT_EQ(0x4040, b.read<uint16_t>()[300]);
    EXPECT_EQ(0u, found(""));
}

TEST(common_cluster_reduction) {
    auto& k = common();
    const int rows = 3, n = 1000;
    const auto x = wave(rows * n, 1000.0f);  // a large mean: the naive formula would fail
    for (const unsigned cluster : {1u, 2u, 4u}) {
        std::vector<float> first;
        under_all_schedules([&] {
            Buffer in(x), mean(rows * 4), variance(rows * 4);
            Shape shape{cluster, 128};
            shape.grid_y = rows;
            shape.cluster = cluster;
            CHECK(launch(k.function("row_moments"), shape, mean.pointer, variance.pointer, in.pointer, n));
            const auto m = mean.read<float>(), v = variance.read<float>();
            for (int r = 0; r < rows; ++r) {
                double s = 0, q = 0;
                for (int i = 0; i < n; ++i) s += x[r * n + i];
                for (int i = 0; i < n; ++i) q += (x[r * n + i] - s / n) * (x[r * n + i] - s / n);
                EXPECT(std::fabs(m[r] - s / n) < 2e-4);  // one unit in the last place of 1000 is 6e-5
                EXPECT(std::fabs(v[r] - q / n) < 1e-4);
            }
            EXPECT_EQ(static_cast<uint64_t>(rows * n * 4), counter("global_read_bytes"));
            EXPECT_EQ(static_cast<uint64_t>(rows * n * 4), counter("unique_read_bytes"));
            if (first.empty()) first = v;
            EXPECT(first == v);  // bit-equal under every schedule
        });
    }
}

TEST(common_last_block_and_grid_barrier) {
    auto& k = common();
    const auto x = wave(5000, 0.5f);
    std::vector<float> sums, centred;
    under_all_schedules([&] {
        Buffer in(x), out(4), partial(16 * 4), word(std::vector<uint32_t>(1));
        for (int again = 0; again < 2; ++again)
            CHECK(launch(k.function("sum_last_block"), {12, 128}, out.pointer, partial.pointer, word.pointer,
                         in.pointer, 5000));
        EXPECT_EQ(0u, word.read<uint32_t>()[0]);
        const auto s = out.read<float>();
        if (sums.empty()) sums = s;
        EXPECT(s == sums);
        Buffer flag(std::vector<uint32_t>(1));
        Shape shape{8, 64};
        shape.cooperative = true;
        CHECK(launch(k.function("centre_twice"), shape, in.pointer, partial.pointer, flag.pointer, 5000));
        const auto c = in.read<float>();
        if (centred.empty()) centred = c;
        EXPECT(c == centred);
    });
    double sum = 0, mean = 0;
    for (const float v : x) sum += v;
    EXPECT(std::fabs(sums[0] - sum) < 1e-2);
    for (const float v : centred) mean += v / 5000;
    EXPECT(std::fabs(mean) < 1e-6);
}

TEST(common_grid_barrier_wants_a_cooperative_launch) {
    auto& k = common();
    Buffer x(wave(128, 0)), partial(16), word(std::vector<uint32_t>(1));
    fresh("all");
    EXPECT_EQ(719, launch(k.function("centre_twice"), {4, 32}, x.pointer, partial.pointer, word.pointer, 128));
    EXPECT_EQ(1u, found("not_cooperative"));
    CHECK(cuDevicePrimaryCtxReset_v2(0));
    Shape shape{100, 1024};
    shape.cooperative = true;
    EXPECT_EQ(720, launch(k.function("centre_twice"), shape, x.pointer, partial.pointer, word.pointer, 128));
}

TEST(common_mathematics) {
    auto& k = common();
    const auto x = wave(32, 0.1f);
    Buffer in(x), out(128);
    fresh("all");
    CHECK(launch(k.function("mathematics"), {1, 32, 128}, out.pointer, in.pointer));
    EXPECT_EQ(0u, found(""));
    const auto y = out.read<float>();
    const auto f = [](double v) {
        return std::erf(v) + std::tanh(v) + std::exp(v) + std::log1p(std::fabs(v)) + 1 / std::sqrt(v * v + 1) +
               std::exp(-v);
    };
    float top = x[0];
    for (const float v : x) top = std::max(top, v);
    for (int i = 0; i < 32; ++i) EXPECT(std::fabs(y[i] - (f(x[i ^ 1]) + top)) < 3e-6);
}
