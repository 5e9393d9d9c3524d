// The convolution triple on the CPU: patches of the image times filters.
#pragma once
#include <cstdint>
#include <string>

#include "gemm.h"

namespace cudasim {

struct Tensor {
    int type = -1;                                          // a DataType of gemm.h
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

struct ConvolutionCall {
    std::string name;
    Convolution c;
    Tensor x, w, y;
    uintptr_t x_data, w_data, y_data;
};

// alpha times the result plus beta times what was there: y, dx, dw. Types float and double.
template <class T>
void convolution_forward(const ConvolutionCall& call, T alpha, T beta);
template <class T>
void convolution_backward_data(const ConvolutionCall& call, T alpha, T beta);
template <class T>
void convolution_backward_filter(const ConvolutionCall& call, T alpha, T beta);

}  // namespace cudasim
