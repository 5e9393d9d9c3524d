// cuBLASLt: matrix products with epilogues.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "driver.h"
#include "gemm.h"

CUDASIM_API const char* cublasGetStatusName(int status);
CUDASIM_API const char* cublasGetStatusString(int status);

namespace {

using namespace cudasim;

enum Status { success = 0, not_initialized = 1, invalid_value = 7, execution_failed = 13, not_supported = 15 };

// Epilogue bits.
constexpr int epilogue_default = 1, epilogue_relu = 2, epilogue_bias = 4, epilogue_relu_gradient = 8,
              epilogue_bias_gradient = 16, epilogue_gelu = 32, epilogue_gelu_gradient = 64, epilogue_aux = 128,
              epilogue_gradient_a = 256, epilogue_gradient_b = 512;

struct Matmul {  // cublasLtMatmulDesc_t
    int compute = 68, scale_type = 0, pointer_mode = 0;
    int transpose_a = 0, transpose_b = 0, transpose_c = 0, fill_mode = 2;
    int epilogue = epilogue_default;
    uintptr_t bias = 0, aux = 0;
    int64_t bias_stride = 0, aux_ld = 0, aux_stride = 0;
    int bias_type = -1, aux_type = -1;
};

struct Layout {  // cublasLtMatrixLayout_t
    int type = 0, order = 0;
    uint64_t rows = 0, columns = 0;
    int64_t ld = 0, stride = 0;
    int batches = 1;
};

struct Preference {
    uint64_t workspace = 0;
};

struct HeuristicResult {  // cublasLtMatmulHeuristicResult_t
    uint64_t algo[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};
static_assert(sizeof(HeuristicResult) == 96);

MatrixView view_of(const Layout& l, const void* base, int64_t batch) {
    MatrixView v{reinterpret_cast<uintptr_t>(base) + static_cast<uintptr_t>(batch * l.stride) * data_type_size(l.type),
                 l.type,
                 static_cast<int64_t>(l.rows),
                 static_cast<int64_t>(l.columns),
                 1,
                 l.ld};
    if (l.order == 1) std::swap(v.row_step, v.column_step);
    return v;
}

// The form with tanh, which is what the library computes.
template <class T>
T gelu(T x) {
    constexpr T c = T(0.7978845608028654), a = T(0.044715);
    return T(0.5) * x * (T(1) + std::tanh(c * (x + a * x * x * x)));
}

template <class T>
T gelu_gradient(T x) {
    constexpr T c = T(0.7978845608028654), a = T(0.044715);
    const T t = std::tanh(c * (x + a * x * x * x));
    return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * c * (T(1) + T(3) * a * x * x);
}

struct Call {
    Matmul d;
    Layout a, b, c, out;
    const void *a_data, *b_data, *c_data, *alpha, *beta;
    void* out_data;
};

MatrixView vector_view(uintptr_t base, int type, int64_t n) { return {base, type, n, 1, 1, n}; }

template <class T>
int run_batch(const Call& call, T alpha, T beta, int64_t batch) {
    const auto& d = call.d;
    const std::string name = "cublasLtMatmul";
    const auto a = view_of(call.a, call.a_data, batch), b = view_of(call.b, call.b_data, batch);
    const auto c = view_of(call.c, call.c_data, batch), out = view_of(call.out, call.out_data, batch);
    const auto left = d.transpose_a ? transposed(a) : a, right = d.transpose_b ? transposed(b) : b;
    const int64_t m = left.rows, n = right.columns, k = left.columns;
    if (const int error = check_matrix(a, true, name, "A")) return error;
    if (const int error = check_matrix(b, true, name, "B")) return error;
    if (beta != T{0})
        if (const int error = check_matrix(c, true, name, "C")) return error;
    if (const int error = check_matrix(out, false, name, "D")) return error;
    const bool tf32 = d.compute == 77;
    const auto x = gather<T>(left, tf32), y = gather<T>(right, tf32);
    std::vector<T> v(static_cast<size_t>(m * n));
    multiply(v.data(), x.data(), y.data(), m, n, k);
    for (int64_t j = 0; j < n; ++j)
        for (int64_t i = 0; i < m; ++i) {
            auto& e = v[static_cast<size_t>(i + j * m)];
            e *= alpha;
            if (beta != T{0}) e += beta * load_element<T>(c.base, i * c.row_step + j * c.column_step, c.type);
        }

    const int bias_type = d.bias_type >= 0 ? d.bias_type : out.type, aux_type = d.aux_type >= 0 ? d.aux_type : out.type;
    const auto bias = d.bias + static_cast<uintptr_t>(batch * d.bias_stride) * data_type_size(bias_type);
    const bool backward = d.epilogue & (epilogue_relu_gradient | epilogue_gelu_gradient);
    const bool relu_mask = (d.epilogue & epilogue_aux) && d.epilogue & (epilogue_relu | epilogue_relu_gradient);
    if (d.epilogue & epilogue_bias) {
        if (const int error = check_matrix(vector_view(bias, bias_type, m), true, name, "bias")) return error;
        for (int64_t j = 0; j < n; ++j)
            for (int64_t i = 0; i < m; ++i) v[static_cast<size_t>(i + j * m)] += load_element<T>(bias, i, bias_type);
    }
    if (d.epilogue & epilogue_aux) {
        const MatrixView aux{
            d.aux + static_cast<uintptr_t>(batch * d.aux_stride) * (relu_mask ? 0 : data_type_size(aux_type)) +
                (relu_mask ? static_cast<uintptr_t>(batch * d.aux_stride / 8) : 0),
            aux_type,
            m,
            n,
            1,
            d.aux_ld};
        if (relu_mask) {  // one bit per element, the lowest bit first
            auto* bytes = reinterpret_cast<uint8_t*>(aux.base);
            const auto column_bytes = d.aux_ld / 8, used = (m + 7) / 8;
            if (!is_range_live(aux.base, static_cast<size_t>((n - 1) * column_bytes + used))) return 700;
            for (int64_t j = 0; j < n; ++j) {
                for (int64_t i = 0; i < m; ++i) {
                    auto& e = v[static_cast<size_t>(i + j * m)];
                    auto& byte = bytes[j * column_bytes + i / 8];
                    const auto bit = static_cast<uint8_t>(1u << (i % 8));
                    if (backward) {
                        if (!(byte & bit)) e = T{0};
                    } else {
                        byte = static_cast<uint8_t>(e > T{0} ? byte | bit : byte & ~bit);
                    }
                }
                if (!backward)
                    mark_written(aux.base + static_cast<uintptr_t>(j * column_bytes), static_cast<size_t>(used));
            }
        } else {
            if (const int error = check_matrix(aux, backward, name, "aux")) return error;
            for (int64_t j = 0; j < n; ++j)
                for (int64_t i = 0; i < m; ++i) {
                    auto& e = v[static_cast<size_t>(i + j * m)];
                    if (backward)
                        e *= gelu_gradient(load_element<T>(aux.base, i + j * d.aux_ld, aux_type));
                    else
                        store_element<T>(aux.base, i + j * d.aux_ld, aux_type, e);
                }
            if (!backward) mark_matrix_written(aux);
        }
    }
    if (!backward && d.epilogue & epilogue_relu)
        for (auto& e : v) e = e > T{0} ? e : e != e ? e : T{0};
    if (!backward && d.epilogue & epilogue_gelu)
        for (auto& e : v) e = gelu(e);

    // Bias gradients: of the output's rows, or of an operand over k.
    const auto store_sums = [&](const std::vector<T>& sums) {
        const auto target = vector_view(bias, bias_type, static_cast<int64_t>(sums.size()));
        if (const int error = check_matrix(target, false, name, "bias gradient")) return error;
        for (size_t i = 0; i < sums.size(); ++i) store_element<T>(bias, static_cast<int64_t>(i), bias_type, sums[i]);
        mark_matrix_written(target);
        return 0;
    };
    int error = 0;
    if (d.epilogue & epilogue_bias_gradient && backward) {
        std::vector<T> sums(static_cast<size_t>(m));
        for (int64_t j = 0; j < n; ++j)
            for (int64_t i = 0; i < m; ++i) sums[static_cast<size_t>(i)] += v[static_cast<size_t>(i + j * m)];
        error = store_sums(sums);
    } else if (d.epilogue & epilogue_gradient_a) {
        std::vector<T> sums(static_cast<size_t>(m));
        for (int64_t p = 0; p < k; ++p)
            for (int64_t i = 0; i < m; ++i) sums[static_cast<size_t>(i)] += x[static_cast<size_t>(i + p * m)];
        error = store_sums(sums);
    } else if (d.epilogue & epilogue_gradient_b) {
        std::vector<T> sums(static_cast<size_t>(n));
        for (int64_t j = 0; j < n; ++j)
            for (int64_t p = 0; p < k; ++p) sums[static_cast<size_t>(j)] += y[static_cast<size_t>(p + j * k)];
        error = store_sums(sums);
    }
    if (error) return error;
    for (int64_t j = 0; j < n; ++j)
        for (int64_t i = 0; i < m; ++i)
            store_element<T>(out.base, i * out.row_step + j * out.column_step, out.type,
                             v[static_cast<size_t>(i + j * m)]);
    mark_matrix_written(out);
    return 0;
}

template <class T>
int run(const Call& call, T alpha, T beta) {
    if (const int fault = launch_fault()) return fault;
    if (call.d.pointer_mode == 1) {
        std::memcpy(&alpha, call.alpha, sizeof(T));
        std::memcpy(&beta, call.beta, sizeof(T));
    }
    for (int64_t batch = 0; batch < call.out.batches; ++batch)
        if (const int error = run_batch<T>(call, alpha, beta, batch)) return error;
    return 0;
}

bool known_epilogue(int e) {
    for (const int known : {1, 2, 4, 6, 130, 134, 136, 152, 32, 36, 160, 164, 192, 208, 256, 512})
        if (e == known) return true;
    return false;
}

int check_call(const Matmul& d, const Layout& a, const Layout& b, const Layout& c, const Layout& out) {
    const auto am = d.transpose_a ? a.columns : a.rows, ak = d.transpose_a ? a.rows : a.columns;
    const auto bk = d.transpose_b ? b.columns : b.rows, bn = d.transpose_b ? b.rows : b.columns;
    if (ak != bk || am != out.rows || bn != out.columns || c.rows != out.rows || c.columns != out.columns)
        return invalid_value;
    for (const auto* l : {&a, &b, &c, &out}) {
        if (l->order > 1 || !data_type_size(l->type)) return not_supported;
        if (l->ld < static_cast<int64_t>(l->order == 1 ? l->columns : l->rows)) return invalid_value;
        if (l->batches != out.batches) return invalid_value;
    }
    const bool wide = d.compute == 70 || d.compute == 71;
    if (a.type != b.type || wide != (a.type == type_r_64f) || wide != (out.type == type_r_64f) || d.transpose_c)
        return not_supported;
    if (!wide && (d.compute < 68 || d.compute > 78)) return not_supported;
    if (!known_epilogue(d.epilogue) || d.pointer_mode > 1) return not_supported;
    if (d.epilogue != epilogue_default && (wide || out.order != 0)) return not_supported;
    const int needs_bias = epilogue_bias | epilogue_bias_gradient | epilogue_gradient_a | epilogue_gradient_b;
    if ((d.epilogue & needs_bias) && !d.bias) return invalid_value;
    if (d.epilogue & epilogue_aux) {
        const bool mask = d.epilogue & (epilogue_relu | epilogue_relu_gradient);
        if (!d.aux || d.aux_ld < static_cast<int64_t>(out.rows) || d.aux_ld % (mask ? 128 : 8) != 0)
            return invalid_value;
    }
    return success;
}

template <class T>
bool take(T& field, const void* buffer, size_t bytes) {
    if (bytes != sizeof(T)) return false;
    std::memcpy(&field, buffer, sizeof(T));
    return true;
}

template <class T>
int give(const T& field, void* buffer, size_t bytes, size_t* written) {
    if (written) *written = sizeof(T);
    if (bytes == 0) return success;
    if (!buffer || bytes < sizeof(T)) return invalid_value;
    std::memcpy(buffer, &field, sizeof(T));
    return success;
}

}  // namespace

CUDASIM_API const char* cublasLtGetStatusName(int status) { return cublasGetStatusName(status); }
CUDASIM_API const char* cublasLtGetStatusString(int status) { return cublasGetStatusString(status); }
CUDASIM_API size_t cublasLtGetVersion() { return 120804; }
CUDASIM_API size_t cublasLtGetCudartVersion() { return 12080; }

CUDASIM_API int cublasLtCreate(void** handle) {
    const std::lock_guard guard(driver_lock());
    if (!handle) return invalid_value;
    if (enter()) return not_initialized;
    *handle = new int(0);
    return success;
}

CUDASIM_API int cublasLtDestroy(void* handle) {
    if (!handle) return not_initialized;
    delete static_cast<int*>(handle);
    return success;
}

CUDASIM_API int cublasLtMatmulDescCreate(void** out, int compute, int scale_type) {
    if (!out) return invalid_value;
    auto* d = new Matmul;
    d->compute = compute;
    d->scale_type = scale_type;
    *out = d;
    return success;
}

CUDASIM_API int cublasLtMatmulDescDestroy(void* d) {
    delete static_cast<Matmul*>(d);
    return success;
}

CUDASIM_API int cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* buffer, size_t bytes) {
    auto* d = static_cast<Matmul*>(handle);
    if (!d || !buffer) return invalid_value;
    bool ok;
    switch (attribute) {
        case 0: ok = take(d->compute, buffer, bytes); break;
        case 1: ok = take(d->scale_type, buffer, bytes); break;
        case 2: ok = take(d->pointer_mode, buffer, bytes); break;
        case 3: ok = take(d->transpose_a, buffer, bytes); break;
        case 4: ok = take(d->transpose_b, buffer, bytes); break;
        case 5: ok = take(d->transpose_c, buffer, bytes); break;
        case 6: ok = take(d->fill_mode, buffer, bytes); break;
        case 7: ok = take(d->epilogue, buffer, bytes); break;
        case 8: ok = take(d->bias, buffer, bytes); break;
        case 10: ok = take(d->bias_stride, buffer, bytes); break;
        case 11: ok = take(d->aux, buffer, bytes); break;
        case 12: ok = take(d->aux_ld, buffer, bytes); break;
        case 13: ok = take(d->aux_stride, buffer, bytes); break;
        case 15: ok = true; break;  // a target for the number of multiprocessors
        case 22: ok = take(d->aux_type, buffer, bytes); break;
        case 25: ok = true; break;
        case 26: ok = take(d->bias_type, buffer, bytes); break;
        default: return not_supported;
    }
    return ok ? success : invalid_value;
}

