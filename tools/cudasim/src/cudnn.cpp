// cuDNN 9: handles, tensor and filter descriptors, and the convolution triple through matrix products.
#include <algorithm>
#include <cstring>
#include <string>

#include "driver.h"
#include "gemm.h"

namespace {

using namespace cudasim;

enum Status { success = 0, not_initialized = 1001, bad_param = 2000, null_pointer = 2002, shape_mismatch = 2008, not_supported = 3000,
              not_supported_type = 3003, execution_failed = 5000 };

struct Tensor {
    int type = -1;  // a DataType of gemm.h
    int64_t dim[4] = {1, 1, 1, 1}, step[4] = {1, 1, 1, 1};  // n c h w
    int64_t count() const { return dim[0] * dim[1] * dim[2] * dim[3]; }
    int64_t extent() const {
        int64_t last = 0;
        for (int i = 0; i < 4; ++i) last += (dim[i] - 1) * step[i];
        return last + 1;
    }
};

struct Convolution {
    int64_t pad[2] = {0, 0}, stride[2] = {1, 1}, dilation[2] = {1, 1};
    int mode = 1, compute = 0, math = 0;
    int64_t groups = 1;
};

struct Handle {
    void* stream = nullptr;
};

struct Performance {  // cudnnConvolution...AlgoPerf_t
    int algorithm, status;
    float time;
    size_t memory;
    int determinism, math;
    int reserved[3];
};
static_assert(sizeof(Performance) == 48);

int data_type(int cudnn_type) {
    switch (cudnn_type) {
        case 0: return type_r_32f;
        case 1: return type_r_64f;
        case 2: return type_r_16f;
        case 9: return type_r_16bf;
        default: return -1;
    }
}

// Packed steps of a format: 0 is NCHW, 1 is NHWC.
bool set_packed(Tensor& t, int format) {
    const auto* d = t.dim;
    if (format == 0) {
        const int64_t steps[4] = {d[1] * d[2] * d[3], d[2] * d[3], d[3], 1};
        std::copy(steps, steps + 4, t.step);
    } else if (format == 1) {
        const int64_t steps[4] = {d[1] * d[2] * d[3], 1, d[3] * d[1], d[1]};
        std::copy(steps, steps + 4, t.step);
    } else {
        return false;
    }
    return true;
}

int set_tensor(void* handle, int format, int type, const int64_t (&dims)[4]) {
    auto* t = static_cast<Tensor*>(handle);
    if (!t) return null_pointer;
    if (data_type(type) < 0) return not_supported_type;
    for (const auto d : dims)
        if (d <= 0) return bad_param;
    t->type = data_type(type);
    std::copy(dims, dims + 4, t->dim);
    return set_packed(*t, format) ? success : not_supported;
}

bool output_dims(const Convolution& c, const Tensor& x, const Tensor& w, int64_t (&out)[4]) {
    if (x.dim[1] != w.dim[1] * c.groups || w.dim[0] % c.groups != 0) return false;
    out[0] = x.dim[0];
    out[1] = w.dim[0];
    for (int i = 0; i < 2; ++i) {
        const auto span = c.dilation[i] * (w.dim[2 + i] - 1) + 1, room = x.dim[2 + i] + 2 * c.pad[i] - span;
        if (room < 0) return false;
        out[2 + i] = room / c.stride[i] + 1;
    }
    return true;
}

bool fits(const Convolution& c, const Tensor& x, const Tensor& w, const Tensor& y) {
    int64_t dims[4];
    return output_dims(c, x, w, dims) && std::equal(dims, dims + 4, y.dim) && x.type == w.type && x.type == y.type && x.type >= 0;
}

int check_tensor(const Tensor& t, uintptr_t base, bool reads, const std::string& call, const char* name) {
    // A packed tensor is looked at byte by byte; of another only the extent.
    const bool packed = t.extent() == t.count();
    const MatrixView view{base, t.type, packed ? t.count() : 1, packed ? 1 : 2, 1, packed ? t.count() : t.extent() - 1};
    return check_matrix(view, reads && packed, call, name);
}

void mark_tensor(const Tensor& t, uintptr_t base) {
    if (t.extent() == t.count()) mark_written(base, static_cast<size_t>(t.count()) * data_type_size(t.type));
    else mark_written(base, static_cast<size_t>(t.extent()) * data_type_size(t.type));
}

struct Call {
    std::string name;
    Convolution c;
    Tensor x, w, y;
    uintptr_t x_data, w_data, y_data;
};

// One group of one image as columns: element (position, channel r s).
template <class T, class Visit>
void visit_patches(const Call& call, Visit visit) {
    const auto& c = call.c;
    const auto& w = call.w;
    const auto& y = call.y;
    const auto& x = call.x;
    int64_t column = 0;
    for (int64_t channel = 0; channel < w.dim[1]; ++channel)
        for (int64_t r = 0; r < w.dim[2]; ++r)
            for (int64_t s = 0; s < w.dim[3]; ++s, ++column) {
                // A true convolution turns the filter around.
                const auto fr = c.mode == 0 ? w.dim[2] - 1 - r : r, fs = c.mode == 0 ? w.dim[3] - 1 - s : s;
                for (int64_t i = 0; i < y.dim[2]; ++i) {
                    const auto h = i * c.stride[0] - c.pad[0] + fr * c.dilation[0];
                    for (int64_t j = 0; j < y.dim[3]; ++j) {
                        const auto v = j * c.stride[1] - c.pad[1] + fs * c.dilation[1];
                        const bool inside = h >= 0 && h < x.dim[2] && v >= 0 && v < x.dim[3];
                        visit(column, i * y.dim[3] + j, inside ? channel * x.step[1] + h * x.step[2] + v * x.step[3] : -1);
                    }
                }
            }
}

template <class T>
struct Problem {
    explicit Problem(const Call& call)
        : call(call), positions(call.y.dim[2] * call.y.dim[3]), patch(call.w.dim[1] * call.w.dim[2] * call.w.dim[3]),
          filters(call.w.dim[0] / call.c.groups) {}

