// One step of an optimizer over a flat arena of parameters, in torch's rounding order (see Adam.cs, Sgd.cs, RmsProp.cs, Adagrad.cs).
//
//   adam      m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//   sgd       b = mu b + (1 - dampening) g (b = g at step 0), p -= lr b
//   rmsprop   s = a s + (1 - a) g^2, p -= lr g / (sqrt(s) + eps)
//   adagrad   s += g^2, p -= lr / (1 + step decay) g / (sqrt(s) + eps)
//
// with g = +-grad clip + decay p. Learning rate, step and clip factor are read from device memory: a replayed graph never holds an
// old one. One thread per block derives the step's scalars in f64.
// Mapping: one vector of VECTOR elements per thread, grid-stride, the rest by scalars. Outputs may be the inputs (in place).
// Bytes per element with P = G = S = f32: adam 28, sgd 12 or 20, rmsprop 20 (+ 8 each for centered and momentum), adagrad 20.
// Arithmetic in f32 whatever the storage types of parameters P, gradients G and states S.
#include "common/vector.cuh"

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
#ifndef CLIPPED
#define CLIPPED 0
#endif
#ifndef MAXIMIZE
#define MAXIMIZE 0
#endif
#ifndef DECAY  // weight decay
#define DECAY 0.0
#endif
#ifndef DECOUPLED
#define DECOUPLED 0
#endif
#ifndef EPS
#define EPS 1e-8
#endif
#ifndef EPS_INSIDE
#define EPS_INSIDE 0
#endif
#ifndef BETA1
#define BETA1 0.9
#endif
#ifndef BETA2
#define BETA2 0.999
#endif
#ifndef AMSGRAD
#define AMSGRAD 0
#endif
#ifndef STORE_CORRECTED
#define STORE_CORRECTED 0
#endif
#ifndef MOMENTUM
#define MOMENTUM 0.0
#endif
#ifndef DAMPENING
#define DAMPENING 0.0
#endif
#ifndef NESTEROV
#define NESTEROV 0
#endif
#ifndef FORM  // of sgd's momentum: 0 rate outside, 1 rate inside, 2 lecture S1's Nesterov as typed
#define FORM 0
#endif
#ifndef ALPHA
#define ALPHA 0.99
#endif
#ifndef CENTERED
#define CENTERED 0
#endif
#ifndef LR_DECAY
#define LR_DECAY 0.0
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using namespace gpuengine;

using P = PARAM_DTYPE;
using G = GRAD_DTYPE;
using S = STATE_DTYPE;
using Rate = RATE_DTYPE;

constexpr int kThreads = 256;

// What a step needs beside the tensors; each rule fills in what it uses.
struct Scalars {
    float rate;         // what multiplies the step
    float keep;         // 1 - lr decay, for decoupled decay
    float correction1;  // 1 - beta1^t
    float correction2;  // 1 - beta2^t, or its root
    i32 first;          // no step was done before
};

DEVICE double as_double(double x) { return x; }
DEVICE double as_double(float x) { return x; }
DEVICE double as_double(bf16 x) { return to_float(x); }

DEVICE float gradient(G grad, float param, float clip, bool decayed) {
    float g = to_float(grad);
    if (CLIPPED) g *= clip;
    if (MAXIMIZE) g = -g;
    if (decayed && DECAY != 0.0) g += param * static_cast<float>(DECAY);
    return g;
}

DEVICE float root(float x) { return EPS_INSIDE ? sqrtf(x + static_cast<float>(EPS)) : sqrtf(x) + static_cast<float>(EPS); }

