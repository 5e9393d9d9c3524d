// Matrix products for the simulated libraries: any storage type and layout, float or double arithmetic.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace cudasim {

enum DataType { type_r_32f = 0, type_r_64f = 1, type_r_16f = 2, type_r_16bf = 14 };

size_t data_type_size(int type);  // 0 for a type that is not simulated

float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);
float bfloat_to_float(uint16_t bits);
uint16_t float_to_bfloat(float value);

// Reads and writes elements of any type as T.
template <class T>
T load_element(uintptr_t base, int64_t index, int type);
template <class T>
void store_element(uintptr_t base, int64_t index, int type, T value);

// A matrix in device memory: element (r, c) at r * row_step + c * column_step.
struct MatrixView {
    uintptr_t base = 0;
    int type = 0;
    int64_t rows = 0, columns = 0, row_step = 1, column_step = 0;
};
MatrixView transposed(MatrixView m);

// Zero, or a CUresult: are all elements inside a live allocation (and, for reading, written before)? Findings say which
// matrix.
int check_matrix(const MatrixView& m, bool reads, const std::string& call, const char* name);
void mark_matrix_written(const MatrixView& m);

template <class T>
std::vector<T> gather(const MatrixView& m, bool tf32);

// c (m x n, column by column) = a (m x k) times b (k x n).
void multiply(float* c, const float* a, const float* b, int64_t m, int64_t n, int64_t k);
void multiply(double* c, const double* a, const double* b, int64_t m, int64_t n, int64_t k);

}  // namespace cudasim
