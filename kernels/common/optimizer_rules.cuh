// One step of an optimizer on a parameter, in torch's rounding order (see Adam.cs, Sgd.cs, RmsProp.cs, Adagrad.cs), and the walk over a
// flat arena that all of them share.
//
//   adam      m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//   sgd       b = mu b + (1 - dampening) g (b = g at step 0), p -= lr b
//   rmsprop   s = a s + (1 - a) g^2, p -= lr g / (sqrt(s) + eps)
//   adagrad   s += g^2, p -= lr / (1 + step decay) g / (sqrt(s) + eps)
//
// with g = +-grad clip + decay p. Their options are compile-time constants; doubles, which become floats where the decomposition makes
// them floats.
#pragma once
#include "math.cuh"
#include "packed.cuh"

#ifndef CLIPPED
#define CLIPPED 0
#endif
#ifndef MAXIMIZE
#define MAXIMIZE 0
#endif
#ifndef DECAY  // weight decay
#define DECAY 0.0
#endif
#ifndef DECAY_1  // that of a second group
#define DECAY_1 0.0
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
#ifndef COPY  // the new parameters once more, in bf16
#define COPY 0
#endif
#ifndef APPROX  // roots and quotients by the hardware's instructions: an error of 2^-22 where results are rounded to bf16
#define APPROX 0
#endif
#ifndef STREAM  // loads and stores that do not displace what the cache keeps
#define STREAM 0
#endif

namespace gpuengine {

// What a step needs beside the tensors; each rule fills in what it uses.
struct StepScalars {
    float rate;         // what multiplies the step
    float keep;         // 1 - lr decay, for decoupled decay
    float correction1;  // 1 - beta1^t
    float correction2;  // 1 - beta2^t, or its root; if APPROX one over it
    i32 first;          // no step was done before
};

// base^exponent in f64, in as many steps as the exponent has bits: pow would take a block longer than its first loads.
DEVICE double power(double base, i64 exponent) {
    double result = 1.0;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1) result *= base;
        base *= base;
    }
    return result;
}

DEVICE double as_double(double x) { return x; }
DEVICE double as_double(float x) { return x; }
DEVICE double as_double(bf16 x) { return to_float(x); }

// Weight decay of a group of parameters.
template <int Group>
constexpr double kDecay = Group == 0 ? DECAY : DECAY_1;

template <int Group>
DEVICE float step_gradient(float grad, float param, float clip, bool decayed) {
    float g = grad;
    if (CLIPPED) g *= clip;
    if (MAXIMIZE) g = -g;
    if (decayed && kDecay<Group> != 0.0) g += param * static_cast<float>(kDecay<Group>);
    return g;
}

DEVICE float root_of(float x) { return APPROX ? sqrt_approx(x) : sqrtf(x); }
DEVICE float quotient(float a, float b) { return APPROX ? __fdividef(a, b) : a / b; }
DEVICE float step_root(float x) { return EPS_INSIDE ? root_of(x + static_cast<float>(EPS)) : root_of(x) + static_cast<float>(EPS); }

template <int Group>
struct Adam {
    static constexpr int kStates = AMSGRAD ? 3 : 2;
    static constexpr bool kDecayed = !DECOUPLED;
    // The two corrections are made by two threads.
    static constexpr int kParts = 2;
    DEVICE static void scalars(int part, StepScalars& s, double lr, i64 step) {
        const double correction = 1.0 - power(part == 0 ? static_cast<double>(BETA1) : static_cast<double>(BETA2), step + 1);
        if (part == 0) {
            s.rate = static_cast<float>(STORE_CORRECTED ? lr : lr / correction);
            s.keep = static_cast<float>(1.0 - lr * kDecay<Group>);
            s.correction1 = static_cast<float>(correction);
        } else {
            const double second = STORE_CORRECTED || EPS_INSIDE ? correction : sqrt(correction);
            s.correction2 = static_cast<float>(APPROX ? 1.0 / second : second);
        }
    }
    DEVICE static float corrected(const StepScalars& s, float v) { return APPROX ? v * s.correction2 : v / s.correction2; }
    DEVICE static void update(const StepScalars& s, float& p, float g, float* state) {
        if (DECOUPLED) p *= s.keep;
        float& m = state[0];
        float& v = state[1];
        m = m * static_cast<float>(BETA1) + g * static_cast<float>(1.0 - BETA1);
        v = v * static_cast<float>(BETA2) + g * static_cast<float>(1.0 - BETA2) * g;
        if (STORE_CORRECTED) {
            m /= s.correction1;
            v = corrected(s, v);
            p -= quotient(m * s.rate, root_of(v + static_cast<float>(EPS)));
            return;
        }
        float largest = v;
        if (AMSGRAD) {
            float& before = state[AMSGRAD ? 2 : 0];
            largest = before > v || before != before ? before : v;
            before = largest;
        }
        const float denominator = EPS_INSIDE ? root_of(corrected(s, largest) + static_cast<float>(EPS))
                                             : corrected(s, root_of(largest)) + static_cast<float>(EPS);
        p -= quotient(m * s.rate, denominator);
    }
};

