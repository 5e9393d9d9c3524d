// The element-wise activations of the engine's catalog: forward(x) and derivative(x) in f32, as src/GpuEngine.Core/Graph/Ops/
// Activations defines them, kinks and NaN included. Their attributes are compile-time constants: ACTIVATION names the struct,
// ACTIVATION_A, _B and _C are its attributes in the order given at the struct.
//
// ACTIVATION_FAST is for results that are stored in bf16, whose roundings of 2^-9 hide errors of 2^-17 and less: approximate exponential,
// logarithm and division (2^-21 each) and, for erf, formula 7.1.26 of Abramowitz and Stegun (1.5e-7). At 4 TB/s an element of bf16 that
// is read and written leaves some 28 issue slots; exact erf alone takes about 20, exact division about 8.
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
#ifndef ACTIVATION_FAST
#define ACTIVATION_FAST 0
#endif

namespace gpuengine {
namespace activations {

DEVICE float exponential(float x) { return ACTIVATION_FAST ? __expf(x) : expf(x); }
DEVICE float quotient(float a, float b) { return ACTIVATION_FAST ? __fdividef(a, b) : a / b; }

// log(1 + e) for e in [0, 1]; of small e the sum would lose the digits.
DEVICE float log_of_one_plus(float e) {
    if (!ACTIVATION_FAST) return log1pf(e);
    return e < 0.01f ? e * (1.0f - 0.5f * e) : __logf(1.0f + e);
}

// exp(x) - 1 for x <= 0; the difference loses the digits of small x.
DEVICE float exponential_minus_one(float x) {
    if (!ACTIVATION_FAST) return expm1f(x);
    return x > -0.02f ? x * (1.0f + 0.5f * x) : __expf(x) - 1.0f;
}

// 1 / (1 + exp(-x)): exp overflows to infinity where the result is below the smallest normal number, never to NaN.
DEVICE float sigmoid(float x) { return quotient(1.0f, 1.0f + exponential(-x)); }

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
        return x > 0.0f ? x * ACTIVATION_B : exponential_minus_one(x * ACTIVATION_C) * (ACTIVATION_A * ACTIVATION_B);
    }
    DEVICE static float derivative(float x) {
        return x > 0.0f ? ACTIVATION_B : exponential(x * ACTIVATION_C) * (ACTIVATION_A * ACTIVATION_B * ACTIVATION_C);
    }
};

struct Gelu {
    // The normal distribution function, and exp(-x^2 / 2).
    DEVICE static float distribution(float x, float& power) {
        if (!ACTIVATION_FAST) {
            power = expf(x * x * -0.5f);
            return 0.5f * (1.0f + erff(x * kSqrtHalf));
        }
        // Half of erfc(z) = t (a1 + t (a2 + ...)) exp(-z^2) with t = 1 / (1 + p z), z = |x| / sqrt(2): the lower tail keeps its digits.
        // The factors 1/2 and 1 / sqrt(2) are in the constants.
        const float t = __fdividef(1.0f, 1.0f + 0.231641888f * fabsf(x));
        power = exp2_approx(x * x * (-0.5f * kLog2E));
        const float half =
            power * t * (0.127414796f + t * (-0.142248368f + t * (0.7107068705f + t * (-0.7265760135f + t * 0.5307027145f))));
        return x < 0.0f ? half : 1.0f - half;
    }
    DEVICE static float forward(float x) {
        float power;
        return x * distribution(x, power);
    }
    DEVICE static float derivative(float x) {
        float power;
        const float phi = distribution(x, power);
        return phi + x * power * kInvSqrtTwoPi;
    }
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
        e = exponential(x > 0.0f ? -x : x);
        const float square = e * e;
        n = 2.0f * e + (x > 0.0f ? 1.0f : square);
        d = n + (x > 0.0f ? 2.0f * square : 2.0f);
    }
    DEVICE static float forward(float x) {
        float n, d, e;
        parts(x, n, d, e);
        return x * quotient(n, d);
    }
    DEVICE static float derivative(float x) {
        float n, d, e;
        parts(x, n, d, e);
        const float slope = quotient(4.0f * e * (1.0f + e), d * d);
        return quotient(n, d) + x * (x > 0.0f ? slope * e : slope);
    }
};

// A: beta, B: threshold, C: 1 / beta.
struct Softplus {
    DEVICE static float forward(float x) {
        const float z = x * ACTIVATION_A;
        if (z > ACTIVATION_B) return x;
        return ((z <= 0.0f ? 0.0f : z) + log_of_one_plus(exponential(-fabsf(z)))) * ACTIVATION_C;
    }
    DEVICE static float derivative(float x) {
        const float z = x * ACTIVATION_A;
        return z > ACTIVATION_B ? 1.0f : sigmoid(z);
    }
};

struct Softsign {
    // Divided exactly: the fast division gives 0 where the denominator is above 2^126.
    DEVICE static float forward(float x) { return x / (1.0f + fabsf(x)); }
    DEVICE static float derivative(float x) {
        const float r = quotient(1.0f, 1.0f + fabsf(x));
        return r * r;
    }
};

struct Sigmoid {
    DEVICE static float forward(float x) { return sigmoid(x); }
    DEVICE static float derivative(float x) { return sigmoid(x) * sigmoid(-x); }
};

struct LogSigmoid {
    DEVICE static float forward(float x) { return (x >= 0.0f ? 0.0f : x) - log_of_one_plus(exponential(-fabsf(x))); }
    DEVICE static float derivative(float x) { return sigmoid(-x); }
};

struct Tanh {
    DEVICE static float forward(float x) {
        if (!ACTIVATION_FAST) return tanhf(x);
        const float size = fabsf(x), e = __expf(-2.0f * size);
        return size < 0.02f ? x : copysignf(__fdividef(1.0f - e, 1.0f + e), x);
    }
    DEVICE static float derivative(float x) {
        const float e = exponential(-2.0f * fabsf(x)), r = quotient(1.0f, 1.0f + e);
        return 4.0f * e * r * r;
    }
};

// A: min_val, B: max_val. Also relu6.
struct Hardtanh {
    DEVICE static float forward(float x) {
        return x < ACTIVATION_A ? ACTIVATION_A : x > ACTIVATION_B ? ACTIVATION_B : x;
    }
    DEVICE static float derivative(float x) { return x > ACTIVATION_A && x < ACTIVATION_B ? 1.0f : 0.0f; }
};

struct Hardsigmoid {
    DEVICE static float ramp(float x) {
        const float z = x + 3.0f;
        return z < 0.0f ? 0.0f : z > 6.0f ? 6.0f : z;
    }
    DEVICE static float forward(float x) { return quotient(ramp(x), 6.0f); }
    DEVICE static float derivative(float x) { return x > -3.0f && x < 3.0f ? 1.0f / 6.0f : 0.0f; }
};

struct Hardswish {
    DEVICE static float forward(float x) { return quotient(x * Hardsigmoid::ramp(x), 6.0f); }
    DEVICE static float derivative(float x) { return x < -3.0f ? 0.0f : x < 3.0f ? quotient(x, 3.0f) + 0.5f : 1.0f; }
};

}  // namespace activations

// The one a kernel is compiled for.
using CompiledActivation = activations::ACTIVATION;
constexpr bool kHasActivation = !is_same<CompiledActivation, activations::Identity>::value;

}  // namespace gpuengine