// Runs a rule over the arena: `Rule::update(scalars, param, g, states)` with States states.
// (NVRTC cannot deduce an extent that is a member of Rule, so the number of states is a parameter.)
template <class Rule, int States>
DEVICE void step_arena(P* param, S* const (&state)[States ? States : 1], const P* old_param, const G* grad,
                       const S* const (&old_state)[States ? States : 1], const Rate* lr, const i64* step, const float* clip, i64 count) {
    __shared__ Scalars shared;
    if (threadIdx.x == 0) shared = Rule::scalars(as_double(lr[0]), static_cast<double>(step[0]));
    __syncthreads();
    const Scalars scalars = shared;
    const float factor = CLIPPED ? clip[0] : 1.0f;
    const i64 vectors = count / VECTOR;
    for (i64 i = global_thread(); i < vectors; i += global_threads()) {
        const auto p = load<VECTOR>(old_param + i * VECTOR);
        const auto g = load<VECTOR>(grad + i * VECTOR);
        Vec<S, VECTOR> s[Rule::kStates ? Rule::kStates : 1];
#pragma unroll
        for (int k = 0; k < Rule::kStates; ++k) s[k] = load<VECTOR>(old_state[k] + i * VECTOR);
        Vec<P, VECTOR> out;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            float w = to_float(p[e]), values[Rule::kStates ? Rule::kStates : 1];
#pragma unroll
            for (int k = 0; k < Rule::kStates; ++k) values[k] = to_float(s[k][e]);
            Rule::update(scalars, w, gradient(g[e], w, factor, Rule::kDecayed), values);
            out[e] = from_float<P>(w);
#pragma unroll
            for (int k = 0; k < Rule::kStates; ++k) s[k][e] = from_float<S>(values[k]);
        }
        store(param + i * VECTOR, out);
#pragma unroll
        for (int k = 0; k < Rule::kStates; ++k) store(state[k] + i * VECTOR, s[k]);
    }
    for (i64 i = vectors * VECTOR + global_thread(); i < count; i += global_threads()) {
        float w = to_float(old_param[i]), values[Rule::kStates ? Rule::kStates : 1];
        for (int k = 0; k < Rule::kStates; ++k) values[k] = to_float(old_state[k][i]);
        Rule::update(scalars, w, gradient(grad[i], w, factor, Rule::kDecayed), values);
        param[i] = from_float<P>(w);
        for (int k = 0; k < Rule::kStates; ++k) state[k][i] = from_float<S>(values[k]);
    }
}

struct Adam {
    static constexpr int kStates = AMSGRAD ? 3 : 2;
    static constexpr bool kDecayed = !DECOUPLED;
    DEVICE static Scalars scalars(double lr, double step) {
        const double correction1 = 1.0 - pow(static_cast<double>(BETA1), step + 1.0), correction2 = 1.0 - pow(static_cast<double>(BETA2), step + 1.0);
        const double rate = STORE_CORRECTED ? lr : lr / correction1;
        const double second = STORE_CORRECTED || EPS_INSIDE ? correction2 : sqrt(correction2);
        return Scalars{static_cast<float>(rate), static_cast<float>(1.0 - lr * DECAY), static_cast<float>(correction1), static_cast<float>(second), 0};
    }
    DEVICE static void update(const Scalars& s, float& p, float g, float* state) {
        if (DECOUPLED) p *= s.keep;
        float& m = state[0];
        float& v = state[1];
        m = m * static_cast<float>(BETA1) + g * static_cast<float>(1.0 - BETA1);
        v = v * static_cast<float>(BETA2) + g * static_cast<float>(1.0 - BETA2) * g;
        if (STORE_CORRECTED) {
            m /= s.correction1;
            v /= s.correction2;
            p -= m * s.rate / sqrtf(v + static_cast<float>(EPS));
            return;
        }
        float largest = v;
        if (AMSGRAD) {
            float& before = state[AMSGRAD ? 2 : 0];
            largest = before > v || before != before ? before : v;
            before = largest;
        }
        const float denominator = EPS_INSIDE ? sqrtf(largest / s.correction2 + static_cast<float>(EPS))
                                             : sqrtf(largest) / s.correction2 + static_cast<float>(EPS);
        p -= m * s.rate / denominator;
    }
};

struct Sgd {
    static constexpr int kStates = MOMENTUM != 0.0 ? 1 : 0;
    static constexpr bool kDecayed = true;
    DEVICE static Scalars scalars(double lr, double step) {
        return Scalars{static_cast<float>(lr), static_cast<float>(lr - MOMENTUM), 0.0f, 0.0f, step == 0.0 ? 1 : 0};
    }
    DEVICE static void update(const Scalars& s, float& p, float g, float* state) {
        if (FORM == 1) g *= s.rate;
        float buffer = g;
        const float before = kStates ? state[0] : 0.0f;
        if (kStates && !s.first) buffer = before * static_cast<float>(MOMENTUM) + g * static_cast<float>(1.0 - DAMPENING);
        const float move = NESTEROV ? g + buffer * static_cast<float>(MOMENTUM) : buffer;
        p = FORM == 1 ? p - move : FORM == 2 ? p - before * static_cast<float>(MOMENTUM) - buffer * s.keep : p - move * s.rate;
        if (kStates) state[0] = buffer;
    }
};

