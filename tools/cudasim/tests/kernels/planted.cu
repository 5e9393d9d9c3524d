// Kernels with one bug each, and next to some of them the same kernel without it.

// ---- Barriers and shared memory
// ---------------------------------------------------------------------------------------
extern "C" __global__ void missing_barrier(float* out, const float* in) {
    __shared__ float buffer[128];
    buffer[threadIdx.x] = in[threadIdx.x];
    out[threadIdx.x] = buffer[127 - threadIdx.x];  // other warps' values, no barrier
}

extern "C" __global__ void missing_syncwarp(float* out, const float* in) {
    __shared__ float buffer[32];
    buffer[threadIdx.x] = in[threadIdx.x];
    out[threadIdx.x] = buffer[threadIdx.x ^ 1];
}

extern "C" __global__ void with_syncwarp(float* out, const float* in) {
    __shared__ float buffer[32];
    buffer[threadIdx.x] = in[threadIdx.x];
    __syncwarp();
    out[threadIdx.x] = buffer[threadIdx.x ^ 1];
}

// The second write meets reads of the first round: the barrier at the end of the loop is missing.
extern "C" __global__ void missing_second_barrier(float* out, const float* in) {
    __shared__ float buffer[64];
    float sum = 0;
    for (int round = 0; round < 2; ++round) {
        buffer[threadIdx.x] = in[round * 64 + threadIdx.x];
        __syncthreads();
        sum += buffer[63 - threadIdx.x];
    }
    out[threadIdx.x] = sum;
}

extern "C" __global__ void shared_write_write(float* out) {
    __shared__ float value;
    if (threadIdx.x == 5 || threadIdx.x == 40) value = threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) *out = value;
}

extern "C" __global__ void global_race(float* out) { out[threadIdx.x / 2] = threadIdx.x; }

extern "C" __global__ void global_race_between_blocks(float* out, const float* in) {
    if (threadIdx.x == 0) out[0] = in[blockIdx.x];
}

extern "C" __global__ void bytes_of_one_word(unsigned char* out) { out[threadIdx.x] = threadIdx.x; }

// ---- Bounds
// -----------------------------------------------------------------------------------------------------------
extern "C" __global__ void global_read_past_end(float* out, const float* in, int n) {
    if (threadIdx.x <= n) out[0] = in[threadIdx.x] + (threadIdx.x == n ? 0 : 0);
}
extern "C" __global__ void global_read_past_end_one_thread(float* out, const float* in, int n) { out[0] = in[n]; }
extern "C" __global__ void global_read_before(float* out, const float* in) { out[0] = in[-1]; }
extern "C" __global__ void global_write_past_end(float* out, int n) { out[n] = 1.0f; }
extern "C" __global__ void shared_read_past_end(float* out) {
    __shared__ float buffer[32];
    buffer[threadIdx.x] = 1.0f;
    __syncwarp();
    out[threadIdx.x] = buffer[threadIdx.x + 1];
}
extern "C" __global__ void shared_write_past_end(float* out) {
    __shared__ float first[33];
    __shared__ float second[33];
    first[threadIdx.x + 2] = 1.0f;
    second[threadIdx.x] = 2.0f;
    __syncwarp();
    out[threadIdx.x] = second[threadIdx.x];
}
extern "C" __global__ void dynamic_write_past_end(float* out) {
    extern __shared__ float buffer[];
    buffer[threadIdx.x + 1] = 1.0f;
    __syncwarp();
    out[threadIdx.x] = buffer[threadIdx.x == 0 ? 1 : threadIdx.x];
}
extern "C" __global__ void vector_read_past_end(float4* out, const float4* in) { out[0] = in[1]; }
extern "C" __global__ void null_pointer(float* out, const float* in) { out[0] = in[threadIdx.x]; }

