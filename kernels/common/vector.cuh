// Vectors of N elements, moved in pieces of up to 16 bytes. The pointer must be aligned to the smaller of 16 and the
// vector's size.
#pragma once
#include "float_types.cuh"

namespace gpuengine {

template <int Bytes>
struct Piece;
template <>
struct Piece<1> {
    using type = u8;
};
template <>
struct Piece<2> {
    using type = u16;
};
template <>
struct Piece<4> {
    using type = u32;
};
template <>
struct Piece<8> {
    using type = uint2;
};
template <>
struct Piece<16> {
    using type = uint4;
};

template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Vec {
    static_assert(N > 0 && (N & (N - 1)) == 0, "a vector has a power of two of elements");
    T data[N];
    DEVICE T& operator[](int i) { return data[i]; }
    DEVICE const T& operator[](int i) const { return data[i]; }
};

// How many elements of T one 16-byte access holds.
template <class T>
constexpr int kVectorWidth = 16 / static_cast<int>(sizeof(T));

template <int N, class T>
DEVICE Vec<T, N> load(const T* from) {
    using P = typename Piece<(sizeof(T) * N < 16 ? static_cast<int>(sizeof(T)) * N : 16)>::type;
    Vec<T, N> v;
    P* const to = reinterpret_cast<P*>(&v);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(v) / sizeof(P)); ++i) to[i] = reinterpret_cast<const P*>(from)[i];
    return v;
}

template <int N, class T>
DEVICE void store(T* to, const Vec<T, N>& v) {
    using P = typename Piece<(sizeof(T) * N < 16 ? static_cast<int>(sizeof(T)) * N : 16)>::type;
    const P* const from = reinterpret_cast<const P*>(&v);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(v) / sizeof(P)); ++i) reinterpret_cast<P*>(to)[i] = from[i];
}

// For data that is used once: does not displace what the cache should keep.
template <int N, class T>
DEVICE Vec<T, N> load_once(const T* from) {
    using P = typename Piece<(sizeof(T) * N < 16 ? static_cast<int>(sizeof(T)) * N : 16)>::type;
    Vec<T, N> v;
    P* const to = reinterpret_cast<P*>(&v);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(v) / sizeof(P)); ++i)
        to[i] = __ldcs(reinterpret_cast<const P*>(from) + i);
    return v;
}

template <int N, class T>
DEVICE void store_once(T* to, const Vec<T, N>& v) {
    using P = typename Piece<(sizeof(T) * N < 16 ? static_cast<int>(sizeof(T)) * N : 16)>::type;
    const P* const from = reinterpret_cast<const P*>(&v);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(v) / sizeof(P)); ++i) __stcs(reinterpret_cast<P*>(to) + i, from[i]);
}

template <int N, class T>
DEVICE Vec<float, N> to_float(const Vec<T, N>& v) {
    Vec<float, N> r;
#pragma unroll
    for (int i = 0; i < N; ++i) r[i] = to_float(v[i]);
    return r;
}

template <class T, int N>
DEVICE Vec<T, N> from_float(const Vec<float, N>& v) {
    Vec<T, N> r;
    if constexpr (is_same<T, bf16>::value && N % 2 == 0) {
#pragma unroll
        for (int i = 0; i < N / 2; ++i) reinterpret_cast<u32*>(&r)[i] = floats_to_bf16_pair(v[2 * i], v[2 * i + 1]);
        return r;
    }
#pragma unroll
    for (int i = 0; i < N; ++i) r[i] = from_float<T>(v[i]);
    return r;
}

}  // namespace gpuengine
