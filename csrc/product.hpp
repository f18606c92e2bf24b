// Row vectors times a matrix, in the (+, *) and the (max, +) semiring; sums of outer products; transposition.
//
// A matrix is w[i][j], row-major, i the index that is summed over. Its leading dimension `ld` is a multiple of
// Lanes<F>::width, and the columns beyond the last real one hold zeros (-inf for multiply_max): every kernel works on
// whole vectors, and writes ld elements of each result. Data aligned to 64 bytes is faster, and need not be.

#pragma once

#include <cstdint>

#include "lanes.hpp"

namespace semihmm {

#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int vector_registers = 32;
#else
inline constexpr int vector_registers = 16;
#endif

// 1, in a way that the compiler cannot see.
template <class F>
inline typename Lanes<F>::type opaque_one() {
    auto one = Lanes<F>::broadcast(F(1));
#if defined(__AVX512F__)
    asm("" : "+v"(one));
#elif defined(__FMA__)
    asm("" : "+x"(one));
#endif
    return one;
}

template <class F>
struct PlusTimes {
    using V = typename Lanes<F>::type;
    static constexpr F zero = F(0);
    template <class A>
    static V step(V total, A a, V b, V) { return total + a * b; }
    template <class A, class B>
    static B step(B total, A a, B b) { return total + a * b; }
    static V plus(V a, V b) { return a + b; }
};

template <class F>
struct MaxPlus {
    using V = typename Lanes<F>::type;
    static constexpr F zero = -infinity<F>;
    // a + b as a fused multiply-add: where those have pipes of their own, as on Zen, they do not wait for the maxima.
    template <class A>
    static V step(V total, A a, V b, V one) { return Lanes<F>::max(a * one + b, total); }
    template <class A, class B>
    static B step(B total, A a, B b) {
        const B x = a + b;
        return x > total ? x : total;
    }
    static V plus(V a, V b) { return Lanes<F>::max(a, b); }
};

// q[r][0 .. columns vectors) for `rows` rows. Each element is summed in `chains` interleaved parts: enough independent
// sums hide the latency of an addition where there are few columns.
template <class S, int rows, int columns, int chains, class F>
inline void multiply_block(const F* const* p, std::int64_t inner, const F* w, std::int64_t ld, F* const* q,
                           std::int64_t offset) {
    using V = typename Lanes<F>::type;
    constexpr int width = Lanes<F>::width;
    const V one = opaque_one<F>();
    V total[chains][rows][columns];
    const F* row[rows];
#pragma GCC unroll 32
    for (int r = 0; r < rows; ++r) {
        row[r] = p[r];
#pragma GCC unroll 32
        for (int c = 0; c < columns; ++c) {
#pragma GCC unroll 32
            for (int u = 0; u < chains; ++u) total[u][r][c] = Lanes<F>::broadcast(S::zero);
        }
    }
    const F* from = w + offset;
    std::int64_t i = 0;
    for (; i + chains <= inner; i += chains) {
#pragma GCC unroll 32
        for (int u = 0; u < chains; ++u) {
            V b[columns];
#pragma GCC unroll 32
            for (int c = 0; c < columns; ++c) b[c] = Lanes<F>::load(from + c * width);
#pragma GCC unroll 32
            for (int r = 0; r < rows; ++r) {
                const F a = row[r][i + u];
#pragma GCC unroll 32
                for (int c = 0; c < columns; ++c) total[u][r][c] = S::step(total[u][r][c], a, b[c], one);
            }
            from += ld;
        }
    }
    if constexpr (chains > 1) {
        for (; i < inner; ++i, from += ld) {
#pragma GCC unroll 32
            for (int c = 0; c < columns; ++c) {
                const V b = Lanes<F>::load(from + c * width);
#pragma GCC unroll 32
                for (int r = 0; r < rows; ++r) total[0][r][c] = S::step(total[0][r][c], row[r][i], b, one);
            }
        }
    }
#pragma GCC unroll 32
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 32
        for (int c = 0; c < columns; ++c) {
#pragma GCC unroll 32
            for (int half = chains / 2; half > 0; half /= 2) {
#pragma GCC unroll 32
                for (int u = 0; u < half; ++u) total[u][r][c] = S::plus(total[u][r][c], total[u + half][r][c]);
            }
            Lanes<F>::store(q[r] + offset + c * width, total[0][r][c]);
        }
    }
}

