// One decode step on a CPU: one position of every row through the transformer. At small batches its time is that of
// reading the weights. `valle/models/transformer.py` is the reference implementation that tests compare it with.
//
// Weights are float32, bfloat16, or int8 with one scale per output. They are stored in blocks of four outputs whose
// vectors alternate, so that each thread reads its share sequentially. Sums are float32, or int32 for int8 weights,
// whose inputs are quantized to 8 bits with one scale per row. Keys and values are float32 or bfloat16.
//
// Batch invariance: a row's result is bitwise identical for any number of rows and threads. Each sum is therefore
// written with explicit vectors in one order over the inputs, fused multiply-adds are explicit, and the file is
// compiled with -ffp-contract=off and without -ffast-math, so that the compiler cannot choose another order for another
// tile.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <omp.h>

namespace {

// BYTES: size of a vector register. TILE: rows of a tile; TILE x BLOCK_OUTPUTS sums, TILE inputs and one weight fit the
// registers (16 of them before AVX-512).
#if defined(__AVX512F__)
constexpr int BYTES = 64;
constexpr int TILE = 4;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
constexpr int TILE = 3;
#elif defined(__aarch64__)
constexpr int BYTES = 16;
constexpr int TILE = 4;
#else
constexpr int BYTES = 16;
constexpr int TILE = 3;
#endif
// Number of float32 values in a vector.
constexpr int LANES = BYTES / 4;
// Outputs of a block of weights, as in cpu_step.py.
constexpr int BLOCK_OUTPUTS = 4;
// Bytes of a block of weights that all tiles of rows use before the next bytes are read: about half of an L1 cache.
constexpr int L1_BYTES = 16384;
typedef float Floats __attribute__((vector_size(BYTES)));
typedef int32_t Ints __attribute__((vector_size(BYTES)));
typedef uint32_t Words __attribute__((vector_size(BYTES)));
typedef uint16_t Halfwords __attribute__((vector_size(BYTES / 2)));
typedef uint16_t bfloat16;

template <class V> inline V load(const void* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
inline void store(Floats v, float* to) { std::memcpy(to, &v, sizeof v); }
inline Floats broadcast(float x) { return Floats{} + x; }
inline float to_float(float x) { return x; }
inline float to_float(bfloat16 x) {
    uint32_t bits = uint32_t(x) << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}
inline Floats load_floats(const float* from) { return load<Floats>(from); }
inline Floats load_floats(const bfloat16* from) {
    return (Floats)(__builtin_convertvector(load<Halfwords>(from), Words) << 16);
}
inline void store_as(float x, float* to) { *to = x; }
// Round to the nearest bfloat16, ties to even.
inline void store_as(float x, bfloat16* to) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    *to = bfloat16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// a * b + c, as one fused operation where the processor has one.
inline Floats fma(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
    return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    for (int i = 0; i < LANES; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#else
    return a * b + c;
#endif
}

// Sum the values of a vector: its upper half is added to its lower half until four values remain.
template <class T, class V> inline T sum(V v) {
    typedef T Quarter __attribute__((vector_size(16)));
#if defined(__AVX2__)
    typedef T Half __attribute__((vector_size(32)));
#if defined(__AVX512F__)
    Half low = {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
    Half high = {v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15]};
    Half half = low + high;
#else
    Half half = v;
#endif
    Quarter left = {half[0], half[1], half[2], half[3]};
    Quarter right = {half[4], half[5], half[6], half[7]};
    Quarter quarter = left + right;
#else
    Quarter quarter = v;
#endif
    return (quarter[0] + quarter[1]) + (quarter[2] + quarter[3]);
}

// e^x for x <= 0 with a relative error of 2e-7 (polynomial of Cephes' expf); inputs below -87 give 1e-38.
inline Floats exp_vector(Floats x) {
    const Floats min_input = broadcast(-87.0f);
    // 1.5 * 2^23: adding it rounds to an integer.
    const Floats rounding = broadcast(12582912.0f);
    x = x < min_input ? min_input : x;
    Floats shifted = fma(x, broadcast(1.44269504f), rounding);
    Floats n = shifted - rounding;
    Floats r = fma(n, broadcast(-0.693359375f), x);
    r = fma(n, broadcast(2.12194440e-4f), r);
    Floats p = broadcast(1.9875691500e-4f);
    p = fma(p, r, broadcast(1.3981999507e-3f));
    p = fma(p, r, broadcast(8.3334519073e-3f));
    p = fma(p, r, broadcast(4.1665795894e-2f));
    p = fma(p, r, broadcast(1.6666665459e-1f));
    p = fma(p, r, broadcast(5.0000001201e-1f));
    p = fma(p, r * r, r) + 1.0f;
    Ints exponent = ((Ints)shifted - (Ints)rounding + 127) << 23;
    return p * (Floats)exponent;
}

// The three kinds of weights. `prepare` converts one row of inputs, `dot` adds the products of R rows with `size`
// inputs of a block of BLOCK_OUTPUTS outputs to `to`, `finish` computes an output from its sum. `size` is a multiple of
// the values in a vector.

struct Float32 {
    typedef float Weight;
    typedef float Input;
    typedef Floats Sum;
    static void prepare(const float* x, Input* to, float*, int64_t size) { std::copy(x, x + size, to); }
    template <int R> static void dot(const Input* x, int64_t stride, const Weight* w, int64_t size, Sum* to) {
        Floats sums[R][BLOCK_OUTPUTS];
        for (int j = 0; j < R * BLOCK_OUTPUTS; j++) sums[j / BLOCK_OUTPUTS][j % BLOCK_OUTPUTS] = to[j];
        for (int64_t i = 0; i < size; i += LANES)
            for (int o = 0; o < BLOCK_OUTPUTS; o++, w += LANES) {
                Floats weight = load<Floats>(w);
                for (int r = 0; r < R; r++) sums[r][o] = fma(weight, load<Floats>(x + r * stride + i), sums[r][o]);
            }
        for (int j = 0; j < R * BLOCK_OUTPUTS; j++) to[j] = sums[j / BLOCK_OUTPUTS][j % BLOCK_OUTPUTS];
    }
    static float finish(Sum y, float, float, int32_t) { return sum<float>(y); }
};

// A 32-bit word of two weights becomes two float32 values by a shift and a mask, so inputs are reordered into those of
// even and those of odd index.
struct BFloat16 {
    typedef bfloat16 Weight;
    typedef float Input;
    typedef Floats Sum;
    static void prepare(const float* x, Input* to, float*, int64_t size) {
        for (int64_t i = 0; i < size; i += 2 * LANES)
            for (int j = 0; j < LANES; j++) {
                to[i + j] = x[i + 2 * j];
                to[i + LANES + j] = x[i + 2 * j + 1];
            }
    }
    template <int R> static void dot(const Input* x, int64_t stride, const Weight* w, int64_t size, Sum* to) {
        Floats sums[R][BLOCK_OUTPUTS];
        for (int j = 0; j < R * BLOCK_OUTPUTS; j++) sums[j / BLOCK_OUTPUTS][j % BLOCK_OUTPUTS] = to[j];
        for (int64_t i = 0; i < size; i += 2 * LANES)
            for (int o = 0; o < BLOCK_OUTPUTS; o++, w += 2 * LANES) {
                Words words = load<Words>(w);
                Floats even = (Floats)(words << 16);
                Floats odd = (Floats)(words & 0xffff0000u);
                for (int r = 0; r < R; r++) {
                    sums[r][o] = fma(even, load<Floats>(x + r * stride + i), sums[r][o]);
                    sums[r][o] = fma(odd, load<Floats>(x + r * stride + i + LANES), sums[r][o]);
                }
            }
        for (int j = 0; j < R * BLOCK_OUTPUTS; j++) to[j] = sums[j / BLOCK_OUTPUTS][j % BLOCK_OUTPUTS];
    }
    static float finish(Sum y, float, float, int32_t) { return sum<float>(y); }
};

// `widen` converts half a vector of int8 values to 16-bit values; `multiply_pairs` multiplies 16-bit values and adds
// the products of neighbouring pairs.
#if defined(__AVX512BW__)
inline __m512i widen(const int8_t* w) { return _mm512_cvtepi8_epi16(load<__m256i>(w)); }
inline Ints multiply_pairs(__m512i a, __m512i b) { return (Ints)_mm512_madd_epi16(a, b); }
#elif defined(__AVX2__)
inline __m256i widen(const int8_t* w) { return _mm256_cvtepi8_epi16(load<__m128i>(w)); }
inline Ints multiply_pairs(__m256i a, __m256i b) { return (Ints)_mm256_madd_epi16(a, b); }
#elif defined(__SSE4_1__)
inline __m128i widen(const int8_t* w) { return _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i*)w)); }
inline Ints multiply_pairs(__m128i a, __m128i b) { return (Ints)_mm_madd_epi16(a, b); }
#endif

