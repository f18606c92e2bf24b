// Cells that are reached from their left, from above and from the corner between, in tiles of rows: forwards, in Max and Log.
//
// A tile is a few vectors high. Step t of it is one short anti-diagonal, whose lanes are the rows, the last one first, so
// that a step is a few shuffled vectors and all that a tile needs lies in the nearest cache. The last row of a tile goes
// on to the next. What a cell costs is read from a matrix, whose cells are brought side by side, and back, by transposing
// squares in registers; or it is found when the cell is met (warping.hpp).
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "pages.hpp"
#include "scan.hpp"

namespace semihmm {

// How cells are reached.
struct GridArcs {
    enum Arc { kLeft, kAbove, kCorner, kArcs };
    double factor[kArcs] = {}, begin_factor = 0;  // all less than 0
    int64_t rank[kArcs] = {}, begin_rank = 0;     // which arc of its slot it is
    int64_t begin_stop = 0;                       // a path may begin in row 0, in a column before this one
};

// A square of vectors, transposed in place.
template <class F, int step, int... lane>
inline void transpose_lanes(typename Lanes<F>::type* x, std::integer_sequence<int, lane...> all) {
    constexpr int width = Lanes<F>::width;
    if constexpr (step < width) {
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i) {
            if (i & step) continue;
            const auto a = x[i], b = x[i + step];
            x[i] = __builtin_shufflevector(a, b, (lane & step ? width + lane - step : lane)...);
            x[i + step] = __builtin_shufflevector(a, b, (lane & step ? width + lane : lane + step)...);
        }
        transpose_lanes<F, 2 * step>(x, all);
    }
}
template <class F>
inline void transpose_lanes(typename Lanes<F>::type* x) {
    transpose_lanes<F, 1>(x, std::make_integer_sequence<int, Lanes<F>::width>{});
}

// The lanes of x one place down, the first of `next` behind them; and one place up, the last of `before` in front.
template <class V, int... lane>
inline V drop(V x, V next, std::integer_sequence<int, lane...>) {
    return __builtin_shufflevector(x, next, (lane + 1)...);
}
template <class V, int... lane>
inline V lift(V x, V before, std::integer_sequence<int, lane...>) {
    constexpr int width = sizeof...(lane);
    return __builtin_shufflevector(before, x, (width - 1 + lane)...);
}

// A matrix, and what there is beside it.
template <class F>
struct Plane {
    F* data;
    int64_t by_row, by_column, rows, columns;
    std::remove_const_t<F> outside;

    using L = Lanes<std::remove_const_t<F>>;
    using V = typename L::type;
    static constexpr int W = L::width;
    static constexpr int64_t kAhead = 1024 / sizeof(F);  // so many rows at a time are more than the hardware foresees

    // to[s] lane r: row `row` + k and column `column` + s - k, where k = W - 1 - r.
    void read(int64_t row, int64_t column, V* to) const {
        if (by_column == 1 && row + W <= rows && column >= W - 1 && column + W <= columns) {
            const F* from = data + (row + W - 1) * by_row + column - (W - 1);
#pragma GCC unroll 16
            for (int r = 0; r < W; ++r) {
                to[r] = L::load(from - r * (by_row - 1));
                __builtin_prefetch(from - r * (by_row - 1) + kAhead);
            }
        } else {
            for (int r = 0; r < W; ++r) to[r] = span(row + W - 1 - r, column - (W - 1 - r));
        }
        transpose_lanes<std::remove_const_t<F>>(to);
    }
    F& at(int64_t row, int64_t column) const { return data[row * by_row + column * by_column]; }
    static constexpr bool kWindowed = false;
    // The first and the last column but one that rows may be in.
    static std::pair<int64_t, int64_t> columns_of(int64_t, int64_t, int64_t columns) { return {0, columns}; }
    // The way back; what lies outside is not written.
    void write(int64_t row, int64_t column, V* from) const {
        transpose_lanes<F>(from);
        for (int r = 0; r < W; ++r) {
            const int64_t i = row + W - 1 - r, j = column - (W - 1 - r);
            if (i >= rows) continue;
            if (j >= 0 && j + W <= columns) {
                L::store(data + i * by_row + j, from[r]);
            } else {
                for (int64_t s = std::max<int64_t>(0, -j); s < std::min<int64_t>(W, columns - j); ++s) data[i * by_row + j + s] = from[r][s];
            }
        }
    }