CUDASIM_API int cublasLtMatmulDescGetAttribute(void* handle, int attribute, void* buffer, size_t bytes,
                                               size_t* written) {
    const auto* d = static_cast<Matmul*>(handle);
    if (!d) return invalid_value;
    switch (attribute) {
        case 0: return give(d->compute, buffer, bytes, written);
        case 1: return give(d->scale_type, buffer, bytes, written);
        case 2: return give(d->pointer_mode, buffer, bytes, written);
        case 3: return give(d->transpose_a, buffer, bytes, written);
        case 4: return give(d->transpose_b, buffer, bytes, written);
        case 7: return give(d->epilogue, buffer, bytes, written);
        case 8: return give(d->bias, buffer, bytes, written);
        case 11: return give(d->aux, buffer, bytes, written);
        case 12: return give(d->aux_ld, buffer, bytes, written);
        default: return not_supported;
    }
}

CUDASIM_API int cublasLtMatrixLayoutCreate(void** out, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    if (!out) return invalid_value;
    auto* l = new Layout;
    l->type = type;
    l->rows = rows;
    l->columns = columns;
    l->ld = ld;
    *out = l;
    return success;
}

CUDASIM_API int cublasLtMatrixLayoutDestroy(void* l) {
    delete static_cast<Layout*>(l);
    return success;
}

