// cuBLAS: handles and matrix products. Matrices are stored column by column.
#include <algorithm>
#include <cstring>
#include <string>

#include "driver.h"
#include "gemm.h"

namespace {

using namespace cudasim;

enum Status {
    success = 0,
    not_initialized = 1,
    alloc_failed = 3,
    invalid_value = 7,
    execution_failed = 13,
    not_supported = 15
};
constexpr int version = 120804;

struct Handle {
    Context* context = nullptr;
    void* stream = nullptr;
    int pointer_mode = 0, math_mode = 0;
};

struct Call {
    std::string name;
    int transpose_a, transpose_b;
    int64_t m, n, k;
    const void *alpha, *beta;
    const void* a;
    int a_type;
    int64_t lda, stride_a;
    const void* b;
    int b_type;
    int64_t ldb, stride_b;
    void* c;
    int c_type;
    int64_t ldc, stride_c;
    int64_t batches;
    int compute;
};

bool is_double(int compute) { return compute == 70 || compute == 71; }

template <class T>
int product(const Call& call, T alpha, T beta, bool tf32) {
    for (int64_t batch = 0; batch < call.batches; ++batch) {
        const auto view = [&](const void* base, int type, int64_t ld, int64_t stride, int64_t rows, int64_t columns) {
            return MatrixView{
                reinterpret_cast<uintptr_t>(base) + static_cast<uintptr_t>(batch * stride) * data_type_size(type),
                type,
                rows,
                columns,
                1,
                ld};
        };
        const auto a = call.transpose_a ? view(call.a, call.a_type, call.lda, call.stride_a, call.k, call.m)
                                        : view(call.a, call.a_type, call.lda, call.stride_a, call.m, call.k);
        const auto b = call.transpose_b ? view(call.b, call.b_type, call.ldb, call.stride_b, call.n, call.k)
                                        : view(call.b, call.b_type, call.ldb, call.stride_b, call.k, call.n);
        const auto c = view(call.c, call.c_type, call.ldc, call.stride_c, call.m, call.n);
        const bool uses = alpha != T{0} && call.k > 0;
        if (uses)
            if (const int error = check_matrix(a, true, call.name, "A")) return error;
        if (uses)
            if (const int error = check_matrix(b, true, call.name, "B")) return error;
        if (const int error = check_matrix(c, beta != T{0}, call.name, "C")) return error;
        std::vector<T> sums(static_cast<size_t>(call.m * call.n));
        if (uses) {
            const auto left = gather<T>(call.transpose_a ? transposed(a) : a, tf32);
            const auto right = gather<T>(call.transpose_b ? transposed(b) : b, tf32);
            multiply(sums.data(), left.data(), right.data(), call.m, call.n, call.k);
        }
        for (int64_t j = 0; j < call.n; ++j) {
            for (int64_t i = 0; i < call.m; ++i) {
                T value = alpha * sums[static_cast<size_t>(i + j * call.m)];
                if (beta != T{0}) value += beta * load_element<T>(c.base, i + j * call.ldc, c.type);
                store_element<T>(c.base, i + j * call.ldc, c.type, value);
            }
        }
        mark_matrix_written(c);
    }
    return 0;
}

template <class T>
int run(const Call& call, bool tf32, bool device_scalars, T alpha, T beta) {
    if (const int fault = launch_fault()) return fault;
    if (device_scalars) {
        std::memcpy(&alpha, call.alpha, sizeof(T));
        std::memcpy(&beta, call.beta, sizeof(T));
    }
    return product<T>(call, alpha, beta, tf32);
}

int gemm(void* handle_pointer, const Call& call) {
    const std::lock_guard guard(driver_lock());
    auto* handle = static_cast<Handle*>(handle_pointer);
    if (!handle) return not_initialized;
    if (call.m < 0 || call.n < 0 || call.k < 0 || call.batches < 0) return invalid_value;
    if (call.transpose_a < 0 || call.transpose_a > 2 || call.transpose_b < 0 || call.transpose_b > 2)
        return invalid_value;
    if (!call.alpha || !call.beta) return invalid_value;
    if (call.lda < std::max<int64_t>(1, call.transpose_a ? call.k : call.m) ||
        call.ldb < std::max<int64_t>(1, call.transpose_b ? call.n : call.k) || call.ldc < std::max<int64_t>(1, call.m))
        return invalid_value;
    if (!data_type_size(call.a_type) || !data_type_size(call.b_type) || !data_type_size(call.c_type))
        return not_supported;
    if (call.a_type != call.b_type) return not_supported;
    const bool wide = is_double(call.compute);
    if (wide != (call.a_type == type_r_64f) || wide != (call.c_type == type_r_64f)) return not_supported;
    if (!wide && (call.compute < 68 || call.compute > 78)) return not_supported;
    if (call.m == 0 || call.n == 0 || call.batches == 0) return success;
    Context* context = nullptr;
    if (enter(&context)) return execution_failed;
    auto* stream = stream_of(*context, handle->stream);
    if (!stream) return execution_failed;
    const bool tf32 = call.compute == 77 || (call.compute == 68 && handle->math_mode == 3 && call.a_type == type_r_32f);
    const bool on_device = handle->pointer_mode == 1;
    Operation operation{node_kernel, {}, {}, call.name};
    if (wide) {
        const double alpha = on_device ? 0 : *static_cast<const double*>(call.alpha),
                     beta = on_device ? 0 : *static_cast<const double*>(call.beta);
        operation.run = [=] { return run<double>(call, tf32, on_device, alpha, beta); };
    } else {
        const float alpha = on_device ? 0 : *static_cast<const float*>(call.alpha),
                    beta = on_device ? 0 : *static_cast<const float*>(call.beta);
        operation.run = [=] { return run<float>(call, tf32, on_device, alpha, beta); };
    }
    return submit(*stream, std::move(operation)) ? execution_failed : success;
}

}  // namespace

