// cuDNN's bias and activation around a convolution, and the checks that all of its calls share.
#include <algorithm>
#include <cmath>
#include <vector>

#include "cudnn.h"

namespace cudasim::cudnn {

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
    return output_dims(c, x, w, dims) && std::equal(dims, dims + 4, y.dim) && x.type == w.type && x.type == y.type &&
           x.type >= 0;
}

int check_tensor(const Tensor& t, uintptr_t base, bool reads, const std::string& call, const char* name) {
    // A packed tensor is looked at byte by byte; of another only the extent.
    const bool packed = t.extent() == t.count();
    const MatrixView view{base, t.type, packed ? t.count() : 1, packed ? 1 : 2, 1, packed ? t.count() : t.extent() - 1};
    return check_matrix(view, reads && packed, call, name);
}

namespace {

template <class F>
void each_element(const Tensor& t, F visit) {
    for (int64_t n = 0; n < t.dim[0]; ++n)
        for (int64_t c = 0; c < t.dim[1]; ++c)
            for (int64_t h = 0; h < t.dim[2]; ++h)
                for (int64_t w = 0; w < t.dim[3]; ++w)
                    visit(c, n * t.step[0] + c * t.step[1] + h * t.step[2] + w * t.step[3]);
}

template <class T>
T activate(const Activation& a, T x) {
    const T k = static_cast<T>(a.coefficient);
    switch (a.mode) {
        case 0: return T{1} / (T{1} + std::exp(-x));
        case 1: return x > T{0} ? x : x != x ? x : T{0};
        case 2: return std::tanh(x);
        case 3: return std::min(std::max(x, T{0}), k);
        case 4: return x > T{0} ? x : k * std::expm1(x);
        case 6: return x / (T{1} + std::exp(-k * x));
        default: return x;
    }
}

struct Epilogue {
    ConvolutionCall call;
    Tensor z, bias;
    uintptr_t z_data, bias_data;
    Activation activation;
};

template <class T>
int run_epilogue(const Epilogue& e, T alpha, T beta) {
    if (const int fault = launch_fault()) return fault;
    const auto& call = e.call;
    if (const int error = check_tensor(call.x, call.x_data, true, call.name, "x")) return error;
    if (const int error = check_tensor(call.w, call.w_data, true, call.name, "w")) return error;
    if (beta != T{0})
        if (const int error = check_tensor(e.z, e.z_data, true, call.name, "z")) return error;
    if (const int error = check_tensor(e.bias, e.bias_data, true, call.name, "bias")) return error;
    if (const int error = check_tensor(call.y, call.y_data, false, call.name, "y")) return error;
    // z may be y: its values are taken before the convolution writes.
    std::vector<T> added;
    if (beta != T{0})
        each_element(e.z,
                     [&](int64_t, int64_t at) { added.push_back(beta * load_element<T>(e.z_data, at, e.z.type)); });
    convolution_forward<T>(call, alpha, T{0});
    size_t next = 0;
    each_element(call.y, [&](int64_t channel, int64_t at) {
        T value = load_element<T>(call.y_data, at, call.y.type) +
                  load_element<T>(e.bias_data, channel * e.bias.step[1], e.bias.type);
        if (!added.empty()) value += added[next++];
        store_element<T>(call.y_data, at, call.y.type, activate(e.activation, value));
    });
    return 0;
}

template <class T>
int run_bias_gradient(const Tensor& dy, uintptr_t dy_data, const Tensor& db, uintptr_t db_data, T alpha, T beta) {
    if (const int fault = launch_fault()) return fault;
    const std::string name = "cudnnConvolutionBackwardBias";
    if (const int error = check_tensor(dy, dy_data, true, name, "dy")) return error;
    if (const int error = check_tensor(db, db_data, beta != T{0}, name, "db")) return error;
    std::vector<T> sums(static_cast<size_t>(dy.dim[1]));
    each_element(dy, [&](int64_t channel, int64_t at) {
        sums[static_cast<size_t>(channel)] += load_element<T>(dy_data, at, dy.type);
    });
    for (int64_t c = 0; c < dy.dim[1]; ++c) {
        T value = alpha * sums[static_cast<size_t>(c)];
        if (beta != T{0}) value += beta * load_element<T>(db_data, c * db.step[1], db.type);
        store_element<T>(db_data, c * db.step[1], db.type, value);
    }
    mark_written(db_data, static_cast<size_t>(db.extent()) * data_type_size(db.type));
    return 0;
}

bool is_per_channel(const Tensor& t, int64_t channels, int type) {
    return t.dim[0] == 1 && t.dim[1] == channels && t.dim[2] == 1 && t.dim[3] == 1 && t.type == type;
}

int submit_to(void* handle, Operation operation) {
    Context* context = nullptr;
    if (enter(&context)) return execution_failed;
    auto* stream = stream_of(*context, static_cast<Handle*>(handle)->stream);
    return stream && submit(*stream, std::move(operation)) == 0 ? success : execution_failed;
}

uintptr_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

}  // namespace
}  // namespace cudasim::cudnn

