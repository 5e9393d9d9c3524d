// cuBLAS and cuBLASLt against three plain loops.
#include <cmath>

#include "harness.h"

namespace {

struct Random {
    uint32_t state = 12345;
    double operator()() {
        state = state * 1664525 + 1013904223;
        return static_cast<double>(state >> 8) / (1 << 24) * 2 - 1;
    }
};

template <class T>
std::vector<T> random_values(size_t n, uint32_t seed) {
    Random random{seed};
    std::vector<T> v(n);
    for (auto& x : v) x = static_cast<T>(random());
    return v;
}

// op(A) op(B), column by column.
template <class T>
std::vector<double> product(int ta, int tb, int m, int n, int k, const std::vector<T>& a, int lda,
                            const std::vector<T>& b, int ldb) {
    std::vector<double> c(static_cast<size_t>(m) * n);
    for (int j = 0; j < n; ++j)
        for (int i = 0; i < m; ++i)
            for (int p = 0; p < k; ++p)
                c[static_cast<size_t>(i) + static_cast<size_t>(j) * m] +=
                    static_cast<double>(a[ta ? p + static_cast<size_t>(i) * lda : i + static_cast<size_t>(p) * lda]) *
                    static_cast<double>(b[tb ? j + static_cast<size_t>(p) * ldb : p + static_cast<size_t>(j) * ldb]);
    return c;
}

uint16_t bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float from_bf16(uint16_t x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
}

// A matmul D = epilogue(alpha op(A) op(B)) of cuBLASLt, all float, leading dimensions tight.
struct Lt {
    Lt() { CHECK(cublasLtCreate(&handle)); }
    ~Lt() { cublasLtDestroy(handle); }
    int run(int ta, int tb, int m, int n, int k, CUdeviceptr a, CUdeviceptr b, CUdeviceptr d, int epilogue,
            CUdeviceptr bias = 0, CUdeviceptr aux = 0, int64_t aux_ld = 0) {
        void *desc = nullptr, *la = nullptr, *lb = nullptr, *ld = nullptr, *preference = nullptr;
        CHECK(cublasLtMatmulDescCreate(&desc, 68, 0));
        CHECK(cublasLtMatmulDescSetAttribute(desc, 3, &ta, 4));
        CHECK(cublasLtMatmulDescSetAttribute(desc, 4, &tb, 4));
        CHECK(cublasLtMatmulDescSetAttribute(desc, 7, &epilogue, 4));
        CHECK(cublasLtMatmulDescSetAttribute(desc, 8, &bias, 8));
        CHECK(cublasLtMatmulDescSetAttribute(desc, 11, &aux, 8));
        CHECK(cublasLtMatmulDescSetAttribute(desc, 12, &aux_ld, 8));
        const auto u = [](int x) { return static_cast<uint64_t>(x); };
        CHECK(cublasLtMatrixLayoutCreate(&la, 0, u(ta ? k : m), u(ta ? m : k), ta ? k : m));
        CHECK(cublasLtMatrixLayoutCreate(&lb, 0, u(tb ? n : k), u(tb ? k : n), tb ? n : k));
        CHECK(cublasLtMatrixLayoutCreate(&ld, 0, u(m), u(n), m));
        CHECK(cublasLtMatmulPreferenceCreate(&preference));
        char result[96];
        int count = 0;
        int status = cublasLtMatmulAlgoGetHeuristic(handle, desc, la, lb, ld, ld, preference, 1, result, &count);
        const float one = 1, zero = 0;
        const auto at = [](CUdeviceptr p) { return reinterpret_cast<void*>(p); };
        if (status == 0)
            status = cublasLtMatmul(handle, desc, &one, at(a), la, at(b), lb, &zero, at(d), ld, at(d), ld, result,
                                    nullptr, 0, nullptr);
        for (void* l : {la, lb, ld}) cublasLtMatrixLayoutDestroy(l);
        cublasLtMatmulDescDestroy(desc);
        cublasLtMatmulPreferenceDestroy(preference);
        CHECK(cuCtxSynchronize());
        return status;
    }
    void* handle = nullptr;
};

}  // namespace