// All columns from `offset` on: blocks of `columns` vectors, then smaller ones for what is left.
template <class S, int rows, int columns, int chains, class F>
inline void multiply_columns(const F* const* p, std::int64_t inner, const F* w, std::int64_t ld, F* const* q,
                             std::int64_t offset) {
    constexpr int step = columns * Lanes<F>::width;
    for (; offset + step <= ld; offset += step) {
        multiply_block<S, rows, columns, chains>(p, inner, w, ld, q, offset);
    }
    if constexpr (columns > 1) {
        constexpr int fewer = columns == 3 ? 2 : columns / 2;
        if (offset < ld) multiply_columns<S, rows, fewer, chains>(p, inner, w, ld, q, offset);
    }
}

// Vectors of columns in a block: so many that the sums, one vector of each and one of p fill the registers without
// spilling, and that the usual sizes are multiples. Measured on Zen 5.
constexpr int block_columns(int rows, int chains) {
    constexpr int wide[] = {0, 16, 8, 8, 4, 4, 4, 3, 3}, narrow[] = {0, 8, 6, 4, 3};
    constexpr int wide_twice[] = {0, 4, 4, 4, 2}, narrow_twice[] = {0, 4, 2};
    if (chains == 4) return 1;
    if (chains == 2) return vector_registers == 32 ? wide_twice[rows] : narrow_twice[rows];
    return vector_registers == 32 ? wide[rows] : narrow[rows];
}

template <class S, int chains, int most, int rows, class F>
inline void multiply_some(int count, const F* const* p, std::int64_t inner, const F* w, std::int64_t ld, F* const* q) {
    if (count == rows) {
        multiply_columns<S, rows, block_columns(rows, chains), chains>(p, inner, w, ld, q, 0);
    } else if constexpr (rows > 1) {
        multiply_some<S, chains, most, rows - 1>(count, p, inner, w, ld, q);
    }
}

template <class S, int chains, int most, class F>
inline void multiply_rows(int rows, const F* const* p, std::int64_t inner, const F* w, std::int64_t ld, F* const* q) {
    while (rows > 0) {
        const int now = rows < most ? rows : most;
        multiply_some<S, chains, most, most>(now, p, inner, w, ld, q);
        p += now, q += now, rows -= now;
    }
}

// The number of chains goes by the size of w alone, so that a row's bits depend on nothing but that row and w.
template <class S, class F>
inline void multiply_with(int rows, const F* const* p, std::int64_t inner, const F* w, std::int64_t ld, F* const* q) {
    const std::int64_t vectors = ld / Lanes<F>::width;
    if (vectors == 1) {
        multiply_rows<S, 4, vector_registers == 32 ? 4 : 2>(rows, p, inner, w, ld, q);
    } else if (vectors <= 4) {
        multiply_rows<S, 2, vector_registers == 32 ? 4 : 2>(rows, p, inner, w, ld, q);
    } else {
        multiply_rows<S, 1, vector_registers == 32 ? 8 : 4>(rows, p, inner, w, ld, q);
    }
}

// q[r][j] = sum over i of p[r][i] w[i][j], for j < ld. No q[r] may overlap a p[r] or w. The bits of q[r] depend on
// p[r], w, inner and ld, and not on the other rows or on how many there are. 8 rows at a time are the fastest.
template <class F>
void multiply(int rows, const F* const* p, std::int64_t inner, const F* w, std::int64_t ld, F* const* q) {
    multiply_with<PlusTimes<F>>(rows, p, inner, w, ld, q);
}

// q[r][j] = maximum over i of p[r][i] + w[i][j], for j < ld; -inf if inner is 0. As for `multiply`; not for NaN.
template <class F>
void multiply_max(int rows, const F* const* p, std::int64_t inner, const F* w, std::int64_t ld, F* const* q) {
    multiply_with<MaxPlus<F>>(rows, p, inner, w, ld, q);
}

// ---- a matrix read once, from both sides ----------------------------------------------------------------------------

// A matrix in panels of a few rows: the vectors of a panel's rows lie side by side, so that all is read in one piece.
template <class F>
inline constexpr int panel = Lanes<F>::width < 4 ? Lanes<F>::width : 4;

template <class F>
inline std::int64_t panels_size(std::int64_t inner, std::int64_t ld) {
    return (inner + panel<F> - 1) / panel<F> * panel<F> * ld;
}
template <class F>
inline void to_panels(std::int64_t inner, const F* w, std::int64_t ld, F* to) {
    constexpr int width = Lanes<F>::width;
    for (std::int64_t i = 0; i < inner; i += panel<F>) {
        for (std::int64_t j = 0; j < ld; j += width) {
            for (int r = 0; r < panel<F>; ++r, to += width)
                Lanes<F>::store(to, i + r < inner ? Lanes<F>::load(w + (i + r) * ld + j) : typename Lanes<F>::type{});
        }
    }
}

