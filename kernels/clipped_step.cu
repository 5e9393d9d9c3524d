// Gradient norm, clip factor and one step of an optimizer over one or two flat arenas, which differ in weight decay alone, in one
// cooperative launch: the factor never leaves the device.
//
//   clipped_step   the formulas are those of clip_grad_norm.cu and common/optimizer_rules.cuh
//
// Mapping: first the pieces of the gradients, a block at a time; a grid barrier; every block adds the pieces' squares in order and gets
// the same factor; then the step, one vector per thread, grid-stride from the last vector to the first, because the gradients that were
// read last are what the cache still has. A block's first parameters and states are on their way across the barrier, and so are the
// step's scalars (f64, one or two threads).
// Bytes per element with P = G = S = f32: adam 32, sgd 16 or 24: the gradients twice, of which the cache serves up to its size.
// Gradients are read for keeping, all else for using once.
// Registers: about 48, with VECTOR 8 (all bf16) about 56; BLOCKS 4 bounds them to 64, and the grid is that many blocks per multiprocessor. No result depends on how many blocks there are.
#include "common/gradient_norm.cuh"
#include "common/grid.cuh"
#include "common/optimizer_rules.cuh"

#ifndef PARAM_DTYPE
#define PARAM_DTYPE float
#endif
#ifndef GRAD_DTYPE
#define GRAD_DTYPE float
#endif
#ifndef GRAD_DTYPE_1  // of the second arena
#define GRAD_DTYPE_1 GRAD_DTYPE
#endif
#ifndef STATE_DTYPE
#define STATE_DTYPE float
#endif
#ifndef RATE_DTYPE  // the type of lr
#define RATE_DTYPE double
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef BLOCKS  // at least so many per multiprocessor
#define BLOCKS 4
#endif
#ifndef ARENAS
#define ARENAS 1
#endif
#ifndef RULE
#define RULE Adam
#endif

using namespace gpuengine;

using P = PARAM_DTYPE;
using G = GRAD_DTYPE;
using H = GRAD_DTYPE_1;
using S = STATE_DTYPE;
using Rate = RATE_DTYPE;

static_assert(CLIPPED, "the step takes the factor");

template <int Group, class Grad>
using GroupArena = Arena<RULE<Group>, Group, VECTOR, P, Grad, S, bf16>;

template <int Group, class Grad>
DEVICE GroupArena<Group, Grad> make_arena(P* param, S* const (&state)[3], bf16* copy, const P* old_param, const Grad* grad,
                                          const S* const (&old_state)[3], i64 count) {
    GroupArena<Group, Grad> arena;
    arena.param = param;
    arena.copy = copy;
    arena.old_param = old_param;
    arena.grad = grad;
    arena.count = count;
#pragma unroll
    for (int k = 0; k < RULE<Group>::kStates; ++k) {
        arena.state[k] = state[k];
        arena.old_state[k] = old_state[k];
    }
    return arena;
}

// Backwards; vector number `last` of the thread is there already, if there is one.
template <class Walk>
DEVICE void step_backwards(const Walk& arena, i64 last, typename Walk::Batch& batch, const StepScalars& scalars, float clip) {
    while (last >= 0) {
        arena.step_batch(last, batch, scalars, clip);
        last -= global_threads();
        if (last >= 0) arena.load_batch(last, batch);
    }
    arena.step_rest(scalars, clip);
}

// `partial` holds one f64 per piece of `length` elements.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) clipped_step(
    P* param0, S* state00, S* state01, S* state02, bf16* copy0, P* param1, S* state10, S* state11, S* state12, bf16* copy1, float* norm,
    float* factor, u8* finite, double* segment_squares, u8* segment_finite, double* partial, u32* counter, const P* old_param0,
    const G* grad0, const S* old_state00, const S* old_state01, const S* old_state02, const P* old_param1, const H* grad1,
    const S* old_state10, const S* old_state11, const S* old_state12, const Rate* lr, const i64* step, i64 count0, i64 count1, i64 length,
    i64 pieces) {
    write_piece_squares<(VECTOR > 1), THREADS>(partial, grad0, grad1, count0, count1, length, pieces);
    S* const state0[3] = {state00, state01, state02};
    const S* const old_state0[3] = {old_state00, old_state01, old_state02};
    const auto arena0 = make_arena<0>(param0, state0, copy0, old_param0, grad0, old_state0, count0);
    const i64 last0 = arena0.vectors() - 1 - global_thread();
    typename GroupArena<0, G>::Batch batch0;
    if (last0 >= 0) arena0.load_batch(last0, batch0);
    __shared__ StepScalars scalars[ARENAS];
    make_scalars<RULE<0>>(scalars[0], lr, step);
    if (ARENAS > 1) make_scalars<RULE<1>>(scalars[ARENAS - 1], lr, step);
    if (gridDim.x > 1) {
        grid_sync(counter);
    } else {
        __syncthreads();
    }
    const NormOfGradients result = norm_of_pieces(partial, pieces);
    write_segments(segment_squares, segment_finite, partial, global_thread(), global_threads());
    if (global_thread() == 0) {
        norm[0] = result.norm;
        factor[0] = result.factor;
        finite[0] = result.is_finite();
    }
    const StepScalars scalars0 = scalars[0];
    step_backwards(arena0, last0, batch0, scalars0, result.factor);
    if (ARENAS > 1) {
        S* const state1[3] = {state10, state11, state12};
        const S* const old_state1[3] = {old_state10, old_state11, old_state12};
        const auto arena1 = make_arena<1>(param1, state1, copy1, old_param1, grad1, old_state1, count1);
        const i64 last1 = arena1.vectors() - 1 - global_thread();
        typename GroupArena<1, H>::Batch batch1;
        if (last1 >= 0) arena1.load_batch(last1, batch1);
        const StepScalars scalars1 = scalars[ARENAS - 1];
        step_backwards(arena1, last1, batch1, scalars1, result.factor);
    }
}
