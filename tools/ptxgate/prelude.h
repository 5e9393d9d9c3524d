// Included before every kernel that clang compiles to PTX: what NVRTC has built in, out of clang's own NVPTX
// intrinsics. No toolkit, no libdevice. Mathematical functions are declarations that stay calls to .extern functions in
// the PTX: enough to prove that the device's branch of every source compiles; this PTX is never run.
#pragma once
#define __PTXGATE__ 1
#define __CUDACC_RTC__ 1
#define __device__ __attribute__((device))
#define __host__ __attribute__((host))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __cluster_dims__(...)
#define __grid_constant__
#define __restrict__ __restrict
#define warpSize 32

typedef unsigned long size_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;

#define GATE __device__ __forceinline__
#define GATE_VECTORS(T, name, a2, a4)                                \
    struct name##1 {                                                 \
        T x;                                                         \
    };                                                               \
    struct __align__(a2) name##2 {                                   \
        T x, y;                                                      \
    };                                                               \
    struct name##3 {                                                 \
        T x, y, z;                                                   \
    };                                                               \
    struct __align__(a4) name##4 {                                   \
        T x, y, z, w;                                                \
    };                                                               \
    GATE name##1 make_##name##1(T x) { return {x}; }                 \
    GATE name##2 make_##name##2(T x, T y) { return {x, y}; }         \
    GATE name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
    GATE name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
