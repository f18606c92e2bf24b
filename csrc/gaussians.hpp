// Gaussians with matrices: log-densities of observations, and weighted moments of these. All sums are in double.
#pragma once

#include <cmath>
#include <numbers>

#include "chain.hpp"
#include "operations.hpp"
#include "parallel.hpp"
#include "product.hpp"

namespace semihmm {

// What makes m Gaussians standard ones: the inverse W of each Cholesky factor L. Gaussians lie side by side, in whole vectors.
struct Whitening {
    int64_t features, ld;
    Buffer<double> mean, white, bias;

    // mean (m, features) and factor (m, features, features): below the diagonal L, on it the logarithms of L's.
    template <class F>
    Whitening(int64_t m, int64_t features, const F* means, const F* factor)
        : features(features), ld(padded<double>(m)), mean(features * ld), white(features * features * ld), bias(ld) {
        for (int64_t g = 0; g < m; ++g, means += features, factor += features * features) {
            double volume = static_cast<double>(features) / 2 * std::log(2 * std::numbers::pi);
            for (int64_t i = 0; i < features; ++i) {
                const F* const row = factor + i * features;
                const double size = std::exp(-static_cast<double>(row[i]));
                volume += row[i];
                mean[i * ld + g] = means[i];
                for (int64_t j = 0; j < i; ++j) {
                    double sum = 0;
                    for (int64_t k = j; k < i; ++k) sum += row[k] * white[(k * features + j) * ld + g];
                    white[(i * features + j) * ld + g] = -sum * size;
                }
                white[(i * features + i) * ld + g] = size;
            }
            bias[g] = -volume;
        }
    }
};

// The Cholesky factor of a matrix, below the diagonal and on it; false where the matrix, less so much of the unit matrix, has none.
inline bool cholesky(int64_t size, const double* matrix, double less, double* out) {
    for (int64_t i = 0; i < size; ++i)
        for (int64_t j = 0; j <= i; ++j) {
            const double *const a = out + i * size, *const b = out + j * size;
            double left = matrix[i * size + j] - (i == j ? less : 0.0);
            for (int64_t k = 0; k < j; ++k) left -= a[k] * b[k];
            if (i == j && !(left > 0)) return false;
            out[i * size + j] = i == j ? std::sqrt(left) : left / b[j];
        }
    return true;
}

// Of matrices (m, features, features), with the logarithms of the diagonals; false where one has an eigenvalue that is not above
// the floor.
inline bool factors(int64_t m, int64_t features, const double* matrix, double floor, double* out) {
    for (int64_t g = 0; g < m; ++g, matrix += features * features, out += features * features) {
        if (!cholesky(features, matrix, floor, out) || !cholesky(features, matrix, 0.0, out)) return false;
        for (int64_t i = 0; i < features; ++i) out[i * features + i] = std::log(out[i * features + i]);
    }
    return true;
}

// Adds to `sum` the squares of some entries of W (x - mean), from the i-th on: `apart` is x - mean, rows side by side.
template <int rows, int entries>
[[gnu::always_inline]] inline void add_squares(const Whitening& by, int64_t i, int64_t g, const double* apart, typename Lanes<double>::type* sum) {
    using L = Lanes<double>;
    typename L::type z[entries][rows] = {};
    const double* white = by.white.get() + i * by.features * by.ld + g;
    for (int64_t j = 0; j < i + entries; ++j, white += by.ld)
#pragma GCC unroll 8
        for (int e = 0; e < entries; ++e) {
            const auto w = L::load(white + e * by.features * by.ld);
#pragma GCC unroll 8
            for (int r = 0; r < rows; ++r) z[e][r] += w * L::load(apart + (j * rows + r) * L::width);
        }
#pragma GCC unroll 8
    for (int e = 0; e < entries; ++e)
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) sum[r] += z[e][r] * z[e][r];
}

