// A Grid whose cells are reached from their left, from above and from the corner between, in tiles of rows: Max and Log.
//
// A tile is a few vectors high. Step t of it is one short anti-diagonal, whose lanes are the rows, the last one first, so
// that a step is a few shuffled vectors and all that a tile needs lies in the nearest cache. The last row of a tile goes
// on to the next. Cells are brought side by side, and back, by transposing squares in registers.
#pragma once

#include <optional>

#include "pages.hpp"
#include "request.hpp"
#include "scan.hpp"

namespace semihmm {

// What the tables of a Grid say, if they say no more than this. Rows are slots 0 to `rows` - 1; then come, if paths may
// end early, as many in which they wait; the last slot is that of paths which have not begun.
struct GridForm {
    enum Arc { kLeft, kAbove, kCorner, kArcs };
    int64_t rows = 0, columns = 0, slots = 0;
    bool exits = false;
    double factor[kArcs] = {}, begin_factor = 0;  // all less than 0
    int64_t rank[kArcs] = {}, begin_rank = 0;     // which arc of its slot it is
    int64_t begin_stop = 0;                       // a path may begin in row 0, in a column before this one

    static constexpr std::size_t kStart = 0, kEnd = 1, kCost = 2;  // where these are among a request's tensors

    template <class F>
    static std::optional<GridForm> of(const Request& request) {
        const auto& spec = request.spec;
        if (spec.size() != 5 || spec[0] != 1 || spec[1] != 1 || spec[2] != kGrid || spec[4] != 0) return {};
        const Leaf<F> cost = request.weights[kCost].leaf<F>(false);
        const Given* tables = &request.weights[kCost + 1];
        const auto *row = static_cast<const int64_t*>(tables[0].data), *source = static_cast<const int64_t*>(tables[1].data),
                   *plane = static_cast<const int64_t*>(tables[2].data), *low = static_cast<const int64_t*>(tables[4].data),
                   *high = static_cast<const int64_t*>(tables[5].data);
        const auto* factor = static_cast<const double*>(tables[3].data);
        GridForm found;
        found.rows = cost.event[1], found.columns = cost.event[2], found.slots = tables[1].shape.back(1);
        found.exits = found.slots == 2 * found.rows + 1;
        if (cost.event[0] != 1 || found.slots != (found.exits ? 2 : 1) * found.rows + 1) return {};
        const int64_t width = tables[1].shape.back(), first = found.slots - 1;
        int64_t seen[kArcs] = {}, ways_out = 0;
        bool waits = false;
        for (int64_t n = 0; n < found.slots; ++n) {
            if (row[n] != (n == first ? 0 : n % found.rows)) return {};
            for (int64_t k = 0; k < width; ++k) {
                const int64_t at = n * width + k, from = source[at] % found.slots, delay = source[at] / found.slots + 1;
                if (source[at] < 0) continue;
                if (n >= found.rows) {  // paths that wait, and those that come to do so
                    const bool free = plane[at] < 0 && delay == 1 && low[at] <= -found.rows && high[at] >= found.rows + found.columns;
                    if (!free || from != (n == first || k ? n : n - found.rows) || k > (n < first)) return {};
                    n == first ? waits = true : static_cast<bool>(++ways_out);
                    continue;
                }
                if (plane[at] != 0 || !(factor[at] < 0)) return {};
                if (n == 0 && from == first && delay == 1 && low[at] == 0 && !found.begin_stop) {
                    found.begin_stop = std::min(high[at], found.columns), found.begin_factor = factor[at], found.begin_rank = k;
                    continue;
                }
                const Arc arc = from == n ? kLeft : delay == 1 ? kAbove : kCorner;
                if (from != n - (arc != kLeft) || delay != 1 + (arc == kCorner) || low[at] != (arc != kAbove) || high[at] != found.columns) return {};
                if (seen[arc]++ == 0) found.factor[arc] = factor[at], found.rank[arc] = k;
                if (found.factor[arc] != factor[at] || found.rank[arc] != k) return {};
            }
        }
        if (seen[kLeft] != found.rows || seen[kAbove] != found.rows - 1 || seen[kCorner] != found.rows - 1) return {};
        if (found.begin_stop < 1 || ways_out != (found.exits ? 2 * found.rows : 0)) return {};
        if (!waits) found.begin_stop = 1;
        // Sums along a long row would lose digits, where anti-diagonals are brought back to 0 one by one.
        const bool grows = found.begin_stop < found.columns && found.columns > std::max<int64_t>(1024, 4 * found.rows);
        if (sizeof(F) == 4 && grows) return {};
        return found.borders<F>(request) ? std::optional(found) : std::nullopt;
    }