// States: square_avg, grad_avg if CENTERED, momentum_buffer if MOMENTUM.
struct RmsProp {
    static constexpr int kStates = 1 + (CENTERED ? 1 : 0) + (MOMENTUM != 0.0 ? 1 : 0);
    static constexpr bool kDecayed = true;
    DEVICE static Scalars scalars(double lr, double) { return Scalars{static_cast<float>(lr), 0.0f, 0.0f, 0.0f, 0}; }
    DEVICE static void update(const Scalars& s, float& p, float g, float* state) {
        state[0] = state[0] * static_cast<float>(ALPHA) + g * static_cast<float>(1.0 - ALPHA) * g;
        float variance = state[0];
        if (CENTERED) {
            float& mean = state[CENTERED ? 1 : 0];
            mean = mean * static_cast<float>(ALPHA) + g * static_cast<float>(1.0 - ALPHA);
            variance -= mean * mean;
        }
        if (MOMENTUM == 0.0) {
            p -= g * s.rate / root(variance);
            return;
        }
        float& buffer = state[kStates - 1];
        buffer = buffer * static_cast<float>(MOMENTUM) + g / root(variance);
        p -= buffer * s.rate;
    }
};

struct Adagrad {
    static constexpr int kStates = 1;
    static constexpr bool kDecayed = true;
    DEVICE static Scalars scalars(double lr, double step) {
        return Scalars{static_cast<float>(lr / (step * LR_DECAY + 1.0)), 0.0f, 0.0f, 0.0f, 0};
    }
    DEVICE static void update(const Scalars& s, float& p, float g, float* state) {
        state[0] += g * g;
        p -= g * s.rate / root(state[0]);
    }
};

// One kernel per number of states: the rule is the macro RULE.
#ifndef RULE
#define RULE Adam
#endif

// A rule is only run by the entry that has its number of states.
template <class Rule, int States>
DEVICE void run(P* param, S* const (&state)[States ? States : 1], const P* old_param, const G* grad, const S* const (&old_state)[States ? States : 1],
                const Rate* lr, const i64* step, const float* clip, i64 count) {
    if constexpr (Rule::kStates == States) step_arena<Rule, States>(param, state, old_param, grad, old_state, lr, step, clip, count);
}

extern "C" __global__ void __launch_bounds__(kThreads) optimizer_step_0(
    P* param, const P* old_param, const G* grad, const Rate* lr, const i64* step, const float* clip, i64 count) {
    S* const state[1] = {nullptr};
    const S* const old_state[1] = {nullptr};
    run<RULE, 0>(param, state, old_param, grad, old_state, lr, step, clip, count);
}

extern "C" __global__ void __launch_bounds__(kThreads) optimizer_step_1(
    P* param, S* state0, const P* old_param, const G* grad, const S* old_state0, const Rate* lr, const i64* step, const float* clip, i64 count) {
    S* const state[1] = {state0};
    const S* const old_state[1] = {old_state0};
    run<RULE, 1>(param, state, old_param, grad, old_state, lr, step, clip, count);
}

extern "C" __global__ void __launch_bounds__(kThreads) optimizer_step_2(
    P* param, S* state0, S* state1, const P* old_param, const G* grad, const S* old_state0, const S* old_state1, const Rate* lr,
    const i64* step, const float* clip, i64 count) {
    S* const state[2] = {state0, state1};
    const S* const old_state[2] = {old_state0, old_state1};
    run<RULE, 2>(param, state, old_param, grad, old_state, lr, step, clip, count);
}

extern "C" __global__ void __launch_bounds__(kThreads) optimizer_step_3(
    P* param, S* state0, S* state1, S* state2, const P* old_param, const G* grad, const S* old_state0, const S* old_state1,
    const S* old_state2, const Rate* lr, const i64* step, const float* clip, i64 count) {
    S* const state[3] = {state0, state1, state2};
    const S* const old_state[3] = {old_state0, old_state1, old_state2};
    run<RULE, 3>(param, state, old_param, grad, old_state, lr, step, clip, count);
}