    int64_t x_offset(int64_t n, int64_t g) const { return n * call.x.step[0] + g * call.w.dim[1] * call.x.step[1]; }
    int64_t y_offset(int64_t n, int64_t g, int64_t k, int64_t p) const {
        return n * call.y.step[0] + (g * filters + k) * call.y.step[1] + p / call.y.dim[3] * call.y.step[2] + p % call.y.dim[3] * call.y.step[3];
    }
    // The filters of a group as rows of patches.
    std::vector<T> weights(int64_t g) const {
        std::vector<T> out(static_cast<size_t>(filters * patch));
        for (int64_t k = 0; k < filters; ++k)
            for (int64_t q = 0; q < patch; ++q) out[static_cast<size_t>(k * patch + q)] = load_element<T>(call.w_data, w_offset(g * filters + k, q), call.w.type);
        return out;
    }
    int64_t w_offset(int64_t k, int64_t q) const {
        const auto rs = call.w.dim[2] * call.w.dim[3];
        return k * call.w.step[0] + q / rs * call.w.step[1] + q % rs / call.w.dim[3] * call.w.step[2] + q % call.w.dim[3] * call.w.step[3];
    }
    std::vector<T> patches(int64_t n, int64_t g) const {
        std::vector<T> out(static_cast<size_t>(positions * patch));
        const auto first = x_offset(n, g);
        visit_patches<T>(call, [&](int64_t q, int64_t p, int64_t offset) {
            if (offset >= 0) out[static_cast<size_t>(q * positions + p)] = load_element<T>(call.x_data, first + offset, call.x.type);
        });
        return out;
    }
    std::vector<T> output(int64_t n, int64_t g) const {
        std::vector<T> out(static_cast<size_t>(positions * filters));
        for (int64_t k = 0; k < filters; ++k)
            for (int64_t p = 0; p < positions; ++p)
                out[static_cast<size_t>(k * positions + p)] = load_element<T>(call.y_data, y_offset(n, g, k, p), call.y.type);
        return out;
    }

