// Where the results of kernels over windows of images lie. Read behind the macros CHANNELS_LAST and VECTOR.
#pragma once
#include "vector.cuh"

namespace gpuengine {

static_assert(CHANNELS_LAST || VECTOR == 1, "vectors lie along the channels");

// Where a vector of a plane lies, and where its image and channel begin in another plane of the same channels.
struct Place {
    i32 y, x;
    i64 image, channel;
    DEVICE Place(i64 i, i64 channels, i64 height, i64 width) {
        if (CHANNELS_LAST) {
            const i64 groups = channels / VECTOR;
            channel = i % groups * VECTOR;
            i /= groups;
        }
        x = static_cast<i32>(i % width);
        i /= width;
        y = static_cast<i32>(i % height);
        i /= height;
        if (!CHANNELS_LAST) {
            channel = i % channels;
            i /= channels;
        }
        image = i;
    }
    DEVICE i64 at(i32 row, i32 column, i64 channels, i64 height, i64 width) const {
        return CHANNELS_LAST ? ((image * height + row) * width + column) * channels + channel
                             : ((image * channels + channel) * height + row) * width + column;
    }
};

// The windows along one axis that cover a place: first <= p < end, and the place is tap (place + pad - p stride) / dilation of p.
DEVICE i32 first_window(i32 place, i32 pad, i32 window, i32 stride, i32 dilation) {
    const i32 before = place + pad - (window - 1) * dilation;
    return before <= 0 ? 0 : ceil_div(before, stride);
}

}  // namespace gpuengine