GATE_VECTORS(signed char, char, 2, 4)
GATE_VECTORS(unsigned char, uchar, 2, 4)
GATE_VECTORS(short, short, 4, 8)
GATE_VECTORS(unsigned short, ushort, 4, 8)
GATE_VECTORS(int, int, 8, 16)
GATE_VECTORS(unsigned int, uint, 8, 16)
GATE_VECTORS(float, float, 8, 16)
GATE_VECTORS(long long, longlong, 16, 16)
GATE_VECTORS(unsigned long long, ulonglong, 16, 16)
GATE_VECTORS(double, double, 16, 16)
struct dim3 {
    unsigned x, y, z;
    __host__ __device__ constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

GATE uint3 ptxgate_tid() {
    return {(unsigned)__nvvm_read_ptx_sreg_tid_x(), (unsigned)__nvvm_read_ptx_sreg_tid_y(),
            (unsigned)__nvvm_read_ptx_sreg_tid_z()};
}
GATE uint3 ptxgate_ctaid() {
    return {(unsigned)__nvvm_read_ptx_sreg_ctaid_x(), (unsigned)__nvvm_read_ptx_sreg_ctaid_y(),
            (unsigned)__nvvm_read_ptx_sreg_ctaid_z()};
}
GATE uint3 ptxgate_ntid() {
    return {(unsigned)__nvvm_read_ptx_sreg_ntid_x(), (unsigned)__nvvm_read_ptx_sreg_ntid_y(),
            (unsigned)__nvvm_read_ptx_sreg_ntid_z()};
}
GATE uint3 ptxgate_nctaid() {
    return {(unsigned)__nvvm_read_ptx_sreg_nctaid_x(), (unsigned)__nvvm_read_ptx_sreg_nctaid_y(),
            (unsigned)__nvvm_read_ptx_sreg_nctaid_z()};
}
#define threadIdx (ptxgate_tid())
#define blockIdx (ptxgate_ctaid())
#define blockDim (ptxgate_ntid())
#define gridDim (ptxgate_nctaid())

// ---- Barriers, fences
// -------------------------------------------------------------------------------------------------
GATE int __syncthreads_count(int p) { return __nvvm_bar0_popc(p); }
GATE int __syncthreads_and(int p) { return __nvvm_bar0_and(p); }
GATE int __syncthreads_or(int p) { return __nvvm_bar0_or(p); }
GATE void __threadfence() { __nvvm_membar_gl(); }
GATE void __threadfence_block() { __nvvm_membar_cta(); }
GATE void __threadfence_system() { __nvvm_membar_sys(); }
GATE void __nanosleep(unsigned ns) { __nvvm_nanosleep(ns); }
GATE void __trap() { __builtin_trap(); }
#define assert(condition) ((condition) ? (void)0 : __trap())
GATE long long clock64() { return __nvvm_read_ptx_sreg_clock64(); }

// ---- Warp
// -------------------------------------------------------------------------------------------------------------
GATE void __syncwarp(unsigned mask = 0xffffffffu) { __nvvm_bar_warp_sync(mask); }
template <class T>
GATE T ptxgate_shuffle(unsigned mask, T value, int argument, int clamp, int kind) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffled value has 4 or 8 bytes");
    int words[sizeof(T) / 4];
    __builtin_memcpy(words, &value, sizeof(T));
    for (unsigned i = 0; i < sizeof(T) / 4; ++i)
        words[i] = kind == 0   ? __nvvm_shfl_sync_idx_i32(mask, words[i], argument, clamp)
                   : kind == 1 ? __nvvm_shfl_sync_up_i32(mask, words[i], argument, clamp)
                   : kind == 2 ? __nvvm_shfl_sync_down_i32(mask, words[i], argument, clamp)
                               : __nvvm_shfl_sync_bfly_i32(mask, words[i], argument, clamp);
    __builtin_memcpy(&value, words, sizeof(T));
    return value;
}
template <class T>
GATE T __shfl_sync(unsigned m, T v, int a, int w = 32) {
    return ptxgate_shuffle(m, v, a, ((32 - w) << 8) | 31, 0);
}
template <class T>
GATE T __shfl_up_sync(unsigned m, T v, unsigned a, int w = 32) {
    return ptxgate_shuffle(m, v, (int)a, (32 - w) << 8, 1);
}
template <class T>
GATE T __shfl_down_sync(unsigned m, T v, unsigned a, int w = 32) {
    return ptxgate_shuffle(m, v, (int)a, ((32 - w) << 8) | 31, 2);
}
template <class T>
GATE T __shfl_xor_sync(unsigned m, T v, int a, int w = 32) {
    return ptxgate_shuffle(m, v, a, ((32 - w) << 8) | 31, 3);
}
GATE unsigned __ballot_sync(unsigned m, int p) { return __nvvm_vote_ballot_sync(m, p); }
GATE int __any_sync(unsigned m, int p) { return __nvvm_vote_any_sync(m, p); }
GATE int __all_sync(unsigned m, int p) { return __nvvm_vote_all_sync(m, p); }
GATE unsigned __match_any_sync(unsigned m, unsigned v) { return __nvvm_match_any_sync_i32(m, v); }
GATE unsigned __match_any_sync(unsigned m, int v) { return __nvvm_match_any_sync_i32(m, (unsigned)v); }
GATE unsigned __reduce_add_sync(unsigned m, unsigned v) { return (unsigned)__nvvm_redux_sync_add((int)v, (int)m); }
GATE int __reduce_add_sync(unsigned m, int v) { return __nvvm_redux_sync_add(v, (int)m); }
GATE int __reduce_min_sync(unsigned m, int v) { return __nvvm_redux_sync_min(v, (int)m); }
GATE int __reduce_max_sync(unsigned m, int v) { return __nvvm_redux_sync_max(v, (int)m); }
GATE unsigned __reduce_min_sync(unsigned m, unsigned v) { return (unsigned)__nvvm_redux_sync_umin(v, (int)m); }
GATE unsigned __reduce_max_sync(unsigned m, unsigned v) { return (unsigned)__nvvm_redux_sync_umax(v, (int)m); }
GATE unsigned __reduce_and_sync(unsigned m, unsigned v) { return (unsigned)__nvvm_redux_sync_and((int)v, (int)m); }
GATE unsigned __reduce_or_sync(unsigned m, unsigned v) { return (unsigned)__nvvm_redux_sync_or((int)v, (int)m); }
GATE unsigned __reduce_xor_sync(unsigned m, unsigned v) { return (unsigned)__nvvm_redux_sync_xor((int)v, (int)m); }
GATE unsigned __activemask() { return __nvvm_activemask(); }

