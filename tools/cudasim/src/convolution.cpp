#include "convolution.h"

#include <vector>

#include "memory.h"

namespace cudasim {
namespace {

void mark_tensor(const Tensor& t, uintptr_t base) {
    if (t.extent() == t.count())
        mark_written(base, static_cast<size_t>(t.count()) * data_type_size(t.type));
    else
        mark_written(base, static_cast<size_t>(t.extent()) * data_type_size(t.type));
}

// One group of one image as columns: element (position, channel r s).
template <class T, class Visit>
void visit_patches(const ConvolutionCall& call, Visit visit) {
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
                        visit(column, i * y.dim[3] + j,
                              inside ? channel * x.step[1] + h * x.step[2] + v * x.step[3] : -1);
                    }
                }
            }
}

template <class T>
struct Problem {
    explicit Problem(const ConvolutionCall& call)
        : call(call),
          positions(call.y.dim[2] * call.y.dim[3]),
          patch(call.w.dim[1] * call.w.dim[2] * call.w.dim[3]),
          filters(call.w.dim[0] / call.c.groups) {}

    int64_t x_offset(int64_t n, int64_t g) const { return n * call.x.step[0] + g * call.w.dim[1] * call.x.step[1]; }
    int64_t y_offset(int64_t n, int64_t g, int64_t k, int64_t p) const {
        return n * call.y.step[0] + (g * filters + k) * call.y.step[1] + p / call.y.dim[3] * call.y.step[2] +
               p % call.y.dim[3] * call.y.step[3];
    }
    // The filters of a group as rows of patches.
    std::vector<T> weights(int64_t g) const {
        std::vector<T> out(static_cast<size_t>(filters * patch));
        for (int64_t k = 0; k < filters; ++k)
            for (int64_t q = 0; q < patch; ++q)
                out[static_cast<size_t>(k * patch + q)] =
                    load_element<T>(call.w_data, w_offset(g * filters + k, q), call.w.type);
        return out;
    }
    int64_t w_offset(int64_t k, int64_t q) const {
        const auto rs = call.w.dim[2] * call.w.dim[3];
        return k * call.w.step[0] + q / rs * call.w.step[1] + q % rs / call.w.dim[3] * call.w.step[2] +
               q % call.w.dim[3] * call.w.step[3];
    }
    std::vector<T> patches(int64_t n, int64_t g) const {
        std::vector<T> out(static_cast<size_t>(positions * patch));
        const auto first = x_offset(n, g);
        visit_patches<T>(call, [&](int64_t q, int64_t p, int64_t offset) {
            if (offset >= 0)
                out[static_cast<size_t>(q * positions + p)] = load_element<T>(call.x_data, first + offset, call.x.type);
        });
        return out;
    }
    std::vector<T> output(int64_t n, int64_t g) const {
        std::vector<T> out(static_cast<size_t>(positions * filters));
        for (int64_t k = 0; k < filters; ++k)
            for (int64_t p = 0; p < positions; ++p)
                out[static_cast<size_t>(k * positions + p)] =
                    load_element<T>(call.y_data, y_offset(n, g, k, p), call.y.type);
        return out;
    }

    const ConvolutionCall& call;
    int64_t positions, patch, filters;
};

template <class T>
T blend(T alpha, T value, T beta, uintptr_t base, int64_t at, int type) {
    return beta == T{0} ? alpha * value : alpha * value + beta * load_element<T>(base, at, type);
}

}  // namespace

template <class T>
void convolution_forward(const ConvolutionCall& call, T alpha, T beta) {
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
                    store_element<T>(call.y_data, at, call.y.type,
                                     blend(alpha, out[static_cast<size_t>(k * p.positions + q)], beta, call.y_data, at,
                                           call.y.type));
                }
        }
    }
    mark_tensor(call.y, call.y_data);
}

template <class T>
void convolution_backward_data(const ConvolutionCall& call, T alpha, T beta) {
    const Problem<T> p(call);
    std::vector<T> gradient(static_cast<size_t>(p.positions * p.patch)), image(static_cast<size_t>(call.x.extent())),
        turned;
    for (int64_t n = 0; n < call.x.dim[0]; ++n) {
        for (int64_t g = 0; g < call.c.groups; ++g) {
            const auto weights = p.weights(g), dy = p.output(n, g);
            turned.resize(weights.size());
            for (int64_t k = 0; k < p.filters; ++k)
                for (int64_t q = 0; q < p.patch; ++q)
                    turned[static_cast<size_t>(q * p.filters + k)] = weights[static_cast<size_t>(k * p.patch + q)];
            multiply(gradient.data(), dy.data(), turned.data(), p.positions, p.patch, p.filters);
            const auto first = p.x_offset(n, g);
            visit_patches<T>(call, [&](int64_t q, int64_t position, int64_t offset) {
                if (offset >= 0)
                    image[static_cast<size_t>(first + offset)] +=
                        gradient[static_cast<size_t>(q * p.positions + position)];
            });
        }
        for (int64_t c = 0; c < call.x.dim[1]; ++c)
            for (int64_t h = 0; h < call.x.dim[2]; ++h)
                for (int64_t v = 0; v < call.x.dim[3]; ++v) {
                    const auto at = n * call.x.step[0] + c * call.x.step[1] + h * call.x.step[2] + v * call.x.step[3];
                    store_element<T>(call.x_data, at, call.x.type,
                                     blend(alpha, image[static_cast<size_t>(at)], beta, call.x_data, at, call.x.type));
                }
    }
    mark_tensor(call.x, call.x_data);
}

template <class T>
void convolution_backward_filter(const ConvolutionCall& call, T alpha, T beta) {
    const Problem<T> p(call);
    std::vector<T> turned, product(static_cast<size_t>(p.patch * p.filters)), sum;
    for (int64_t g = 0; g < call.c.groups; ++g) {
        sum.assign(product.size(), T{0});
        for (int64_t n = 0; n < call.x.dim[0]; ++n) {
            const auto patches = p.patches(n, g), dy = p.output(n, g);
            turned.resize(patches.size());
            for (int64_t q = 0; q < p.patch; ++q)
                for (int64_t i = 0; i < p.positions; ++i)
                    turned[static_cast<size_t>(i * p.patch + q)] = patches[static_cast<size_t>(q * p.positions + i)];
            multiply(product.data(), turned.data(), dy.data(), p.patch, p.filters, p.positions);
            for (size_t i = 0; i < sum.size(); ++i) sum[i] += product[i];
        }
        for (int64_t k = 0; k < p.filters; ++k)
            for (int64_t q = 0; q < p.patch; ++q) {
                const auto at = p.w_offset(g * p.filters + k, q);
                store_element<T>(
                    call.w_data, at, call.w.type,
                    blend(alpha, sum[static_cast<size_t>(k * p.patch + q)], beta, call.w_data, at, call.w.type));
            }
    }
    mark_tensor(call.w, call.w_data);
}

template void convolution_forward<float>(const ConvolutionCall&, float, float);
template void convolution_forward<double>(const ConvolutionCall&, double, double);
template void convolution_backward_data<float>(const ConvolutionCall&, float, float);
template void convolution_backward_data<double>(const ConvolutionCall&, double, double);
template void convolution_backward_filter<float>(const ConvolutionCall&, float, float);
template void convolution_backward_filter<double>(const ConvolutionCall&, double, double);

}  // namespace cudasim