// ---- Initialisation, lifetime, alignment
// ------------------------------------------------------------------------------
extern "C" __global__ void read_one(float* out, const float* in, int i) { out[0] = in[i]; }
extern "C" __global__ void uninitialised_shared(float* out) {
    __shared__ float buffer[64];
    if (threadIdx.x < 63) buffer[threadIdx.x] = 1.0f;
    __syncthreads();
    out[threadIdx.x] = buffer[threadIdx.x];
}
extern "C" __global__ void misaligned_vector(float4* out, const float* in) {
    out[0] = *reinterpret_cast<const float4*>(in + 1);
}

// ---- Divergence
// -------------------------------------------------------------------------------------------------------
extern "C" __global__ void divergent_barrier(float* out) {
    if (threadIdx.x < 32) {
        out[threadIdx.x] = 1.0f;
        __syncthreads();
    } else {
        out[threadIdx.x] = 2.0f;
        __syncthreads();
    }
}
extern "C" __global__ void barrier_after_exit(float* out) {
    if (threadIdx.x >= 40) return;
    __syncthreads();
    out[threadIdx.x] = 1.0f;
}
extern "C" __global__ void barrier_and_warp_wait(float* out) {
    if (threadIdx.x % 32 < 16)
        __syncwarp();
    else
        __syncthreads();
    out[threadIdx.x] = 1.0f;
}
extern "C" __global__ void shuffle_from_exited(float* out) {
    const int lane = threadIdx.x;
    if (lane >= 24) return;
    out[lane] = __shfl_down_sync(0xffffffffu, (float)lane, 4);
}
extern "C" __global__ void shuffle_outside_mask(float* out) {
    const int lane = threadIdx.x;
    if (lane < 16) out[lane] = __shfl_xor_sync(0x0000ffffu, (float)lane, 16);
}
extern "C" __global__ void shuffle_without_own_bit(float* out) {
    const int lane = threadIdx.x;
    out[lane] = lane < 16 ? __shfl_sync(0x0000ffffu, (float)lane, 0) : __shfl_sync(0x0000ffffu, (float)lane, 0);
}

// ---- Order between blocks
// ---------------------------------------------------------------------------------------------
__device__ void finish(float* out, float* partial, unsigned* counter, bool fence) {
    __shared__ bool last;
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = blockIdx.x;
        if (fence) __threadfence();
        last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float s = 0;
        for (unsigned i = 0; i < gridDim.x; ++i) s += partial[i];
        *out = s;
    }
}
extern "C" __global__ void last_block_without_fence(float* out, float* partial, unsigned* counter) {
    finish(out, partial, counter, false);
}
extern "C" __global__ void last_block_with_fence(float* out, float* partial, unsigned* counter) {
    finish(out, partial, counter, true);
}

// ---- Traffic
// ----------------------------------------------------------------------------------------------------------
extern "C" __global__ void copy(float* out, const float* in) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = in[i];
}
extern "C" __global__ void copy_strided(float* out, const float* in) { out[threadIdx.x] = in[threadIdx.x * 8]; }
extern "C" __global__ void copy_vector(float4* out, const float4* in) { out[threadIdx.x] = in[threadIdx.x]; }
extern "C" __global__ void copy_from_offset(float* out, const float* in) { out[threadIdx.x] = in[threadIdx.x + 1]; }
extern "C" __global__ void read_twice(float* out, const float* in, volatile int* zero) {
    const float a = in[threadIdx.x];
    const int again = *zero;
    out[threadIdx.x] = a + in[threadIdx.x + again];
}
extern "C" __global__ void broadcast(float* out, const float* in) { out[threadIdx.x] = in[0]; }
extern "C" __global__ void bank_conflict(float* out, int stride) {
    __shared__ float buffer[32 * 33];
    buffer[threadIdx.x * stride] = threadIdx.x;
    __syncwarp();
    out[threadIdx.x] = buffer[threadIdx.x * stride];
}
extern "C" __global__ void half_the_lanes(float* out, const float* in) {
    if (threadIdx.x & 1)
        out[threadIdx.x] = in[threadIdx.x];
    else
        out[threadIdx.x] = 0.0f;
}
