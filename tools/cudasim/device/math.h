// CUDA's mathematical functions for the simulator: the C library's, under CUDA's names. Included by prelude.h.
#pragma once
#define CUDASIM_MATH1(name)                                          \
    extern "C" double name(double) noexcept __attribute__((const));  \
    extern "C" float name##f(float) noexcept __attribute__((const)); \
    __forceinline__ float name(float x) { return name##f(x); }
#define CUDASIM_MATH2(name)                                                 \
    extern "C" double name(double, double) noexcept __attribute__((const)); \
    extern "C" float name##f(float, float) noexcept __attribute__((const)); \
    __forceinline__ float name(float x, float y) { return name##f(x, y); }
CUDASIM_MATH1(exp)
CUDASIM_MATH1(exp2) CUDASIM_MATH1(expm1) CUDASIM_MATH1(log) CUDASIM_MATH1(log2) CUDASIM_MATH1(log10)
    CUDASIM_MATH1(log1p) CUDASIM_MATH1(sqrt) CUDASIM_MATH1(cbrt) CUDASIM_MATH1(sin) CUDASIM_MATH1(cos)
        CUDASIM_MATH1(tan) CUDASIM_MATH1(asin) CUDASIM_MATH1(acos) CUDASIM_MATH1(atan) CUDASIM_MATH1(sinh)
            CUDASIM_MATH1(cosh) CUDASIM_MATH1(tanh) CUDASIM_MATH1(erf) CUDASIM_MATH1(erfc) CUDASIM_MATH1(floor)
                CUDASIM_MATH1(ceil) CUDASIM_MATH1(round) CUDASIM_MATH1(rint) CUDASIM_MATH1(trunc) CUDASIM_MATH1(fabs)
                    CUDASIM_MATH1(exp10) CUDASIM_MATH1(lgamma) CUDASIM_MATH1(tgamma) CUDASIM_MATH1(nearbyint)
                        CUDASIM_MATH1(asinh) CUDASIM_MATH1(acosh) CUDASIM_MATH1(atanh) CUDASIM_MATH2(pow)
                            CUDASIM_MATH2(fmod) CUDASIM_MATH2(atan2) CUDASIM_MATH2(copysign) CUDASIM_MATH2(hypot)
                                CUDASIM_MATH2(fmin) CUDASIM_MATH2(fmax) CUDASIM_MATH2(fdim) CUDASIM_MATH2(remainder)
                                    CUDASIM_MATH2(nextafter) extern "C" double fma(double, double, double) noexcept
    __attribute__((const));
extern "C" float fmaf(float, float, float) noexcept __attribute__((const));
extern "C" double ldexp(double, int) noexcept;
extern "C" float ldexpf(float, int) noexcept;
extern "C" double frexp(double, int*) noexcept;
extern "C" float frexpf(float, int*) noexcept;
extern "C" void sincos(double, double*, double*) noexcept;
extern "C" void sincosf(float, float*, float*) noexcept;
extern "C" int abs(int) noexcept __attribute__((const));
__forceinline__ float fma(float a, float b, float c) { return fmaf(a, b, c); }
__forceinline__ float abs(float x) { return fabsf(x); }
__forceinline__ double abs(double x) { return fabs(x); }
__forceinline__ long long abs(long long x) { return x < 0 ? -x : x; }
__forceinline__ long long llabs(long long x) { return x < 0 ? -x : x; }
__forceinline__ float rsqrtf(float x) { return 1.0f / sqrtf(x); }
__forceinline__ double rsqrt(double x) { return 1.0 / sqrt(x); }
__forceinline__ float rsqrt(float x) { return rsqrtf(x); }
__forceinline__ float rcbrtf(float x) { return 1.0f / cbrtf(x); }
__forceinline__ float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678118654752f); }
__forceinline__ float sinpif(float x) { return (float)sin((double)x * 3.14159265358979323846); }
__forceinline__ float cospif(float x) { return (float)cos((double)x * 3.14159265358979323846); }
__forceinline__ bool isnan(float x) { return __builtin_isnan(x); }
__forceinline__ bool isnan(double x) { return __builtin_isnan(x); }
__forceinline__ bool isinf(float x) { return __builtin_isinf(x); }
__forceinline__ bool isinf(double x) { return __builtin_isinf(x); }
__forceinline__ bool isfinite(float x) { return __builtin_isfinite(x); }
__forceinline__ bool isfinite(double x) { return __builtin_isfinite(x); }
__forceinline__ bool signbit(float x) { return __builtin_signbit(x); }
__forceinline__ bool signbit(double x) { return __builtin_signbit(x); }

#define CUDASIM_MINMAX(T)                                               \
    __forceinline__ constexpr T min(T a, T b) { return b < a ? b : a; } \
    __forceinline__ constexpr T max(T a, T b) { return a < b ? b : a; }