// Sums of int8 products are exact. VNNI takes unsigned inputs: 128 is added to each, and `finish` subtracts it again.
// The other instruction sets take 16-bit inputs, because the sum of two 8-bit products can overflow the 16 bits of
// `maddubs`.
struct Int8 {
    typedef int8_t Weight;
    typedef Ints Sum;
#if defined(__AVX512VNNI__)
    typedef uint8_t Input;
    static constexpr int32_t OFFSET = 128;
#else
    typedef int16_t Input;
    static constexpr int32_t OFFSET = 0;
#endif
    static void prepare(const float* x, Input* to, float* scale, int64_t size) {
        Floats maxima = broadcast(1e-12f);
        for (int64_t i = 0; i < size; i += LANES) {
            Floats v = load<Floats>(x + i);
            Floats magnitude = v < 0 ? -v : v;
            maxima = magnitude > maxima ? magnitude : maxima;
        }
        float max_magnitude = 0;
        for (int j = 0; j < LANES; j++) max_magnitude = std::max(max_magnitude, maxima[j]);
        *scale = max_magnitude / 127;
        float inverse_scale = 127 / max_magnitude;
        for (int64_t i = 0; i < size; i++) to[i] = Input(int(x[i] * inverse_scale + 128.5f) - 128 + OFFSET);
    }
    template <int R> static void dot(const Input* x, int64_t stride, const Weight* w, int64_t size, Sum* to) {
        Ints sums[R][BLOCK_OUTPUTS];
        for (int j = 0; j < R * BLOCK_OUTPUTS; j++) sums[j / BLOCK_OUTPUTS][j % BLOCK_OUTPUTS] = to[j];
#if defined(__AVX512VNNI__)
        for (int64_t i = 0; i < size; i += BYTES)
            for (int o = 0; o < BLOCK_OUTPUTS; o++, w += BYTES) {
                __m512i weight = _mm512_loadu_si512(w);
                for (int r = 0; r < R; r++)
                    sums[r][o] = (Ints)_mm512_dpbusd_epi32(
                        (__m512i)sums[r][o], _mm512_loadu_si512(x + r * stride + i), weight);
            }
#elif defined(__SSE4_1__)
        // Number of 16-bit values in a vector.
        constexpr int HALF = BYTES / 2;
        for (int64_t i = 0; i < size; i += BYTES, w += BLOCK_OUTPUTS * BYTES)
            for (int j = 0; j < BYTES; j += HALF)
                for (int o = 0; o < BLOCK_OUTPUTS; o++) {
                    auto weight = widen(w + o * BYTES + j);
                    for (int r = 0; r < R; r++)
                        sums[r][o] += multiply_pairs(weight, load<decltype(weight)>(x + r * stride + i + j));
                }
#else
        for (int64_t i = 0; i < size; i += BYTES)
            for (int o = 0; o < BLOCK_OUTPUTS; o++, w += BYTES)
                for (int r = 0; r < R; r++)
                    for (int j = 0; j < BYTES; j++)
                        sums[r][o][j / 4] += int32_t(x[r * stride + i + j]) * int32_t(w[j]);
#endif
        for (int j = 0; j < R * BLOCK_OUTPUTS; j++) to[j] = sums[j / BLOCK_OUTPUTS][j % BLOCK_OUTPUTS];
    }
    static float finish(Sum y, float input_scale, float scale, int32_t weight_sum) {
        return float(sum<int32_t>(y) - OFFSET * weight_sum) * input_scale * scale;
    }
};