// All Gaussians for so many rows; `apart` is workspace of rows vectors for each feature.
template <class F, int rows>
inline void density_rows(const Whitening& by, const F* x, int64_t m, F* out, double* apart) {
    using L = Lanes<double>;
    typedef F Narrow __attribute__((vector_size(L::width * sizeof(F))));
    for (int64_t g = 0; g < m; g += L::width) {
        for (int64_t j = 0; j < by.features; ++j)
            for (int r = 0; r < rows; ++r)
                L::store(apart + (j * rows + r) * L::width, static_cast<double>(x[r * by.features + j]) - L::load(by.mean.get() + j * by.ld + g));
        typename L::type sum[rows] = {};
        int64_t i = 0;
        for (; i + 2 <= by.features; i += 2) add_squares<rows, 2>(by, i, g, apart, sum);
        if (i < by.features) add_squares<rows, 1>(by, i, g, apart, sum);
        for (int r = 0; r < rows; ++r) {
            const auto density = __builtin_convertvector(L::load(by.bias.get() + g) - sum[r] / 2, Narrow);
            F* const to = out + r * m + g;
            g + L::width <= m ? std::memcpy(to, &density, sizeof density) : std::memcpy(to, &density, static_cast<std::size_t>(m - g) * sizeof(F));
        }
    }
}

// Log-densities (n, m) of x (n, features).
template <class F>
void gaussian_densities(int64_t n, int64_t m, int64_t features, const F* x, const F* mean, const F* factor, F* out, int64_t threads) {
    constexpr int rows = vector_registers == 32 ? 8 : 4;
    const Whitening by(m, features, mean, factor);
    const int64_t blocks = (n + rows - 1) / rows;
    for_each_part(blocks, std::min(blocks, kParts), threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
        Pulse pulse;
        Buffer<double> apart(features * rows * Lanes<double>::width);
        for (int64_t i = first * rows; i < std::min(last * rows, n); i += rows) {
            pulse(rows * m * features * features / 2);
            if (i + rows <= n) {
                density_rows<F, rows>(by, x + i * features, m, out + i * m, apart.get());
            } else {
                for (int64_t r = i; r < n; ++r) density_rows<F, 1>(by, x + r * features, m, out + r * m, apart.get());
            }
        }
    });
}

// So many rows of numbers, each written to a row of whole vectors, less the numbers of `origin`. Before `end` all may be read;
// what fills a row up may be anything.
template <class F>
inline void spread_rows(int64_t count, int64_t columns, const F* from, const F* end, const double* origin, double* to, int64_t ld) {
    using L = Lanes<double>;
    typedef F Narrow __attribute__((vector_size(L::width * sizeof(F))));
    for (int64_t k = 0; k < count; ++k, from += columns, to += ld)
        for (int64_t j = 0; j < columns; j += L::width) {
            if (end - (from + j) >= L::width) {
                Narrow some;
                std::memcpy(&some, from + j, sizeof some);
                L::store(to + j, __builtin_convertvector(some, typename L::type) - L::load(origin + j));
            } else {
                for (int64_t i = j; i < columns; ++i) to[i] = static_cast<double>(from[i]) - origin[i];
            }
        }
}

// A vector of moments: the features from `from` on, times the one called `by`, or as they are.
struct Column {
    int64_t from, by;
};

// Adds to `sums` (4, columns in all, vectors) the shares of 4 Gaussians times some columns of so many rows `y`.
template <bool mixed, int columns>
inline void add_moments(int64_t count, const double* share, int64_t by_share, const double* y, int64_t by_row, const Column* column, double* sums, int64_t by_sum) {
    using L = Lanes<double>;
    constexpr int groups = 4;
    typename L::type sum[groups][columns] = {};
    for (int64_t k = 0; k < count; ++k, share += by_share, y += by_row)
#pragma GCC unroll 8
        for (int c = 0; c < columns; ++c) {
            auto moment = L::load(y + column[c].from);
            if constexpr (mixed) moment *= y[column[c].by];
#pragma GCC unroll 8
            for (int g = 0; g < groups; ++g) sum[g][c] += share[g] * moment;
        }
    for (int g = 0; g < groups; ++g)
        for (int c = 0; c < columns; ++c) {
            double* const to = sums + g * by_sum + c * L::width;
            L::store(to, L::load(to) + sum[g][c]);
        }
}