TEST(blas_gemm_all_transposes) {
    void* handle = nullptr;
    CHECK(cublasCreate_v2(&handle));
    fresh("memory");
    for (int ta = 0; ta < 2; ++ta) {
        for (int tb = 0; tb < 2; ++tb) {
            const int m = 37, n = 19, k = 53, lda = (ta ? k : m) + 3, ldb = (tb ? n : k) + 1, ldc = m + 2;
            const auto a = random_values<float>(static_cast<size_t>(lda) * (ta ? m : k), 1);
            const auto b = random_values<float>(static_cast<size_t>(ldb) * (tb ? k : n), 2);
            const auto c = random_values<float>(static_cast<size_t>(ldc) * n, 3);
            Buffer da(a), db(b), dc(c);
            const float alpha = 1.5f, beta = -0.5f;
            CHECK(cublasSgemm_v2(handle, ta, tb, m, n, k, &alpha, reinterpret_cast<float*>(da.pointer), lda,
                                 reinterpret_cast<float*>(db.pointer), ldb, &beta, reinterpret_cast<float*>(dc.pointer),
                                 ldc));
            const auto out = dc.read<float>();
            const auto right = product(ta, tb, m, n, k, a, lda, b, ldb);
            for (int j = 0; j < n; ++j)
                for (int i = 0; i < ldc; ++i) {
                    const auto at = static_cast<size_t>(i + j * ldc);
                    const double expected = i < m ? 1.5 * right[static_cast<size_t>(i + j * m)] - 0.5 * c[at] : c[at];
                    EXPECT(std::fabs(out[at] - expected) < 1e-5);  // 53 products of values below one in float
                }
        }
    }
    EXPECT_EQ(0u, found(""));
    CHECK(cublasDestroy_v2(handle));
}

TEST(blas_other_types) {
    void* handle = nullptr;
    CHECK(cublasCreate_v2(&handle));
    const int m = 5, n = 7, k = 64;
    const auto a = random_values<double>(m * k, 1), b = random_values<double>(k * n, 2);
    const auto right = product(0, 0, m, n, k, a, m, b, k);
    Buffer da(a), db(b), dc(static_cast<size_t>(m * n) * 8);
    const double one = 1, none = 0;
    CHECK(cublasDgemm_v2(handle, 0, 0, m, n, k, &one, reinterpret_cast<double*>(da.pointer), m,
                         reinterpret_cast<double*>(db.pointer), k, &none, reinterpret_cast<double*>(dc.pointer), m));
    for (int i = 0; i < m * n; ++i)
        EXPECT(std::fabs(dc.read<double>()[static_cast<size_t>(i)] - right[static_cast<size_t>(i)]) < 1e-13);

    std::vector<uint16_t> ha, hb;
    std::vector<double> ra, rb;
    for (const double x : a) ha.push_back(bf16(static_cast<float>(x))), ra.push_back(from_bf16(ha.back()));
    for (const double x : b) hb.push_back(bf16(static_cast<float>(x))), rb.push_back(from_bf16(hb.back()));
    const auto rounded = product(0, 0, m, n, k, ra, m, rb, k);
    Buffer xa(ha), xb(hb), xc(static_cast<size_t>(m * n) * 4);
    const float alpha = 1, beta = 0;
    CHECK(cublasGemmEx(handle, 0, 0, m, n, k, &alpha, reinterpret_cast<void*>(xa.pointer), 14, m,
                       reinterpret_cast<void*>(xb.pointer), 14, k, &beta, reinterpret_cast<void*>(xc.pointer), 0, m, 68,
                       -1));
    for (int i = 0; i < m * n; ++i)
        EXPECT(std::fabs(xc.read<float>()[static_cast<size_t>(i)] - rounded[static_cast<size_t>(i)]) < 1e-5);
    EXPECT_EQ(15,
              cublasGemmEx(handle, 0, 0, m, n, k, &alpha, nullptr, 3, m, nullptr, 3, k, &beta, nullptr, 0, m, 68, -1));
    EXPECT_EQ(
        7, cublasGemmEx(handle, 0, 0, m, n, k, &alpha, nullptr, 0, m - 1, nullptr, 0, k, &beta, nullptr, 0, m, 68, -1));

    // TF32 drops the low bits of the operands: 1 + 2^-12 becomes 1.
    const std::vector<float> tiny = {1.0f + 0x1p-12f};
    Buffer ta(tiny), tc(4);
    CHECK(cublasSetMathMode(handle, 3));
    CHECK(cublasSgemm_v2(handle, 0, 0, 1, 1, 1, &alpha, reinterpret_cast<float*>(ta.pointer), 1,
                         reinterpret_cast<float*>(ta.pointer), 1, &beta, reinterpret_cast<float*>(tc.pointer), 1));
    EXPECT(tc.read<float>()[0] == 1.0f);
    CHECK(cublasDestroy_v2(handle));
}