// GELU with an approximation of erf that has an absolute error of 1.5e-7 (Abramowitz and Stegun, equation 7.1.26).
inline Floats gelu(Floats x) {
    Floats negative = -x;
    Floats magnitude = x < 0 ? negative : x;
    Floats z = magnitude * 0.70710678f;
    Floats t = 1.0f / fma(z, broadcast(0.3275911f), broadcast(1.0f));
    Floats p = fma(t, broadcast(1.061405429f), broadcast(-1.453152027f));
    p = fma(t, p, broadcast(1.421413741f));
    p = fma(t, p, broadcast(-0.284496736f));
    p = fma(t, p, broadcast(0.254829592f));
    Floats erf = 1.0f - t * p * exp_vector(-z * z);
    Floats signed_erf = x < 0 ? -erf : erf;
    return 0.5f * x * (1.0f + signed_erf);
}

void gelu(float* x, int64_t size) {
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES) store(gelu(load<Floats>(x + i)), x + i);
    float remainder[LANES] = {};
    std::copy(x + i, x + size, remainder);
    store(gelu(load<Floats>(remainder)), remainder);
    std::copy(remainder, remainder + (size - i), x + i);
}

void layer_norm(const float* x, const float* weight, const float* bias, float* to, int64_t dim) {
    Floats total = {};
    Floats squares = {};
    for (int64_t i = 0; i < dim; i += LANES) total += load<Floats>(x + i);
    Floats mean = broadcast(sum<float>(total) / float(dim));
    for (int64_t i = 0; i < dim; i += LANES) {
        Floats centered = load<Floats>(x + i) - mean;
        squares = fma(centered, centered, squares);
    }
    Floats inverse_deviation = broadcast(1 / std::sqrt(sum<float>(squares) / float(dim) + 1e-5f));
    for (int64_t i = 0; i < dim; i += LANES) {
        Floats normalized = (load<Floats>(x + i) - mean) * inverse_deviation;
        store(fma(normalized, load<Floats>(weight + i), load<Floats>(bias + i)), to + i);
    }
}