CUDASIM_MINMAX(int)
CUDASIM_MINMAX(unsigned) CUDASIM_MINMAX(long) CUDASIM_MINMAX(unsigned long) CUDASIM_MINMAX(long long)
    CUDASIM_MINMAX(unsigned long long) __forceinline__ float min(float a, float b) {
    return fminf(a, b);
}
__forceinline__ float max(float a, float b) { return fmaxf(a, b); }
__forceinline__ double min(double a, double b) { return fmin(a, b); }
__forceinline__ double max(double a, double b) { return fmax(a, b); }
__forceinline__ constexpr unsigned min(unsigned a, int b) { return min(a, (unsigned)b); }
__forceinline__ constexpr unsigned min(int a, unsigned b) { return min((unsigned)a, b); }
__forceinline__ constexpr unsigned max(unsigned a, int b) { return max(a, (unsigned)b); }
__forceinline__ constexpr unsigned max(int a, unsigned b) { return max((unsigned)a, b); }

// Approximate intrinsics: here as exact as the C library; the device's error is the device's business.
__forceinline__ float __expf(float x) { return expf(x); }
__forceinline__ float __exp10f(float x) { return exp10f(x); }
__forceinline__ float __logf(float x) { return logf(x); }
__forceinline__ float __log2f(float x) { return log2f(x); }
__forceinline__ float __log10f(float x) { return log10f(x); }
__forceinline__ float __powf(float x, float y) { return powf(x, y); }
__forceinline__ float __sinf(float x) { return sinf(x); }
__forceinline__ float __cosf(float x) { return cosf(x); }
__forceinline__ float __tanf(float x) { return tanf(x); }
__forceinline__ void __sincosf(float x, float* s, float* c) { sincosf(x, s, c); }
__forceinline__ float __fdividef(float x, float y) { return x / y; }
__forceinline__ float fdividef(float x, float y) { return x / y; }
__forceinline__ float __saturatef(float x) { return x != x ? 0.0f : x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x; }
__forceinline__ float __fadd_rn(float a, float b) { return a + b; }
__forceinline__ float __fsub_rn(float a, float b) { return a - b; }
__forceinline__ float __fmul_rn(float a, float b) { return a * b; }
__forceinline__ float __fdiv_rn(float a, float b) { return a / b; }
__forceinline__ float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
__forceinline__ float __frcp_rn(float a) { return 1.0f / a; }
__forceinline__ float __fsqrt_rn(float a) { return sqrtf(a); }
__forceinline__ float __frsqrt_rn(float a) { return (float)(1.0 / sqrt((double)a)); }
__forceinline__ double __dadd_rn(double a, double b) { return a + b; }
__forceinline__ double __dmul_rn(double a, double b) { return a * b; }
__forceinline__ double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

__forceinline__ int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
__forceinline__ unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
__forceinline__ float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
__forceinline__ float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
__forceinline__ long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
__forceinline__ double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }
__forceinline__ int __float2int_rn(float x) { return (int)rintf(x); }
__forceinline__ int __float2int_rz(float x) { return (int)x; }
__forceinline__ int __float2int_rd(float x) { return (int)floorf(x); }
__forceinline__ int __float2int_ru(float x) { return (int)ceilf(x); }
__forceinline__ unsigned __float2uint_rn(float x) { return (unsigned)rintf(x); }
__forceinline__ unsigned __float2uint_rz(float x) { return (unsigned)x; }
__forceinline__ float __int2float_rn(int x) { return (float)x; }
__forceinline__ float __uint2float_rn(unsigned x) { return (float)x; }
__forceinline__ float __double2float_rn(double x) { return (float)x; }
__forceinline__ float __ll2float_rn(long long x) { return (float)x; }
__forceinline__ float __ull2float_rn(unsigned long long x) { return (float)x; }

__forceinline__ int __popc(unsigned x) { return __builtin_popcount(x); }
__forceinline__ int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
__forceinline__ int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
__forceinline__ int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
__forceinline__ int __ffs(int x) { return __builtin_ffs(x); }
__forceinline__ int __ffsll(long long x) { return __builtin_ffsll(x); }
__forceinline__ unsigned __brev(unsigned x) {
    unsigned r = 0;
    for (int i = 0; i < 32; ++i) r |= (x >> i & 1u) << (31 - i);
    return r;
}
__forceinline__ unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
__forceinline__ int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
__forceinline__ unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
__forceinline__ int __mul24(int a, int b) { return (a << 8 >> 8) * (b << 8 >> 8); }
__forceinline__ unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return (unsigned)((((unsigned long long)high << 32 | low) << (shift & 31)) >> 32);
}
__forceinline__ unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return (unsigned)(((unsigned long long)high << 32 | low) >> (shift & 31));
}
__forceinline__ unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const unsigned long long both = (unsigned long long)b << 32 | a;
    unsigned r = 0;
    for (int i = 0; i < 4; ++i) r |= (unsigned)(both >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
    return r;
}
