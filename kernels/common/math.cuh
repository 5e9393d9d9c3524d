// Constants that NVRTC has no header for.
#pragma once
#include "platform.cuh"

namespace gpuengine {

DEVICE float infinity() { return __uint_as_float(0x7f800000u); }
DEVICE float quiet_nan() { return __uint_as_float(0x7fffffffu); }
constexpr float kMaxFloat = 3.402823466e+38f;
constexpr float kSqrtHalf = 0.70710678118654752f;      // 1 / sqrt(2)
constexpr float kInvSqrtTwoPi = 0.39894228040143268f;  // 1 / sqrt(2 pi)
constexpr float kLog2E = 1.4426950408889634f;          // log2(e)

// 2^x in one instruction: relative error 2^-22, results below the smallest normal number are 0.
DEVICE float exp2_approx(float x) {
#ifdef __CUDASIM__
    return exp2f(x);
#else
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#endif
}

// The root in one instruction: relative error 2^-23, that of numbers below the smallest normal one is 0.
DEVICE float sqrt_approx(float x) {
#ifdef __CUDASIM__
    return sqrtf(x);
#else
    float result;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#endif
}

}  // namespace gpuengine