// Compute V vectors of the mean of the values, weighted by the scores.
template <int V, class T>
void average_values(const T* values, const float* scores, int64_t time, int64_t size, Floats total, float* out) {
    Floats sums[V] = {};
    for (int64_t t = 0; t < time; t++)
        for (int v = 0; v < V; v++)
            sums[v] = fma(broadcast(scores[t]), load_floats(values + t * size + v * LANES), sums[v]);
    for (int v = 0; v < V; v++) store(sums[v] / total, out + v * LANES);
}

// Compute the scaled dot products of one query with T keys. Each key's sum has the same order for any T. Several keys
// are computed together because the additions of one key depend on each other.
template <int T, class Key> void dot_keys(const float* query, const Key* keys, int64_t size, float* scores) {
    int64_t whole = size - size % LANES;
    float scale = 1 / std::sqrt(float(size));
    Floats products[T] = {};
    for (int64_t i = 0; i < whole; i += LANES)
        for (int t = 0; t < T; t++)
            products[t] = fma(load<Floats>(query + i), load_floats(keys + t * size + i), products[t]);
    for (int t = 0; t < T; t++) {
        float score = sum<float>(products[t]);
        for (int64_t i = whole; i < size; i++) score += query[i] * to_float(keys[t * size + i]);
        scores[t] = score * scale;
    }
}

// Attention of one head's query over the `time` positions that its row has in the cache. `scores` has space for `time`
// + LANES values.
template <class T>
void attend(const float* query, const T* keys, const T* values, int64_t time, int64_t size, float* scores, float* out) {
    int64_t first = 0;
    for (; first + 4 <= time; first += 4) dot_keys<4>(query, keys + first * size, size, scores + first);
    for (; first < time; first++) dot_keys<1>(query, keys + first * size, size, scores + first);
    float max_score = *std::max_element(scores, scores + time);
    std::fill(scores + time, scores + time + LANES, max_score);
    for (int64_t t = 0; t < time; t += LANES) store(exp_vector(load<Floats>(scores + t) - max_score), scores + t);
    std::fill(scores + time, scores + time + LANES, 0.0f);
    Floats partial_sums = {};
    for (int64_t t = 0; t < time; t += LANES) partial_sums += load<Floats>(scores + t);
    float total = sum<float>(partial_sums);
    Floats totals = broadcast(total);
    int64_t i = 0;
    for (; i + 8 * LANES <= size; i += 8 * LANES)
        average_values<8>(values + i, scores, time, size, totals, out + i);
    for (; i + 4 * LANES <= size; i += 4 * LANES)
        average_values<4>(values + i, scores, time, size, totals, out + i);
    for (; i + LANES <= size; i += LANES) average_values<1>(values + i, scores, time, size, totals, out + i);
    for (; i < size; i++) {
        float weighted = 0;
        for (int64_t t = 0; t < time; t++) weighted += scores[t] * to_float(values[t * size + i]);
        out[i] = weighted / total;
    }
}

}  // namespace