TEST(blas_batches_and_checks) {
    void* handle = nullptr;
    CHECK(cublasCreate_v2(&handle));
    const auto a = random_values<float>(3 * 12, 1), b = random_values<float>(3 * 20, 2);
    Buffer da(a), db(b), dc(3 * 15 * 4);
    const float one = 1, zero = 0;
    const auto f = [](const Buffer& x) { return reinterpret_cast<float*>(x.pointer); };
    fresh("memory");
    CHECK(cublasSgemmStridedBatched(handle, 0, 0, 3, 5, 4, &one, f(da), 3, 12, f(db), 4, 20, &zero, f(dc), 3, 15, 3));
    EXPECT_EQ(0u, found(""));
    const auto last = product(0, 0, 3, 5, 4, std::vector<float>(a.begin() + 24, a.end()), 3,
                              std::vector<float>(b.begin() + 40, b.end()), 4);
    EXPECT(std::fabs(dc.read<float>()[44] - last[14]) < 1e-6);
    // One column too many in B and in C, and an operand nobody wrote.
    CHECK(cublasSgemm_v2(handle, 0, 0, 3, 16, 4, &one, f(da), 3, f(db), 4, &zero, f(dc), 3));
    EXPECT_EQ(2u, found("out_of_bounds"));
    Buffer blank(48);
    CHECK(cublasSgemm_v2(handle, 0, 0, 3, 3, 4, &one, f(blank), 3, f(db), 4, &zero, f(dc), 3));
    EXPECT_EQ(1u, found("uninitialised_read"));
    CHECK(cublasDestroy_v2(handle));
}