    const Call& call;
    int64_t positions, patch, filters;
};

template <class T>
T blend(T alpha, T value, T beta, uintptr_t base, int64_t at, int type) {
    return beta == T{0} ? alpha * value : alpha * value + beta * load_element<T>(base, at, type);
}

template <class T>
void forward(const Call& call, T alpha, T beta) {
    const Problem<T> p(call);
    std::vector<T> out(static_cast<size_t>(p.positions * p.filters));
    for (int64_t g = 0; g < call.c.groups; ++g) {
        const auto weights = p.weights(g);
        for (int64_t n = 0; n < call.x.dim[0]; ++n) {
            const auto patches = p.patches(n, g);
            multiply(out.data(), patches.data(), weights.data(), p.positions, p.filters, p.patch);
            for (int64_t k = 0; k < p.filters; ++k)
                for (int64_t q = 0; q < p.positions; ++q) {
                    const auto at = p.y_offset(n, g, k, q);
                    store_element<T>(call.y_data, at, call.y.type, blend(alpha, out[static_cast<size_t>(k * p.positions + q)], beta, call.y_data, at, call.y.type));
                }
        }
    }
    mark_tensor(call.y, call.y_data);
}

template <class T>
void backward_data(const Call& call, T alpha, T beta) {
    const Problem<T> p(call);
    std::vector<T> gradient(static_cast<size_t>(p.positions * p.patch)), image(static_cast<size_t>(call.x.extent())), turned;
    for (int64_t n = 0; n < call.x.dim[0]; ++n) {
        for (int64_t g = 0; g < call.c.groups; ++g) {
            const auto weights = p.weights(g), dy = p.output(n, g);
            turned.resize(weights.size());
            for (int64_t k = 0; k < p.filters; ++k)
                for (int64_t q = 0; q < p.patch; ++q) turned[static_cast<size_t>(q * p.filters + k)] = weights[static_cast<size_t>(k * p.patch + q)];
            multiply(gradient.data(), dy.data(), turned.data(), p.positions, p.patch, p.filters);
            const auto first = p.x_offset(n, g);
            visit_patches<T>(call, [&](int64_t q, int64_t position, int64_t offset) {
                if (offset >= 0) image[static_cast<size_t>(first + offset)] += gradient[static_cast<size_t>(q * p.positions + position)];
            });
        }
        for (int64_t c = 0; c < call.x.dim[1]; ++c)
            for (int64_t h = 0; h < call.x.dim[2]; ++h)
                for (int64_t v = 0; v < call.x.dim[3]; ++v) {
                    const auto at = n * call.x.step[0] + c * call.x.step[1] + h * call.x.step[2] + v * call.x.step[3];
                    store_element<T>(call.x_data, at, call.x.type, blend(alpha, image[static_cast<size_t>(at)], beta, call.x_data, at, call.x.type));
                }
    }
    mark_tensor(call.x, call.x_data);
}

template <class T>
void backward_filter(const Call& call, T alpha, T beta) {
    const Problem<T> p(call);
    std::vector<T> turned, product(static_cast<size_t>(p.patch * p.filters)), sum;
    for (int64_t g = 0; g < call.c.groups; ++g) {
        sum.assign(product.size(), T{0});
        for (int64_t n = 0; n < call.x.dim[0]; ++n) {
            const auto patches = p.patches(n, g), dy = p.output(n, g);
            turned.resize(patches.size());
            for (int64_t q = 0; q < p.patch; ++q)
                for (int64_t i = 0; i < p.positions; ++i) turned[static_cast<size_t>(i * p.patch + q)] = patches[static_cast<size_t>(q * p.positions + i)];
            multiply(product.data(), turned.data(), dy.data(), p.patch, p.filters, p.positions);
            for (size_t i = 0; i < sum.size(); ++i) sum[i] += product[i];
        }
        for (int64_t k = 0; k < p.filters; ++k)
            for (int64_t q = 0; q < p.patch; ++q) {
                const auto at = p.w_offset(g * p.filters + k, q);
                store_element<T>(call.w_data, at, call.w.type, blend(alpha, sum[static_cast<size_t>(k * p.patch + q)], beta, call.w_data, at, call.w.type));
            }
    }
    mark_tensor(call.w, call.w_data);
}

enum Kind { kind_forward, kind_data, kind_filter };

template <class T>
int run(const Call& call, Kind kind, T alpha, T beta) {
    if (const int fault = launch_fault()) return fault;
    const bool keeps = beta != T{0};
    if (const int error = check_tensor(call.x, call.x_data, kind != kind_data || keeps, call.name, kind == kind_data ? "dx" : "x")) return error;
    if (const int error = check_tensor(call.w, call.w_data, kind != kind_filter || keeps, call.name, kind == kind_filter ? "dw" : "w")) return error;
    if (const int error = check_tensor(call.y, call.y_data, kind != kind_forward || keeps, call.name, kind == kind_forward ? "y" : "dy")) return error;
    if (kind == kind_forward) forward(call, alpha, beta);
    else if (kind == kind_data) backward_data(call, alpha, beta);
    else backward_filter(call, alpha, beta);
    return 0;
}

int convolve(Kind kind, const char* name, void* handle, const void* alpha, const void* beta, void* conv, void* x, const void* x_data, void* w,
             const void* w_data, void* y, const void* y_data) {
    const std::lock_guard guard(driver_lock());
    if (!handle) return not_initialized;
    if (!alpha || !beta || !conv || !x || !w || !y || !x_data || !w_data || !y_data) return null_pointer;
    const auto address = [](const void* p) { return reinterpret_cast<uintptr_t>(p); };
    const Call call{name, *static_cast<Convolution*>(conv), *static_cast<Tensor*>(x), *static_cast<Tensor*>(w), *static_cast<Tensor*>(y),
                    address(x_data), address(w_data), address(y_data)};
    if (!fits(call.c, call.x, call.w, call.y)) return shape_mismatch;
    Context* context = nullptr;
    if (enter(&context)) return execution_failed;
    auto* stream = stream_of(*context, static_cast<Handle*>(handle)->stream);
    if (!stream) return execution_failed;
    Operation operation{node_kernel, {}, {}, name};
    if (call.x.type == type_r_64f) {
        const double a = *static_cast<const double*>(alpha), b = *static_cast<const double*>(beta);
        operation.run = [=] { return run<double>(call, kind, a, b); };
    } else {
        const float a = *static_cast<const float*>(alpha), b = *static_cast<const float*>(beta);
        operation.run = [=] { return run<float>(call, kind, a, b); };
    }
    return submit(*stream, std::move(operation)) ? execution_failed : success;
}

int workspace(void* handle, void* x, void* w, void* conv, void* y, size_t* bytes) {
    if (!handle) return not_initialized;
    if (!x || !w || !conv || !y || !bytes) return null_pointer;
    if (!fits(*static_cast<Convolution*>(conv), *static_cast<Tensor*>(x), *static_cast<Tensor*>(w), *static_cast<Tensor*>(y))) return shape_mismatch;
    *bytes = 0;
    return success;
}

int algorithms(void* handle, void* x, void* w, void* conv, void* y, int wanted, int* count, Performance* results) {
    size_t bytes;
    if (const int status = workspace(handle, x, w, conv, y, &bytes)) return status;
    if (wanted < 1 || !count || !results) return bad_param;
    results[0] = {1, success, 0.0f, 0, 1, static_cast<Convolution*>(conv)->math, {0, 0, 0}};
    *count = 1;
    return success;
}

template <class T>
int create(void** out) {
    if (!out) return null_pointer;
    *out = new T;
    return success;
}

template <class T>
int destroy(void* object) {
    delete static_cast<T*>(object);
    return success;
}

}  // namespace

