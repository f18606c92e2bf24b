// Squared Euclidean distances between all items of two sequences, as sums of squared differences: nothing cancels.
#pragma once

#include "call.hpp"

namespace semihmm {

// So many rows by so many vectors of distances, summed up in registers.
template <class F, int rows, int vectors>
inline void distance_tile(int64_t features, const F* x, const F* y, int64_t ld, F* out, int64_t by_row) {
    using L = Lanes<F>;
    typename L::type sum[rows][vectors] = {};
    for (int64_t f = 0; f < features; ++f)
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < vectors; ++c) {
                const auto apart = L::load(y + f * ld + c * L::width) - x[r * features + f];
                sum[r][c] += apart * apart;
            }
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < vectors; ++c) L::store(out + r * by_row + c * L::width, sum[r][c]);
}

// x (batch, n, features) and y (batch, m, features) give out (batch, n, m), each one array.
template <class F>
void squared_distances(int64_t batch, int64_t n, int64_t m, int64_t features, const F* x, const F* y, F* out, int64_t threads) {
    using L = Lanes<F>;
    constexpr int rows = 4, vectors = vector_bytes >= 64 ? 4 : 2, wide = vectors * L::width;
    const int64_t ld = (m + wide - 1) / wide * wide, blocks = (n + rows - 1) / rows;
    Buffer<F> turned(batch * features * ld);  // features by items
    for (int64_t b = 0; b < batch; ++b) transpose<F>(m, features, y + b * m * features, features, turned.get() + b * features * ld, ld);
    for_each_part(batch * blocks, std::min<int64_t>(batch * blocks, 16), threads, [&](int64_t, int64_t first, int64_t last) {
        Buffer<F> edge(rows * wide);
        for (int64_t at = first; at < last; ++at) {
            const int64_t b = at / blocks, i = at % blocks * rows, count = std::min<int64_t>(rows, n - i);
            const F *from = x + (b * n + i) * features, *to = turned.get() + b * features * ld;
            F* line = out + (b * n + i) * m;
            const auto tile = [&](int64_t j, F* into, int64_t by_row) {
                if (count == rows) return distance_tile<F, rows, vectors>(features, from, to + j, ld, into, by_row);
                for (int64_t r = 0; r < count; ++r) distance_tile<F, 1, vectors>(features, from + r * features, to + j, ld, into + r * by_row, by_row);
            };
            int64_t j = 0;
            for (; j + wide <= m; j += wide) tile(j, line + j, m);
            if (j == m) continue;
            tile(j, edge.get(), wide);
            for (int64_t r = 0; r < count; ++r) std::copy_n(edge.get() + r * wide, m - j, line + r * m + j);
        }
    });
}

}  // namespace semihmm
