// Training in the reader's browser: batch-1 SGD of a one-hidden-layer ReLU network on sparse parity.
//
// It is the plain form of what pdlib/training/online_sgd.py does a block at a time, on the inputs of pdlib/tasks/bits.py and
// from the initial weights of pdlib/models/mlp.py, so that labels published by their step belong to these inputs.
// student.wasm beside this file is made from it by `python tests/kernel.py`, and compared with it by a test.
//
// Everything lies in static memory: two networks, the student (0) and the teacher (1), and a bit for each step that says
// whether the label of the step is the true class or the other one.

#include <stdint.h>

typedef float v4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));
typedef uint64_t u64;

#define EXPORT(name) __attribute__((export_name(#name))) name
__attribute__((import_module("env"), import_name("exp"))) double exponential(double); // Math.exp: there is no libm here

enum { MOST_UNITS = 512, MOST_FOURS = 26, MOST_STEPS = 2000000 }; // 26 fours: 103 inputs and the constant 1 of the bias

typedef struct {
    int n_units;                    // a multiple of 4; units beyond the width have zero weights, so they stay at rest
    float c[2];                     // second layer's bias
    float a[2][MOST_UNITS];         // second layer
    v4 w[MOST_UNITS * MOST_FOURS];  // first layer, a row a unit: a weight for each input, then the bias
} Network;

static Network networks[2];
static uint8_t exceptions[MOST_STEPS / 8]; // as numpy.packbits writes them: the first step is the highest bit
static int n_bits, n_fours;                // d; fours of an input row
static u64 support;                        // S, as a mask of an input's first word

Network *EXPORT(network)(int which) { return &networks[which]; }
int EXPORT(network_size)(void) { return sizeof(Network); }
uint8_t *EXPORT(labels)(void) { return exceptions; }
int EXPORT(most_steps)(void) { return MOST_STEPS; }

void EXPORT(task)(int d, int k) {
    n_bits = d;
    n_fours = (d + 4) / 4; // d + 1 inputs, rounded up
    support = ((u64)1 << k) - 1;
}

// ------------------------------------------------------------------ random numbers

// Philox 4x64-10 (Salmon et al. 2011) as NumPy steps it: four words a count, the first count being 1.
static u64 high_product(u64 a, u64 b, u64 *low) {
    u64 a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    u64 middle = a1 * b0 + (a0 * b0 >> 32);
    __asm__("" : "+r"(middle)); // else the compiler sees through this and calls a library's 128-bit product
    u64 other = a0 * b1 + (uint32_t)middle;
    *low = a * b;
    return a1 * b1 + (middle >> 32) + (other >> 32);
}

static void four_words(u64 count, u64 key0, u64 key1, u64 *out) {
    u64 x0 = count + 1, x1 = 0, x2 = 0, x3 = 0;
    for (int round = 0; round < 10; round++) {
        u64 low0, low1;
        u64 high0 = high_product(0xD2E7470EE14C6C93, x0, &low0), high1 = high_product(0xCA5A826395121157, x2, &low1);
        x0 = high1 ^ x1 ^ key0;
        x2 = high0 ^ x3 ^ key1;
        x1 = low1;
        x3 = low0;
        key0 += 0x9E3779B97F4A7C15;
        key1 += 0xBB67AE8584CAA73B;
    }
    out[0] = x0, out[1] = x1, out[2] = x2, out[3] = x3;
}

// Initial weights: uniform on +-1 / sqrt(fan-in), drawn in the order 0.weight, 0.bias, 2.weight, 2.bias.
typedef struct { u64 key0, key1, count, words[4]; int used; } Draws;

static float uniform(Draws *draws, int fan_in) {
    if (draws->used == 4) four_words(draws->count++, draws->key0, draws->key1, draws->words), draws->used = 0;
    double bound = 1 / __builtin_sqrt((double)fan_in), unit = (double)(draws->words[draws->used++] >> 11) * 0x1p-53;
    return (float)(-bound + (bound - -bound) * unit);
}

void EXPORT(initial)(int which, int width, u64 key0, u64 key1) {
    Network *net = &networks[which];
    Draws draws = {key0, key1, .used = 4};
    float *w = (float *)net->w;
    *net = (Network){.n_units = (width + 3) & ~3};
    for (int u = 0; u < width; u++)
        for (int i = 0; i < n_bits; i++) w[4 * n_fours * u + i] = uniform(&draws, n_bits);
    for (int u = 0; u < width; u++) w[4 * n_fours * u + n_bits] = uniform(&draws, n_bits);
    for (int q = 0; q < 2; q++)
        for (int u = 0; u < width; u++) net->a[q][u] = uniform(&draws, width);
    for (int q = 0; q < 2; q++) net->c[q] = uniform(&draws, width);
}

// ------------------------------------------------------------------------- inputs

typedef struct { u64 key0, key1, count, words[4]; } Stream; // with the words of the count read last