CUDASIM_API const char* cudnnGetErrorString(int status) {
    switch (status) {
        case 0: return "CUDNN_STATUS_SUCCESS";
        case 1001: return "CUDNN_STATUS_NOT_INITIALIZED";
        case 2000: return "CUDNN_STATUS_BAD_PARAM";
        case 2002: return "CUDNN_STATUS_BAD_PARAM_NULL_POINTER";
        case 2008: return "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH";
        case 3000: return "CUDNN_STATUS_NOT_SUPPORTED";
        case 3003: return "CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE";
        case 4000: return "CUDNN_STATUS_INTERNAL_ERROR";
        case 5000: return "CUDNN_STATUS_EXECUTION_FAILED";
        default: return "CUDNN_STATUS_UNKNOWN";
    }
}

CUDASIM_API void cudnnGetLastErrorString(char* message, size_t size) {
    if (message && size) *message = '\0';
}
CUDASIM_API size_t cudnnGetVersion() { return 91000; }
CUDASIM_API size_t cudnnGetCudartVersion() { return 12080; }
CUDASIM_API int cudnnGetProperty(int property, int* value) {
    if (!value || property < 0 || property > 2) return bad_param;
    *value = property == 0 ? 9 : property == 1 ? 10 : 0;
    return success;
}

CUDASIM_API int cudnnCreate(void** handle) {
    const std::lock_guard guard(driver_lock());
    if (enter()) return not_initialized;
    return create<Handle>(handle);
}
CUDASIM_API int cudnnDestroy(void* handle) { return handle ? destroy<Handle>(handle) : not_initialized; }
CUDASIM_API int cudnnSetStream(void* handle, void* stream) {
    if (!handle) return not_initialized;
    static_cast<Handle*>(handle)->stream = stream;
    return success;
}
CUDASIM_API int cudnnGetStream(void* handle, void** stream) {
    if (!handle) return not_initialized;
    if (!stream) return null_pointer;
    *stream = static_cast<Handle*>(handle)->stream;
    return success;
}

