// Storage types bf16 and f16 with conversions that round to nearest even: one instruction on the device, bit arithmetic
// elsewhere. A NaN becomes 0x7FFF in both, as the device's instruction makes it.
#pragma once
#include "platform.cuh"

namespace gpuengine {

struct alignas(2) bf16 {
    u16 bits;
};
struct alignas(2) f16 {
    u16 bits;
};

DEVICE float bf16_to_float(u16 bits) { return __uint_as_float(static_cast<u32>(bits) << 16); }

DEVICE u16 float_to_bf16(float value) {
#ifdef __CUDASIM__
    const u32 bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return static_cast<u16>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
#else
    u16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#endif
}

// Two at a time, the first in the low half: one instruction instead of three.
DEVICE u32 floats_to_bf16_pair(float low, float high) {
#ifdef __CUDASIM__
    return static_cast<u32>(float_to_bf16(high)) << 16 | float_to_bf16(low);
#else
    u32 bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
#endif
}

DEVICE float f16_to_float(u16 bits) {
#ifdef __CUDASIM__
    const u32 sign = static_cast<u32>(bits & 0x8000u) << 16;
    const u32 exponent = bits >> 10 & 0x1fu, fraction = bits & 0x3ffu;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0) return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
    const float magnitude = static_cast<float>(fraction) * 5.9604644775390625e-8f;  // 2^-24
    return __uint_as_float(sign | __float_as_uint(magnitude));
#else
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#endif
}

DEVICE u16 float_to_f16(float value) {
#ifdef __CUDASIM__
    const u32 bits = __float_as_uint(value), magnitude = bits & 0x7fffffffu;
    const u32 sign = bits >> 16 & 0x8000u;
    if (magnitude > 0x7f800000u) return 0x7fff;
    if (magnitude >= 0x477ff000u) return static_cast<u16>(sign | 0x7c00u);  // rounds beyond 65504
    if (magnitude < 0x38800000u) {  // a subnormal of f16: the sum with 0.5 leaves it rounded in the low bits
        const float rounded = __uint_as_float(magnitude) + 0.5f;
        return static_cast<u16>(sign | (__float_as_uint(rounded) - 0x3f000000u));
    }
    return static_cast<u16>(sign | (magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13);
#else
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#endif
}

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(double x) { return static_cast<float>(x); }
DEVICE float to_float(bf16 x) { return bf16_to_float(x.bits); }
DEVICE float to_float(f16 x) { return f16_to_float(x.bits); }

template <class T>
struct FromFloat;
template <>
struct FromFloat<float> {
    DEVICE static float convert(float x) { return x; }
};
template <>
struct FromFloat<double> {
    DEVICE static double convert(float x) { return x; }
};
template <>
struct FromFloat<bf16> {
    DEVICE static bf16 convert(float x) { return bf16{float_to_bf16(x)}; }
};
template <>
struct FromFloat<f16> {
    DEVICE static f16 convert(float x) { return f16{float_to_f16(x)}; }
};
template <class T>
DEVICE T from_float(float x) {
    return FromFloat<T>::convert(x);
}

// The type sums and statistics of a storage type are kept in.
template <class T>
struct Accumulator {
    using type = float;
};
template <>
struct Accumulator<double> {
    using type = double;
};
template <class T>
DEVICE typename Accumulator<T>::type to_accumulator(T x) {
    return to_float(x);
}
DEVICE double to_accumulator(double x) { return x; }
template <class T>
DEVICE T from_accumulator(float x) {
    return from_float<T>(x);
}
template <class T>
DEVICE double from_accumulator(double x) {
    return x;
}

}  // namespace gpuengine
