// Every planted bug must be found, by its kind and in its place.
#include "harness.h"

namespace {

Kernels& planted() {
    static Kernels* kernels = nullptr;
    option("check", "all");
    if (!kernels) kernels = new Kernels(kernel_text("planted.cu"));
    return *kernels;
}

std::vector<float> ramp(size_t n) {
    std::vector<float> v(n);
    for (size_t i = 0; i < n; ++i) v[i] = static_cast<float>(i);
    return v;
}

// Exactly this kind of finding and no other came up.
void only(const char* kind, const char* file, int line) {
    expect_equal(true, found(kind) > 0, kind, file, line);
    expect_equal(found(""), found(kind), "findings of other kinds", file, line);
    if (found("") == 0 || found("") != found(kind)) std::printf("    %s\n", cudasim_findings_json());
}
#define ONLY(kind) only(kind, __FILE__, __LINE__)

bool mentions(const char* text) { return std::string(cudasim_findings_json()).find(text) != std::string::npos; }

}  // namespace

TEST(planted_missing_barrier) {
    auto& k = planted();
    Buffer in(ramp(128)), out(512);
    fresh("race");
    CHECK(launch(k.function("missing_barrier"), {1, 128}, out.pointer, in.pointer));
    ONLY("shared_race");
    EXPECT(mentions("variable 'buffer'"));
    EXPECT(mentions("test.cu:7"));
    if (!mentions("test.cu:7")) std::puts(cudasim_findings_json());
}

TEST(planted_missing_syncwarp) {
    auto& k = planted();
    Buffer in(ramp(32)), out(128);
    fresh("race");
    CHECK(launch(k.function("missing_syncwarp"), {1, 32}, out.pointer, in.pointer));
    ONLY("shared_race");
    fresh("all");
    CHECK(launch(k.function("with_syncwarp"), {1, 32}, out.pointer, in.pointer));
    EXPECT_EQ(0u, found(""));
}

TEST(planted_missing_second_barrier) {
    auto& k = planted();
    Buffer in(ramp(128)), out(256);
    fresh("all");
    CHECK(launch(k.function("missing_second_barrier"), {1, 64}, out.pointer, in.pointer));
    ONLY("shared_race");
}

TEST(planted_write_write_race) {
    auto& k = planted();
    Buffer out(4);
    fresh("all");
    CHECK(launch(k.function("shared_write_write"), {1, 64}, out.pointer));
    ONLY("shared_race");
}

TEST(planted_global_race) {
    auto& k = planted();
    Buffer in(ramp(8)), out(256);
    fresh("all");
    CHECK(launch(k.function("global_race"), {1, 64}, out.pointer));
    ONLY("global_race");
    fresh("all");
    CHECK(launch(k.function("global_race_between_blocks"), {4, 32}, out.pointer, in.pointer));
    ONLY("global_race");
    fresh("all");
    CHECK(launch(k.function("bytes_of_one_word"), {1, 64}, out.pointer));
    EXPECT_EQ(0u, found(""));
}

TEST(planted_out_of_bounds_global) {
    auto& k = planted();
    Buffer in(ramp(31)), out(4);  // an odd size: the end is not at any boundary
    fresh("memory");
    CHECK(launch(k.function("global_read_past_end_one_thread"), {1, 1}, out.pointer, in.pointer, 31));
    ONLY("out_of_bounds");
    EXPECT(mentions("124 bytes on device 0, offset 124"));
    fresh("memory");
    CHECK(launch(k.function("global_read_before"), {1, 1}, out.pointer, in.pointer));
    ONLY("out_of_bounds");
    EXPECT(mentions("offset -4"));
    fresh("memory");
    CHECK(launch(k.function("global_write_past_end"), {1, 1}, in.pointer, 31));
    ONLY("out_of_bounds");
    fresh("memory");
    Buffer vector(ramp(7));  // the second float4 is there but for its last element
    CHECK(launch(k.function("vector_read_past_end"), {1, 1}, in.pointer, vector.pointer));
    ONLY("out_of_bounds");
}

TEST(planted_out_of_bounds_shared) {
    auto& k = planted();
    Buffer out(256);
    for (const char* name : {"shared_read_past_end", "shared_write_past_end"}) {
        fresh("memory");
        CHECK(launch(k.function(name), {1, 32}, out.pointer));
        ONLY("out_of_bounds");
        EXPECT_EQ(1u, found("out_of_bounds"));
    }
    EXPECT(mentions("variable 'first' of 132 bytes, offset 132"));
    fresh("memory");
    CHECK(launch(k.function("dynamic_write_past_end"), {1, 32, 128}, out.pointer));
    ONLY("out_of_bounds");
    EXPECT(mentions("dynamic shared memory of 128 bytes, offset 128"));
}