CUDASIM_API int cublasLtMatrixLayoutSetAttribute(void* handle, int attribute, const void* buffer, size_t bytes) {
    auto* l = static_cast<Layout*>(handle);
    if (!l || !buffer) return invalid_value;
    bool ok;
    switch (attribute) {
        case 0: ok = take(l->type, buffer, bytes); break;
        case 1: ok = take(l->order, buffer, bytes); break;
        case 2: ok = take(l->rows, buffer, bytes); break;
        case 3: ok = take(l->columns, buffer, bytes); break;
        case 4: ok = take(l->ld, buffer, bytes); break;
        case 5: ok = take(l->batches, buffer, bytes); break;
        case 6: ok = take(l->stride, buffer, bytes); break;
        default: return not_supported;
    }
    return ok ? success : invalid_value;
}

CUDASIM_API int cublasLtMatmulPreferenceCreate(void** out) {
    if (!out) return invalid_value;
    *out = new Preference;
    return success;
}

CUDASIM_API int cublasLtMatmulPreferenceDestroy(void* p) {
    delete static_cast<Preference*>(p);
    return success;
}

CUDASIM_API int cublasLtMatmulPreferenceSetAttribute(void* handle, int attribute, const void* buffer, size_t bytes) {
    auto* p = static_cast<Preference*>(handle);
    if (!p || !buffer) return invalid_value;
    if (attribute == 1) return take(p->workspace, buffer, bytes) ? success : invalid_value;
    return attribute >= 0 && attribute <= 15 ? success : invalid_value;
}

