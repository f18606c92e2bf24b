// Vectors over joint states times a matrix along one axis, in the (+, *) and the (max, +) semiring.
//
// A slot is (o, k, i): what the axes before have, this one, and those behind, of which `inner` joint states lie side by side:
//     to[o, r, i] = sum over k of from[o, k, i] * w[k, r]
// where the axis is coupled, w[o, k, i, r]. Lanes go along i; along r where there are no axes behind.
#pragma once

#include "chain.hpp"
#include "product.hpp"

namespace semihmm {

template <class F>
struct AxisProduct {
    using L = Lanes<F>;
    using V = typename L::type;
    int64_t outer, states, inner;
    bool coupled;  // its moves depend on the other axes

    int64_t slots() const { return outer * states * inner; }
    int64_t ld() const { return padded<F>(states); }
    // Of a table of weights: how many numbers, with as much behind them as a load may read; where one is; from k to the next.
    int64_t size() const { return (coupled ? slots() * states : states * ld()) + L::width; }
    int64_t place(int64_t o, int64_t k, int64_t r, int64_t i) const { return coupled ? ((o * states + k) * states + r) * inner + i : k * ld() + r; }
    int64_t step() const { return coupled ? states * inner : ld(); }
    // A slot as (o, k, i). There is memory for all slots, so 32 bits are enough, which are divided in half the time.
    struct Place {
        int64_t o, k, i;
    };
    Place parts(int64_t slot) const {
        const auto all = static_cast<uint32_t>(slot), by = static_cast<uint32_t>(inner), n = static_cast<uint32_t>(states);
        const uint32_t left = all / by, o = left / n;
        return {o, left - o * n, all - left * by};
    }
    // Whether one weight goes with all lanes.
    bool alone() const { return inner > 1 && !coupled; }

    // Calls give(o, k, i, r, number of the weight) for all weights as a leaf has them: [k][r], or coupled [o][k][i][r].
    template <class Give>
    void each_weight(const Give& give) const {
        const int64_t rows = coupled ? slots() : states;
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t r = 0; r < states; ++r)
                coupled ? give(row / (inner * states), row / inner % states, row % inner, r, row * states + r) : give(int64_t(0), row, int64_t(0), r, row * states + r);
    }
    // The slots behind a move that lie side by side, in runs: calls give(first of them, o, r, how many); r is 0 where they differ in it.
    template <class Give>
    void each_run(const Give& give) const {
        for (int64_t o = 0; o < outer; ++o)
            for (int64_t r = 0; r < (inner > 1 ? states : 1); ++r) give((o * states + r) * inner, o, r, inner > 1 ? inner : states);
    }

    // A vector, with a vector's width behind it that may be read, times a table.
    template <class Sums>
    void multiply(const F* from, const F* w, F* to) const {
        inner > 1 ? (coupled ? along_inner<Sums, true>(from, w, to) : along_inner<Sums, false>(from, w, to))
                  : (coupled ? along_states<Sums, true>(from, w, to) : along_states<Sums, false>(from, w, to));
    }
    // Of those slots alone that axes before and this one have moved to, from a vector of all (k, i): to[i].
    template <class Sums>
    void multiply_one(int64_t o, int64_t r, const F* from, const F* w, F* to) const {
        w += place(o, 0, r, 0);
        coupled ? inner_rows<Sums, true, 1>(from, w, to) : inner_rows<Sums, false, 1>(from, w, to);
    }
    // Adds what is before a move times what is after it, over `steps` of them whose vectors, readable as above, are so far apart:
    // as a table has its weights; where those go with all lanes, [k][r][lane].
    int64_t sums() const { return alone() ? states * states * L::width : size(); }
    void add_products(int64_t steps, int64_t apart, const F* before, const F* after, F* sums) const {
        if (!coupled) {
            int64_t at = 0;  // r if alone, else k
            for (; at + 4 <= states; at += 4) alone() ? add_along_inner<4>(steps, apart, at, before, after, sums) : add_along_states<4>(steps, apart, at, before, after, sums);
            for (; at < states; ++at) alone() ? add_along_inner<1>(steps, apart, at, before, after, sums) : add_along_states<1>(steps, apart, at, before, after, sums);
            return;
        }
        for (int64_t t = 0; t < steps; ++t, before += apart, after += apart)
            each_run([&](int64_t first, int64_t o, int64_t r, int64_t count) {
                for (int64_t k = 0; k < states; ++k) {
                    F* sum = sums + place(o, k, r, 0);
                    const F* x = before + (o * states + k) * inner;
                    for (int64_t j = 0; j < count; j += L::width) {
                        const V with = inner > 1 ? L::load(x + j) : L::broadcast(*x);
                        put(sum + j, count - j, L::load(sum + j) + with * L::load(after + first + j));
                    }
                }
            });
    }