// ---- Atomics
// ----------------------------------------------------------------------------------------------------------
#define GATE_ATOMIC(T)                                                                          \
    GATE T atomicAdd(T* p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }          \
    GATE T atomicMin(T* p, T v) { return __atomic_fetch_min(p, v, __ATOMIC_RELAXED); }          \
    GATE T atomicMax(T* p, T v) { return __atomic_fetch_max(p, v, __ATOMIC_RELAXED); }          \
    GATE T atomicAnd(T* p, T v) { return __atomic_fetch_and(p, v, __ATOMIC_RELAXED); }          \
    GATE T atomicOr(T* p, T v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }            \
    GATE T atomicXor(T* p, T v) { return __atomic_fetch_xor(p, v, __ATOMIC_RELAXED); }          \
    GATE T atomicExch(T* p, T v) { return __atomic_exchange_n(p, v, __ATOMIC_RELAXED); }        \
    GATE T atomicCAS(T* p, T compare, T v) {                                                    \
        __atomic_compare_exchange_n(p, &compare, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED); \
        return compare;                                                                         \
    }
GATE_ATOMIC(int)
GATE_ATOMIC(unsigned)
GATE_ATOMIC(unsigned long long)
GATE float atomicAdd(float* p, float v) { return __nvvm_atom_add_gen_f(p, v); }
GATE double atomicAdd(double* p, double v) { return __nvvm_atom_add_gen_d(p, v); }
GATE float atomicExch(float* p, float v) {
    return __builtin_bit_cast(float, atomicExch((unsigned*)p, __builtin_bit_cast(unsigned, v)));
}
GATE unsigned atomicInc(unsigned* p, unsigned v) { return __nvvm_atom_inc_gen_ui(p, v); }
GATE unsigned atomicDec(unsigned* p, unsigned v) { return __nvvm_atom_dec_gen_ui(p, v); }
GATE int atomicSub(int* p, int v) { return atomicAdd(p, -v); }
GATE unsigned atomicSub(unsigned* p, unsigned v) { return atomicAdd(p, 0u - v); }

#define GATE_LOAD(name)       \
    template <class T>        \
    GATE T name(const T* p) { \
        return *p;            \
    }
GATE_LOAD(__ldg)
GATE_LOAD(__ldcg) GATE_LOAD(__ldca) GATE_LOAD(__ldcs) GATE_LOAD(__ldlu) GATE_LOAD(__ldcv)
#define GATE_STORE(name)        \
    template <class T>          \
    GATE void name(T* p, T v) { \
        *p = v;                 \
    }
    GATE_STORE(__stwb) GATE_STORE(__stcg) GATE_STORE(__stcs) GATE_STORE(__stwt)