using namespace cudasim;
using namespace cudasim::cudnn;

CUDASIM_API int cudnnCreateActivationDescriptor(void** out) {
    if (!out) return null_pointer;
    *out = new Activation;
    return success;
}

CUDASIM_API int cudnnDestroyActivationDescriptor(void* activation) {
    delete static_cast<Activation*>(activation);
    return success;
}

CUDASIM_API int cudnnSetActivationDescriptor(void* activation, int mode, int, double coefficient) {
    if (!activation) return null_pointer;
    if (mode < 0 || mode > 6) return bad_param;
    *static_cast<Activation*>(activation) = {mode, coefficient};
    return success;
}

CUDASIM_API int cudnnConvolutionBiasActivationForward(void* handle, const void* alpha1, void* x, const void* x_data,
                                                      void* w, const void* w_data, void* conv, int algorithm, void*,
                                                      size_t, const void* alpha2, void* z, const void* z_data, void* bias,
                                                      const void* bias_data, void* activation, void* y, void* y_data) {
    const std::lock_guard guard(driver_lock());
    if (!handle) return not_initialized;
    for (const void* p : {alpha1, alpha2, x_data, w_data, z_data, bias_data, static_cast<const void*>(y_data)})
        if (!p) return null_pointer;
    if (!x || !w || !conv || !z || !bias || !activation || !y) return null_pointer;
    const Epilogue e{
        {"cudnnConvolutionBiasActivationForward", *static_cast<Convolution*>(conv), *static_cast<Tensor*>(x),
         *static_cast<Tensor*>(w), *static_cast<Tensor*>(y), address(x_data), address(w_data), address(y_data)},
        *static_cast<Tensor*>(z),
        *static_cast<Tensor*>(bias),
        address(z_data),
        address(bias_data),
        *static_cast<Activation*>(activation)};
    if (!fits(e.call.c, e.call.x, e.call.w, e.call.y) || !std::equal(e.z.dim, e.z.dim + 4, e.call.y.dim) ||
        !is_per_channel(e.bias, e.call.y.dim[1], e.call.y.type))
        return shape_mismatch;
    if (e.activation.mode != 1 && e.activation.mode != 5) return not_supported;  // the call knows ReLU and identity
    if (settings().cudnn_refuse == 4) return not_supported;
    if (e.activation.mode == 5 && algorithm != 1) return not_supported;  // identity goes with the precomputed GEMM alone
    Operation operation{node_kernel, {}, {}, e.call.name};
    if (e.call.x.type == type_r_64f) {
        const double a = *static_cast<const double*>(alpha1), b = *static_cast<const double*>(alpha2);
        operation.run = [=] { return run_epilogue<double>(e, a, b); };
    } else {
        const float a = *static_cast<const float*>(alpha1), b = *static_cast<const float*>(alpha2);
        operation.run = [=] { return run_epilogue<float>(e, a, b); };
    }
    return submit_to(handle, std::move(operation));
}

CUDASIM_API int cudnnConvolutionBackwardBias(void* handle, const void* alpha, void* dy, const void* dy_data,
                                             const void* beta, void* db, void* db_data) {
    const std::lock_guard guard(driver_lock());
    if (!handle) return not_initialized;
    if (!alpha || !beta || !dy || !dy_data || !db || !db_data) return null_pointer;
    const auto from = *static_cast<Tensor*>(dy), to = *static_cast<Tensor*>(db);
    if (from.type < 0 || !is_per_channel(to, from.dim[1], from.type)) return shape_mismatch;
    const auto in = address(dy_data), out = address(db_data);
    Operation operation{node_kernel, {}, {}, "cudnnConvolutionBackwardBias"};
    if (from.type == type_r_64f) {
        const double a = *static_cast<const double*>(alpha), b = *static_cast<const double*>(beta);
        operation.run = [=] { return run_bias_gradient<double>(from, in, to, out, a, b); };
    } else {
        const float a = *static_cast<const float*>(alpha), b = *static_cast<const float*>(beta);
        operation.run = [=] { return run_bias_gradient<float>(from, in, to, out, a, b); };
    }
    return submit_to(handle, std::move(operation));
}
