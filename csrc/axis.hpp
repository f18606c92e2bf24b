// A joint state of several chains moves along one of its axes. What Python calls Axes is one such map for each axis.
//
// A slot is (o, k, i): what the axes before have, this one, and those behind, of which `inner` joint states lie side by side.
// Row vectors times a matrix along the axis,
//     to[o, r, i] = sum over k of from[o, k, i] * w[k, r]
// where a coupled axis has w[o, k, i, r]. Lanes go along i; along r where there are no axes behind.
#pragma once

#include "maps.hpp"
#include "scaled.hpp"

namespace semihmm {

template <class S>
class Axis final : public OneLeaf<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    Axis(S semiring, const Part<F>& part, double beta, int64_t outer, int64_t inner)
        : OneLeaf<S>(semiring, part, beta, part.weight.over_time()), outer_(outer), states_(weight_.event[1]), inner_(inner),
          coupled_(weight_.event[0] != states_), ld_(padded<F>(states_)) {
        this->in = this->out = {1, outer * states_ * inner};
        slots_ = this->in.size;
        size_ = (coupled_ ? slots_ * states_ : states_ * ld_) + L::width;
    }
    void step(int64_t t, const Rows<F>& rows, F* to) override { move(0, t, rows.at(t), to); }
    void step_backward(int64_t t, const Rows<F>& costs, F* to) override { move(1, t, costs.at(t + 1), to); }
    void contract(int64_t t, const Rows<F>& rows, const F*, const Rows<F>& costs, Weighing<S> weighing) override {
        if (!this->requested()) return;
        const F *from = rows.at(t), *cost = costs.at(t + 1);
        if (!add_products(t, from, cost, weighing)) add_terms(t, from, cost, weighing);
        if (varies_) flush(t);
    }
    void unload(int64_t t0, int64_t) override {
        if (!varies_) flush(t0);
    }
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker, int64_t* arc_indices) override {
        const int64_t i = slot % inner_, r = slot / inner_ % states_, o = slot / (inner_ * states_);
        const F *from = rows.at(t) + o * states_ * inner_ + i, *weight = table(0, 0, t);
        picker.clear();
        for (int64_t k = 0; k < states_; ++k)
            for (int c = 0; c < this->semiring.components; ++c)
                picker.offer(from[c * this->in.width() + k * inner_] + weight[place(o, k, r, i)]);
        const auto [state, row] = picker.pick(rank);
        const int64_t source = (o * states_ + state) * inner_ + i;
        *arc_indices = (coupled_ ? source : state) * states_ + r;
        return {source, row, 1, source};
    }

  protected:
    void reserve() override {
        const int64_t steps = varies_ ? kBlock + 1 : 1, width = this->in.width() + L::width;
        for (auto& side : tables_) this->reserve_tables(side, size_, steps);
        if (kMultiplies)
            for (auto& side : exps_) side.reset(steps * size_);
        moderate_.assign(static_cast<std::size_t>(steps), false);
        in_.reset(width * this->semiring.components), after_.reset(width * this->semiring.components), out_.reset(std::max(width, ld_ + L::width) * this->semiring.components);
        sums_size_ = lanes() ? states_ * states_ * L::width : size_;
        this->reserve_sums(sums_size_);
        if (kMultiplies && this->requested()) products_.reset(sums_size_);
    }
    void fill(int64_t t, int64_t to) override {
        const F* w = weight_.at(this->b_, t);
        const F peak = matrix_peak(weight_, w), beta = static_cast<F>(beta_);
        this->log_scale_[to] = static_cast<double>(peak) * beta_;
        const F* f = S::features ? feature_.at(this->b_, t) : nullptr;
        bool moderate = true;
        each_weight([&](int64_t row, int64_t r, int64_t o, int64_t k, int64_t i) {
            const F x = (w[row * weight_.by_event[0] + r * weight_.by_event[1]] - peak) * beta;
            const int64_t at[] = {place(o, k, r, i), place(o, r, k, i)};
            moderate = moderate && (x == kNothing<F> || x > -kModerate);
            for (int side = 0; side < 2; ++side) {
                tables_[side][0][to * size_ + at[side]] = x;
                if constexpr (S::features)
                    tables_[side][1][to * size_ + at[side]] = x == kNothing<F> ? F(0) : f[row * feature_.by_event[0] + r * feature_.by_event[1]];
            }
        });
        if constexpr (kMultiplies) {
            moderate_[to] = moderate;
            for (int side = 0; side < 2; ++side)
                for (int64_t j = 0; j < size_; j += L::width) {
                    const int64_t n = std::min<int64_t>(L::width, size_ - j);
                    L::store_part(exps_[side].get() + to * size_ + j, n, exp<F>(L::load_part(tables_[side][0].get() + to * size_ + j, n, kNothing<F>)));
                }
        }
    }

  private:
    using OneLeaf<S>::weight_, OneLeaf<S>::feature_, OneLeaf<S>::beta_, OneLeaf<S>::varies_, OneLeaf<S>::sums_, OneLeaf<S>::sinks_;
    static constexpr bool kMultiplies = std::is_same_v<S, Log<F>>;
    // Nats below the largest weight that no share gets lost by, and above 0 that what comes after may be.
    static constexpr F kModerate = sizeof(F) == 4 ? F(40) : F(300);

    // Lanes of a weight's sum, which are added up at last: where lanes go along i, and all of them share the weight.
    bool lanes() const { return inner_ > 1 && !coupled_; }
    int64_t place(int64_t o, int64_t k, int64_t r, int64_t i) const { return coupled_ ? ((o * states_ + k) * states_ + r) * inner_ + i : k * ld_ + r; }
    const F* table(int side, int f, int64_t t) const { return f && !S::features ? nullptr : tables_[side][f].get() + this->step_of(t) * size_; }
    const F* exps(int side, int64_t t) const { return exps_[side].get() + this->step_of(t) * size_; }

    // Calls give(row of the leaf, r, o, k, i) for all weights.
    template <class Give>
    void each_weight(const Give& give) const {
        for (int64_t row = 0; row < weight_.event[0]; ++row)
            for (int64_t r = 0; r < states_; ++r)
                coupled_ ? give(row, r, row / (inner_ * states_), row / inner_ % states_, row % inner_) : give(row, r, int64_t(0), row, int64_t(0));
    }
    // The slots after the move that lie side by side: calls give(first of them, o, r, how many); r is 0 where they differ in it.
    template <class Give>
    void each_run(const Give& give) const {
        for (int64_t o = 0; o < outer_; ++o)
            for (int64_t r = 0; r < (inner_ > 1 ? states_ : 1); ++r) give((o * states_ + r) * inner_, o, r, inner_ > 1 ? inner_ : states_);
    }

    // Terms of a run.
    struct Terms {
        const F* in;
        int64_t in_stride, in_step;
        const F *weight, *feature;
        int64_t step;
        bool in_lanes, weight_lanes;
        V value(int64_t k, int c, int64_t j) const {
            const F *x = in + c * in_stride + k * in_step, *w = (S::features && c ? feature : weight) + k * step;
            return (in_lanes ? L::load(x + j) : L::broadcast(*x)) + (weight_lanes ? L::load(w + j) : L::broadcast(*w));
        }
    };
    Terms terms(int side, int64_t t, int64_t o, int64_t r) const {
        const int64_t at = place(o, 0, r, 0);
        return {in_.get() + o * states_ * inner_, in_.size() / this->semiring.components, inner_, table(side, 0, t) + at, S::features ? table(side, 1, t) + at : nullptr,
                coupled_ ? states_ * inner_ : ld_, inner_ > 1, inner_ == 1 || coupled_};
    }
    // All components of a vector, with as much behind them as a load may read.
    void copy(const F* from, F* to) const {
        const int64_t width = this->in.width();
        for (int c = 0; c < this->semiring.components; ++c) std::copy_n(from + c * width, width, to + c * (width + L::width));
    }
    void add_up(int side, int64_t t, int64_t first, int64_t o, int64_t r, int64_t count, F* to) {
        const int64_t stride = out_.size() / this->semiring.components;
        this->semiring.sum(states_, padded<F>(count), terms(side, t, o, r), out_.get(), stride);
        for (int c = 0; c < this->semiring.components; ++c) std::copy_n(out_.get() + c * stride, count, to + c * this->in.width() + first);
    }
    void move(int side, int64_t t, const F* from, F* to) {
        if constexpr (kMultiplies) return multiply(side, t, from, to);
        copy(from, in_.get());
        each_run([&](int64_t first, int64_t o, int64_t r, int64_t count) { add_up(side, t, first, o, r, count, to); });
        for (int c = 0; c < this->semiring.components; ++c) std::fill(to + c * this->in.width() + slots_, to + (c + 1) * this->in.width(), kNothing<F>);
    }

    // ---- Log: as numbers, with one exp and one log for each slot. Runs with sums that are too small go in log space.

    void multiply(int side, int64_t t, const F* from, F* to) {
        const int64_t width = this->in.width();
        const F peak = exps_of(from, F(0), F(1), in_.get());
        if (peak == kNothing<F>) {
            std::fill_n(to, width, kNothing<F>);
            return;
        }
        const F* w = exps(side, t);
        inner_ == 1 ? (coupled_ ? along_states<true>(w) : along_states<false>(w)) : (coupled_ ? along_inner<true>(w) : along_inner<false>(w));
        std::fill(out_.get() + slots_, out_.get() + width, F(0));
        typename L::bits small{};
        for (int64_t j = 0; j < width; j += L::width) {
            const V sum = L::load(out_.get() + j);
            small |= sum < L::broadcast(kTrusted<F>) & (j + L::width > slots_ ? L::first(slots_ - j) : ~typename L::bits{});
            L::store(to + j, log<F>(sum) + peak);
        }
        if (!L::bits_of(small)) return;
        copy(from, in_.get());
        std::swap(out_, after_);  // `add_up` writes to out_
        each_run([&](int64_t first, int64_t o, int64_t r, int64_t count) {
            const F* sum = after_.get() + first;
            if (std::any_of(sum, sum + count, [](F x) { return x < kTrusted<F>; })) add_up(side, t, first, o, r, count, to);
        });
        std::swap(out_, after_);
    }
    // exp(x - peak + shift) * factor of all slots, then zeros; the peak. If that is -inf, nothing is written.
    F exps_of(const F* x, F shift, F factor, F* to) const {
        const F peak = max_of<F>(slots_, x);
        if (peak == kNothing<F>) return peak;
        const F less = peak - shift;
        for (int64_t j = 0; j < this->in.width(); j += L::width) L::store(to + j, exp<F>(L::load(x + j) - less) * factor);
        return peak;
    }
    static void put(F* to, int64_t count, V x) { count >= L::width ? L::store(to, x) : L::store_part(to, count, x); }
    template <bool coupled>
    void along_states(const F* w) {
        int64_t o = 0;
        for (; o + 4 <= outer_; o += 4) rows_along_states<coupled, 4>(o, w);
        for (; o < outer_; ++o) rows_along_states<coupled, 1>(o, w);
    }
    template <bool coupled, int rows>
    void rows_along_states(int64_t o, const F* w) {
        const F* x = in_.get() + o * states_;
        for (int64_t j = 0; j < states_; j += L::width) {
            V sum[rows] = {};
            for (int64_t k = 0; k < states_; ++k)
#pragma GCC unroll 4
                for (int u = 0; u < rows; ++u) sum[u] += x[u * states_ + k] * L::load(w + (coupled ? ((o + u) * states_ + k) * states_ : k * ld_) + j);
            for (int u = 0; u < rows; ++u) put(out_.get() + (o + u) * states_ + j, states_ - j, sum[u]);
        }
    }
    template <bool coupled>
    void along_inner(const F* w) {
        for (int64_t o = 0; o < outer_; ++o) {
            int64_t r = 0;
            for (; r + 4 <= states_; r += 4) rows_along_inner<coupled, 4>(o, r, w);
            for (; r < states_; ++r) rows_along_inner<coupled, 1>(o, r, w);
        }
    }
    template <bool coupled, int rows>
    void rows_along_inner(int64_t o, int64_t r, const F* w) {
        const F* x = in_.get() + o * states_ * inner_;
        for (int64_t j = 0; j < inner_; j += L::width) {
            V sum[rows] = {};
            for (int64_t k = 0; k < states_; ++k) {
                const V at = L::load(x + k * inner_ + j);
#pragma GCC unroll 4
                for (int u = 0; u < rows; ++u)
                    sum[u] += at * (coupled ? L::load(w + ((o * states_ + k) * states_ + r + u) * inner_ + j) : L::broadcast(w[k * ld_ + r + u]));
            }
            for (int u = 0; u < rows; ++u) put(out_.get() + (o * states_ + r + u) * inner_ + j, inner_ - j, sum[u]);
        }
    }
    // Adds what is before times what is after to the sums of products, which are weighed at last. Whether that is exact enough.
    bool add_products(int64_t t, const F* from, const F* cost, const Weighing<S>& weighing) {
        if constexpr (!kMultiplies) return false;
        if (!moderate_[this->step_of(t)]) return false;
        const F best = max_of<F>(slots_, from), least = max_of<F>(slots_, cost) + best + weighing.shift;
        if (!(least < kModerate)) return false;
        if (best == kNothing<F> || least == kNothing<F>) return true;
        exps_of(from, F(0), F(1), in_.get());
        exps_of(cost, least, weighing.g0, after_.get());
        F* sums = products_.get();
        each_run([&](int64_t first, int64_t o, int64_t r, int64_t count) {
            for (int64_t k = 0; k < states_; ++k) {
                const F* x = in_.get() + (o * states_ + k) * inner_;
                F* sum = sums + (lanes() ? (k * states_ + r) * L::width : place(o, k, r, 0));
                V total = lanes() ? L::load(sum) : V{};
                for (int64_t j = 0; j < count; j += L::width) {
                    const V product = (inner_ > 1 ? L::load(x + j) : L::broadcast(*x)) * L::load_part(after_.get() + first + j, std::min<int64_t>(count - j, L::width), F(0));
                    lanes() ? void(total += product) : L::store(sum + j, L::load(sum + j) + product);
                }
                if (lanes()) L::store(sum, total);
            }
        });
        return true;
    }

    // ---- any semiring

    void add_terms(int64_t t, const F* from, const F* cost, const Weighing<S>& weighing) {
        const int64_t width = this->in.width();
        copy(from, in_.get());
        each_run([&](int64_t first, int64_t o, int64_t r, int64_t count) {
            const Terms all = terms(0, t, o, r);
            for (int64_t k = 0; k < states_; ++k)
                for (int64_t j = 0; j < count; j += L::width) {
                    const int64_t n = std::min<int64_t>(count - j, L::width);
                    this->add(lanes() ? (k * states_ + r) * L::width : place(o, k, r, j * (inner_ > 1)) + j * (inner_ == 1),
                              weighing.shares([&](int c) { return all.value(k, c, j) + L::load_part(cost + c * width + first + j, n, kNothing<F>); }));
                }
        });
    }
    void flush(int64_t t) {
        if (!this->requested()) return;
        if constexpr (kMultiplies) {
            const F* w = exps(0, t);
            for (int64_t at = 0; at + L::width <= sums_size_; at += L::width) {
                const V weight = lanes() ? L::broadcast(w[at / L::width / states_ * ld_ + at / L::width % states_]) : L::load(w + at);
                L::store(sums_[0].get() + at, L::load(sums_[0].get() + at) + L::load(products_.get() + at) * weight);
            }
            if (!lanes())
                for (int64_t at = sums_size_ / L::width * L::width; at < sums_size_; ++at) sums_[0][at] += products_[at] * w[at];
            std::fill_n(products_.get(), sums_size_, F(0));
        }
        for (int f = 0; f < 2; ++f) {
            if (!sinks_[f].requested()) continue;
            F* sum = sums_[f].get();
            each_weight([&](int64_t row, int64_t r, int64_t o, int64_t k, int64_t i) {
                F x = sum[place(o, k, r, i)];
                if (lanes()) {
                    const V all = L::load(sum + (k * states_ + r) * L::width);
                    x = f == 0 && Weighing<S>::best ? L::max(all) : L::sum(all);
                }
                sinks_[f].add(this->b_, t, 1, &x, row * states_ + r);
            });
            std::fill_n(sum, sums_size_, this->empty(f));
        }
    }

    int64_t outer_, states_, inner_;
    bool coupled_;
    int64_t ld_, slots_ = 0, size_ = 0, sums_size_ = 0;
    Buffer<F> tables_[2][2], exps_[2];  // of the move and of its transpose: log-weights, their features; numbers
    std::vector<bool> moderate_;        // whether all weights of a step are near its largest one
    Buffer<F> in_, after_, out_, products_;
};

}  // namespace semihmm