static Stream opened(u64 key0, u64 key1) { return (Stream){key0, key1, .count = ~(u64)0}; }

// Write example i, entries -1 (a bit that is set) or +1, and return its class, the parity of its support.
static int example(Stream *stream, u64 i, v4 *row) {
    int n_words = (n_bits + 63) / 64; // 1 or 2, so that an example's words lie in one count
    u64 first = i * n_words;
    if (stream->count != first / 4) four_words(stream->count = first / 4, stream->key0, stream->key1, stream->words);
    const u64 *words = stream->words + first % 4;
    float *x = (float *)row;
    for (int b = 0; b < n_bits; b++) x[b] = 1 - 2 * (int)(words[b / 64] >> b % 64 & 1);
    for (int b = n_bits; b < 4 * n_fours; b++) x[b] = b == n_bits; // the bias's input, then zeros
    return __builtin_popcountll(words[0] & support) & 1;
}

// ------------------------------------------------------------------------ network

static float sum(v4 v) { return (v[0] + v[2]) + (v[1] + v[3]); }

// Write the hidden units before their ReLU, and the two logits. Four units at a time share what is read of the input.
static void forward(const Network *net, const v4 *x, v4 *z, float *logit) {
    v4 total0 = {0}, total1 = {0}, zero = {0};
    for (int u = 0; u < net->n_units; u += 4) {
        const v4 *w0 = net->w + u * n_fours, *w1 = w0 + n_fours, *w2 = w1 + n_fours, *w3 = w2 + n_fours;
        v4 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        for (int i = 0; i < n_fours; i++) {
            s0 += w0[i] * x[i];
            s1 += w1[i] * x[i];
            s2 += w2[i] * x[i];
            s3 += w3[i] * x[i];
        }
        v4 s01 = __builtin_shufflevector(s0, s1, 0, 4, 1, 5) + __builtin_shufflevector(s0, s1, 2, 6, 3, 7);
        v4 s23 = __builtin_shufflevector(s2, s3, 0, 4, 1, 5) + __builtin_shufflevector(s2, s3, 2, 6, 3, 7);
        v4 now = __builtin_shufflevector(s01, s23, 0, 1, 4, 5) + __builtin_shufflevector(s01, s23, 2, 3, 6, 7);
        z[u / 4] = now;
        now = (v4)(~(now < zero) & (i4)now); // the ReLU, through which what is no number gets
        total0 += *(const v4 *)&net->a[0][u] * now;
        total1 += *(const v4 *)&net->a[1][u] * now;
    }
    logit[0] = net->c[0] + sum(total0);
    logit[1] = net->c[1] + sum(total1);
}

// Take steps first ... first + n - 1 of the student, each on the example of its number in the stream that the key names. A
// label is what the teacher answers, if it is asked, or else the true class but at the exceptions. Returns whether the
// network still gives numbers.
int EXPORT(train)(int first, int n, float rate, int ask_teacher, u64 key0, u64 key1) {
    Network *net = &networks[0];
    Stream stream = opened(key0, key1);
    v4 x[MOST_FOURS], z[MOST_UNITS / 4], aside[MOST_UNITS / 4];
    float logit[2] = {0};
    for (int t = first; t < first + n; t++) {
        int label = example(&stream, t, x);
        if (ask_teacher) {
            forward(&networks[1], x, aside, logit);
            label = logit[1] > logit[0];
        } else {
            label ^= exceptions[t / 8] >> (7 - t % 8) & 1;
        }
        forward(net, x, z, logit);
        float p = 1 / (1 + exponential(logit[0] - logit[1])); // softmax of two, of class 1
        float step1 = -rate * (p - label), step0 = -step1;    // minus the rate times the gradient of the logits
        net->c[0] += step0;
        net->c[1] += step1;
        for (int u = 0; u < net->n_units; u++) {
            float now = ((float *)z)[u];
            if (!(now > 0)) continue; // a unit at rest learns nothing
            float slope = step0 * net->a[0][u] + step1 * net->a[1][u];
            net->a[0][u] += step0 * now;
            net->a[1][u] += step1 * now;
            v4 *w = net->w + u * n_fours;
            for (int i = 0; i < n_fours; i++) w[i] += slope * x[i];
        }
    }
    return logit[0] - logit[1] - (logit[0] - logit[1]) == 0;
}

// Return the share of the stream's first n examples that a network classifies rightly, or -1 if it gives no numbers.
double EXPORT(accuracy)(int which, int n, u64 key0, u64 key1) {
    Stream stream = opened(key0, key1);
    v4 x[MOST_FOURS], z[MOST_UNITS / 4];
    float logit[2];
    int right = 0;
    for (int i = 0; i < n; i++) {
        int class = example(&stream, i, x);
        forward(&networks[which], x, z, logit);
        if (logit[0] - logit[1] - (logit[0] - logit[1]) != 0) return -1;
        right += class == (logit[1] > logit[0]);
    }
    return (double)right / n;
}