template <int Group>
struct Sgd {
    static constexpr int kStates = MOMENTUM != 0.0 ? 1 : 0;
    static constexpr bool kDecayed = true;
    static constexpr int kParts = 1;
    DEVICE static void scalars(int, StepScalars& s, double lr, i64 step) {
        s.rate = static_cast<float>(lr);
        s.keep = static_cast<float>(lr - MOMENTUM);
        s.first = step == 0 ? 1 : 0;
    }
    DEVICE static void update(const StepScalars& s, float& p, float g, float* state) {
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
template <int Group>
struct RmsProp {
    static constexpr int kStates = 1 + (CENTERED ? 1 : 0) + (MOMENTUM != 0.0 ? 1 : 0);
    static constexpr bool kDecayed = true;
    static constexpr int kParts = 1;
    DEVICE static void scalars(int, StepScalars& s, double lr, i64) { s.rate = static_cast<float>(lr); }
    DEVICE static void update(const StepScalars& s, float& p, float g, float* state) {
        state[0] = state[0] * static_cast<float>(ALPHA) + g * static_cast<float>(1.0 - ALPHA) * g;
        float variance = state[0];
        if (CENTERED) {
            float& mean = state[CENTERED ? 1 : 0];
            mean = mean * static_cast<float>(ALPHA) + g * static_cast<float>(1.0 - ALPHA);
            variance -= mean * mean;
        }
        if (MOMENTUM == 0.0) {
            p -= quotient(g * s.rate, step_root(variance));
            return;
        }
        float& buffer = state[kStates - 1];
        buffer = buffer * static_cast<float>(MOMENTUM) + quotient(g, step_root(variance));
        p -= buffer * s.rate;
    }
};

template <int Group>
struct Adagrad {
    static constexpr int kStates = 1;
    static constexpr bool kDecayed = true;
    static constexpr int kParts = 1;
    DEVICE static void scalars(int, StepScalars& s, double lr, i64 step) {
        s.rate = static_cast<float>(lr / (static_cast<double>(step) * LR_DECAY + 1.0));
    }
    DEVICE static void update(const StepScalars& s, float& p, float g, float* state) {
        state[0] += g * g;
        p -= quotient(g * s.rate, step_root(state[0]));
    }
};

// A block's scalars of a step, made by the first threads of its first warps; a barrier must follow.
template <class Rule, class Rate>
DEVICE void make_scalars(StepScalars& shared, const Rate* lr, const i64* step) {
    const int part = static_cast<int>(threadIdx.x) / kWarpSize;
    if (threadIdx.x % kWarpSize != 0 || part >= Rule::kParts) return;
    if (part == 0) {
        shared.keep = shared.correction1 = 1.0f;
        shared.first = 0;
    }
    if (part == Rule::kParts - 1) shared.correction2 = 1.0f;
    Rule::scalars(part, shared, as_double(lr[0]), step[0]);
}

// The vector of an arena that a thread works on: parameters P, gradients G, States states S, and if COPY the parameters once more as C.
template <class Rule, int Group, int Width, class P, class G, class S, class C>
struct Arena {
    static constexpr int kStates = Rule::kStates, kSlots = kStates ? kStates : 1;
    P* param;
    S* state[kSlots];
    C* copy;
    const P* old_param;
    const G* grad;
    const S* old_state[kSlots];
    i64 count;

    struct Batch {
        Packed<P, Width> p;
        Packed<G, Width> g;
        Packed<S, Width> s[kSlots];
    };

    DEVICE i64 vectors() const { return count / Width; }

    DEVICE void load_batch(i64 vector, Batch& b) const {
        const i64 at = vector * Width;
        load_packed<STREAM != 0>(b.p, old_param + at);
        load_packed<STREAM != 0>(b.g, grad + at);
#pragma unroll
        for (int k = 0; k < kStates; ++k) load_packed<STREAM != 0>(b.s[k], old_state[k] + at);
    }

    DEVICE void step_batch(i64 vector, Batch& b, const StepScalars& scalars, float clip) const {
        const i64 at = vector * Width;
        Vec<float, Width> out, values[kSlots];
#pragma unroll
        for (int e = 0; e < Width; ++e) {
            float w = b.p[e], s[kSlots];
#pragma unroll
            for (int k = 0; k < kStates; ++k) s[k] = b.s[k][e];
            Rule::update(scalars, w, step_gradient<Group>(b.g[e], w, clip, Rule::kDecayed), s);
            out[e] = w;
#pragma unroll
            for (int k = 0; k < kStates; ++k) values[k][e] = s[k];
        }
        store_packed<STREAM != 0>(param + at, pack<P>(out));
#pragma unroll
        for (int k = 0; k < kStates; ++k) store_packed<STREAM != 0>(state[k] + at, pack<S>(values[k]));
        if (COPY) store_packed<false>(copy + at, pack<C>(out));  // the next step's first reader is near
    }

    template <class T>
    DEVICE static Packed<T, Width> pack(const Vec<float, Width>& v) {
        using Result = Packed<T, Width>;
        Result r;
#pragma unroll
        for (int w = 0; w < Result::kWords; ++w) r.set_word(w, v[w * Result::kPerWord], v[w * Result::kPerWord + Result::kPerWord - 1]);
        return r;
    }

    // The elements behind the last whole vector.
    DEVICE void step_rest(const StepScalars& scalars, float clip) const {
        for (i64 i = vectors() * Width + global_thread(); i < count; i += global_threads()) {
            float w = to_float(old_param[i]), s[kSlots];
            for (int k = 0; k < kStates; ++k) s[k] = to_float(old_state[k][i]);
            Rule::update(scalars, w, step_gradient<Group>(to_float(grad[i]), w, clip, Rule::kDecayed), s);
            param[i] = from_float<P>(w);
            for (int k = 0; k < kStates; ++k) state[k][i] = from_float<S>(s[k]);
            if (COPY) copy[i] = from_float<C>(w);
        }
    }
};

}  // namespace gpuengine
