// Squared distances between all items of two sequences, as sums of squared differences: nothing cancels.
#pragma once

#include <cmath>
#include <numbers>

#include "chain.hpp"
#include "parallel.hpp"
#include "product.hpp"

namespace semihmm {

// What x is compared with: features by items, whole vectors a feature. `weight` and `bias` may be missing.
template <class F>
struct Items {
    const F *y, *weight, *bias;
    int64_t ld;
};

// bias + sum of weight * (x - y)^2 for so many rows by so many vectors, of which `count` numbers a row are written.
template <class F, bool weighted, int rows, int vectors>
inline void distance_tile(int64_t features, const F* x, const Items<F>& items, int64_t j, F* out, int64_t by_row, int64_t count) {
    using L = Lanes<F>;
    typename L::type sum[rows][vectors];
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < vectors; ++c) sum[r][c] = weighted ? L::load(items.bias + j + c * L::width) : L::broadcast(0);
    for (int64_t f = 0; f < features; ++f)
#pragma GCC unroll 4
        for (int c = 0; c < vectors; ++c) {
            const auto y = L::load(items.y + f * items.ld + j + c * L::width);
            const auto weight = weighted ? L::load(items.weight + f * items.ld + j + c * L::width) : y;
#pragma GCC unroll 4
            for (int r = 0; r < rows; ++r) {
                const auto apart = y - x[r * features + f];
                sum[r][c] += apart * (weighted ? apart * weight : apart);
            }
        }
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < vectors; ++c) {
            F* to = out + r * by_row + c * L::width;
            const int64_t left = count - c * L::width;
            left < L::width ? L::store_part(to, left, sum[r][c]) : L::store(to, sum[r][c]);
        }
}

// All items for so many rows.
template <class F, bool weighted, int rows>
inline void distance_rows(int64_t features, const F* x, const Items<F>& items, int64_t m, F* out) {
    using L = Lanes<F>;
    constexpr int vectors = vector_bytes >= 64 ? 4 : 2, wide = vectors * L::width;
    int64_t j = 0;
    for (; j + wide <= m; j += wide) distance_tile<F, weighted, rows, vectors>(features, x, items, j, out + j, m, wide);
    for (; j < m; j += L::width) distance_tile<F, weighted, rows, 1>(features, x, items, j, out + j, m, m - j);
}

// The weights and biases that make log-densities of Gaussians: what is weighted is (x - mean)^2.
template <class F>
inline void densities(int64_t m, int64_t features, const F* log_variance, F* weight, F* bias) {
    for (int64_t i = 0; i < m * features; ++i) weight[i] = -log_variance[i];
    exp<F>(m * features, weight, weight);
    for (int64_t i = 0; i < m * features; ++i) weight[i] /= -2;
    for (int64_t j = 0; j < m; ++j) {
        double sum = static_cast<double>(features) * std::log(2 * std::numbers::pi);
        for (int64_t f = 0; f < features; ++f) sum += log_variance[j * features + f];
        bias[j] = static_cast<F>(sum / -2);
    }
}

// x (batch, n, features) and y (batch or 1, m, features) give out (batch, n, m), each one array. `weighted`: log-densities of
// Gaussians with means y, given their log-variances, of the shape of y.
template <class F, bool weighted>
void squared_distances(int64_t batch, int64_t n, int64_t m, int64_t features, const F* x, const F* y, bool shared, const F* log_variance,
                       F* out, int64_t threads) {
    constexpr int rows = 4;
    const int64_t ld = padded<F>(m), blocks = (n + rows - 1) / rows, sets = shared ? 1 : batch;
    Buffer<F> turned(sets * features * ld), weights(weighted ? sets * features * ld : 0), biases(weighted ? sets * ld : 0);
    Buffer<F> weight(weighted ? m * features : 0);
    for (int64_t b = 0; b < sets; ++b) {
        transpose<F>(m, features, y + b * m * features, features, turned.get() + b * features * ld, ld);
        if (!weighted) continue;
        densities(m, features, log_variance + b * m * features, weight.get(), biases.get() + b * ld);
        transpose<F>(m, features, weight.get(), features, weights.get() + b * features * ld, ld);
    }
    for_each_part(batch * blocks, std::min<int64_t>(batch * blocks, 16), threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
        Pulse pulse;
        for (int64_t at = first; at < last; ++at) {
            const int64_t b = at / blocks, i = at % blocks * rows, set = shared ? 0 : b;
            pulse(rows * m * features);
            const Items<F> items{turned.get() + set * features * ld, weights.get() + set * features * ld, biases.get() + set * ld, ld};
            const F* from = x + (b * n + i) * features;
            F* to = out + (b * n + i) * m;
            if (i + rows <= n) {
                distance_rows<F, weighted, rows>(features, from, items, m, to);
            } else {
                for (int64_t r = 0; r < n - i; ++r) distance_rows<F, weighted, 1>(features, from + r * features, items, m, to + r * m);
            }
        }
    });
}

}  // namespace semihmm
