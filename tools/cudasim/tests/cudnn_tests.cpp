// The convolution triple against six plain loops, in both layouts, with groups, strides, padding and dilation.
#include <cmath>

#include "harness.h"

namespace {

struct Case {
    int format, n, c, h, w, k, r, s, pad, stride, dilation, groups;
};

std::vector<float> noise(size_t n, uint32_t state) {
    std::vector<float> v(n);
    for (auto& x : v) {
        state = state * 1664525 + 1013904223;
        x = static_cast<float>(state >> 8) / (1 << 24) - 0.5f;
    }
    return v;
}

// Where element (n, c, h, w) of a packed tensor lies.
size_t at(int format, int C, int H, int W, int n, int c, int h, int w) {
    return static_cast<size_t>(format == 0 ? ((n * C + c) * H + h) * W + w : ((n * H + h) * W + w) * C + c);
}

void run_case(const Case& t) {
    const int span = t.dilation * (t.r - 1) + 1, span_s = t.dilation * (t.s - 1) + 1;
    const int oh = (t.h + 2 * t.pad - span) / t.stride + 1, ow = (t.w + 2 * t.pad - span_s) / t.stride + 1,
              cg = t.c / t.groups, kg = t.k / t.groups;
    const auto x = noise(static_cast<size_t>(t.n * t.c * t.h * t.w), 1),
               w = noise(static_cast<size_t>(t.k * cg * t.r * t.s), 2);
    const auto dy = noise(static_cast<size_t>(t.n * t.k * oh * ow), 3);
    std::vector<double> y(dy.size()), dx(x.size()), dw(w.size());
    for (int n = 0; n < t.n; ++n)
        for (int k = 0; k < t.k; ++k)
            for (int i = 0; i < oh; ++i)
                for (int j = 0; j < ow; ++j)
                    for (int c = 0; c < cg; ++c)
                        for (int r = 0; r < t.r; ++r)
                            for (int s = 0; s < t.s; ++s) {
                                const int h = i * t.stride - t.pad + r * t.dilation,
                                          v = j * t.stride - t.pad + s * t.dilation;
                                if (h < 0 || h >= t.h || v < 0 || v >= t.w) continue;
                                const auto xi = at(t.format, t.c, t.h, t.w, n, k / kg * cg + c, h, v),
                                           wi = at(t.format, cg, t.r, t.s, k, c, r, s),
                                           yi = at(t.format, t.k, oh, ow, n, k, i, j);
                                y[yi] += static_cast<double>(x[xi]) * w[wi];
                                dx[xi] += static_cast<double>(dy[yi]) * w[wi];
                                dw[wi] += static_cast<double>(dy[yi]) * x[xi];
                            }
    void *handle = nullptr, *xd = nullptr, *wd = nullptr, *yd = nullptr, *conv = nullptr;
    CHECK(cudnnCreate(&handle));
    CHECK(cudnnCreateTensorDescriptor(&xd));
    CHECK(cudnnCreateTensorDescriptor(&yd));
    CHECK(cudnnCreateFilterDescriptor(&wd));
    CHECK(cudnnCreateConvolutionDescriptor(&conv));
    CHECK(cudnnSetTensor4dDescriptor(xd, t.format, 0, t.n, t.c, t.h, t.w));
    CHECK(cudnnSetFilter4dDescriptor(wd, 0, t.format, t.k, cg, t.r, t.s));
    CHECK(cudnnSetConvolution2dDescriptor(conv, t.pad, t.pad, t.stride, t.stride, t.dilation, t.dilation, 1, 0));
    CHECK(cudnnSetConvolutionGroupCount(conv, t.groups));
    int d[4];
    CHECK(cudnnGetConvolution2dForwardOutputDim(conv, xd, wd, &d[0], &d[1], &d[2], &d[3]));
    EXPECT(d[0] == t.n && d[1] == t.k && d[2] == oh && d[3] == ow);
    CHECK(cudnnSetTensor4dDescriptor(yd, t.format, 0, t.n, t.k, oh, ow));
    Buffer bx(x), bw(w), bdy(dy), by(dy.size() * 4), bdx(x.size() * 4), bdw(w.size() * 4);
    const auto p = [](const Buffer& b) { return reinterpret_cast<void*>(b.pointer); };
    const float one = 1, zero = 0, half = 0.5f;
    CHECK(cudnnConvolutionForward(handle, &one, xd, p(bx), wd, p(bw), conv, 1, nullptr, 0, &zero, yd, p(by)));
    CHECK(cudnnConvolutionBackwardData(handle, &one, wd, p(bw), yd, p(bdy), conv, 1, nullptr, 0, &zero, xd, p(bdx)));
    CHECK(cudnnConvolutionBackwardFilter(handle, &one, xd, p(bx), yd, p(bdy), conv, 1, nullptr, 0, &zero, wd, p(bdw)));
    CHECK(cudnnConvolutionBackwardFilter(handle, &one, xd, p(bx), yd, p(bdy), conv, 1, nullptr, 0, &half, wd,
                                         p(bdw)));  // adds half of the first
    const auto compare = [&](const std::vector<float>& got, const std::vector<double>& right, double factor, int line) {
        double worst = 0;
        for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::fabs(got[i] - factor * right[i]));
        expect_equal(true, worst < 2e-5, "convolution", __FILE__, line);
    };
    compare(by.read<float>(), y, 1, __LINE__);
    compare(bdx.read<float>(), dx, 1, __LINE__);
    compare(bdw.read<float>(), dw, 1.5, __LINE__);
    // Bias and ReLU behind, with the old output added; and the gradient of the bias.
    void *bd = nullptr, *relu = nullptr;
    CHECK(cudnnCreateTensorDescriptor(&bd));
    CHECK(cudnnSetTensor4dDescriptor(bd, 0, 0, 1, t.k, 1, 1));
    CHECK(cudnnCreateActivationDescriptor(&relu));
    CHECK(cudnnSetActivationDescriptor(relu, 1, 0, 0));
    const auto b = noise(static_cast<size_t>(t.k), 4);
    Buffer bias(b), db(b.size() * 4);
    CHECK(cudnnConvolutionBiasActivationForward(handle, &one, xd, p(bx), wd, p(bw), conv, 1, nullptr, 0, &half, yd,
                                                p(by), bd, p(bias), relu, yd, p(by)));
    CHECK(cudnnConvolutionBackwardBias(handle, &one, yd, p(bdy), &zero, bd, p(db)));
    std::vector<double> z(y.size()), sums(b.size());
    for (int n = 0; n < t.n; ++n)
        for (int k = 0; k < t.k; ++k)
            for (int i = 0; i < oh; ++i)
                for (int j = 0; j < ow; ++j) {
                    const auto yi = at(t.format, t.k, oh, ow, n, k, i, j);
                    z[yi] = std::max(0.0, 1.5 * y[yi] + b[static_cast<size_t>(k)]);
                    sums[static_cast<size_t>(k)] += dy[yi];
                }
    compare(by.read<float>(), z, 1, __LINE__);
    compare(db.read<float>(), sums, 1, __LINE__);
    CHECK(cudnnDestroyActivationDescriptor(relu));
    CHECK(cudnnDestroyTensorDescriptor(bd));
    EXPECT_EQ(0, cudasim_set_option("cudnn_refuse", "4"));
    EXPECT_EQ(3000, cudnnConvolutionForward(handle, &one, xd, p(bx), wd, p(bw), conv, 1, nullptr, 0, &zero, yd, p(by)));
    EXPECT_EQ(0, cudasim_set_option("cudnn_refuse", "0"));
    CHECK(cudnnSetTensor4dDescriptor(yd, t.format, 0, t.n, t.k, oh + 1, ow));
    EXPECT_EQ(2008, cudnnConvolutionForward(handle, &one, xd, p(bx), wd, p(bw), conv, 1, nullptr, 0, &zero, yd, p(by)));
    CHECK(cudnnDestroyConvolutionDescriptor(conv));
    CHECK(cudnnDestroyFilterDescriptor(wd));
    CHECK(cudnnDestroyTensorDescriptor(yd));
    CHECK(cudnnDestroyTensorDescriptor(xd));
    CHECK(cudnnDestroy(handle));
}

}  // namespace

TEST(cudnn_convolutions) {
    fresh("memory");
    EXPECT_EQ(9u, cudnnGetVersion() / 10000);
    for (const int format : {0, 1}) {
        run_case({format, 2, 3, 7, 9, 4, 3, 3, 1, 1, 1, 1});
        run_case({format, 2, 4, 8, 8, 6, 3, 2, 1, 2, 1, 2});
        run_case({format, 1, 4, 9, 9, 4, 3, 3, 2, 1, 2, 4});
        run_case({format, 3, 2, 5, 5, 1, 1, 1, 0, 1, 1, 1});
    }
    if (found("")) std::puts(cudasim_findings_json());
    EXPECT_EQ(0u, found(""));
}