CUDASIM_API int cublasLtMatmulAlgoGetHeuristic(void* handle, void* d, void* a, void* b, void* c, void* out,
                                               void* preference, int wanted, HeuristicResult* results, int* count) {
    if (!handle) return not_initialized;
    if (!d || !a || !b || !c || !out || !preference || wanted < 1 || !results || !count) return invalid_value;
    *count = 0;
    if (const int status = check_call(*static_cast<Matmul*>(d), *static_cast<Layout*>(a), *static_cast<Layout*>(b),
                                      *static_cast<Layout*>(c), *static_cast<Layout*>(out)))
        return status == invalid_value ? invalid_value : not_supported;
    results[0] = {};
    results[0].algo[0] = 0x6d69736164756300ull;  // says whose it is
    results[0].waves = 1.0f;
    *count = 1;
    return success;
}

CUDASIM_API int cublasLtMatmul(void* handle, void* description, const void* alpha, const void* a, void* a_layout,
                               const void* b, void* b_layout, const void* beta, const void* c, void* c_layout,
                               void* out, void* out_layout, const void*, void*, size_t, void* stream_handle) {
    const std::lock_guard guard(driver_lock());
    if (!handle) return not_initialized;
    if (!description || !alpha || !beta || !a || !a_layout || !b || !b_layout || !c_layout || !out || !out_layout)
        return invalid_value;
    const Call call{*static_cast<Matmul*>(description),
                    *static_cast<Layout*>(a_layout),
                    *static_cast<Layout*>(b_layout),
                    *static_cast<Layout*>(c_layout),
                    *static_cast<Layout*>(out_layout),
                    a,
                    b,
                    c,
                    alpha,
                    beta,
                    out};
    if (const int status = check_call(call.d, call.a, call.b, call.c, call.out)) return status;
    Context* context = nullptr;
    if (enter(&context)) return execution_failed;
    auto* stream = stream_of(*context, stream_handle);
    if (!stream) return execution_failed;
    Operation operation{node_kernel, {}, {}, "cublasLtMatmul"};
    const bool host = call.d.pointer_mode == 0;
    if (call.d.compute == 70 || call.d.compute == 71) {
        const double x = host ? *static_cast<const double*>(alpha) : 0,
                     y = host ? *static_cast<const double*>(beta) : 0;
        operation.run = [=] { return run<double>(call, x, y); };
    } else {
        const float x = host ? *static_cast<const float*>(alpha) : 0, y = host ? *static_cast<const float*>(beta) : 0;
        operation.run = [=] { return run<float>(call, x, y); };
    }
    return submit(*stream, std::move(operation)) ? execution_failed : success;
}
