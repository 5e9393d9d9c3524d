#include "gemm.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "findings.h"
#include "memory.h"
#include "settings.h"
#include "shadow.h"

namespace cudasim {

size_t data_type_size(int type) {
    switch (type) {
        case type_r_32f: return 4;
        case type_r_64f: return 8;
        case type_r_16f:
        case type_r_16bf: return 2;
        default: return 0;
    }
}

float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t float_to_bfloat(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float half_to_float(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    return sign * (exponent ? std::ldexp(static_cast<float>(fraction + 1024), exponent - 25)
                            : std::ldexp(static_cast<float>(fraction), -24));
}

uint16_t float_to_half(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    const uint32_t magnitude = bits & 0x7fffffffu, sign = bits >> 16 & 0x8000u;
    if (magnitude > 0x7f800000u) return 0x7fff;
    if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
    if (magnitude < 0x38800000u)
        return static_cast<uint16_t>(sign |
                                     (std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u));
    return static_cast<uint16_t>(sign | ((magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13));
}

template <class T>
T load_element(uintptr_t base, int64_t index, int type) {
    switch (type) {
        case type_r_32f: return static_cast<T>(reinterpret_cast<const float*>(base)[index]);
        case type_r_64f: return static_cast<T>(reinterpret_cast<const double*>(base)[index]);
        case type_r_16f: return static_cast<T>(half_to_float(reinterpret_cast<const uint16_t*>(base)[index]));
        default: return static_cast<T>(bfloat_to_float(reinterpret_cast<const uint16_t*>(base)[index]));
    }
}
template float load_element<float>(uintptr_t, int64_t, int);
template double load_element<double>(uintptr_t, int64_t, int);

template <class T>
void store_element(uintptr_t base, int64_t index, int type, T value) {
    switch (type) {
        case type_r_32f: reinterpret_cast<float*>(base)[index] = static_cast<float>(value); break;
        case type_r_64f: reinterpret_cast<double*>(base)[index] = static_cast<double>(value); break;
        case type_r_16f: reinterpret_cast<uint16_t*>(base)[index] = float_to_half(static_cast<float>(value)); break;
        default: reinterpret_cast<uint16_t*>(base)[index] = float_to_bfloat(static_cast<float>(value)); break;
    }
}
template void store_element<float>(uintptr_t, int64_t, int, float);
template void store_element<double>(uintptr_t, int64_t, int, double);

MatrixView transposed(MatrixView m) {
    std::swap(m.rows, m.columns);
    std::swap(m.row_step, m.column_step);
    return m;
}

namespace {

// The matrix as runs of neighbouring elements.
struct Runs {
    int64_t count, length, step;
};

Runs runs_of(const MatrixView& m) {
    if (m.row_step == 1) return {m.columns, m.rows, m.column_step};
    if (m.column_step == 1) return {m.rows, m.columns, m.row_step};
    return {0, 0, 0};
}

}  // namespace

int check_matrix(const MatrixView& m, bool reads, const std::string& call, const char* name) {
    if (m.rows == 0 || m.columns == 0) return 0;
    const auto size = data_type_size(m.type);
    const auto last = (m.rows - 1) * m.row_step + (m.columns - 1) * m.column_step;
    const auto bytes = static_cast<size_t>(last + 1) * size;
    const auto what = call + ": matrix " + name + " of " + std::to_string(m.rows) + " x " + std::to_string(m.columns);
    if (!is_range_live(m.base, bytes)) {
        report(Finding{"out_of_bounds",
                       what + " needs " + std::to_string(bytes) + " bytes: " + describe_address(m.base), m.base});
        return region_of(m.base) < 0 || describe_address(m.base).rfind("no allocation", 0) == 0 ? 700 : 0;
    }
    if (m.base % size != 0) {
        report(Finding{"misaligned", what + " is not aligned to its elements", m.base});
        return 716;
    }
    if (!settings().check_memory) return 0;
    const auto runs = runs_of(m);
    auto& shadow = device_shadow(region_of(m.base));
    const uint8_t needed = reads ? byte_addressable | byte_initialised : byte_addressable;
    for (int64_t r = 0; r < runs.count; ++r) {
        const auto address = m.base + static_cast<size_t>(r * runs.step) * size;
        const auto* states = shadow.states(region_offset(address));
        const auto run_bytes = static_cast<size_t>(runs.length) * size;
        const auto* bad = std::find_if(states, states + run_bytes, [&](uint8_t s) { return (s & needed) != needed; });
        if (bad == states + run_bytes) continue;
        const auto place = address + static_cast<uintptr_t>(bad - states);
        report(Finding{*bad & byte_addressable ? "uninitialised_read" : "out_of_bounds",
                       what + ": " + describe_address(place), place});
        return 0;
    }
    return 0;
}

void mark_matrix_written(const MatrixView& m) {
    if (!settings().checked()) return;
    const auto size = data_type_size(m.type);
    const auto runs = runs_of(m);
    for (int64_t r = 0; r < runs.count; ++r)
        mark_written(m.base + static_cast<size_t>(r * runs.step) * size, static_cast<size_t>(runs.length) * size);
}

template <class T>
std::vector<T> gather(const MatrixView& m, bool tf32) {
    std::vector<T> out(static_cast<size_t>(m.rows * m.columns));
    for (int64_t c = 0; c < m.columns; ++c) {
        T* column = out.data() + c * m.rows;
        const auto first = c * m.column_step;
        if (m.type == type_r_32f && sizeof(T) == 4 && m.row_step == 1)
            std::memcpy(column, reinterpret_cast<const float*>(m.base) + first, static_cast<size_t>(m.rows) * 4);
        else
            for (int64_t r = 0; r < m.rows; ++r) column[r] = load_element<T>(m.base, first + r * m.row_step, m.type);
    }
    if (tf32 && sizeof(T) == 4) {
        for (auto& value : out) {  // 10 bits of fraction, to nearest even
            auto bits = std::bit_cast<uint32_t>(static_cast<float>(value));
            if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu;
            value = static_cast<T>(std::bit_cast<float>(bits));
        }
    }
    return out;
}
template std::vector<float> gather<float>(const MatrixView&, bool);
template std::vector<double> gather<double>(const MatrixView&, bool);

namespace {

// Four columns of c at a time, over a strip of rows that stays in the first cache. Each sum runs over k in order.
template <class T>
[[gnu::always_inline]] inline void multiply_strips(T* __restrict c, const T* __restrict a, const T* __restrict b,
                                                   int64_t m, int64_t n, int64_t k) {
    constexpr int64_t strip = 512;
    std::fill(c, c + m * n, T{0});
    for (int64_t first = 0; first < m; first += strip) {
        const int64_t rows = std::min(strip, m - first);
        for (int64_t j = 0; j < n; j += 4) {
            T* columns[4];
            const T* factors[4];
            const int64_t count = std::min<int64_t>(4, n - j);
            for (int64_t q = 0; q < 4; ++q) {
                columns[q] = c + (j + std::min(q, count - 1)) * m + first;
                factors[q] = b + (j + std::min(q, count - 1)) * k;
            }
            if (count == 4) {
                T* __restrict c0 = columns[0];
                T* __restrict c1 = columns[1];
                T* __restrict c2 = columns[2];
                T* __restrict c3 = columns[3];
                for (int64_t p = 0; p < k; ++p) {
                    const T* __restrict x = a + p * m + first;
                    const T f0 = factors[0][p], f1 = factors[1][p], f2 = factors[2][p], f3 = factors[3][p];
                    for (int64_t i = 0; i < rows; ++i) {
                        c0[i] += x[i] * f0;
                        c1[i] += x[i] * f1;
                        c2[i] += x[i] * f2;
                        c3[i] += x[i] * f3;
                    }
                }
            } else {
                for (int64_t q = 0; q < count; ++q)
                    for (int64_t p = 0; p < k; ++p) {
                        const T* __restrict x = a + p * m + first;
                        const T f = factors[q][p];
                        for (int64_t i = 0; i < rows; ++i) columns[q][i] += x[i] * f;
                    }
            }
        }
    }
}

}  // namespace

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CUDASIM_CLONES __attribute__((target_clones("arch=haswell", "default"), optimize("O3")))
#else
#define CUDASIM_CLONES
#endif

CUDASIM_CLONES void multiply(float* c, const float* a, const float* b, int64_t m, int64_t n, int64_t k) {
    multiply_strips(c, a, b, m, n, k);
}
CUDASIM_CLONES void multiply(double* c, const double* a, const double* b, int64_t m, int64_t n, int64_t k) {
    multiply_strips(c, a, b, m, n, k);
}

}  // namespace cudasim