CUDASIM_API int cudnnCreateTensorDescriptor(void** out) { return create<Tensor>(out); }
CUDASIM_API int cudnnDestroyTensorDescriptor(void* t) { return destroy<Tensor>(t); }
CUDASIM_API int cudnnSetTensor4dDescriptor(void* t, int format, int type, int n, int c, int h, int w) {
    return set_tensor(t, format, type, {n, c, h, w});
}
CUDASIM_API int cudnnSetTensor4dDescriptorEx(void* t, int type, int n, int c, int h, int w, int ns, int cs, int hs, int ws) {
    if (const int status = set_tensor(t, 0, type, {n, c, h, w})) return status;
    const int64_t steps[4] = {ns, cs, hs, ws};
    std::copy(steps, steps + 4, static_cast<Tensor*>(t)->step);
    return success;
}
CUDASIM_API int cudnnSetTensorNdDescriptor(void* t, int type, int rank, const int* dims, const int* steps) {
    if (rank != 4) return not_supported;
    if (!dims || !steps) return null_pointer;
    return cudnnSetTensor4dDescriptorEx(t, type, dims[0], dims[1], dims[2], dims[3], steps[0], steps[1], steps[2], steps[3]);
}

CUDASIM_API int cudnnCreateFilterDescriptor(void** out) { return create<Tensor>(out); }
CUDASIM_API int cudnnDestroyFilterDescriptor(void* w) { return destroy<Tensor>(w); }
CUDASIM_API int cudnnSetFilter4dDescriptor(void* w, int type, int format, int k, int c, int r, int s) {
    return set_tensor(w, format, type, {k, c, r, s});
}