TEST(blas_lt_epilogues) {
    fresh("memory");
    const int m = 130, n = 6, k = 20;
    const auto a = random_values<float>(m * k, 1), b = random_values<float>(k * n, 2),
               bias = random_values<float>(m, 3);
    const auto z = product(0, 0, m, n, k, a, m, b, k);
    Buffer da(a), db(b), dd(static_cast<size_t>(m * n) * 4), dbias(bias), mask(256 / 8 * n),
        pre(static_cast<size_t>(136) * n * 4), sums(m * 4), columns(n * 4);
    Lt lt;
    const auto gelu = [](double x) {
        return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    };
    const auto compare = [&](const std::function<double(double, int)>& f, int line) {
        const auto out = dd.read<float>();
        double worst = 0;
        for (int i = 0; i < m * n; ++i)
            worst = std::max(worst, std::fabs(out[static_cast<size_t>(i)] - f(z[static_cast<size_t>(i)], i)));
        expect_equal(true, worst < 1e-5, "epilogue", __FILE__, line);
    };
    CHECK(lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 1));
    compare([](double x, int) { return x; }, __LINE__);
    CHECK(lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 4, dbias.pointer));
    compare([&](double x, int i) { return x + bias[static_cast<size_t>(i % m)]; }, __LINE__);
    CHECK(lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 6, dbias.pointer));
    compare([&](double x, int i) { return std::max(0.0, x + bias[static_cast<size_t>(i % m)]); }, __LINE__);
    CHECK(lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 36, dbias.pointer));
    compare([&](double x, int i) { return gelu(x + bias[static_cast<size_t>(i % m)]); }, __LINE__);

    // Forward leaves a mask; backward uses it and sums over the columns.
    CHECK(lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 134, dbias.pointer, mask.pointer, 256));
    const auto kept = dd.read<float>();
    CHECK(lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 152, sums.pointer, mask.pointer, 256));
    compare([&](double x, int i) { return kept[static_cast<size_t>(i)] > 0 ? x : 0; }, __LINE__);
    const auto gradient = dd.read<float>(), row_sums = sums.read<float>();
    for (int i = 0; i < m; ++i) {
        double s = 0;
        for (int j = 0; j < n; ++j) s += gradient[static_cast<size_t>(i + j * m)];
        EXPECT(std::fabs(row_sums[static_cast<size_t>(i)] - s) < 1e-5);
    }
    // The same for GELU, which keeps its input.
    CHECK(lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 164, dbias.pointer, pre.pointer, 136));
    CHECK(lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 192, 0, pre.pointer, 136));
    compare(
        [&](double x, int i) {
            const double u = x + bias[static_cast<size_t>(i % m)], h = 1e-5;
            return x * (gelu(u + h) - gelu(u - h)) / (2 * h);
        },
        __LINE__);
    // Sums of an operand over k.
    CHECK(lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 512, columns.pointer));
    for (int j = 0; j < n; ++j) {
        double s = 0;
        for (int p = 0; p < k; ++p) s += b[static_cast<size_t>(p + j * k)];
        EXPECT(std::fabs(columns.read<float>()[static_cast<size_t>(j)] - s) < 1e-5);
    }
    CHECK(lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 256, sums.pointer));
    double s = 0;
    for (int p = 0; p < k; ++p) s += a[static_cast<size_t>(7 + p * m)];
    EXPECT(std::fabs(sums.read<float>()[7] - s) < 1e-5);
    if (found("")) std::puts(cudasim_findings_json());
    EXPECT_EQ(0u, found(""));
    EXPECT_EQ(7, lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 4));  // no bias pointer
    EXPECT_EQ(7, lt.run(0, 0, m, n, k, da.pointer, db.pointer, dd.pointer, 130, 0, mask.pointer,
                        130));  // a mask wants 128 bits
}

TEST(blas_in_a_graph) {
    void *handle = nullptr, *stream = nullptr, *graph = nullptr, *exec = nullptr;
    CHECK(cublasCreate_v2(&handle));
    CHECK(cuStreamCreate(&stream, 1));
    CHECK(cublasSetStream_v2(handle, stream));
    Buffer a(std::vector<float>(1, 3.0f)), c(std::vector<float>(1, 1.0f));
    {
        const float alpha = 2, beta = 1;
        CHECK(cuStreamBeginCapture_v2(stream, 1));
        CHECK(cublasSgemm_v2(handle, 0, 0, 1, 1, 1, &alpha, reinterpret_cast<float*>(a.pointer), 1,
                             reinterpret_cast<float*>(a.pointer), 1, &beta, reinterpret_cast<float*>(c.pointer), 1));
        CHECK(cuStreamEndCapture(stream, &graph));
    }
    CHECK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(c.read<float>()[0] == 37.0f);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cublasDestroy_v2(handle));
    CHECK(cuStreamDestroy_v2(stream));
}
