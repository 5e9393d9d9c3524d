// The element-wise activations of the engine's catalog: forward(x) and derivative(x) in f32, as src/GpuEngine.Core/Graph/Ops/
// Activations defines them, kinks and NaN included. Their attributes are compile-time constants: ACTIVATION names the struct,
// ACTIVATION_A, _B and _C are its attributes in the order given at the struct.
#pragma once
#include "math.cuh"

#ifndef ACTIVATION
#define ACTIVATION Identity
#endif
#ifndef ACTIVATION_A
#define ACTIVATION_A 0.0f
#endif
#ifndef ACTIVATION_B
#define ACTIVATION_B 0.0f
#endif
#ifndef ACTIVATION_C
#define ACTIVATION_C 0.0f
#endif

namespace gpuengine {
namespace activations {

// 1 / (1 + exp(-x)): exp overflows to infinity where the result is below the smallest normal number, never to NaN.
DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

struct Identity {
    DEVICE static float forward(float x) { return x; }
    DEVICE static float derivative(float) { return 1.0f; }
};

// NaN stays NaN and passes the gradient.
struct Relu {
    DEVICE static float forward(float x) { return x <= 0.0f ? 0.0f : x; }
    DEVICE static float derivative(float x) { return x <= 0.0f ? 0.0f : 1.0f; }
};

// A: negative_slope.
struct LeakyRelu {
    DEVICE static float forward(float x) { return x > 0.0f ? x : x * ACTIVATION_A; }
    DEVICE static float derivative(float x) { return x > 0.0f ? 1.0f : ACTIVATION_A; }
};

// A: alpha, B: scale, C: input scale. elu, selu and celu.
struct Elu {
    DEVICE static float forward(float x) {
        return x > 0.0f ? x * ACTIVATION_B : expm1f(x * ACTIVATION_C) * (ACTIVATION_A * ACTIVATION_B);
    }
    DEVICE static float derivative(float x) {
        return x > 0.0f ? ACTIVATION_B : expf(x * ACTIVATION_C) * (ACTIVATION_A * ACTIVATION_B * ACTIVATION_C);
    }
};

struct Gelu {
    DEVICE static float distribution(float x) { return 0.5f * (1.0f + erff(x * kSqrtHalf)); }
    DEVICE static float forward(float x) { return x * distribution(x); }
    DEVICE static float derivative(float x) { return distribution(x) + x * expf(x * x * -0.5f) * kInvSqrtTwoPi; }
};

// x sigmoid(2u), u being the argument of the tanh: the lower tail keeps its digits. Beyond 10 only the cube would change.
struct GeluTanh {
    static constexpr float kCubic = 0.044715f, kTwiceRootTwoOverPi = 1.5957691216057308f;
    DEVICE static float clamp(float x) { return x > 10.0f ? 10.0f : x < -10.0f ? -10.0f : x; }
    DEVICE static float inner(float x) { return (x + kCubic * (x * x * x)) * kTwiceRootTwoOverPi; }
    DEVICE static float forward(float x) { return x * sigmoid(inner(clamp(x))); }
    DEVICE static float derivative(float x) {
        const float c = clamp(x), u = inner(c), s = sigmoid(u);
        return s + c * s * sigmoid(-u) * (kTwiceRootTwoOverPi + 3.0f * kCubic * kTwiceRootTwoOverPi * (c * c));
    }
};

struct Silu {
    DEVICE static float forward(float x) { return x * sigmoid(x); }
    DEVICE static float derivative(float x) { return sigmoid(x) * (1.0f + x * sigmoid(-x)); }
};

// x n / d with e = exp(-|x|): nothing cancels and nothing overflows (see Mish.cs).
struct Mish {
    DEVICE static void parts(float x, float& n, float& d, float& e) {
        e = expf(x > 0.0f ? -x : x);
        const float square = e * e;
        n = 2.0f * e + (x > 0.0f ? 1.0f : square);
        d = n + (x > 0.0f ? 2.0f * square : 2.0f);
    }
    DEVICE static float forward(float x) {
        float n, d, e;
        parts(x, n, d, e);
        return x * (n / d);
    }
    DEVICE static float derivative(float x) {
        float n, d, e;
        parts(x, n, d, e);
        const float slope = 4.0f * e * (1.0f + e) / (d * d);
        return n / d + x * (x > 0.0f ? slope * e : slope);
    }
};

// A: beta, B: threshold, C: 1 / beta.
struct Softplus {
    DEVICE static float forward(float x) {
        const float z = x * ACTIVATION_A;
        if (z > ACTIVATION_B) return x;
        return ((z <= 0.0f ? 0.0f : z) + log1pf(expf(-fabsf(z)))) * ACTIVATION_C;
    }
    DEVICE static float derivative(float x) {
        const float z = x * ACTIVATION_A;
        return z > ACTIVATION_B ? 1.0f : sigmoid(z);
    }
};

struct Softsign {
    DEVICE static float forward(float x) { return x / (1.0f + fabsf(x)); }
    DEVICE static float derivative(float x) {
        const float r = 1.0f / (1.0f + fabsf(x));
        return r * r;
    }
};

struct Sigmoid {
    DEVICE static float forward(float x) { return sigmoid(x); }
    DEVICE static float derivative(float x) { return sigmoid(x) * sigmoid(-x); }
};

struct LogSigmoid {
    DEVICE static float forward(float x) { return (x >= 0.0f ? 0.0f : x) - log1pf(expf(-fabsf(x))); }
    DEVICE static float derivative(float x) { return sigmoid(-x); }
};

struct Tanh {
    DEVICE static float forward(float x) { return tanhf(x); }
    DEVICE static float derivative(float x) { return 4.0f * sigmoid(2.0f * x) * sigmoid(-2.0f * x); }
};

// A: min_val, B: max_val. Also relu6.
struct Hardtanh {
    DEVICE static float forward(float x) { return x < ACTIVATION_A ? ACTIVATION_A : x > ACTIVATION_B ? ACTIVATION_B : x; }
    DEVICE static float derivative(float x) { return x > ACTIVATION_A && x < ACTIVATION_B ? 1.0f : 0.0f; }
};

struct Hardsigmoid {
    DEVICE static float ramp(float x) {
        const float z = x + 3.0f;
        return z < 0.0f ? 0.0f : z > 6.0f ? 6.0f : z;
    }
    DEVICE static float forward(float x) { return ramp(x) / 6.0f; }
    DEVICE static float derivative(float x) { return x > -3.0f && x < 3.0f ? 1.0f / 6.0f : 0.0f; }
};

struct Hardswish {
    DEVICE static float forward(float x) { return x * Hardsigmoid::ramp(x) / 6.0f; }
    DEVICE static float derivative(float x) { return x < -3.0f ? 0.0f : x < 3.0f ? x / 3.0f + 0.5f : 1.0f; }
};

}  // namespace activations

// The one a kernel is compiled for.
using CompiledActivation = activations::ACTIVATION;
constexpr bool kHasActivation = !is_same<CompiledActivation, activations::Identity>::value;

}  // namespace gpuengine