CUDASIM_API const char* cublasGetStatusName(int status) {
    switch (status) {
        case 0: return "CUBLAS_STATUS_SUCCESS";
        case 1: return "CUBLAS_STATUS_NOT_INITIALIZED";
        case 3: return "CUBLAS_STATUS_ALLOC_FAILED";
        case 7: return "CUBLAS_STATUS_INVALID_VALUE";
        case 8: return "CUBLAS_STATUS_ARCH_MISMATCH";
        case 11: return "CUBLAS_STATUS_MAPPING_ERROR";
        case 13: return "CUBLAS_STATUS_EXECUTION_FAILED";
        case 14: return "CUBLAS_STATUS_INTERNAL_ERROR";
        case 15: return "CUBLAS_STATUS_NOT_SUPPORTED";
        case 16: return "CUBLAS_STATUS_LICENSE_ERROR";
        default: return "CUBLAS_STATUS_UNKNOWN";
    }
}

CUDASIM_API const char* cublasGetStatusString(int status) {
    switch (status) {
        case 0: return "success";
        case 1: return "the library was not initialized";
        case 3: return "the resource allocation failed";
        case 7: return "an invalid value was used as an argument";
        case 13: return "the function failed to launch on the GPU";
        case 15: return "the functionality is not supported";
        default: return cublasGetStatusName(status);
    }
}

CUDASIM_API int cublasCreate_v2(void** handle) {
    const std::lock_guard guard(driver_lock());
    if (!handle) return invalid_value;
    Context* context = nullptr;
    if (enter(&context)) return not_initialized;
    auto* h = new Handle;
    h->context = context;
    *handle = h;
    return success;
}

CUDASIM_API int cublasDestroy_v2(void* handle) {
    if (!handle) return not_initialized;
    delete static_cast<Handle*>(handle);
    return success;
}

CUDASIM_API int cublasGetVersion_v2(void* handle, int* out) {
    if (!handle) return not_initialized;
    if (!out) return invalid_value;
    *out = version;
    return success;
}

CUDASIM_API int cublasGetProperty(int property, int* out) {
    if (!out || property < 0 || property > 2) return invalid_value;
    *out = property == 0 ? version / 10000 : property == 1 ? version / 100 % 100 : version % 100;
    return success;
}

CUDASIM_API int cublasSetStream_v2(void* handle, void* stream) {
    if (!handle) return not_initialized;
    static_cast<Handle*>(handle)->stream = stream;
    return success;
}

CUDASIM_API int cublasGetStream_v2(void* handle, void** stream) {
    if (!handle) return not_initialized;
    if (!stream) return invalid_value;
    *stream = static_cast<Handle*>(handle)->stream;
    return success;
}

CUDASIM_API int cublasSetWorkspace_v2(void* handle, void* workspace, size_t) {
    if (!handle) return not_initialized;
    return reinterpret_cast<uintptr_t>(workspace) % 256 == 0 ? success : invalid_value;
}

CUDASIM_API int cublasSetMathMode(void* handle, int mode) {
    if (!handle) return not_initialized;
    static_cast<Handle*>(handle)->math_mode = mode & 15;
    return success;
}

