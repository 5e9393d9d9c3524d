// Constants that NVRTC has no header for.
#pragma once
#include "platform.cuh"

namespace gpuengine {

DEVICE float infinity() { return __uint_as_float(0x7f800000u); }
DEVICE float quiet_nan() { return __uint_as_float(0x7fffffffu); }
constexpr float kMaxFloat = 3.402823466e+38f;
constexpr float kSqrtHalf = 0.70710678118654752f;      // 1 / sqrt(2)
constexpr float kInvSqrtTwoPi = 0.39894228040143268f;  // 1 / sqrt(2 pi)

}  // namespace gpuengine
