// Count, mean and sum of squared deviations, with Welford's update and the merge of Chan, Golub and LeVeque (1979): no
// difference of large squares, whatever the mean.
#pragma once
#include "reduce.cuh"

namespace gpuengine {

template <class T = float>
struct Moments {
    T count, mean, m2;

    DEVICE static Moments empty() { return Moments{T(0), T(0), T(0)}; }
    DEVICE void add(T x) {
        count += T(1);
        const T delta = x - mean;
        mean += delta / count;
        m2 += delta * (x - mean);
    }
    DEVICE T variance() const { return count > T(0) ? m2 / count : T(0); }  // biased: divides by n
    DEVICE T unbiased_variance() const { return count > T(1) ? m2 / (count - T(1)) : T(0); }
};

template <class T>
DEVICE Moments<T> merge(const Moments<T>& a, const Moments<T>& b) {
    const T count = a.count + b.count;
    if (count == T(0)) return a;
    const T delta = b.mean - a.mean, share = b.count / count;
    return Moments<T>{count, a.mean + delta * share, a.m2 + b.m2 + delta * delta * a.count * share};
}

struct Merge {
    template <class T>
    DEVICE Moments<T> operator()(const Moments<T>& a, const Moments<T>& b) const {
        return merge(a, b);
    }
};

template <class T>
DEVICE Moments<T> shuffle_xor(Moments<T> v, int lane_mask) {
    return Moments<T>{shuffle_xor(v.count, lane_mask), shuffle_xor(v.mean, lane_mask), shuffle_xor(v.m2, lane_mask)};
}

template <class T>
DEVICE Moments<T> warp_moments(const Moments<T>& v) {
    return warp_reduce(v, Merge());
}

template <class T>
DEVICE Moments<T> block_moments(const Moments<T>& v) {
    return block_reduce(v, Merge(), Moments<T>::empty());
}

}  // namespace gpuengine
