// A Grid whose cells are reached from their left, from above and from the corner between: totals, gradients and best paths by
// `Tiles`, in Max and Log.
#pragma once

#include <optional>

#include "request.hpp"
#include "tiles.hpp"

namespace semihmm {

// What the tables of a Grid say, if they say no more than this. Rows are slots 0 to `rows` - 1; then come, if paths may
// end early, as many in which they wait; the last slot is that of paths which have not begun.
struct GridForm : GridArcs {
    int64_t rows = 0, columns = 0, slots = 0;
    bool exits = false;

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

template <class S>
class RowTiles : Tiles<S, Plane<const typename S::F>> {
    using Base = Tiles<S, Plane<const typename S::F>>;
    using typename Base::F, typename Base::L, typename Base::V;
    using Base::kAll, Base::kLog, Base::kMargin, Base::kTall, Base::W;
    using Base::columns_, Base::costs_, Base::factor_, Base::first_arcs_, Base::kept_, Base::kept_offsets_, Base::last_, Base::offset_,
        Base::pulse_, Base::row, Base::row_, Base::steps, Base::tail_, Base::tile_of, Base::with_height, Base::workspace;

  public:
    RowTiles(const GridForm& form, const Request& request)
        : Base(form, request.beta), form_(form), request_(request), start_(request.weights[GridForm::kStart].leaf<F>(false)),
          end_(request.weights[GridForm::kEnd].leaf<F>(false)), cost_(request.weights[GridForm::kCost].leaf<F>(false)),
          begin_factor_(static_cast<F>(form.begin_factor * request.beta)) {}

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
    double forward(bool with_arcs) { return Base::forward(with_arcs) ? finish() : -std::numeric_limits<double>::infinity(); }

    // ---- a sequence ----

    void begin(int64_t b) {
        b_ = b;
        const int64_t length = request_.lengths ? request_.lengths[b] : request_.length;
        last_ = form_.last_row(end_, b);
        corner_ = length - 1 - last_;  // the column that a path reaches in the last row
        columns_ = std::min(form_.columns, corner_ + 1);
        exit_stop_ = form_.exits ? std::min(form_.columns, corner_) : 0;
        length_ = length;
        costs_ = {cost_.at(b, 0), cost_.by_event[1], cost_.by_event[2], last_ + 1, columns_, infinity<F>};
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

    void trace(int64_t* slots, int64_t* choices) const {
        const int64_t i = last_;
        int64_t j = corner_;
        int64_t exit = exit_stop_ - 1;  // the last of the best
        for (int64_t c = exit; c >= 0; --c)
            if (row()[c] > row()[exit]) exit = c;
        if (exit >= 0 && !(at_corner() && row()[corner_] + leaving(false) >= row()[exit] + leaving(true))) {
            j = exit;
            for (int64_t t = i + j + 1; t < length_; ++t) slots[t + 1] = form_.rows + last_, choices[t] = t > i + j + 1;
        }
        Base::trace(i, j, [&](int64_t row, int64_t column, GridForm::Arc arc) {
            slots[row + column + 1] = row, choices[row + column] = arc == GridForm::kArcs ? form_.begin_rank : form_.rank[arc];
            j = column;
        });
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
                costs_.read(i + v * W, t0 - v * W, cells[v]);
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
            const F mass = below[j] + from_right, cell = kept_.data[j], c = costs_.at(0, j);
            F by_left = 0, by_begin = 0;
            if (cell != kNothing<F>) {
                if (j > 0) by_left = j < form_.begin_stop ? mass * exp_scalar<F>(kept_.data[j - 1] + factor_[0] * c - cell) : mass;
                if (j < form_.begin_stop) by_begin = j > 0 ? mass * exp_scalar<F>(static_cast<F>(begin_factor_ * c - kept_offsets_[0]) - cell) : mass;
            }
            from_right = by_left;
            out_.data[j] = static_cast<F>(form_.factor[0]) * by_left + static_cast<F>(form_.begin_factor) * by_begin;
        }
    }

    const GridForm& form_;
    const Request& request_;
    Leaf<F> start_, end_, cost_;
    F begin_factor_;
    int64_t b_ = 0, length_ = 0, corner_ = 0, exit_stop_ = 0;
    Plane<F> out_{};
    Buffer<F> below_, shares_;
};

}  // namespace semihmm