// q[r][j] = sum over i of p[r][i] w[i][j], for j < ld, and c[r][i] = sum over j of w[i][j] y[r][j], for i < inner rounded
// up to whole panels, in which p must be finite.
template <int rows, class F>
void multiply_both(const F* const* p, const F* const* y, std::int64_t inner, const F* w, std::int64_t ld,
                          F* const* q, F* const* c) {
    using L = Lanes<F>;
    using V = typename L::type;
    constexpr int height = panel<F>;
    const F *from[rows], *with[rows];
    F *to[rows], *dots[rows];
#pragma GCC unroll 32
    for (int r = 0; r < rows; ++r) {
        from[r] = p[r], with[r] = y[r], to[r] = q[r], dots[r] = c[r];
        for (std::int64_t j = 0; j < ld; j += L::width) L::store(to[r] + j, V{});
    }
    for (std::int64_t i = 0; i < inner; i += height) {
        V dot[rows][height] = {}, by[rows][height];
#pragma GCC unroll 32
        for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 32
            for (int h = 0; h < height; ++h) by[r][h] = L::broadcast(from[r][i + h]);
        }
        for (std::int64_t j = 0; j < ld; j += L::width) {
            V sum[rows][2], right[rows];  // two sums, so that additions wait less for each other
#pragma GCC unroll 32
            for (int r = 0; r < rows; ++r) sum[r][0] = L::load(to[r] + j), sum[r][1] = V{}, right[r] = L::load(with[r] + j);
#pragma GCC unroll 32
            for (int h = 0; h < height; ++h, w += L::width) {
                const V x = L::load(w);
#pragma GCC unroll 32
                for (int r = 0; r < rows; ++r) {
                    sum[r][h % 2] += by[r][h] * x;
                    dot[r][h] += right[r] * x;
                }
            }
#pragma GCC unroll 32
            for (int r = 0; r < rows; ++r) L::store(to[r] + j, sum[r][0] + sum[r][1]);
        }
#pragma GCC unroll 32
        for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 32
            for (int h = 0; h < height; ++h) dots[r][i + h] = L::sum(dot[r][h]);
        }
    }
}

// ---- outer products -------------------------------------------------------------------------------------------------

template <int rows, int columns, class F>
inline void outer_block(std::int64_t n, const F* const* a, const F* const* y, std::int64_t i, std::int64_t offset,
                        std::int64_t ld, F* g) {
    using V = typename Lanes<F>::type;
    constexpr int width = Lanes<F>::width;
    V total[rows][columns] = {};
    for (std::int64_t k = 0; k < n; ++k) {
        const F* from = y[k] + offset;
        const F* by = a[k] + i;
        V b[columns];
#pragma GCC unroll 32
        for (int c = 0; c < columns; ++c) b[c] = Lanes<F>::load(from + c * width);
#pragma GCC unroll 32
        for (int r = 0; r < rows; ++r) {
            const F value = by[r];
#pragma GCC unroll 32
            for (int c = 0; c < columns; ++c) total[r][c] += value * b[c];
        }
    }
#pragma GCC unroll 32
    for (int r = 0; r < rows; ++r) {
        F* to = g + (i + r) * ld + offset;
#pragma GCC unroll 32
        for (int c = 0; c < columns; ++c) Lanes<F>::store(to + c * width, Lanes<F>::load(to + c * width) + total[r][c]);
    }
}

template <int rows, int columns, class F>
inline void outer_columns(std::int64_t n, const F* const* a, const F* const* y, std::int64_t i, std::int64_t offset,
                          std::int64_t ld, F* g) {
    constexpr int step = columns * Lanes<F>::width;
    for (; offset + step <= ld; offset += step) outer_block<rows, columns>(n, a, y, i, offset, ld, g);
    if constexpr (columns > 1) {
        if (offset < ld) outer_columns<rows, columns / 2>(n, a, y, i, offset, ld, g);
    }
}

// g[i][j] += sum over k < n of a[k][i] y[k][j], for i < inner and j < ld: g is read and written once. Neither a nor y
// may overlap g.
template <class F>
void add_outer(std::int64_t n, const F* const* a, const F* const* y, std::int64_t inner, std::int64_t ld, F* g) {
    constexpr int rows = vector_registers == 32 ? 8 : 4;
    constexpr int columns = 2;
    std::int64_t i = 0;
    for (; i + rows <= inner; i += rows) outer_columns<rows, columns>(n, a, y, i, 0, ld, g);
    for (; i + 2 <= inner; i += 2) outer_columns<2, columns * 2>(n, a, y, i, 0, ld, g);
    for (; i < inner; ++i) outer_columns<1, columns * 2>(n, a, y, i, 0, ld, g);
}

