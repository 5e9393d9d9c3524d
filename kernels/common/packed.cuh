// Vectors of up to 16 bytes as the 32-bit words they are in registers: two bf16 stay in one register, and each takes one instruction to
// become a float. What may be absent is zero, so that no register is defined on one path only (such a one would be occupied through a
// whole loop).
#pragma once
#include "vector.cuh"

namespace gpuengine {

// The same number, of which the compiler knows nothing. Without it, every address that follows from the thread's number is computed ahead
// of all loops, every tensor and position of a batch gets a pointer of its own that is counted up, and a vector whose elements are used
// twice is kept as floats meanwhile: registers that the data needs.
DEVICE u32 opaque(u32 value) {
#ifndef __CUDASIM__
    asm volatile("" : "+r"(value));
#endif
    return value;
}

template <class T, int N>
struct Packed {
    static_assert(N * sizeof(T) <= 16 && (sizeof(T) == 2 || sizeof(T) == 4), "one access of bf16, f16 or float");
    static constexpr int kBytes = N * static_cast<int>(sizeof(T));
    static constexpr int kWords = (kBytes + 3) / 4;
    static constexpr int kPerWord = kBytes < 4 ? 1 : 4 / static_cast<int>(sizeof(T));
    u32 word[kWords];

    DEVICE static Packed zero() {
        Packed v;
#pragma unroll
        for (int w = 0; w < kWords; ++w) v.word[w] = 0;
        return v;
    }
    DEVICE float operator[](int e) const {
        const u32 w = word[e / kPerWord];
        if constexpr (sizeof(T) == 4)
            return __uint_as_float(w);
        else if constexpr (is_same<T, bf16>::value)
            return __uint_as_float(kPerWord == 2 && e % 2 == 1 ? w & 0xffff0000u : w << 16);
        else
            return f16_to_float(static_cast<u16>(e % 2 == 1 ? w >> 16 : w));
    }
    // Elements w kPerWord and, if a word has two, the one after it.
    DEVICE void set_word(int w, float first, float second) {
        if constexpr (sizeof(T) == 4) {
            word[w] = __float_as_uint(first);
        } else if constexpr (is_same<T, bf16>::value) {
            word[w] = kPerWord == 2 ? bf16_pair(first, second) : float_to_bf16(first);
        } else {
            word[w] = float_to_f16(first) | (kPerWord == 2 ? static_cast<u32>(float_to_f16(second)) << 16 : 0);
        }
    }
    // Forgets what was made of it.
    DEVICE void renew() {
#pragma unroll
        for (int w = 0; w < kWords; ++w) word[w] = opaque(word[w]);
    }
    // Zero where a bit of `bits` is not set, bit e for element e.
    DEVICE void keep(u32 bits) {
#pragma unroll
        for (int w = 0; w < kWords; ++w) {
            u32 kept = (bits >> w * kPerWord & 1u) != 0 ? (kPerWord == 2 ? 0xffffu : 0xffffffffu) : 0u;
            if (kPerWord == 2) kept |= (bits >> (w * kPerWord + 1) & 1u) != 0 ? 0xffff0000u : 0u;
            word[w] &= kept;
        }
    }

    DEVICE static u32 bf16_pair(float low, float high) {
#ifdef __CUDASIM__
        return float_to_bf16(low) | static_cast<u32>(float_to_bf16(high)) << 16;
#else
        u32 bits;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
        return bits;
#endif
    }
};

// `Once`: data that is used once does not displace what a cache should keep.
template <bool Once, class T, int N>
DEVICE void load_packed(Packed<T, N>& v, const T* from) {
    using Words = typename Piece<Packed<T, N>::kBytes>::type;
    const Words* const p = reinterpret_cast<const Words*>(from);
    const Words words = Once ? __ldcs(p) : *p;
    if constexpr (Packed<T, N>::kBytes == 16) {
        v.word[0] = words.x;
        v.word[1] = words.y;
        v.word[2] = words.z;
        v.word[3] = words.w;
    } else if constexpr (Packed<T, N>::kBytes == 8) {
        v.word[0] = words.x;
        v.word[1] = words.y;
    } else {
        v.word[0] = words;
    }
}

template <bool Once, class T, int N>
DEVICE void store_packed(T* to, const Packed<T, N>& v) {
    using Words = typename Piece<Packed<T, N>::kBytes>::type;
    Words words;
    if constexpr (Packed<T, N>::kBytes == 16) {
        words = make_uint4(v.word[0], v.word[1], v.word[2], v.word[3]);
    } else if constexpr (Packed<T, N>::kBytes == 8) {
        words = make_uint2(v.word[0], v.word[1]);
    } else {
        words = static_cast<Words>(v.word[0]);
    }
    Words* const p = reinterpret_cast<Words*>(to);
    if (Once)
        __stcs(p, words);
    else
        *p = words;
}

}  // namespace gpuengine