// Sums over n of share (n, m), and of that times y and times products of y with itself, where y is x (n, features) about the
// centre: (m, 1 + features + squares), squares a matrix if features are mixed.
template <class F, bool mixed>
void weighted_moments(int64_t n, int64_t m, int64_t features, const F* x, const F* share, const double* centre, double* out, int64_t threads) {
    using L = Lanes<double>;
    constexpr int64_t width = L::width, groups = 4, cached = 3 << 10, most = 1 << 22;  // numbers of rows and shares; of sums
    constexpr int together = vector_registers == 32 ? 4 : 2;
    // A row is y, a 1 and whatever fills the vector; behind that the squares of y, unless features are mixed.
    const int64_t half = padded<double>(features + 1), ld = mixed ? half : 2 * half, by_share = padded<double>((m + groups - 1) / groups * groups);
    std::vector<Column> columns;
    if constexpr (mixed) {
        for (int64_t i = 0; i <= features; ++i)
            for (int64_t j = 0; j <= i; j += width) columns.push_back({j, i});
    } else {
        for (int64_t j = 0; j < ld; j += width) columns.push_back({j, 0});
    }
    const auto count_of = static_cast<int64_t>(columns.size());
    const int64_t by_sum = count_of * width, size = by_share * by_sum;
    const int64_t block = std::clamp<int64_t>(cached / (ld + by_share), 8, 128), parts = std::clamp<int64_t>(std::min(n / block, most / size), 1, kParts);
    Buffer<double> sums(parts * size), origin(half), none(by_share);
    std::copy_n(centre, features, origin.get());
    for_each_part(n, parts, threads, [&](int64_t part, int64_t first, int64_t last, int64_t) {
        Pulse pulse;
        Buffer<double> rows(block * ld), shares(block * by_share);
        for (int64_t at = first; at < last; at += block) {
            const int64_t count = std::min(block, last - at);
            pulse(count * size);
            spread_rows(count, m, share + at * m, share + n * m, none.get(), shares.get(), by_share);
            spread_rows(count, features, x + at * features, x + n * features, origin.get(), rows.get(), ld);
            for (int64_t k = 0; k < count; ++k) rows[k * ld + features] = 1;
            if constexpr (!mixed)
                for (int64_t k = 0; k < count * ld; k += ld)
                    for (int64_t j = 0; j < half; j += width) L::store(rows.get() + k + half + j, L::load(rows.get() + k + j) * L::load(rows.get() + k + j));
            for (int64_t g = 0; g < m; g += groups)
                for (int64_t c = 0, now; c < count_of; c += now) {
                    now = count_of - c >= together ? together : count_of - c >= 2 ? 2 : 1;
                    const auto add = now == together ? add_moments<mixed, together> : now == 2 ? add_moments<mixed, 2> : add_moments<mixed, 1>;
                    add(count, shares.get() + g, by_share, rows.get(), ld, columns.data() + c, sums.get() + part * size + g * by_sum + c * width, by_sum);
                }
        }
    });
    for (int64_t part = 1; part < parts; ++part)
        for (int64_t i = 0; i < size; ++i) sums[i] += sums[part * size + i];
    for (int64_t g = 0; g < m; ++g) {
        const double* from = sums.get() + g * by_sum;
        double* const second = out + 1 + features;
        if constexpr (mixed) {
            for (int64_t i = 0; i < features; from += padded<double>(++i))
                for (int64_t j = 0; j <= i; ++j) second[i * features + j] = second[j * features + i] = from[j];
        } else {
            std::copy_n(from + half, features, second);
        }
        *out = from[features];
        std::copy_n(from, features, out + 1);
        out = second + (mixed ? features * features : features);
    }
}

}  // namespace semihmm
