// One position of every row through the transformer on a CPU: what decoding does at each step, where reading the weights
// is nearly all the work. `valle/models/transformer.py` says the same in torch and is what this is held to.
//
// Each weight is read once, in order, for all rows; threads share out outputs and heads and meet five times a layer.
// Weights are float32; bfloat16; or int8 with a scale an output. They lie in blocks of four outputs that take turns by
// vectors, so that a thread reads its share from one end to the other: memory is read faster in one run than in four.
// Sums are float32, or int32 for int8 weights, whose inputs are rounded to 8 bits with a scale a row. Keys and values are
// float32 or bfloat16.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif
#include <omp.h>

namespace {

constexpr int LANES = 16;    // float32 numbers of a vector; the compiler splits it where the machine's are shorter
constexpr int BYTES = 64;    // of a vector
constexpr int TOGETHER = 4;  // outputs, and rows, whose sums are kept in registers at once
typedef float Floats __attribute__((vector_size(BYTES)));
typedef int32_t Ints __attribute__((vector_size(BYTES)));
typedef uint32_t Words __attribute__((vector_size(BYTES)));
typedef uint16_t bfloat16;

inline float wide(float x) { return x; }
inline float wide(bfloat16 x) {
    uint32_t bits = uint32_t(x) << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}
inline void narrow(float x, float* to) { *to = x; }
inline void narrow(float x, bfloat16* to) {  // to the nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    *to = bfloat16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
template <class V> inline V load(const void* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <class T, class V> inline T sum(V v) {  // of a vector's numbers, by halves; spelt so that v stays in registers
    typedef T Half __attribute__((vector_size(BYTES / 2)));
    typedef T Quarter __attribute__((vector_size(BYTES / 4)));
    Half low = {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
    Half high = {v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15]};
    Half half = low + high;
    Quarter left = {half[0], half[1], half[2], half[3]}, right = {half[4], half[5], half[6], half[7]};
    Quarter quarter = left + right;
    return quarter[0] + quarter[1] + quarter[2] + quarter[3];
}

// The three kinds of weights: how inputs are made ready for them, and the products of R rows of these with a block of
// TOGETHER outputs. `size` inputs fill whole vectors.

struct Float32 {
    typedef float Weight;
    typedef float Input;
    static void prepare(const float* x, Input* to, float*, int64_t size) { std::copy(x, x + size, to); }
    template <int R> static void dot(const Input* x, const Weight* w, int64_t size, float out[R][TOGETHER]) {
        Floats sums[R][TOGETHER] = {};
        for (int64_t i = 0; i < size; i += LANES)
            for (int o = 0; o < TOGETHER; o++, w += LANES) {
                Floats weight = load<Floats>(w);
                for (int r = 0; r < R; r++) sums[r][o] += weight * load<Floats>(x + r * size + i);
            }
        for (int r = 0; r < R; r++)
            for (int o = 0; o < TOGETHER; o++) out[r][o] = sum<float>(sums[r][o]);
    }
    static float finish(float y, float, float, int32_t) { return y; }
};

struct BFloat16 {  // a word of two weights becomes two numbers by a shift and a mask, so inputs stand in two halves
    typedef bfloat16 Weight;
    typedef float Input;
    static void prepare(const float* x, Input* to, float*, int64_t size) {
        int64_t half = size / 2;
        for (int64_t i = 0; i < half; i++) to[i] = x[2 * i], to[half + i] = x[2 * i + 1];
    }
    template <int R> static void dot(const Input* x, const Weight* w, int64_t size, float out[R][TOGETHER]) {
        Floats sums[R][TOGETHER] = {};
        int64_t half = size / 2;
        for (int64_t i = 0; i < half; i += LANES)
            for (int o = 0; o < TOGETHER; o++, w += 2 * LANES) {
                Words words = load<Words>(w);
                Floats even = (Floats)(words << 16), odd = (Floats)(words & 0xffff0000u);
                for (int r = 0; r < R; r++)
                    sums[r][o] += even * load<Floats>(x + r * size + i) + odd * load<Floats>(x + r * size + half + i);
            }
        for (int r = 0; r < R; r++)
            for (int o = 0; o < TOGETHER; o++) out[r][o] = sum<float>(sums[r][o]);
    }
    static float finish(float y, float, float, int32_t) { return y; }
};

struct Int8 {  // inputs are moved up by 128, as the instruction wants them; what that adds is taken off in `finish`
    typedef int8_t Weight;
    typedef uint8_t Input;
    static void prepare(const float* x, Input* to, float* scale, int64_t size) {
        float most = 1e-12f;
        for (int64_t i = 0; i < size; i++) most = std::max(most, std::fabs(x[i]));
        *scale = most / 127;
        float by = 127 / most;
        for (int64_t i = 0; i < size; i++) to[i] = Input(int(x[i] * by + 128.5f));
    }
    template <int R> static void dot(const Input* x, const Weight* w, int64_t size, float out[R][TOGETHER]) {
#if defined(__AVX512VNNI__)
        __m512i sums[R][TOGETHER] = {};
        for (int64_t i = 0; i < size; i += BYTES)
            for (int o = 0; o < TOGETHER; o++, w += BYTES) {
                __m512i weight = _mm512_loadu_si512(w);
                for (int r = 0; r < R; r++)
                    sums[r][o] = _mm512_dpbusd_epi32(sums[r][o], _mm512_loadu_si512(x + r * size + i), weight);
            }
        for (int r = 0; r < R; r++)
            for (int o = 0; o < TOGETHER; o++) out[r][o] = float(sum<int32_t>((Ints)sums[r][o]));
#else
        int32_t sums[R][TOGETHER] = {};
        for (int64_t i = 0; i < size; i += BYTES)
            for (int o = 0; o < TOGETHER; o++, w += BYTES)
                for (int r = 0; r < R; r++)
                    for (int j = 0; j < BYTES; j++) sums[r][o] += int32_t(x[r * size + i + j]) * int32_t(w[j]);
        for (int r = 0; r < R; r++)
            for (int o = 0; o < TOGETHER; o++) out[r][o] = float(sums[r][o]);
#endif
    }
    static float finish(float y, float input_scale, float scale, int32_t weight_sum) {
        return (y - 128.0f * float(weight_sum)) * input_scale * scale;
    }
};

// erf to 1.5e-7 (Abramowitz and Stegun, 7.1.26): unlike the library's it is made of vectors
inline float gelu(float x) {
    float z = std::fabs(x) * 0.70710678f, t = 1 / (1 + 0.3275911f * z);
    float tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    float erf = 1 - tail * std::exp(-z * z);
    return 0.5f * x * (1 + (x < 0 ? -erf : erf));
}

void layer_norm(const float* x, const float* weight, const float* bias, float* to, int64_t dim) {
    float mean = 0, square = 0;
    for (int64_t i = 0; i < dim; i++) mean += x[i];
    mean /= float(dim);
    for (int64_t i = 0; i < dim; i++) square += (x[i] - mean) * (x[i] - mean);
    float by = 1 / std::sqrt(square / float(dim) + 1e-5f);
    for (int64_t i = 0; i < dim; i++) to[i] = (x[i] - mean) * by * weight[i] + bias[i];
}

// One head's query over what its row has in the cache.
template <class T>
void attend(const float* query, const T* keys, const T* values, int64_t time, int64_t size, float* scores, float* out) {
    float most = -3e38f, total = 0, by = 1 / std::sqrt(float(size));
    for (int64_t t = 0; t < time; t++) {
        float score = 0;
        for (int64_t i = 0; i < size; i++) score += query[i] * wide(keys[t * size + i]);
        scores[t] = score * by;
        most = std::max(most, scores[t]);
    }
    for (int64_t t = 0; t < time; t++) scores[t] = std::exp(scores[t] - most);
    for (int64_t t = 0; t < time; t++) total += scores[t];
    std::fill(out, out + size, 0.0f);
    for (int64_t t = 0; t < time; t++)
        for (int64_t i = 0; i < size; i++) out[i] += scores[t] * wide(values[t * size + i]);
    for (int64_t i = 0; i < size; i++) out[i] /= total;
}

}  // namespace

extern "C" {

struct Linear {
    const void* weight;
    const float* scale;         // of each output, int8 only
    const int32_t* weight_sum;  // of each output, int8 only
    const float* bias;
    int64_t outputs, inputs;
};

struct Layer {
    const float *attention_norm_weight, *attention_norm_bias, *ffn_norm_weight, *ffn_norm_bias;
    Linear qkv, out, ffn_in, ffn_out;
};

struct Step {
    int64_t layers, rows, heads, dim, ffn_dim, max_length;
    const int64_t* lengths;  // of each row before this step
    void *keys, *values;     // (layer, row, head, max_length, head_dim)
    float* x;                // (row, dim), in and out
};
}

namespace {

// R rows of y = W x + b, the block of outputs that begins with `o`.
template <class Kind, int R>
void block(const Linear& l, const typename Kind::Input* x, const float* scales, int64_t o, float* y) {
    float sums[R][TOGETHER];
    Kind::template dot<R>(x, static_cast<const typename Kind::Weight*>(l.weight) + o * l.inputs, l.inputs, sums);
    for (int r = 0; r < R; r++)
        for (int i = 0; i < TOGETHER; i++) {
            float scale = l.scale ? l.scale[o + i] : 1;
            int32_t weight_sum = l.weight_sum ? l.weight_sum[o + i] : 0;
            y[r * l.outputs + o + i] = Kind::finish(sums[r][i], scales[r], scale, weight_sum) + l.bias[o + i];
        }
}

// A thread's share of y = W x + b for all rows; then(row, from, to) for the outputs it made.
template <class Kind, class Then>
void linear(const Linear& l, const typename Kind::Input* x, const float* scales, int64_t rows, float* y, Then then) {
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads(), blocks = l.outputs / TOGETHER;
    int64_t from = blocks * thread / threads * TOGETHER, to = blocks * (thread + 1) / threads * TOGETHER;
    for (int64_t o = from; o < to; o += TOGETHER) {
        int64_t r = 0;
        for (; r + TOGETHER <= rows; r += TOGETHER)
            block<Kind, TOGETHER>(l, x + r * l.inputs, scales + r, o, y + r * l.outputs);
        for (; r < rows; r++) block<Kind, 1>(l, x + r * l.inputs, scales + r, o, y + r * l.outputs);
    }
    for (int64_t r = 0; r < rows; r++) then(r, from, to);
}

template <class Kind, class Cache> void step(const Step& s, const Layer* layers) {
    int64_t rows = s.rows, dim = s.dim, heads = s.heads, head = dim / heads;
    int64_t longest = *std::max_element(s.lengths, s.lengths + rows) + 1;
    std::vector<float> projected(rows * 3 * dim), mixed(rows * dim), hidden(rows * s.ffn_dim), added(rows * dim);
    auto *keys = static_cast<Cache*>(s.keys), *values = static_cast<Cache*>(s.values);
#pragma omp parallel
    {
        std::vector<float> normed(dim), scales(rows), scores(longest);
        std::vector<typename Kind::Input> input(rows * std::max(dim, s.ffn_dim));
        auto prepare = [&](const float* from, int64_t size) {  // each thread for itself: cheaper than waiting
            for (int64_t r = 0; r < rows; r++) Kind::prepare(from + r * size, &input[r * size], &scales[r], size);
        };
        auto prepare_normed = [&](const float* weight, const float* bias) {
            for (int64_t r = 0; r < rows; r++) {
                layer_norm(s.x + r * dim, weight, bias, normed.data(), dim);
                Kind::prepare(normed.data(), &input[r * dim], &scales[r], dim);
            }
        };
        auto residual = [&](int64_t r, int64_t from, int64_t to) {
            for (int64_t i = from; i < to; i++) s.x[r * dim + i] += added[r * dim + i];
        };
        auto activate = [&](int64_t r, int64_t from, int64_t to) {
            for (int64_t i = from; i < to; i++) hidden[r * s.ffn_dim + i] = gelu(hidden[r * s.ffn_dim + i]);
        };
        auto nothing = [](int64_t, int64_t, int64_t) {};
        for (int64_t n = 0; n < s.layers; n++) {
            const Layer& l = layers[n];
            prepare_normed(l.attention_norm_weight, l.attention_norm_bias);
            linear<Kind>(l.qkv, input.data(), scales.data(), rows, projected.data(), nothing);
#pragma omp barrier
#pragma omp for schedule(static)
            for (int64_t part = 0; part < rows * heads; part++) {
                int64_t r = part / heads, h = part % heads, at = s.lengths[r];
                const float* query = &projected[r * 3 * dim + h * head];
                int64_t first = ((n * rows + r) * heads + h) * s.max_length * head;
                for (int64_t i = 0; i < head; i++) {
                    narrow(query[dim + i], keys + first + at * head + i);
                    narrow(query[2 * dim + i], values + first + at * head + i);
                }
                attend(query, keys + first, values + first, at + 1, head, scores.data(), &mixed[r * dim + h * head]);
            }
            prepare(mixed.data(), dim);
            linear<Kind>(l.out, input.data(), scales.data(), rows, added.data(), residual);
#pragma omp barrier
            prepare_normed(l.ffn_norm_weight, l.ffn_norm_bias);
            linear<Kind>(l.ffn_in, input.data(), scales.data(), rows, hidden.data(), activate);
#pragma omp barrier
            prepare(hidden.data(), s.ffn_dim);
            linear<Kind>(l.ffn_out, input.data(), scales.data(), rows, added.data(), residual);
#pragma omp barrier
        }
    }
}

}  // namespace

extern "C" {
void step_float32(const Step* s, const Layer* layers) { step<Float32, float>(*s, layers); }
void step_bfloat16(const Step* s, const Layer* layers) { step<BFloat16, bfloat16>(*s, layers); }
void step_int8(const Step* s, const Layer* layers) { step<Int8, bfloat16>(*s, layers); }
}