    // The one row that paths of sequence b end in; -1 for none, -2 for several.
    template <class F>
    int64_t last_row(const Leaf<F>& end, int64_t b) const {
        int64_t last = -1;
        for (int64_t n = 0; n + 1 < slots; ++n)
            if (end.at(b, 0)[n * end.by_event[0]] != kNothing<F> && last != n % rows) last = last < 0 ? n % rows : -2;
        return last;
    }

  private:
    // Whether paths begin in the last slot alone and end in one row.
    template <class F>
    bool borders(const Request& request) const {
        const Leaf<F> start = request.weights[kStart].leaf<F>(false), end = request.weights[kEnd].leaf<F>(false);
        for (int64_t b = 0; b < start.batch; ++b)
            for (int64_t n = 0; n + 1 < slots; ++n)
                if (start.at(b, 0)[n * start.by_event[0]] != kNothing<F>) return false;
        for (int64_t b = 0; b < end.batch; ++b)
            if (end.at(b, 0)[(slots - 1) * end.by_event[0]] != kNothing<F> || last_row(end, b) < -1) return false;
        return true;
    }
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

template <class S>
class RowTiles {
  public:
    using F = typename S::F;
    using L = Lanes<F>;
    using V = typename L::type;
    static constexpr bool kLog = std::is_same_v<S, Log<F>>;
    static constexpr int W = L::width, kTall = 4;  // vectors in a tile

    RowTiles(const GridForm& form, const Request& request)
        : form_(form), request_(request), start_(request.weights[GridForm::kStart].leaf<F>(false)),
          end_(request.weights[GridForm::kEnd].leaf<F>(false)), cost_(request.weights[GridForm::kCost].leaf<F>(false)) {
        for (int i = 0; i < GridForm::kArcs; ++i) factor_[i] = static_cast<F>(form.factor[i] * request.beta);
        begin_factor_ = static_cast<F>(form.begin_factor * request.beta);
    }

    // The total of sequence b. Log keeps the values of all cells, if it is to keep anything.
    double total(int64_t b, const Kept<F>& kept) {
        begin(b);
        if (kLog && kept.segment) keep(b, kept);
        const double value = forward(false);
        kept_ = {}, kept_offsets_ = nullptr;
        return value;
    }

    // The best path, and what it is worth. Arc indices, if requested, are as `Grid` makes them.
    double path(int64_t b, int64_t* slots, int64_t* choices, int64_t* arc_indices) {
        begin(b);
        const double value = forward(true);
        std::fill_n(slots, request_.length + 1, int64_t{-1}), std::fill_n(choices, request_.length, int64_t{-1});
        if (representable<F>(value)) trace(slots, choices);
        const int64_t width = request_.weights[GridForm::kCost + 2].shape.back();
        for (int64_t t = 0; arc_indices && t < request_.length; ++t) arc_indices[t] = choices[t] < 0 ? -1 : slots[t + 1] * width + choices[t];
        return value;
    }

    // Adds the gradient of the total, weighted, to the costs and borders, from what it kept.
    void gradient(int64_t b, const Kept<F>& kept, double weight, std::vector<Sink<F>>& sinks) {
        begin(b);
        if (last_ < 0 || columns_ <= 0) return;
        keep(b, kept);
        row_.reset(workspace(), kNothing<F>);
        std::copy_n(kept_.data + last_ * kept_.by_row, columns_, row());
        offset_ = kept_offsets_[tile_of(last_)];
        const double value = finish() - entry();
        if (value > -std::numeric_limits<double>::infinity() && entry() > -std::numeric_limits<double>::infinity())
            backward(b, weight, value, sinks[GridForm::kCost], sinks[GridForm::kStart], sinks[GridForm::kEnd]);
        kept_ = {}, kept_offsets_ = nullptr;
    }

