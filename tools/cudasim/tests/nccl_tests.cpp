// Collectives between three virtual devices: one thread with groups, a thread per rank, and captured in graphs.
#include <thread>

#include "harness.h"

namespace {

constexpr int ranks = 3;

// A context, a stream, a communicator and buffers per rank.
struct World {
    World() {
        option("devices", "3");
        for (int r = 0; r < ranks; ++r) {
            CHECK(cuDevicePrimaryCtxRetain(&context[r], r));
            on(r);
            CHECK(cuStreamCreate(&stream[r], 1));
            CHECK(cuMemAlloc_v2(&send[r], 64));
            CHECK(cuMemAlloc_v2(&receive[r], 64));
        }
        const int devices[] = {0, 1, 2};
        CHECK(ncclCommInitAll(comm, ranks, devices));
    }
    ~World() {
        for (int r = ranks - 1; r >= 0; --r) {
            on(r);
            CHECK(ncclCommDestroy(comm[r]));
            CHECK(cuStreamDestroy_v2(stream[r]));
            CHECK(cuMemFree_v2(send[r]));
            CHECK(cuMemFree_v2(receive[r]));
            CHECK(cuDevicePrimaryCtxRelease_v2(r));
        }
        on(0);
        option("devices", "1");
    }
    void on(int r) { CHECK(cuCtxSetCurrent(context[r])); }
    void fill(int r, std::vector<float> values) {
        on(r);
        CHECK(cuMemcpyHtoD_v2(send[r], values.data(), values.size() * 4));
    }
    std::vector<float> got(int r, size_t n) {
        on(r);
        CHECK(cuStreamSynchronize(stream[r]));
        std::vector<float> values(n);
        CHECK(cuMemcpyDtoH_v2(values.data(), receive[r], n * 4));
        return values;
    }
    const void* from(int r) { return reinterpret_cast<void*>(send[r]); }
    void* to(int r) { return reinterpret_cast<void*>(receive[r]); }
    void *context[ranks], *stream[ranks], *comm[ranks];
    CUdeviceptr send[ranks] = {}, receive[ranks] = {};
};

}  // namespace

TEST(nccl_in_groups) {
    for (const char* deferred : {"0", "1"}) {
        World w;
        option("deferred", deferred);
        for (int r = 0; r < ranks; ++r) w.fill(r, {1.0f + r, 10.0f * r, 5, 6, 7, 8});
        CHECK(ncclGroupStart());
        for (int r = 0; r < ranks; ++r) CHECK(ncclAllReduce(w.from(r), w.to(r), 2, 7, 0, w.comm[r], w.stream[r]));
        CHECK(ncclGroupEnd());
        for (int r = 0; r < ranks; ++r) EXPECT((w.got(r, 2) == std::vector<float>{6, 30}));
        CHECK(ncclGroupStart());
        for (int r = 0; r < ranks; ++r) CHECK(ncclAllReduce(w.from(r), w.to(r), 2, 7, 4, w.comm[r], w.stream[r]));
        CHECK(ncclGroupEnd());
        for (int r = 0; r < ranks; ++r) EXPECT((w.got(r, 2) == std::vector<float>{2, 10}));
        CHECK(ncclGroupStart());
        for (int r = 0; r < ranks; ++r) CHECK(ncclAllGather(w.from(r), w.to(r), 1, 7, w.comm[r], w.stream[r]));
        CHECK(ncclGroupEnd());
        for (int r = 0; r < ranks; ++r) EXPECT((w.got(r, 3) == std::vector<float>{1, 2, 3}));
        CHECK(ncclGroupStart());
        for (int r = 0; r < ranks; ++r) CHECK(ncclReduceScatter(w.from(r), w.to(r), 2, 7, 2, w.comm[r], w.stream[r]));
        CHECK(ncclGroupEnd());
        EXPECT((w.got(0, 2) == std::vector<float>{3, 20}));
        EXPECT((w.got(2, 2) == std::vector<float>{7, 8}));
        CHECK(ncclGroupStart());
        for (int r = 0; r < ranks; ++r) CHECK(ncclBroadcast(w.from(r), w.to(r), 1, 7, 1, w.comm[r], w.stream[r]));
        CHECK(ncclGroupEnd());
        for (int r = 0; r < ranks; ++r) EXPECT(w.got(r, 1)[0] == 2);
        // A ring: everybody sends to the right and receives from the left.
        CHECK(ncclGroupStart());
        for (int r = 0; r < ranks; ++r) {
            CHECK(ncclSend(w.from(r), 1, 7, (r + 1) % ranks, w.comm[r], w.stream[r]));
            CHECK(ncclRecv(w.to(r), 1, 7, (r + 2) % ranks, w.comm[r], w.stream[r]));
        }
        CHECK(ncclGroupEnd());
        for (int r = 0; r < ranks; ++r) EXPECT(w.got(r, 1)[0] == 1.0f + (r + 2) % ranks);
        EXPECT_EQ(0u, found(""));
        option("deferred", "0");
    }
}