  private:
    V span(int64_t i, int64_t j) const {
        V x = L::broadcast(outside);
        if (i >= rows) return x;
        const F* from = data + i * by_row + j * by_column;
        if (j >= 0 && by_column == 1 && j < columns) return j + W <= columns ? L::load(from) : L::load_part(from, columns - j, outside);
        for (int64_t s = std::max<int64_t>(0, -j); s < std::min<int64_t>(W, columns - j); ++s) x[s] = from[s * by_column];
        return x;
    }
};

template <class S, class Costs>
class Tiles {
  public:
    using F = typename S::F;
    using L = Lanes<F>;
    using V = typename L::type;
    static constexpr bool kLog = std::is_same_v<S, Log<F>>;
    static constexpr int W = L::width, kTall = 4;  // vectors in a tile

    Tiles(const GridArcs& arcs, double beta) : arcs_into_(arcs), beta_(beta) {
        for (int i = 0; i < GridArcs::kArcs; ++i) factor_[i] = static_cast<F>(arcs.factor[i] * beta);
        even_ = factor_[0] == factor_[1] && factor_[1] == factor_[2];
    }

  protected:
    static constexpr auto kAll = std::make_integer_sequence<int, W>{};
    static constexpr int64_t kMargin = (kTall + 2) * W;  // around a row

    F* row() const { return row_.get() + kMargin; }
    int64_t workspace() const { return columns_ + 2 * kMargin + W; }
    static int64_t tile_of(int64_t row) { return row ? (row - 1) / (kTall * W) + 1 : 0; }
    int64_t steps(int64_t height) const { return padded<F>(columns_ + height * W - 1); }

