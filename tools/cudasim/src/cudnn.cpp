// cuDNN 9: handles, tensor and filter descriptors, and the convolution triple through matrix products.
#include <algorithm>
#include <cstring>
#include <string>

#include "cudnn.h"

namespace {

using namespace cudasim;
using namespace cudasim::cudnn;

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

enum Kind { kind_forward, kind_data, kind_filter };

template <class T>
int run(const ConvolutionCall& call, Kind kind, T alpha, T beta) {
    if (const int fault = launch_fault()) return fault;
    const bool keeps = beta != T{0};
    if (const int error =
            check_tensor(call.x, call.x_data, kind != kind_data || keeps, call.name, kind == kind_data ? "dx" : "x"))
        return error;
    if (const int error = check_tensor(call.w, call.w_data, kind != kind_filter || keeps, call.name,
                                       kind == kind_filter ? "dw" : "w"))
        return error;
    if (const int error = check_tensor(call.y, call.y_data, kind != kind_forward || keeps, call.name,
                                       kind == kind_forward ? "y" : "dy"))
        return error;
    if (kind == kind_forward)
        convolution_forward(call, alpha, beta);
    else if (kind == kind_data)
        convolution_backward_data(call, alpha, beta);
    else
        convolution_backward_filter(call, alpha, beta);
    return 0;
}

int convolve(Kind kind, const char* name, void* handle, const void* alpha, const void* beta, void* conv, void* x,
             const void* x_data, void* w, const void* w_data, void* y, const void* y_data) {
    const std::lock_guard guard(driver_lock());
    if (!handle) return not_initialized;
    if (!alpha || !beta || !conv || !x || !w || !y || !x_data || !w_data || !y_data) return null_pointer;
    const auto address = [](const void* p) { return reinterpret_cast<uintptr_t>(p); };
    const ConvolutionCall call{name,
                               *static_cast<Convolution*>(conv),
                               *static_cast<Tensor*>(x),
                               *static_cast<Tensor*>(w),
                               *static_cast<Tensor*>(y),
                               address(x_data),
                               address(w_data),
                               address(y_data)};
    if (!fits(call.c, call.x, call.w, call.y)) return shape_mismatch;
    if (settings().cudnn_refuse == 4) return not_supported;
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
    if (!fits(*static_cast<Convolution*>(conv), *static_cast<Tensor*>(x), *static_cast<Tensor*>(w),
              *static_cast<Tensor*>(y)))
        return shape_mismatch;
    *bytes = 0;
    return success;
}

int algorithms(bool backward, void* handle, void* x, void* w, void* conv, void* y, int wanted, int* count,
               Performance* results) {
    size_t bytes;
    if (const int status = workspace(handle, x, w, conv, y, &bytes)) return status;
    if (wanted < 1 || !count || !results) return bad_param;
    if (settings().cudnn_refuse == 1) return not_supported;
    // As the library does, the fastest first by its estimate: one that adds in any order, two that repeat their bits (of
    // which all give the same sums here), one that it does not have for this problem.
    const int math = static_cast<Convolution*>(conv)->math;
    const size_t memory = settings().cudnn_refuse == 2 ? size_t{1} << 40 : 0;
    const int repeats = settings().cudnn_refuse == 3 ? 0 : 1;
    const Performance all[] = {
        {backward ? 0 : 6, success, -1.0f, 0, backward ? 0 : repeats, math, {0, 0, 0}},
        {1, success, -1.0f, memory, repeats, math, {0, 0, 0}},
        {backward ? 5 : 0, success, -1.0f, memory, repeats, math, {0, 0, 0}},
        {2, not_supported, -1.0f, 0, repeats, math, {0, 0, 0}},
    };
    *count = std::min(wanted, 4);
    std::copy(all, all + *count, results);
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
CUDASIM_API int cudnnSetTensor4dDescriptorEx(void* t, int type, int n, int c, int h, int w, int ns, int cs, int hs,
                                             int ws) {
    if (const int status = set_tensor(t, 0, type, {n, c, h, w})) return status;
    const int64_t steps[4] = {ns, cs, hs, ws};
    std::copy(steps, steps + 4, static_cast<Tensor*>(t)->step);
    return success;
}
CUDASIM_API int cudnnSetTensorNdDescriptor(void* t, int type, int rank, const int* dims, const int* steps) {
    if (rank != 4) return not_supported;
    if (!dims || !steps) return null_pointer;
    return cudnnSetTensor4dDescriptorEx(t, type, dims[0], dims[1], dims[2], dims[3], steps[0], steps[1], steps[2],
                                        steps[3]);
}

CUDASIM_API int cudnnCreateFilterDescriptor(void** out) { return create<Tensor>(out); }
CUDASIM_API int cudnnDestroyFilterDescriptor(void* w) { return destroy<Tensor>(w); }
CUDASIM_API int cudnnSetFilter4dDescriptor(void* w, int type, int format, int k, int c, int r, int s) {
    return set_tensor(w, format, type, {k, c, r, s});
}

CUDASIM_API int cudnnCreateConvolutionDescriptor(void** out) { return create<Convolution>(out); }
CUDASIM_API int cudnnDestroyConvolutionDescriptor(void* c) { return destroy<Convolution>(c); }
CUDASIM_API int cudnnSetConvolution2dDescriptor(void* handle, int pad_h, int pad_w, int stride_h, int stride_w,
                                                int dilation_h, int dilation_w, int mode, int compute) {
    auto* c = static_cast<Convolution*>(handle);
    if (!c) return null_pointer;
    if (pad_h < 0 || pad_w < 0 || stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1 || mode < 0 ||
        mode > 1)
        return bad_param;
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
    if (!output_dims(*static_cast<Convolution*>(c), *static_cast<Tensor*>(x), *static_cast<Tensor*>(w), dims))
        return shape_mismatch;
    *n = static_cast<int>(dims[0]), *k = static_cast<int>(dims[1]), *h = static_cast<int>(dims[2]),
    *v = static_cast<int>(dims[3]);
    return success;
}

CUDASIM_API int cudnnGetConvolutionForwardWorkspaceSize(void* handle, void* x, void* w, void* c, void* y, int,
                                                        size_t* bytes) {
    return workspace(handle, x, w, c, y, bytes);
}
CUDASIM_API int cudnnGetConvolutionBackwardDataWorkspaceSize(void* handle, void* w, void* dy, void* c, void* dx, int,
                                                             size_t* bytes) {
    return workspace(handle, dx, w, c, dy, bytes);
}
CUDASIM_API int cudnnGetConvolutionBackwardFilterWorkspaceSize(void* handle, void* x, void* dy, void* c, void* dw, int,
                                                               size_t* bytes) {
    return workspace(handle, x, dw, c, dy, bytes);
}
CUDASIM_API int cudnnGetConvolutionForwardAlgorithm_v7(void* handle, void* x, void* w, void* c, void* y, int wanted,
                                                       int* count, Performance* results) {
    return algorithms(false, handle, x, w, c, y, wanted, count, results);
}
CUDASIM_API int cudnnGetConvolutionBackwardDataAlgorithm_v7(void* handle, void* w, void* dy, void* c, void* dx,
                                                            int wanted, int* count, Performance* results) {
    return algorithms(true, handle, dx, w, c, dy, wanted, count, results);
}
CUDASIM_API int cudnnGetConvolutionBackwardFilterAlgorithm_v7(void* handle, void* x, void* dy, void* c, void* dw,
                                                              int wanted, int* count, Performance* results) {
    return algorithms(true, handle, x, dw, c, dy, wanted, count, results);
}

CUDASIM_API int cudnnConvolutionForward(void* handle, const void* alpha, void* x, const void* x_data, void* w,
                                        const void* w_data, void* c, int, void*, size_t, const void* beta, void* y,
                                        void* y_data) {
    return convolve(kind_forward, "cudnnConvolutionForward", handle, alpha, beta, c, x, x_data, w, w_data, y, y_data);
}
CUDASIM_API int cudnnConvolutionBackwardData(void* handle, const void* alpha, void* w, const void* w_data, void* dy,
                                             const void* dy_data, void* c, int, void*, size_t, const void* beta,
                                             void* dx, void* dx_data) {
    return convolve(kind_data, "cudnnConvolutionBackwardData", handle, alpha, beta, c, dx, dx_data, w, w_data, dy,
                    dy_data);
}
CUDASIM_API int cudnnConvolutionBackwardFilter(void* handle, const void* alpha, void* x, const void* x_data, void* dy,
                                               const void* dy_data, void* c, int, void*, size_t, const void* beta,
                                               void* dw, void* dw_data) {
    return convolve(kind_filter, "cudnnConvolutionBackwardFilter", handle, alpha, beta, c, x, x_data, dw, dw_data, dy,
                    dy_data);
}

// Trying out algorithms needs the device's attention, so it is refused in a capture.
CUDASIM_API int cudnnFindConvolutionForwardAlgorithmEx(void* handle, void* x, const void*, void* w, const void*,
                                                       void* c, void* y, void*, int wanted, int* count,
                                                       Performance* results, void*, size_t) {
    if (refuse_in_capture()) return execution_failed;
    return algorithms(false, handle, x, w, c, y, wanted, count, results);
}
CUDASIM_API int cudnnFindConvolutionBackwardDataAlgorithmEx(void* handle, void* w, const void*, void* dy, const void*,
                                                            void* c, void* dx, void*, int wanted, int* count,
                                                            Performance* results, void*, size_t) {
    if (refuse_in_capture()) return execution_failed;
    return algorithms(true, handle, dx, w, c, dy, wanted, count, results);
}
CUDASIM_API int cudnnFindConvolutionBackwardFilterAlgorithmEx(void* handle, void* x, const void*, void* dy, const void*,
                                                              void* c, void* dw, void*, int wanted, int* count,
                                                              Performance* results, void*, size_t) {
    if (refuse_in_capture()) return execution_failed;
    return algorithms(true, handle, x, dw, c, dy, wanted, count, results);
}