TEST(nccl_with_a_thread_per_rank) {
    World w;
    for (int r = 0; r < ranks; ++r) w.fill(r, {1.0f + r});
    ncclUniqueId id;
    CHECK(ncclGetUniqueId(&id));
    std::vector<std::thread> threads;
    float results[ranks] = {};
    for (int r = 0; r < ranks; ++r) {
        threads.emplace_back([&, r] {
            void* comm = nullptr;
            w.on(r);
            CHECK(ncclCommInitRank(&comm, ranks, id, r));
            for (int step = 0; step < 5; ++step) {
                std::this_thread::sleep_for(std::chrono::milliseconds(r));
                CHECK(ncclAllReduce(w.from(r), w.to(r), 1, 7, 0, comm, w.stream[r]));
                CHECK(ncclAllReduce(w.to(r), w.to(r), 1, 7, 0, comm, w.stream[r]));  // in place, on what the first left
            }
            results[r] = w.got(r, 1)[0];
            CHECK(ncclCommDestroy(comm));
        });
    }
    for (auto& t : threads) t.join();
    for (const float result : results) EXPECT(result == 18);
}

TEST(nccl_in_graphs) {
    World w;
    for (int r = 0; r < ranks; ++r) w.fill(r, {1.0f + r});
    void *graph[ranks], *exec[ranks];
    for (int r = 0; r < ranks; ++r) {
        w.on(r);
        CHECK(cuStreamBeginCapture_v2(w.stream[r], 1));
        CHECK(ncclAllReduce(w.from(r), w.to(r), 1, 7, 0, w.comm[r], w.stream[r]));
        CHECK(cuStreamEndCapture(w.stream[r], &graph[r]));
        CHECK(cuGraphInstantiateWithFlags(&exec[r], graph[r], 0));
    }
    for (int replay = 0; replay < 2; ++replay) {
        for (int r = 0; r < ranks; ++r) {
            w.on(r);
            CHECK(cuGraphLaunch(exec[r], w.stream[r]));
        }
        for (int r = 0; r < ranks; ++r) EXPECT(w.got(r, 1)[0] == 6);
        w.fill(0, {1});
    }
    for (int r = 0; r < ranks; ++r) {
        CHECK(cuGraphExecDestroy(exec[r]));
        CHECK(cuGraphDestroy(graph[r]));
    }
}

TEST(nccl_misuse_and_faults) {
    World w;
    for (int r = 0; r < ranks; ++r) w.fill(r, {1, 2, 3, 4});
    EXPECT_EQ(4, ncclAllReduce(w.from(0), w.to(0), 1, 99, 0, w.comm[0], w.stream[0]));
    EXPECT_EQ(4, ncclBroadcast(w.from(0), w.to(0), 1, 7, 5, w.comm[0], w.stream[0]));
    option("lost_peer", "1");
    EXPECT_EQ(6, ncclAllReduce(w.from(0), w.to(0), 1, 7, 0, w.comm[0], w.stream[0]));
    option("lost_peer", "0");
    std::thread([&] {  // its open group goes with it
        w.on(0);
        CHECK(ncclGroupStart());
        CHECK(ncclAllReduce(w.from(0), w.to(0), 2, 7, 0, w.comm[0], w.stream[0]));
        EXPECT_EQ(5, ncclAllReduce(w.from(1), w.to(1), 3, 7, 0, w.comm[1], w.stream[1]));
    })
        .join();
    EXPECT_EQ(1u, found("collective_mismatch"));
    cudasim_findings_clear();
}