    // The values of the cells of the last row. False if there are none, or where all paths are found to be worth less than `least`.
    bool forward(bool with_arcs, double least = -std::numeric_limits<double>::infinity()) {
        if (last_ < 0 || columns_ <= 0) return false;
        row_.reset(workspace(), kNothing<F>);
        offset_ = 0;
        if (with_arcs) reserve_arcs();
        first_row();
        for (int64_t i = 1; i <= last_; i += kTall * W) {
            const F peak = max_of<F>(alive_.second - alive_.first, row() + alive_.first);
            if (peak + offset_ < least) return false;
            if (std::abs(peak) < infinity<F>) {
                for (int64_t j = alive_.first; j < alive_.second; ++j) row()[j] -= peak;
                offset_ += peak;
            }
            if (kept_offsets_) kept_offsets_[tile_of(i)] = offset_;
            pulse_(kTall * W * columns_);
            const int64_t rows = std::min<int64_t>(kTall * W, last_ + 1 - i);
            with_height(rows, [&](auto height) {
                if (with_arcs) return tile<height(), true, false>(i, rows);
                !kLog && even_ ? tile<height(), false, !kLog>(i, rows) : tile<height(), false, false>(i, rows);
            });
        }
        return true;
    }
    template <class Work>
    static void with_height(int64_t rows, const Work& work) {
        switch ((rows + W - 1) / W) {
            case 1: return work(std::integral_constant<int, 1>{});
            case 2: return work(std::integral_constant<int, 2>{});
            case 3: return work(std::integral_constant<int, 3>{});
            default: return work(std::integral_constant<int, 4>{});
        }
    }
    // Row 0, where paths begin; in double, since all costs of a row may add up.
    void first_row() {
        const double per_left = arcs_into_.factor[GridArcs::kLeft] * beta_, per_begin = arcs_into_.begin_factor * beta_;
        const bool later = arcs_into_.begin_rank > arcs_into_.rank[GridArcs::kLeft];
        line_.resize(static_cast<std::size_t>(columns_));
        alive_ = costs_.columns_of(0, 1, columns_);
        double before = kNothing<double>;
        for (int64_t j = alive_.first; j < alive_.second; ++j) {
            const double left = before + per_left * costs_.at(0, j), begun = j < arcs_into_.begin_stop ? per_begin * costs_.at(0, j) : kNothing<double>;
            const double worse = std::min(left, begun);
            before = std::max(left, begun);
            if (kLog && worse != kNothing<double>) before += std::log1p(std::exp(worse - before));
            line_[static_cast<std::size_t>(j)] = before;
            if (!first_arcs_.empty()) first_arcs_[static_cast<std::size_t>(j)] = later ? begun > left : begun >= left;
        }
        // Rounded to F, so that a path without costs stays at 0.
        if (std::abs(before) < std::numeric_limits<double>::infinity()) offset_ = representable<F>(before) ? static_cast<F>(before) : before;
        for (int64_t j = alive_.first; j < alive_.second; ++j) row()[j] = static_cast<F>(line_[static_cast<std::size_t>(j)] - offset_);
        if (kept_offsets_) std::copy_n(row(), columns_, kept_.data), kept_offsets_[0] = offset_;
    }
    // Of three terms, the last of which is known last.
    static V sum(V a, V b, V c) {
        const V high = L::max(a, b), peak = L::max(high, c);
        if constexpr (!kLog) return peak;
        const V shift = peak - peak == V{} ? peak : V{};  // of infinities there is no difference
        return peak + log<F>(F(1) + (exp<F>(L::min(high, c) - shift) + exp<F>(L::min(a, b) - shift)));
    }
    // `rows` rows from i on, in tiles of `height` vectors: from the row above to the last of them. `even`: all arcs count the same.
    template <int height, bool with_arcs, bool even>
    void tile(int64_t i, int64_t rows) {
        const bool ends = i + rows > last_;
        const auto [from, stop] = costs_.columns_of(i, rows, columns_);  // elsewhere nothing of this tile may be reached
        const int64_t begin = from / W * W, count = std::max(begin, padded<F>(stop + height * W - 1));
        F *above = row(), *out = row() - (height * W - 1) + begin;
        if (ends) {
            if (tail_.size() < count * W) tail_.reset(count * W);
            out = tail_.get() + begin * W;
        }
        const int64_t by_step = ends ? W : 1;
        uint8_t* arcs = with_arcs ? arcs_.get() + arcs_of(i) + begin * height * W : nullptr;
        const V left_factor = L::broadcast(factor_[0]), above_factor = L::broadcast(factor_[1]), corner_factor = L::broadcast(factor_[2]);
        V now[height], corner[height], cells[height][W];
        for (int v = 0; v < height; ++v) now[v] = corner[v] = L::broadcast(kNothing<F>);
        for (int64_t t0 = begin; t0 < count; t0 += W) {
            for (int v = 0; v < height; ++v) costs_.read(i + v * W, t0 - v * W, cells[v]);
            for (int s = 0; s < W; ++s) {
                const V entering = L::load(above + t0 + s);
#pragma GCC unroll 4
                for (int v = height - 1; v >= 0; --v) {
                    const V from_above = drop(now[v], v ? now[v - 1] : entering, kAll), c = cells[v][s];
                    if constexpr (even) {
                        now[v] = sum(now[v], corner[v], from_above) + left_factor * c;
                        corner[v] = from_above;
                        continue;
                    }
                    const V a = now[v] + left_factor * c, b = from_above + above_factor * c, d = corner[v] + corner_factor * c;
                    corner[v] = from_above;
                    now[v] = sum(a, d, b);
                    if constexpr (with_arcs) {
                        using B = typename L::bits;
                        const B which = ((B)(a == now[v]) & 1) | ((B)(b == now[v]) & 2) | ((B)(d == now[v]) & 4);
                        typedef uint8_t Bytes __attribute__((vector_size(W)));
                        const Bytes narrow = __builtin_convertvector(which, Bytes);
                        std::memcpy(arcs, &narrow, W);
                        arcs += W;
                    }
                    if constexpr (kLog) cells[v][s] = now[v];
                }
                L::store(out, now[height - 1]);
                out += by_step;
            }
            if constexpr (kLog)
                if (kept_offsets_)
                    for (int v = 0; v < height; ++v) kept_.write(i + v * W, t0 - v * W, cells[v]);
        }
        if constexpr (Costs::kWindowed) {  // what is left of the row above
            const int64_t left = ends ? from : std::max(alive_.first, begin - (height * W - 1)), right = ends ? stop : count - height * W + 1;
            for (int64_t j = alive_.first; j < std::min(alive_.second, left); ++j) row()[j] = kNothing<F>;
            for (int64_t j = std::max(alive_.first, right); j < alive_.second; ++j) row()[j] = kNothing<F>;
        }
        alive_ = {from, stop};
        if (ends)
            for (int64_t j = from; j < stop; ++j) row()[j] = tail_[(j + rows - 1) * W + W - 1 - (rows - 1) % W];
    }
    // Of each cell the arcs that are as good as the best, one bit each, in the order in which cells are worked on.
    void reserve_arcs() {
        first_arcs_.assign(static_cast<std::size_t>(columns_), 0);
        const int64_t tall = kTall * W, size = last_ ? arcs_of(1 + (last_ - 1) / tall * tall) + steps(kTall) * tall : 0;
        if (arcs_size_ >= size) return;
        arcs_.reset(static_cast<uint8_t*>(std::malloc(static_cast<std::size_t>(size))));
        if (!arcs_) throw std::bad_alloc();
        in_huge_pages(arcs_.get(), static_cast<std::size_t>(size));
        arcs_size_ = size;
    }
    int64_t arcs_of(int64_t i) const { return (i - 1) * steps(kTall); }  // where those of the tile from row i on begin
    GridArcs::Arc arc_into(int64_t i, int64_t j) const {
        const int64_t first = (i - 1) / (kTall * W) * (kTall * W) + 1, height = std::min<int64_t>(kTall, (last_ + W - first) / W), q = i - first;
        const uint8_t which = arcs_.get()[arcs_of(first) + ((j + q) * height + height - 1 - q / W) * W + W - 1 - q % W];
        int best = -1;
        for (int a = 0; a < GridArcs::kArcs; ++a)
            if (which >> a & 1 && (best < 0 || arcs_into_.rank[a] < arcs_into_.rank[best])) best = a;
        return static_cast<GridArcs::Arc>(best < 0 ? 0 : best);
    }
    // Back along the best path to a cell, of a forward pass with arcs: visit(row, column, arc into it), kArcs where it begins.
    template <class Visit>
    void trace(int64_t i, int64_t j, const Visit& visit) const {
        for (bool begun = false; !begun;) {
            begun = i == 0 && (j == 0 || first_arcs_[static_cast<std::size_t>(j)]);
            // Whatever NaN left there: not off the grid.
            const GridArcs::Arc arc = begun ? GridArcs::kArcs : i == 0 ? GridArcs::kLeft : j == 0 ? GridArcs::kAbove : arc_into(i, j);
            visit(i, j, arc);
            i -= arc == GridArcs::kAbove || arc == GridArcs::kCorner, j -= arc == GridArcs::kLeft || arc == GridArcs::kCorner;
        }
    }

    struct Free {
        void operator()(uint8_t* p) const { std::free(p); }
    };
    const GridArcs& arcs_into_;
    double beta_;
    F factor_[GridArcs::kArcs];
    bool even_;
    int64_t last_ = -1, columns_ = 0;          // the last row, and how many columns there are
    std::pair<int64_t, int64_t> alive_{0, 0};  // elsewhere the row has no value
    Costs costs_{};
    Plane<F> kept_{};
    double* kept_offsets_ = nullptr;
    double offset_ = 0;
    Buffer<F> row_, tail_;
    std::vector<double> line_;
    std::vector<uint8_t> first_arcs_;  // of each cell in row 0: whether the best path begins there
    std::unique_ptr<uint8_t, Free> arcs_;
    int64_t arcs_size_ = 0;
    Pulse pulse_;
};

}  // namespace semihmm