  private:
    static constexpr auto kAll = std::make_integer_sequence<int, W>{};
    static constexpr int64_t kMargin = (kTall + 2) * W;  // around a row

    // ---- a sequence ----

    void begin(int64_t b) {
        b_ = b;
        const int64_t length = request_.lengths ? request_.lengths[b] : request_.length;
        last_ = form_.last_row(end_, b);
        corner_ = length - 1 - last_;  // the column that a path reaches in the last row
        columns_ = std::min(form_.columns, corner_ + 1);
        exit_stop_ = form_.exits ? std::min(form_.columns, corner_) : 0;
        length_ = length;
        plane_ = {cost_.at(b, 0), cost_.by_event[1], cost_.by_event[2], last_ + 1, columns_, infinity<F>};
    }
    void keep(int64_t b, const Kept<F>& kept) {
        const int64_t stride = padded<F>(form_.slots);
        kept_ = {kept.vectors + kept.row(b) * stride, form_.columns, 1, last_ + 1, columns_, kNothing<F>};
        kept_offsets_ = kept.offsets_of(b);
    }
    double entry() const { return static_cast<double>(start_.at(b_, 0)[(form_.slots - 1) * start_.by_event[0]]) * request_.beta; }
    double leaving(bool exit) const {  // the weight of ending at the corner, or before it
        return static_cast<double>(end_.at(b_, 0)[(last_ + (exit ? form_.rows : 0)) * end_.by_event[0]]) * request_.beta;
    }
    bool at_corner() const { return corner_ >= 0 && corner_ < form_.columns; }
    F* row() const { return row_.get() + kMargin; }
    int64_t workspace() const { return columns_ + 2 * kMargin + W; }
    static int64_t tile_of(int64_t row) { return row ? (row - 1) / (kTall * W) + 1 : 0; }
    int64_t steps(int64_t height) const { return padded<F>(columns_ + height * W - 1); }
    F cost(int64_t i, int64_t j) const { return plane_.data[i * plane_.by_row + j * plane_.by_column]; }

    // ---- forwards ----

