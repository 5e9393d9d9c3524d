// What the parts of a row know of its mean and variance, and how they are put together: deviations are taken from a pivot, a value
// of the part itself, so that no digits are lost to a large mean.
#pragma once
#include "reduce.cuh"

namespace gpuengine {

// mean is relative to pivot; m2 is the sum of squared deviations from pivot + mean.
struct alignas(16) Part {
    float pivot, mean, m2, count;
};

// Of a whole row; its mean is pivot + centre.
struct Statistics {
    float pivot, centre, m2;
};

// From sums of x - pivot and (x - pivot)^2.
DEVICE Part part_of_sums(float pivot, float sum, float squares, float count) {
    const float mean = count > 0.0f ? sum / count : 0.0f;
    return Part{pivot, mean, squares - sum * mean, count};
}

// `count` parts, `stride` apart, of `length` elements together. Width lanes share the work (a power of two); all lanes of the warp
// call, and all lanes of a group get the result. Part 0 is not empty.
template <int Width>
DEVICE Statistics merge_parts(const Part* parts, int count, i64 stride, float length) {
    const int lane = lane_index() % Width;
    const float pivot = parts[0].pivot;
    float sum = 0.0f, m2 = 0.0f;
    for (int i = lane; i < count; i += Width) {
        const Part p = parts[i * stride];
        sum += p.count * (p.pivot - pivot + p.mean);
    }
    const float centre = warp_sum<Width>(sum) / length;
    for (int i = lane; i < count; i += Width) {
        const Part p = parts[i * stride];
        const float d = p.pivot - pivot + p.mean - centre;
        m2 += p.m2 + p.count * (d * d);
    }
    return Statistics{pivot, centre, warp_sum<Width>(m2)};
}

}  // namespace gpuengine