  private:
    static void put(F* to, int64_t count, V x) { count >= L::width ? L::store(to, x) : L::store_part(to, count, x); }
    template <class Sums, bool by_row>
    void along_states(const F* from, const F* w, F* to) const {
        int64_t o = 0;
        for (; o + 4 <= outer; o += 4) rows_along_states<Sums, by_row, 4>(o, from, w, to);
        for (; o + 2 <= outer; o += 2) rows_along_states<Sums, by_row, 2>(o, from, w, to);
        for (; o < outer; ++o) rows_along_states<Sums, by_row, 1>(o, from, w, to);
    }
    template <class Sums, bool by_row, int rows>
    void rows_along_states(int64_t o, const F* from, const F* w, F* to) const {
        from += o * states, w += by_row ? o * states * states : 0, to += o * states;
        int64_t j = 0;
        for (; j + (kColumns<rows> - 1) * L::width < states; j += kColumns<rows> * L::width) tile_along_states<Sums, by_row, rows, kColumns<rows>>(j, from, w, to);
        for (; j < states; j += L::width) tile_along_states<Sums, by_row, rows, 1>(j, from, w, to);
    }
    // Sums enough that one need not wait for the one before.
    template <int rows>
    static constexpr int kColumns = rows == 4 ? 2 : 4;
    template <class Sums, bool by_row, int rows, int columns>
    void tile_along_states(int64_t j, const F* from, const F* w, F* to) const {
        const int64_t by = step(), row = by_row ? states * states : 0;
        const V one = opaque_one<F>();
        V sum[rows][columns];
        for (V(&in_row)[columns] : sum)
            for (V& s : in_row) s = L::broadcast(Sums::zero);
        for (int64_t k = 0; k < states; ++k)
#pragma GCC unroll 4
            for (int u = 0; u < rows; ++u) {
                const V x = L::broadcast(from[u * states + k]);
#pragma GCC unroll 4
                for (int c = 0; c < columns; ++c) sum[u][c] = Sums::step(sum[u][c], x, L::load(w + u * row + k * by + j + c * L::width), one);
            }
#pragma GCC unroll 4
        for (int u = 0; u < rows; ++u)
#pragma GCC unroll 4
            for (int c = 0; c < columns; ++c) put(to + u * states + j + c * L::width, states - j - c * L::width, sum[u][c]);
    }
    template <class Sums, bool by_lane>
    void along_inner(const F* from, const F* w, F* to) const {
        for (int64_t o = 0; o < outer; ++o) {
            int64_t r = 0;
            const F* x = from + o * states * inner;
            F* y = to + o * states * inner;
            for (; r + 4 <= states; r += 4) inner_rows<Sums, by_lane, 4>(x, w + place(o, 0, r, 0), y + r * inner);
            for (; r < states; ++r) inner_rows<Sums, by_lane, 1>(x, w + place(o, 0, r, 0), y + r * inner);
        }
    }
    template <class Sums, bool by_lane, int rows>
    void inner_rows(const F* from, const F* w, F* to) const {
        const int64_t by = step(), row = by_lane ? inner : 1;
        const V one = opaque_one<F>();
        for (int64_t j = 0; j < inner; j += L::width) {
            V sum[rows];
            for (V& s : sum) s = L::broadcast(Sums::zero);
            for (int64_t k = 0; k < states; ++k) {
                const V x = L::load(from + k * inner + j);
#pragma GCC unroll 4
                for (int u = 0; u < rows; ++u) {
                    const F* at = w + k * by + u * row;
                    sum[u] = Sums::step(sum[u], x, by_lane ? L::load(at + j) : L::broadcast(*at), one);
                }
            }
#pragma GCC unroll 4
            for (int u = 0; u < rows; ++u) put(to + u * inner + j, inner - j, sum[u]);
        }
    }
    template <int rows>
    void add_along_inner(int64_t steps, int64_t apart, int64_t r, const F* before, const F* after, F* sums) const {
        for (int64_t k = 0; k < states; ++k) {
            V sum[rows];
#pragma GCC unroll 4
            for (int u = 0; u < rows; ++u) sum[u] = L::load(sums + (k * states + r + u) * L::width);
            for (int64_t t = 0; t < steps; ++t)
                for (int64_t o = 0; o < outer; ++o) {
                    const F *x = before + t * apart + (o * states + k) * inner, *y = after + t * apart + (o * states + r) * inner;
                    for (int64_t j = 0; j < inner; j += L::width) {
                        const V with = inner - j >= L::width ? L::load(x + j) : L::load_part(x + j, inner - j, F(0));
#pragma GCC unroll 4
                        for (int u = 0; u < rows; ++u) sum[u] += with * L::load(y + u * inner + j);
                    }
                }
#pragma GCC unroll 4
            for (int u = 0; u < rows; ++u) L::store(sums + (k * states + r + u) * L::width, sum[u]);
        }
    }
    template <int rows>
    void add_along_states(int64_t steps, int64_t apart, int64_t k, const F* before, const F* after, F* sums) const {
        int64_t j = 0;
        for (; j + L::width < states; j += 2 * L::width) add_tile<rows, 2>(steps, apart, k, j, before, after, sums);
        for (; j < states; j += L::width) add_tile<rows, 1>(steps, apart, k, j, before, after, sums);
    }
    template <int rows, int columns>
    void add_tile(int64_t steps, int64_t apart, int64_t k, int64_t j, const F* before, const F* after, F* sums) const {
        V sum[rows][columns];
        F* at = sums + k * ld() + j;
#pragma GCC unroll 4
        for (int u = 0; u < rows; ++u)
#pragma GCC unroll 2
            for (int c = 0; c < columns; ++c) sum[u][c] = L::load(at + u * ld() + c * L::width);
        for (int64_t t = 0; t < steps; ++t)
            for (int64_t o = 0; o < outer; ++o) {
                const F *x = before + t * apart + o * states + k, *y = after + t * apart + o * states + j;
#pragma GCC unroll 2
                for (int c = 0; c < columns; ++c) {
                    const V with = L::load(y + c * L::width);
#pragma GCC unroll 4
                    for (int u = 0; u < rows; ++u) sum[u][c] += x[u] * with;
                }
            }
#pragma GCC unroll 4
        for (int u = 0; u < rows; ++u)
#pragma GCC unroll 2
            for (int c = 0; c < columns; ++c) L::store(at + u * ld() + c * L::width, sum[u][c]);
    }
};

}  // namespace semihmm