extern "C" {

struct Linear {
    const void* weight;
    // Of each output, for int8 weights only.
    const float* scale;
    const int32_t* weight_sum;
    const float* bias;
    int64_t outputs, inputs;
};

struct Layer {
    const float *attention_norm_weight, *attention_norm_bias, *ffn_norm_weight, *ffn_norm_bias;
    Linear qkv, out, ffn_in, ffn_out;
};

struct Step {
    int64_t layers, rows, heads, dim, ffn_dim, max_length;
    // (row,) positions in the cache before this step.
    const int64_t* lengths;
    // (layer, row, head, max_length, head_dim)
    void *keys, *values;
    // (row, dim), input and output
    float* x;
};
}

namespace {

// Add the products of `rows` rows with a part of a block's inputs, in as few tiles as possible, of nearly equal sizes.
template <class Kind>
void tiles(const typename Kind::Input* x, int64_t stride, int64_t rows, const typename Kind::Weight* w, int64_t size,
           typename Kind::Sum* sums) {
    for (int64_t remaining = (rows + TILE - 1) / TILE; remaining > 0; remaining--) {
        int64_t tile = (rows + remaining - 1) / remaining;
        if (tile == 4) Kind::template dot<4>(x, stride, w, size, sums);
        if (tile == 3) Kind::template dot<3>(x, stride, w, size, sums);
        if (tile == 2) Kind::template dot<2>(x, stride, w, size, sums);
        if (tile == 1) Kind::template dot<1>(x, stride, w, size, sums);
        x += tile * stride;
        sums += tile * BLOCK_OUTPUTS;
        rows -= tile;
    }
}

// Compute a thread's share of y = W x + b for all rows, then call then(row, from, to) for the range of outputs. One
// tile of rows reads a block of weights from start to end; several tiles read it in parts that stay in the L1 cache.
template <class Kind, class Then>
void linear(const Linear& l, const typename Kind::Input* x, const float* scales, int64_t rows, float* y,
            std::vector<typename Kind::Sum>& sums, Then then) {
    int64_t thread = omp_get_thread_num();
    int64_t threads = omp_get_num_threads();
    int64_t blocks = l.outputs / BLOCK_OUTPUTS;
    int64_t from = blocks * thread / threads * BLOCK_OUTPUTS;
    int64_t to = blocks * (thread + 1) / threads * BLOCK_OUTPUTS;
    int64_t part = rows <= TILE ? l.inputs : int64_t(L1_BYTES / BLOCK_OUTPUTS / sizeof(typename Kind::Weight));
    for (int64_t o = from; o < to; o += BLOCK_OUTPUTS) {
        const auto* w = static_cast<const typename Kind::Weight*>(l.weight) + o * l.inputs;
        std::fill(sums.begin(), sums.end(), typename Kind::Sum{});
        for (int64_t i = 0; i < l.inputs; i += part)
            tiles<Kind>(x + i, l.inputs, rows, w + i * BLOCK_OUTPUTS, std::min(part, l.inputs - i), sums.data());
        for (int64_t r = 0; r < rows; r++)
            for (int i = 0; i < BLOCK_OUTPUTS; i++) {
                float scale = l.scale ? l.scale[o + i] : 1;
                int32_t weight_sum = l.weight_sum ? l.weight_sum[o + i] : 0;
                y[r * l.outputs + o + i] =
                    Kind::finish(sums[r * BLOCK_OUTPUTS + i], scales[r], scale, weight_sum) + l.bias[o + i];
            }
    }
    for (int64_t r = 0; r < rows; r++) then(r, from, to);
}

template <class Kind, class Cache> void step(const Step& s, const Layer* layers) {
    int64_t rows = s.rows;
    int64_t dim = s.dim;
    int64_t heads = s.heads;
    int64_t head_dim = dim / heads;
    int64_t max_time = *std::max_element(s.lengths, s.lengths + rows) + 1;
    std::vector<float> qkv(rows * 3 * dim);
    std::vector<float> attended(rows * dim);
    std::vector<float> hidden(rows * s.ffn_dim);
    std::vector<float> output(rows * dim);
    auto* keys = static_cast<Cache*>(s.keys);
    auto* values = static_cast<Cache*>(s.values);
#pragma omp parallel
    {
        std::vector<float> normed(dim);
        std::vector<float> scales(rows);
        std::vector<float> scores(max_time + LANES);
        std::vector<typename Kind::Sum> sums(rows * BLOCK_OUTPUTS);
        std::vector<typename Kind::Input> input(rows * std::max(dim, s.ffn_dim));
        // Every thread converts all inputs: that costs less than a barrier.
        auto prepare = [&](const float* from, int64_t size) {
            for (int64_t r = 0; r < rows; r++) Kind::prepare(from + r * size, &input[r * size], &scales[r], size);
        };
        auto prepare_normed = [&](const float* weight, const float* bias) {
            for (int64_t r = 0; r < rows; r++) {
                layer_norm(s.x + r * dim, weight, bias, normed.data(), dim);
                Kind::prepare(normed.data(), &input[r * dim], &scales[r], dim);
            }
        };
        auto residual = [&](int64_t r, int64_t from, int64_t to) {
            for (int64_t i = from; i < to; i++) s.x[r * dim + i] += output[r * dim + i];
        };
        auto activate = [&](int64_t r, int64_t from, int64_t to) {
            gelu(&hidden[r * s.ffn_dim + from], to - from);
        };
        auto no_op = [](int64_t, int64_t, int64_t) {};
        for (int64_t n = 0; n < s.layers; n++) {
            const Layer& l = layers[n];
            prepare_normed(l.attention_norm_weight, l.attention_norm_bias);
            linear<Kind>(l.qkv, input.data(), scales.data(), rows, qkv.data(), sums, no_op);
#pragma omp barrier
#pragma omp for schedule(static)
            for (int64_t part = 0; part < rows * heads; part++) {
                int64_t r = part / heads;
                int64_t h = part % heads;
                int64_t position = s.lengths[r];
                const float* query = &qkv[r * 3 * dim + h * head_dim];
                int64_t first = ((n * rows + r) * heads + h) * s.max_length * head_dim;
                for (int64_t i = 0; i < head_dim; i++) {
                    store_as(query[dim + i], keys + first + position * head_dim + i);
                    store_as(query[2 * dim + i], values + first + position * head_dim + i);
                }
                float* out = &attended[r * dim + h * head_dim];
                attend(query, keys + first, values + first, position + 1, head_dim, scores.data(), out);
            }
            prepare(attended.data(), dim);
            linear<Kind>(l.out, input.data(), scales.data(), rows, output.data(), sums, residual);
#pragma omp barrier
            prepare_normed(l.ffn_norm_weight, l.ffn_norm_bias);
            linear<Kind>(l.ffn_in, input.data(), scales.data(), rows, hidden.data(), sums, activate);
#pragma omp barrier
            prepare(hidden.data(), s.ffn_dim);
            linear<Kind>(l.ffn_out, input.data(), scales.data(), rows, output.data(), sums, residual);
#pragma omp barrier
        }
    }
}

}  // namespace

extern "C" {
int64_t vector_bytes() { return BYTES; }
void step_float32(const Step* s, const Layer* layers) { step<Float32, float>(*s, layers); }
void step_bfloat16(const Step* s, const Layer* layers) { step<BFloat16, bfloat16>(*s, layers); }
void step_int8(const Step* s, const Layer* layers) { step<Int8, bfloat16>(*s, layers); }
}