CUDASIM_API int cublasGetMathMode(void* handle, int* mode) {
    if (!handle) return not_initialized;
    if (!mode) return invalid_value;
    *mode = static_cast<Handle*>(handle)->math_mode;
    return success;
}

CUDASIM_API int cublasSetPointerMode_v2(void* handle, int mode) {
    if (!handle) return not_initialized;
    if (mode != 0 && mode != 1) return invalid_value;
    static_cast<Handle*>(handle)->pointer_mode = mode;
    return success;
}

CUDASIM_API int cublasGetPointerMode_v2(void* handle, int* mode) {
    if (!handle) return not_initialized;
    if (!mode) return invalid_value;
    *mode = static_cast<Handle*>(handle)->pointer_mode;
    return success;
}

CUDASIM_API int cublasSetAtomicsMode(void* handle, int) { return handle ? success : not_initialized; }

CUDASIM_API int cublasSgemm_v2(void* handle, int ta, int tb, int m, int n, int k, const float* alpha, const float* a,
                               int lda, const float* b, int ldb, const float* beta, float* c, int ldc) {
    return gemm(handle, {"cublasSgemm", ta,  tb, m, n,          k,   alpha, beta, a, type_r_32f, lda, 0, b,
                         type_r_32f,    ldb, 0,  c, type_r_32f, ldc, 0,     1,    68});
}

CUDASIM_API int cublasDgemm_v2(void* handle, int ta, int tb, int m, int n, int k, const double* alpha, const double* a,
                               int lda, const double* b, int ldb, const double* beta, double* c, int ldc) {
    return gemm(handle, {"cublasDgemm", ta,  tb, m, n,          k,   alpha, beta, a, type_r_64f, lda, 0, b,
                         type_r_64f,    ldb, 0,  c, type_r_64f, ldc, 0,     1,    70});
}

CUDASIM_API int cublasSgemmStridedBatched(void* handle, int ta, int tb, int m, int n, int k, const float* alpha,
                                          const float* a, int lda, long long sa, const float* b, int ldb, long long sb,
                                          const float* beta, float* c, int ldc, long long sc, int batches) {
    return gemm(handle, {"cublasSgemmStridedBatched",
                         ta,
                         tb,
                         m,
                         n,
                         k,
                         alpha,
                         beta,
                         a,
                         type_r_32f,
                         lda,
                         sa,
                         b,
                         type_r_32f,
                         ldb,
                         sb,
                         c,
                         type_r_32f,
                         ldc,
                         sc,
                         batches,
                         68});
}

CUDASIM_API int cublasDgemmStridedBatched(void* handle, int ta, int tb, int m, int n, int k, const double* alpha,
                                          const double* a, int lda, long long sa, const double* b, int ldb,
                                          long long sb, const double* beta, double* c, int ldc, long long sc,
                                          int batches) {
    return gemm(handle, {"cublasDgemmStridedBatched",
                         ta,
                         tb,
                         m,
                         n,
                         k,
                         alpha,
                         beta,
                         a,
                         type_r_64f,
                         lda,
                         sa,
                         b,
                         type_r_64f,
                         ldb,
                         sb,
                         c,
                         type_r_64f,
                         ldc,
                         sc,
                         batches,
                         70});
}

CUDASIM_API int cublasGemmEx(void* handle, int ta, int tb, int m, int n, int k, const void* alpha, const void* a,
                             int at, int lda, const void* b, int bt, int ldb, const void* beta, void* c, int ct,
                             int ldc, int compute, int) {
    return gemm(handle, {"cublasGemmEx", ta, tb, m, n, k, alpha, beta, a, at, lda, 0, b, bt, ldb, 0, c, ct, ldc, 0, 1,
                         compute});
}

CUDASIM_API int cublasGemmStridedBatchedEx(void* handle, int ta, int tb, int m, int n, int k, const void* alpha,
                                           const void* a, int at, int lda, long long sa, const void* b, int bt, int ldb,
                                           long long sb, const void* beta, void* c, int ct, int ldc, long long sc,
                                           int batches, int compute, int) {
    return gemm(handle, {"cublasGemmStridedBatchedEx",
                         ta,
                         tb,
                         m,
                         n,
                         k,
                         alpha,
                         beta,
                         a,
                         at,
                         lda,
                         sa,
                         b,
                         bt,
                         ldb,
                         sb,
                         c,
                         ct,
                         ldc,
                         sc,
                         batches,
                         compute});
}
