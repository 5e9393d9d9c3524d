// What the parts of cuDNN share: status values, handles, checks of shapes and of memory.
#pragma once
#include <string>

#include "convolution.h"
#include "driver.h"

namespace cudasim::cudnn {

enum Status {
    success = 0,
    not_initialized = 1001,
    bad_param = 2000,
    null_pointer = 2002,
    shape_mismatch = 2008,
    not_supported = 3000,
    not_supported_type = 3003,
    execution_failed = 5000
};

struct Handle {
    void* stream = nullptr;
};

struct Activation {
    int mode = 5;  // identity
    double coefficient = 0;
};

bool output_dims(const Convolution& c, const Tensor& x, const Tensor& w, int64_t (&out)[4]);
bool fits(const Convolution& c, const Tensor& x, const Tensor& w, const Tensor& y);
int check_tensor(const Tensor& t, uintptr_t base, bool reads, const std::string& call, const char* name);

}  // namespace cudasim::cudnn
