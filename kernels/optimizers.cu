// One step of an optimizer over a flat arena of parameters; the rules are in common/optimizer_rules.cuh. Learning rate, step and clip
// factor are read from device memory: a replayed graph never holds an old one. One or two threads per block derive the step's scalars in
// f64 while the block's first vectors are on their way.
//
//   optimizer_step_0 ... 3   rules with so many states
//
// Mapping: one vector of VECTOR elements per thread, grid-stride, the rest by scalars. VECTOR is what 16 bytes hold of the widest type
// (bf16 beside f32 comes in 8 bytes): threads side by side fill whole sectors with every access. Outputs may be the inputs (in place).
// Bytes per element with P = G = S = f32: adam 28, sgd 12 or 20, rmsprop 20 (+ 8 each for centered and momentum), adagrad 20. Masters and
// states in f32, gradients and the copy that the network reads in bf16: adam 28 again, all bf16: 14.
// Registers: adam about 40, with VECTOR 8 (all bf16) 24 for the results + 8 on their way + about 24, bounded to 64 by BLOCKS 4.
// Arithmetic in f32 whatever the storage types of parameters P, gradients G and states S. Parameters in bf16 take roots and quotients by
// the hardware's approximate instructions (APPROX): exact ones are 40 instructions per element, more than 14 bytes leave time for, and
// their last digits are lost in the rounding.
#include "common/optimizer_rules.cuh"

#ifndef PARAM_DTYPE
#define PARAM_DTYPE float
#endif
#ifndef GRAD_DTYPE
#define GRAD_DTYPE float
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
#define BLOCKS 1
#endif
#ifndef RULE
#define RULE Adam
#endif

using namespace gpuengine;

using P = PARAM_DTYPE;
using G = GRAD_DTYPE;
using S = STATE_DTYPE;
using Rate = RATE_DTYPE;

template <class Walk>
DEVICE void step_arena(const Walk& arena, const StepScalars& scalars, typename Walk::Batch& first, float clip) {
    i64 i = global_thread();
    while (i < arena.vectors()) {
        arena.step_batch(i, first, scalars, clip);
        i += global_threads();
        if (i < arena.vectors()) arena.load_batch(i, first);
    }
    arena.step_rest(scalars, clip);
}

// A rule is only run by the entry that has its number of states.
template <int States>
DEVICE void run(P* param, S* const (&state)[3], bf16* copy, const P* old_param, const G* grad, const S* const (&old_state)[3], const Rate* lr,
                const i64* step, const float* clip, i64 count) {
    using Rule = RULE<0>;
    if constexpr (Rule::kStates == States) {
        Arena<Rule, 0, VECTOR, P, G, S, bf16> arena;
        arena.param = param;
        arena.copy = copy;
        arena.old_param = old_param;
        arena.grad = grad;
        arena.count = count;
#pragma unroll
        for (int k = 0; k < States; ++k) {
            arena.state[k] = state[k];
            arena.old_state[k] = old_state[k];
        }
        typename Arena<Rule, 0, VECTOR, P, G, S, bf16>::Batch first;
        if (global_thread() < arena.vectors()) arena.load_batch(global_thread(), first);
        __shared__ StepScalars shared;
        make_scalars<Rule>(shared, lr, step);
        __syncthreads();
        const StepScalars scalars = shared;
        step_arena(arena, scalars, first, CLIPPED ? clip[0] : 1.0f);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) optimizer_step_0(
    P* param, bf16* copy, const P* old_param, const G* grad, const Rate* lr, const i64* step, const float* clip, i64 count) {
    S* const state[3] = {nullptr, nullptr, nullptr};
    const S* const old_state[3] = {nullptr, nullptr, nullptr};
    run<0>(param, state, copy, old_param, grad, old_state, lr, step, clip, count);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) optimizer_step_1(
    P* param, S* state0, bf16* copy, const P* old_param, const G* grad, const S* old_state0, const Rate* lr, const i64* step,
    const float* clip, i64 count) {
    S* const state[3] = {state0, nullptr, nullptr};
    const S* const old_state[3] = {old_state0, nullptr, nullptr};
    run<1>(param, state, copy, old_param, grad, old_state, lr, step, clip, count);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) optimizer_step_2(
    P* param, S* state0, S* state1, bf16* copy, const P* old_param, const G* grad, const S* old_state0, const S* old_state1,
    const Rate* lr, const i64* step, const float* clip, i64 count) {
    S* const state[3] = {state0, state1, nullptr};
    const S* const old_state[3] = {old_state0, old_state1, nullptr};
    run<2>(param, state, copy, old_param, grad, old_state, lr, step, clip, count);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) optimizer_step_3(
    P* param, S* state0, S* state1, S* state2, bf16* copy, const P* old_param, const G* grad, const S* old_state0, const S* old_state1,
    const S* old_state2, const Rate* lr, const i64* step, const float* clip, i64 count) {
    S* const state[3] = {state0, state1, state2};
    const S* const old_state[3] = {old_state0, old_state1, old_state2};
    run<3>(param, state, copy, old_param, grad, old_state, lr, step, clip, count);
}