    double forward(bool with_arcs) {
        if (last_ < 0 || columns_ <= 0) return -std::numeric_limits<double>::infinity();
        row_.reset(workspace(), kNothing<F>);
        offset_ = 0;
        if (with_arcs) reserve_arcs();
        first_row();
        for (int64_t i = 1; i <= last_; i += kTall * W) {
            const F peak = max_of<F>(columns_, row());
            if (std::abs(peak) < infinity<F>) {
                for (int64_t j = 0; j < columns_; ++j) row()[j] -= peak;
                offset_ += peak;
            }
            if (kept_offsets_) kept_offsets_[tile_of(i)] = offset_;
            pulse_(kTall * W * columns_);
            const int64_t rows = std::min<int64_t>(kTall * W, last_ + 1 - i);
            with_height(rows, [&](auto height) { with_arcs ? tile<height(), true>(i, rows) : tile<height(), false>(i, rows); });
        }
        return finish();
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
        const double per_left = form_.factor[GridForm::kLeft] * request_.beta, per_begin = form_.begin_factor * request_.beta;
        const bool later = form_.begin_rank > form_.rank[GridForm::kLeft];
        line_.resize(static_cast<std::size_t>(columns_));
        double before = kNothing<double>;
        for (int64_t j = 0; j < columns_; ++j) {
            const double left = before + per_left * cost(0, j), begun = j < form_.begin_stop ? per_begin * cost(0, j) : kNothing<double>;
            const double worse = std::min(left, begun);
            before = std::max(left, begun);
            if (kLog && worse != kNothing<double>) before += std::log1p(std::exp(worse - before));
            line_[static_cast<std::size_t>(j)] = before;
            if (!first_arcs_.empty()) first_arcs_[static_cast<std::size_t>(j)] = later ? begun > left : begun >= left;
        }
        if (std::abs(before) < std::numeric_limits<double>::infinity()) offset_ = before;
        for (int64_t j = 0; j < columns_; ++j) row()[j] = static_cast<F>(line_[static_cast<std::size_t>(j)] - offset_);
        if (kept_offsets_) std::copy_n(row(), columns_, kept_.data), kept_offsets_[0] = offset_;
    }
    // Of three terms, the last of which is known last.
    static V sum(V a, V b, V c) {
        const V high = L::max(a, b), peak = L::max(high, c);
        if constexpr (!kLog) return peak;
        const V shift = peak - peak == V{} ? peak : V{};  // of infinities there is no difference
        return peak + log<F>(F(1) + (exp<F>(L::min(high, c) - shift) + exp<F>(L::min(a, b) - shift)));
    }
    // `rows` rows from i on, in tiles of `height` vectors: from the row above to the last of them.
    template <int height, bool with_arcs>
    void tile(int64_t i, int64_t rows) {
        const bool ends = i + rows > last_;
        const int64_t count = steps(height);
        F *above = row(), *out = row() - (height * W - 1);
        if (ends) {
            if (tail_.size() < count * W) tail_.reset(count * W);
            out = tail_.get();
        }
        const int64_t by_step = ends ? W : 1;
        uint8_t* arcs = with_arcs ? arcs_.get() + arcs_of(i) : nullptr;
        const V left_factor = L::broadcast(factor_[0]), above_factor = L::broadcast(factor_[1]), corner_factor = L::broadcast(factor_[2]);
        V now[height], corner[height], cells[height][W];
        for (int v = 0; v < height; ++v) now[v] = corner[v] = L::broadcast(kNothing<F>);
        for (int64_t t0 = 0; t0 < count; t0 += W) {
            for (int v = 0; v < height; ++v) plane_.read(i + v * W, t0 - v * W, cells[v]);
            for (int s = 0; s < W; ++s) {
                const V entering = L::load(above + t0 + s);
#pragma GCC unroll 4
                for (int v = height - 1; v >= 0; --v) {
                    const V from_above = drop(now[v], v ? now[v - 1] : entering, kAll), c = cells[v][s];
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
        if (ends)
            for (int64_t j = 0; j < columns_; ++j) row()[j] = tail_[(j + rows - 1) * W + W - 1 - (rows - 1) % W];
    }
    // The total, from the last row.
    double finish() {
        const double at_end = at_corner() ? row()[corner_] + leaving(false) : kNothing<double>;
        if (!exit_stop_) return at_end + offset_ + entry();
        const double best = max_of<F>(exit_stop_, row()) + leaving(true);
        if constexpr (!kLog) return std::max(at_end, best) + offset_ + entry();
        const double peak = std::max(at_end, best);
        if (!(std::abs(peak) < std::numeric_limits<double>::infinity())) return peak;
        double mass = std::exp(at_end - peak);
        for (int64_t j = 0; j < exit_stop_; ++j) mass += std::exp(row()[j] + leaving(true) - peak);
        return peak + std::log(mass) + offset_ + entry();
    }

    // ---- the best path ----

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
    GridForm::Arc arc_into(int64_t i, int64_t j) const {
        const int64_t first = (i - 1) / (kTall * W) * (kTall * W) + 1, height = std::min<int64_t>(kTall, (last_ + W - first) / W), q = i - first;
        const uint8_t which = arcs_.get()[arcs_of(first) + ((j + q) * height + height - 1 - q / W) * W + W - 1 - q % W];
        int best = -1;
        for (int a = 0; a < GridForm::kArcs; ++a)
            if (which >> a & 1 && (best < 0 || form_.rank[a] < form_.rank[best])) best = a;
        return static_cast<GridForm::Arc>(best < 0 ? 0 : best);
    }
    void trace(int64_t* slots, int64_t* choices) const {
        int64_t i = last_, j = corner_;
        int64_t exit = exit_stop_ - 1;  // the last of the best
        for (int64_t c = exit; c >= 0; --c)
            if (row()[c] > row()[exit]) exit = c;
        if (exit >= 0 && !(at_corner() && row()[corner_] + leaving(false) >= row()[exit] + leaving(true))) {
            j = exit;
            for (int64_t t = i + j + 1; t < length_; ++t) slots[t + 1] = form_.rows + last_, choices[t] = t > i + j + 1;
        }
        for (bool begun = false; !begun;) {
            slots[i + j + 1] = i;
            int64_t& choice = choices[i + j];
            if (i == 0) {
                begun = j == 0 || first_arcs_[static_cast<std::size_t>(j)];
                choice = begun ? form_.begin_rank : form_.rank[GridForm::kLeft];
                j -= !begun;
            } else {
                const GridForm::Arc arc = j ? arc_into(i, j) : GridForm::kAbove;  // whatever NaN left there: not off the grid
                choice = form_.rank[arc];
                i -= arc != GridForm::kLeft, j -= arc != GridForm::kAbove;
            }
        }
        for (int64_t t = j; t >= 0; --t) slots[t] = form_.slots - 1;
        std::fill_n(choices, j, int64_t{0});
    }

    // ---- backwards ----

    void backward(int64_t b, double weight, double value, Sink<F>& cost, Sink<F>& start, Sink<F>& end) {
        // What a path's end adds to each cell of the last row.
        below_.reset(workspace(), F(0));
        F* at_end = below_.get() + kMargin;
        double early = 0, at_last = 0;
        for (int64_t j = 0; j < exit_stop_; ++j) {
            const double share = weight * std::exp(row()[j] + leaving(true) + offset_ - value);
            at_end[j] += static_cast<F>(share), early += share;
        }
        if (at_corner()) at_last = weight * std::exp(row()[corner_] + leaving(false) + offset_ - value), at_end[corner_] += static_cast<F>(at_last);
        if (start.requested()) start.add(b, 0, 1, &weight, form_.slots - 1);
        if (end.requested()) {
            if (at_corner()) end.add(b, 0, 1, &at_last, last_);
            if (exit_stop_) end.add(b, 0, 1, &early, form_.rows + last_);
        }
        if (!cost.requested()) return;
        F* mine = cost.row(b, 0);
        if (!mine) shares_.reset(form_.rows * form_.columns), mine = shares_.get();
        out_ = {mine, form_.columns, 1, last_ + 1, columns_, F(0)};
        const int64_t tall = kTall * W;
        for (int64_t i = last_ ? 1 + (last_ - 1) / tall * tall : 0; i > 0; i -= tall) {
            const int64_t rows = std::min<int64_t>(tall, last_ + 1 - i);
            pulse_(tall * columns_);
            const F shift = static_cast<F>(kept_offsets_[tile_of(i - 1)] - kept_offsets_[tile_of(i)]);
            std::fill_n(row_.get(), row_.size(), kNothing<F>);
            for (int64_t j = 0; j < columns_; ++j) row()[j] = kept_.data[(i - 1) * kept_.by_row + j] + shift;
            with_height(rows, [&](auto height) { backward_tile<height()>(i, rows); });
        }
        back_first_row();
        if (mine == shares_.get()) cost.add(b, 0, form_.rows * form_.columns, mine);
    }
    // How much of a cell comes by an arc of this value.
    static V share(V arc, V cell) { return exp<F>(arc - (cell == kNothing<F> ? L::broadcast(infinity<F>) : cell)); }
    template <int height>
    void backward_tile(int64_t i, int64_t rows) {
        const bool ends = i + rows > last_;
        const int64_t count = steps(height);
        const F* above = row();
        F* below = below_.get() + kMargin;
        if (ends) {  // what ends in the last row comes in beside it
            if (tail_.size() < count * W) tail_.reset(count * W);
            std::fill_n(tail_.get(), count * W, F(0));
            for (int64_t j = 0; j < columns_; ++j) tail_[(j + rows - 1) * W + W - 1 - (rows - 1) % W] = below[j];
            std::fill_n(below_.get(), below_.size(), F(0));
        }
        const V left_factor = L::broadcast(factor_[0]), above_factor = L::broadcast(factor_[1]), corner_factor = L::broadcast(factor_[2]);
        const F per_left = static_cast<F>(form_.factor[0]), per_above = static_cast<F>(form_.factor[1]), per_corner = static_cast<F>(form_.factor[2]);
        // Mass that leaves a cell by each arc, at the step before; by the corner, also at the one before that.
        V left[height] = {}, up[height] = {}, corner[height] = {}, corner_before[height] = {};
        V cells[height][W], values[height][2 * W];  // of this square, and of the one before it
        for (int v = 0; v < height; ++v) kept_.read(i + v * W, count - W - v * W, values[v]);
        for (int64_t t0 = count - W; t0 >= 0; t0 -= W) {
            for (int v = 0; v < height; ++v) {
                std::copy_n(values[v], W, values[v] + W);
                plane_.read(i + v * W, t0 - v * W, cells[v]);
                kept_.read(i + v * W, t0 - W - v * W, values[v]);
            }
            for (int s = W - 1; s >= 0; --s) {
                const int64_t t = t0 + s;
                L::store(below + t + 1 - (W - 1), up[0] + corner_before[0]);
                const V entering = L::load(above + t), entering_before = L::load(above + t - 1);
                V from_below = L::load(below + t - (height * W - 1) - (W - 1));
#pragma GCC unroll 4
                for (int v = height - 1; v >= 0; --v) {
                    const V rising = up[v] + corner_before[v];
                    V mass = left[v] + lift(rising, from_below, kAll);
                    from_below = rising;
                    if (v == height - 1 && ends) mass += L::load(tail_.get() + t * W);
                    const V *cell = values[v] + W + s, c = cells[v][s];
                    const V one = drop(cell[-1], v ? values[v - 1][W + s - 1] : entering, kAll);
                    const V two = drop(cell[-2], v ? values[v - 1][W + s - 2] : entering_before, kAll);
                    corner_before[v] = corner[v];
                    left[v] = mass * share(cell[-1] + left_factor * c, *cell);
                    up[v] = mass * share(one + above_factor * c, *cell);
                    corner[v] = mass * share(two + corner_factor * c, *cell);
                    cells[v][s] = per_left * left[v] + (per_above * up[v] + per_corner * corner[v]);
                }
            }
            for (int v = 0; v < height; ++v) out_.write(i + v * W, t0 - v * W, cells[v]);
        }
        L::store(below - (W - 1), up[0] + corner_before[0]);
    }
    void back_first_row() {
        const F* below = below_.get() + kMargin;
        F from_right = 0;
        for (int64_t j = columns_; j-- > 0;) {
            const F mass = below[j] + from_right, cell = kept_.data[j], c = cost(0, j);
            F by_left = 0, by_begin = 0;
            if (cell != kNothing<F>) {
                if (j > 0) by_left = j < form_.begin_stop ? mass * exp_scalar<F>(kept_.data[j - 1] + factor_[0] * c - cell) : mass;
                if (j < form_.begin_stop) by_begin = j > 0 ? mass * exp_scalar<F>(static_cast<F>(begin_factor_ * c - kept_offsets_[0]) - cell) : mass;
            }
            from_right = by_left;
            out_.data[j] = static_cast<F>(form_.factor[0]) * by_left + static_cast<F>(form_.begin_factor) * by_begin;
        }
    }

    struct Free {
        void operator()(uint8_t* p) const { std::free(p); }
    };
    const GridForm& form_;
    const Request& request_;
    Leaf<F> start_, end_, cost_;
    F factor_[GridForm::kArcs], begin_factor_;
    int64_t b_ = 0, length_ = 0, last_ = -1, corner_ = 0, columns_ = 0, exit_stop_ = 0;
    Plane<const F> plane_{};
    Plane<F> kept_{}, out_{};
    double* kept_offsets_ = nullptr;
    double offset_ = 0;
    Buffer<F> row_, tail_, below_, shares_;
    std::vector<double> line_;
    std::vector<uint8_t> first_arcs_;  // of each cell in row 0: whether the best path begins there
    std::unique_ptr<uint8_t, Free> arcs_;
    int64_t arcs_size_ = 0;
    Pulse pulse_;
};

}  // namespace semihmm