TEST(planted_null_pointer_is_an_illegal_address) {
    auto& k = planted();
    Buffer out(4);
    fresh("memory");
    EXPECT_EQ(700, launch(k.function("null_pointer"), {1, 32}, out.pointer, CUdeviceptr{0}));
    ONLY("illegal_address");
    size_t free = 0;
    EXPECT_EQ(700, cuMemGetInfo_v2(&free, nullptr));  // sticky
    out.pointer = 0;
    CHECK(cuDevicePrimaryCtxReset_v2(0));
}

TEST(planted_uninitialised_read) {
    auto& k = planted();
    Buffer in(64), out(256);
    CHECK(cuMemsetD8_v2(in.pointer, 0, 63));  // all but the last byte
    fresh("memory");
    CHECK(launch(k.function("read_one"), {1, 1}, out.pointer, in.pointer, 14));
    EXPECT_EQ(0u, found(""));
    CHECK(launch(k.function("read_one"), {1, 1}, out.pointer, in.pointer, 15));
    ONLY("uninitialised_read");
    fresh("memory");
    CHECK(launch(k.function("uninitialised_shared"), {1, 64}, out.pointer));
    ONLY("uninitialised_read");
}

TEST(planted_uninitialised_memory_travels_with_copies) {
    auto& k = planted();
    Buffer a(64), b(64), out(4);
    CHECK(cuMemsetD32_v2(b.pointer, 0, 16));
    CHECK(cuMemcpyDtoD_v2(b.pointer, a.pointer, 32));
    fresh("memory");
    CHECK(launch(k.function("read_one"), {1, 1}, out.pointer, b.pointer, 8));
    EXPECT_EQ(0u, found(""));
    CHECK(launch(k.function("read_one"), {1, 1}, out.pointer, b.pointer, 7));
    ONLY("uninitialised_read");
}

TEST(planted_use_after_free) {
    auto& k = planted();
    Buffer out(4);
    CUdeviceptr gone = 0;
    CHECK(cuMemAlloc_v2(&gone, 400));
    CHECK(cuMemsetD8_v2(gone, 0, 400));
    CHECK(cuMemFree_v2(gone));
    fresh("memory");
    CHECK(launch(k.function("read_one"), {1, 1}, out.pointer, gone, 10));
    ONLY("use_after_free");
    EXPECT_EQ(1, cuMemFree_v2(gone));  // freed twice
}

TEST(planted_leak) {
    fresh("memory");
    const auto before = cudasim_check_leaks();
    cudasim_findings_clear();
    CUdeviceptr lost = 0;
    CHECK(cuMemAlloc_v2(&lost, 1000));
    EXPECT_EQ(before + 1, cudasim_check_leaks());
    EXPECT(mentions("of 1000 bytes on device 0 was never freed"));
    CHECK(cuMemFree_v2(lost));
    cudasim_findings_clear();
    EXPECT_EQ(before, cudasim_check_leaks());
}

TEST(planted_misaligned_vector) {
    auto& k = planted();
    Buffer in(ramp(16)), out(16);
    fresh("memory");
    CHECK(launch(k.function("misaligned_vector"), {1, 1}, out.pointer, in.pointer));
    ONLY("misaligned");
}

TEST(planted_divergent_barriers) {
    auto& k = planted();
    Buffer out(256);
    for (const char* name : {"divergent_barrier", "barrier_after_exit"}) {
        fresh("all");
        CHECK(launch(k.function(name), {1, 64}, out.pointer));
        ONLY("divergent_barrier");
        EXPECT_EQ(1u, counter("divergent_barriers"));
    }
    fresh("all");
    EXPECT_EQ(702, launch(k.function("barrier_and_warp_wait"), {1, 64}, out.pointer));
    ONLY("deadlock");
    out.pointer = 0;
    CHECK(cuDevicePrimaryCtxReset_v2(0));
}

TEST(planted_shuffles) {
    auto& k = planted();
    Buffer out(128);
    for (const char* name : {"shuffle_from_exited", "shuffle_outside_mask", "shuffle_without_own_bit"}) {
        fresh("all");
        CHECK(launch(k.function(name), {1, 32}, out.pointer));
        EXPECT(found("inactive_lane") > 0);
    }
    fresh("all");
    CHECK(launch(k.function("shuffle_from_exited"), {1, 32}, out.pointer));
    ONLY("inactive_lane");
    EXPECT(mentions("has exited"));
}

TEST(planted_missing_fence) {
    auto& k = planted();
    Buffer out(4), partial(64), counter_word(std::vector<unsigned>(1));
    fresh("all");
    CHECK(launch(k.function("last_block_without_fence"), {16, 32}, out.pointer, partial.pointer, counter_word.pointer));
    ONLY("global_race");
    fresh("all");
    CHECK(launch(k.function("last_block_with_fence"), {16, 32}, out.pointer, partial.pointer, counter_word.pointer));
    EXPECT_EQ(0u, found(""));
    EXPECT(out.read<float>()[0] == 120.0f);
}