// ---- Mathematics
// ------------------------------------------------------------------------------------------------------
#define GATE_MATH1(name)                        \
    extern "C" __device__ float name##f(float); \
    extern "C" __device__ double name(double);  \
    GATE float name(float x) { return name##f(x); }
#define GATE_MATH2(name)                               \
    extern "C" __device__ float name##f(float, float); \
    extern "C" __device__ double name(double, double); \
    GATE float name(float x, float y) { return name##f(x, y); }
        GATE_MATH1(exp) GATE_MATH1(exp2) GATE_MATH1(exp10) GATE_MATH1(expm1) GATE_MATH1(log) GATE_MATH1(log2)
            GATE_MATH1(log10) GATE_MATH1(log1p) GATE_MATH1(cbrt) GATE_MATH1(sin) GATE_MATH1(cos) GATE_MATH1(tan)
                GATE_MATH1(asin) GATE_MATH1(acos) GATE_MATH1(atan) GATE_MATH1(sinh) GATE_MATH1(cosh) GATE_MATH1(tanh)
                    GATE_MATH1(asinh) GATE_MATH1(acosh) GATE_MATH1(atanh) GATE_MATH1(erf) GATE_MATH1(erfc)
                        GATE_MATH1(floor) GATE_MATH1(ceil) GATE_MATH1(round) GATE_MATH1(rint) GATE_MATH1(trunc)
                            GATE_MATH1(nearbyint) GATE_MATH1(lgamma) GATE_MATH1(tgamma) GATE_MATH2(pow) GATE_MATH2(fmod)
                                GATE_MATH2(atan2) GATE_MATH2(hypot) GATE_MATH2(fdim) GATE_MATH2(remainder)
                                    GATE_MATH2(nextafter) extern "C" __device__ float ldexpf(float, int);
extern "C" __device__ double ldexp(double, int);
extern "C" __device__ void sincosf(float, float*, float*);
extern "C" __device__ void sincos(double, double*, double*);
extern "C" __device__ float normcdff(float);
extern "C" __device__ float sinpif(float);
extern "C" __device__ float cospif(float);
GATE float sqrtf(float x) { return __nvvm_sqrt_rn_f(x); }
GATE double sqrt(double x) { return __nvvm_sqrt_rn_d(x); }
GATE float sqrt(float x) { return sqrtf(x); }
GATE float rsqrtf(float x) { return __nvvm_rsqrt_approx_f(x); }
GATE double rsqrt(double x) { return __nvvm_rsqrt_approx_d(x); }
GATE float rsqrt(float x) { return rsqrtf(x); }
GATE float fmaf(float a, float b, float c) { return __nvvm_fma_rn_f(a, b, c); }
GATE double fma(double a, double b, double c) { return __nvvm_fma_rn_d(a, b, c); }
GATE float fma(float a, float b, float c) { return fmaf(a, b, c); }
GATE float fabsf(float x) { return __builtin_fabsf(x); }
GATE double fabs(double x) { return __builtin_fabs(x); }
GATE float fabs(float x) { return fabsf(x); }
GATE float fminf(float a, float b) { return __nvvm_fmin_f(a, b); }
GATE float fmaxf(float a, float b) { return __nvvm_fmax_f(a, b); }
GATE double fmin(double a, double b) { return __nvvm_fmin_d(a, b); }
GATE double fmax(double a, double b) { return __nvvm_fmax_d(a, b); }
GATE float copysignf(float a, float b) { return __builtin_copysignf(a, b); }
GATE double copysign(double a, double b) { return __builtin_copysign(a, b); }
GATE int abs(int x) { return x < 0 ? -x : x; }
GATE float abs(float x) { return fabsf(x); }
GATE double abs(double x) { return fabs(x); }
GATE long long llabs(long long x) { return x < 0 ? -x : x; }
GATE bool isnan(float x) { return __builtin_isnan(x); }
GATE bool isnan(double x) { return __builtin_isnan(x); }
GATE bool isinf(float x) { return __builtin_isinf(x); }
GATE bool isinf(double x) { return __builtin_isinf(x); }
GATE bool isfinite(float x) { return __builtin_isfinite(x); }
GATE bool isfinite(double x) { return __builtin_isfinite(x); }
GATE bool signbit(float x) { return __builtin_signbit(x); }
GATE bool signbit(double x) { return __builtin_signbit(x); }
#define GATE_MINMAX(T)                                       \
    GATE constexpr T min(T a, T b) { return b < a ? b : a; } \
    GATE constexpr T max(T a, T b) { return a < b ? b : a; }
GATE_MINMAX(int)
GATE_MINMAX(unsigned) GATE_MINMAX(long) GATE_MINMAX(unsigned long) GATE_MINMAX(long long)
    GATE_MINMAX(unsigned long long) GATE float min(float a, float b) {
    return fminf(a, b);
}
GATE float max(float a, float b) { return fmaxf(a, b); }
GATE double min(double a, double b) { return fmin(a, b); }
GATE double max(double a, double b) { return fmax(a, b); }
GATE float __expf(float x) { return __nvvm_ex2_approx_f(x * 1.4426950408889634f); }
GATE float __logf(float x) { return __nvvm_lg2_approx_f(x) * 0.69314718055994531f; }
GATE float __log2f(float x) { return __nvvm_lg2_approx_f(x); }
GATE float __log10f(float x) { return __nvvm_lg2_approx_f(x) * 0.30102999566398120f; }
GATE float __exp10f(float x) { return __nvvm_ex2_approx_f(x * 3.3219280948873623f); }
GATE float __powf(float x, float y) { return __nvvm_ex2_approx_f(y * __nvvm_lg2_approx_f(x)); }
GATE float __sinf(float x) { return __nvvm_sin_approx_f(x); }
GATE float __cosf(float x) { return __nvvm_cos_approx_f(x); }
GATE float __tanf(float x) { return __sinf(x) / __cosf(x); }
GATE float __fdividef(float x, float y) { return __nvvm_div_approx_f(x, y); }
GATE float __saturatef(float x) { return __nvvm_saturate_f(x); }
GATE float __fadd_rn(float a, float b) { return __nvvm_add_rn_f(a, b); }
GATE float __fsub_rn(float a, float b) { return __nvvm_add_rn_f(a, -b); }
GATE float __fmul_rn(float a, float b) { return __nvvm_mul_rn_f(a, b); }
GATE float __fdiv_rn(float a, float b) { return __nvvm_div_rn_f(a, b); }
GATE float __fmaf_rn(float a, float b, float c) { return __nvvm_fma_rn_f(a, b, c); }
GATE float __frcp_rn(float a) { return __nvvm_rcp_rn_f(a); }
GATE float __fsqrt_rn(float a) { return __nvvm_sqrt_rn_f(a); }
GATE float __frsqrt_rn(float a) { return __nvvm_rsqrt_approx_f(a); }
GATE double __dadd_rn(double a, double b) { return __nvvm_add_rn_d(a, b); }
GATE double __dmul_rn(double a, double b) { return __nvvm_mul_rn_d(a, b); }
GATE double __fma_rn(double a, double b, double c) { return __nvvm_fma_rn_d(a, b, c); }
GATE int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
GATE unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
GATE float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
GATE float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
GATE long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
GATE double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }
GATE int __float2int_rn(float x) { return __nvvm_f2i_rn(x); }
GATE int __float2int_rz(float x) { return __nvvm_f2i_rz(x); }
GATE int __float2int_rd(float x) { return __nvvm_f2i_rm(x); }
GATE int __float2int_ru(float x) { return __nvvm_f2i_rp(x); }
GATE unsigned __float2uint_rn(float x) { return __nvvm_f2ui_rn(x); }
GATE unsigned __float2uint_rz(float x) { return __nvvm_f2ui_rz(x); }
GATE float __int2float_rn(int x) { return (float)x; }
GATE float __uint2float_rn(unsigned x) { return (float)x; }
GATE float __double2float_rn(double x) { return (float)x; }
GATE float __ll2float_rn(long long x) { return (float)x; }
GATE float __ull2float_rn(unsigned long long x) { return (float)x; }
GATE int __popc(unsigned x) { return __builtin_popcount(x); }
GATE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
GATE int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
GATE int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
GATE int __ffs(int x) { return __builtin_ffs(x); }
GATE int __ffsll(long long x) { return __builtin_ffsll(x); }
GATE unsigned __brev(unsigned x) { return __builtin_bitreverse32(x); }
GATE unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
GATE int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
GATE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return __nvvm_mulhi_ull(a, b); }
GATE unsigned __byte_perm(unsigned a, unsigned b, unsigned s) { return __nvvm_prmt(a, b, s); }
GATE unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned s) {
    return (unsigned)((((unsigned long long)hi << 32 | lo) << (s & 31)) >> 32);
}
GATE unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned s) {
    return (unsigned)(((unsigned long long)hi << 32 | lo) >> (s & 31));
}
GATE void* memcpy(void* to, const void* from, size_t n) { return __builtin_memcpy(to, from, n); }
extern "C" __device__ int vprintf(const char*, const char*);