// ---- transposition --------------------------------------------------------------------------------------------------

// The smallest square whose rows are vectors on every machine. Each round interleaves the first half of the rows with
// the second; log2(size) rounds are a transposition.
template <class F, class From, class To>
inline void transpose_square(const From& from, const To& to) {
    constexpr int size = 16 / static_cast<int>(sizeof(F));
    typedef F Row __attribute__((vector_size(16)));
    Row x[size];
    for (int r = 0; r < size; ++r) std::memcpy(&x[r], from(r), sizeof(Row));
    for (int round = 1; round < size; round *= 2) {
        Row y[size];
        for (int r = 0; r < size / 2; ++r) {
            if constexpr (size == 4) {
                y[2 * r] = __builtin_shufflevector(x[r], x[r + 2], 0, 4, 1, 5);
                y[2 * r + 1] = __builtin_shufflevector(x[r], x[r + 2], 2, 6, 3, 7);
            } else {
                y[0] = __builtin_shufflevector(x[0], x[1], 0, 2);
                y[1] = __builtin_shufflevector(x[0], x[1], 1, 3);
            }
        }
        for (int r = 0; r < size; ++r) x[r] = y[r];
    }
    for (int r = 0; r < size; ++r) std::memcpy(to(r), &x[r], sizeof(Row));
}

template <class F>
inline void transpose_square(const F* a, std::int64_t lda, F* b, std::int64_t ldb) {
    transpose_square<F>([=](int r) { return a + r * lda; }, [=](int r) { return b + r * ldb; });
}

// to[i * stride + r] = row[r][i], for r < stride and i < n, both multiples of 16 bytes' numbers.
template <class F>
inline void interleave(std::int64_t stride, const F* const* row, std::int64_t n, F* to) {
    constexpr int size = 16 / static_cast<int>(sizeof(F));
    for (std::int64_t r = 0; r < stride; r += size)
        for (std::int64_t i = 0; i < n; i += size)
            transpose_square<F>([=](int u) { return row[r + u] + i; }, [=](int u) { return to + (i + u) * stride + r; });
}

// b[j][i] = a[i][j] for i < rows, j < columns. The two may not overlap; nothing else of b is written.
template <class F>
void transpose(std::int64_t rows, std::int64_t columns, const F* a, std::int64_t lda, F* b, std::int64_t ldb) {
    constexpr std::int64_t tile = 16, size = 16 / static_cast<int>(sizeof(F));  // a tile's lines stay in the cache
    const std::int64_t whole_rows = rows / size * size, whole_columns = columns / size * size;
    for (std::int64_t i0 = 0; i0 < whole_rows; i0 += tile) {
        const std::int64_t i1 = i0 + tile < whole_rows ? i0 + tile : whole_rows;
        for (std::int64_t j0 = 0; j0 < whole_columns; j0 += tile) {
            const std::int64_t j1 = j0 + tile < whole_columns ? j0 + tile : whole_columns;
            for (std::int64_t j = j0; j < j1; j += size) {
                for (std::int64_t i = i0; i < i1; i += size) {
                    transpose_square(a + i * lda + j, lda, b + j * ldb + i, ldb);
                }
            }
        }
    }
    for (std::int64_t i = 0; i < rows; ++i) {  // the edges
        for (std::int64_t j = i < whole_rows ? whole_columns : 0; j < columns; ++j) b[j * ldb + i] = a[i * lda + j];
    }
}

// ---- compiled once for each type, in products.cc: they are large, and a call of one takes much longer than to call it ----------

#define SEMIHMM_PRODUCTS(extern, F)                                                                                                 \
    extern template void multiply<F>(int, const F* const*, std::int64_t, const F*, std::int64_t, F* const*);                        \
    extern template void multiply_max<F>(int, const F* const*, std::int64_t, const F*, std::int64_t, F* const*);                    \
    extern template void multiply_both<1, F>(const F* const*, const F* const*, std::int64_t, const F*, std::int64_t, F* const*, F* const*); \
    extern template void multiply_both<2, F>(const F* const*, const F* const*, std::int64_t, const F*, std::int64_t, F* const*, F* const*); \
    extern template void add_outer<F>(std::int64_t, const F* const*, const F* const*, std::int64_t, std::int64_t, F*);              \
    extern template void transpose<F>(std::int64_t, std::int64_t, const F*, std::int64_t, F*, std::int64_t);
SEMIHMM_PRODUCTS(extern, float)
SEMIHMM_PRODUCTS(extern, double)

}  // namespace semihmm