TEST(planted_traffic) {
    auto& k = planted();
    Buffer in(ramp(1024)), out(4096), zero(std::vector<int>(1));
    const auto sectors_per_request = [] {
        return static_cast<double>(counter("global_read_sectors")) / counter("global_read_requests");
    };
    fresh("all");
    CHECK(launch(k.function("copy"), {2, 64}, out.pointer, in.pointer));
    EXPECT_EQ(512u, counter("global_read_bytes"));
    EXPECT_EQ(512u, counter("unique_read_bytes"));
    EXPECT_EQ(512u, counter("unique_write_bytes"));
    EXPECT_EQ(4u, counter("global_read_requests"));
    EXPECT(sectors_per_request() == 4);
    CHECK(launch(k.function("copy_strided"), {1, 32}, out.pointer, in.pointer));
    EXPECT(sectors_per_request() == 32);
    EXPECT_EQ(4u, counter("global_read_ideal_sectors"));
    CHECK(launch(k.function("copy_vector"), {1, 32}, out.pointer, in.pointer));
    EXPECT(sectors_per_request() == 16);
    EXPECT_EQ(16u, counter("global_write_sectors"));
    EXPECT_EQ(1u, counter("global_write_requests"));
    CHECK(launch(k.function("copy_from_offset"), {1, 32}, out.pointer, in.pointer));
    EXPECT(sectors_per_request() == 5);
    CHECK(launch(k.function("broadcast"), {1, 32}, out.pointer, in.pointer));
    EXPECT(sectors_per_request() == 1);
    EXPECT_EQ(128u, counter("global_read_bytes"));
    EXPECT_EQ(4u, counter("unique_read_bytes"));
    CHECK(launch(k.function("half_the_lanes"), {1, 32}, out.pointer, in.pointer));
    EXPECT_EQ(64u, counter("global_read_bytes"));
    EXPECT_EQ(128u, counter("global_write_bytes"));
    EXPECT_EQ(2u, counter("global_write_requests"));
    EXPECT_EQ(0u, found(""));
    // A double count: the same bytes asked for twice.
    CHECK(launch(k.function("read_twice"), {1, 32}, out.pointer, in.pointer, zero.pointer));
    EXPECT_EQ(128u + 4, counter("unique_read_bytes"));
    EXPECT_EQ(128u + 128 + 128, counter("global_read_bytes"));
}

TEST(planted_bank_conflicts) {
    auto& k = planted();
    Buffer out(128);
    const struct { int stride, ways; } cases[] = {{1, 1}, {2, 2}, {8, 8}, {32, 32}, {33, 1}};
    for (const auto& c : cases) {
        fresh("all");
        CHECK(launch(k.function("bank_conflict"), {1, 32}, out.pointer, c.stride));
        EXPECT_EQ(c.ways, static_cast<int>(counter("shared_max_ways")));
        EXPECT_EQ(2 * (c.ways - 1), static_cast<int>(counter("shared_excess_wavefronts")));
        EXPECT_EQ(0u, found(""));
    }
}

TEST(planted_too_much_shared_memory) {
    fresh("memory");
    Kernels k(
        "extern \"C\" __global__ void big(float* out) { __shared__ float a[8192]; a[threadIdx.x] = 1; *out = "
        "a[threadIdx.x]; }\n"
        "extern \"C\" __global__ void huge(float* out) { __shared__ float a[12289]; a[threadIdx.x] = 1; *out = "
        "a[threadIdx.x]; }\n");
    Buffer out(4);
    CHECK(launch(k.function("big"), {1, 1, 16384}, out.pointer));
    EXPECT_EQ(0u, found(""));
    EXPECT_EQ(701, launch(k.function("big"), {1, 1, 16388}, out.pointer));
    ONLY("shared_too_large");
    CHECK(cuDevicePrimaryCtxReset_v2(0));
    fresh("memory");
    CHECK(cuFuncSetAttribute(k.function("big"), 8, 100000));
    CHECK(launch(k.function("big"), {1, 1, 100000}, out.pointer));
    EXPECT_EQ(0u, found(""));
    EXPECT_EQ(701, launch(k.function("huge"), {1, 1}, out.pointer));
    ONLY("shared_too_large");
    CHECK(cuDevicePrimaryCtxReset_v2(0));
}

TEST(planted_order_dependence_shows_under_random_schedules) {
    void* const function = planted().function("missing_barrier");
    Buffer in(ramp(128)), out(512);
    std::vector<std::vector<float>> results;
    for (int seed = 1; seed <= 10; ++seed) {
        fresh("none", std::to_string(seed).c_str());
        CHECK(launch(function, {1, 128}, out.pointer, in.pointer));
        results.push_back(out.read<float>());
    }
    bool differ = false;
    for (const auto& r : results) differ = differ || std::memcmp(r.data(), results[0].data(), 512) != 0;
    EXPECT(differ);
}