CUDASIM_API int cudnnCreateConvolutionDescriptor(void** out) { return create<Convolution>(out); }
CUDASIM_API int cudnnDestroyConvolutionDescriptor(void* c) { return destroy<Convolution>(c); }
CUDASIM_API int cudnnSetConvolution2dDescriptor(void* handle, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
                                                int mode, int compute) {
    auto* c = static_cast<Convolution*>(handle);
    if (!c) return null_pointer;
    if (pad_h < 0 || pad_w < 0 || stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1 || mode < 0 || mode > 1) return bad_param;
    c->pad[0] = pad_h, c->pad[1] = pad_w;
    c->stride[0] = stride_h, c->stride[1] = stride_w;
    c->dilation[0] = dilation_h, c->dilation[1] = dilation_w;
    c->mode = mode;
    c->compute = compute;
    return success;
}
CUDASIM_API int cudnnSetConvolutionGroupCount(void* c, int groups) {
    if (!c) return null_pointer;
    if (groups < 1) return bad_param;
    static_cast<Convolution*>(c)->groups = groups;
    return success;
}
CUDASIM_API int cudnnSetConvolutionMathType(void* c, int math) {
    if (!c) return null_pointer;
    if (math < 0 || math > 3) return bad_param;
    static_cast<Convolution*>(c)->math = math;
    return success;
}
CUDASIM_API int cudnnGetConvolution2dForwardOutputDim(void* c, void* x, void* w, int* n, int* k, int* h, int* v) {
    if (!c || !x || !w || !n || !k || !h || !v) return null_pointer;
    int64_t dims[4];
    if (!output_dims(*static_cast<Convolution*>(c), *static_cast<Tensor*>(x), *static_cast<Tensor*>(w), dims)) return shape_mismatch;
    *n = static_cast<int>(dims[0]), *k = static_cast<int>(dims[1]), *h = static_cast<int>(dims[2]), *v = static_cast<int>(dims[3]);
    return success;
}

CUDASIM_API int cudnnGetConvolutionForwardWorkspaceSize(void* handle, void* x, void* w, void* c, void* y, int, size_t* bytes) {
    return workspace(handle, x, w, c, y, bytes);
}
CUDASIM_API int cudnnGetConvolutionBackwardDataWorkspaceSize(void* handle, void* w, void* dy, void* c, void* dx, int, size_t* bytes) {
    return workspace(handle, dx, w, c, dy, bytes);
}
CUDASIM_API int cudnnGetConvolutionBackwardFilterWorkspaceSize(void* handle, void* x, void* dy, void* c, void* dw, int, size_t* bytes) {
    return workspace(handle, x, dw, c, dy, bytes);
}
CUDASIM_API int cudnnGetConvolutionForwardAlgorithm_v7(void* handle, void* x, void* w, void* c, void* y, int wanted, int* count, Performance* results) {
    return algorithms(handle, x, w, c, y, wanted, count, results);
}
CUDASIM_API int cudnnGetConvolutionBackwardDataAlgorithm_v7(void* handle, void* w, void* dy, void* c, void* dx, int wanted, int* count,
                                                            Performance* results) {
    return algorithms(handle, dx, w, c, dy, wanted, count, results);
}
CUDASIM_API int cudnnGetConvolutionBackwardFilterAlgorithm_v7(void* handle, void* x, void* dy, void* c, void* dw, int wanted, int* count,
                                                              Performance* results) {
    return algorithms(handle, x, dw, c, dy, wanted, count, results);
}

CUDASIM_API int cudnnConvolutionForward(void* handle, const void* alpha, void* x, const void* x_data, void* w, const void* w_data, void* c, int, void*,
                                        size_t, const void* beta, void* y, void* y_data) {
    return convolve(kind_forward, "cudnnConvolutionForward", handle, alpha, beta, c, x, x_data, w, w_data, y, y_data);
}
CUDASIM_API int cudnnConvolutionBackwardData(void* handle, const void* alpha, void* w, const void* w_data, void* dy, const void* dy_data, void* c, int,
                                             void*, size_t, const void* beta, void* dx, void* dx_data) {
    return convolve(kind_data, "cudnnConvolutionBackwardData", handle, alpha, beta, c, dx, dx_data, w, w_data, dy, dy_data);
}
CUDASIM_API int cudnnConvolutionBackwardFilter(void* handle, const void* alpha, void* x, const void* x_data, void* dy, const void* dy_data, void* c, int,
                                               void*, size_t, const void* beta, void* dw, void* dw_data) {
    return convolve(kind_filter, "cudnnConvolutionBackwardFilter", handle, alpha, beta, c, x, x_data, dw, dw_data, dy, dy_data);
}
