// A joint state of several chains moves along one of its axes. What Python calls Axes is one such map for each axis.
#pragma once

#include "axis_product.hpp"
#include "maps.hpp"
#include "scaled.hpp"

namespace semihmm {

template <class S>
class Axis final : public OneLeaf<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    Axis(S semiring, const Part<F>& part, double beta, const AxisProduct<F>& axis)
        : OneLeaf<S>(semiring, part, beta, part.weight.over_time(), true), axis_(axis), slots_(axis.slots()), size_(axis.size()) {
        this->in = this->out = {1, slots_};
    }
    void step(int64_t t, const Rows<F>& rows, F* to) override { move(0, t, rows.at(t), to); }
    void step_backward(int64_t t, const Rows<F>& costs, F* to) override { move(1, t, costs.at(t + 1), to); }
    void contract(int64_t t, const Rows<F>& rows, const F*, const Rows<F>& costs, Weighing<S> weighing) override {
        if (!this->requested()) return;
        const int64_t width = this->in.width();
        const F* cost = costs.at(t + 1);
        copy(rows.at(t), in_.get());
        axis_.each_run([&](int64_t first, int64_t o, int64_t r, int64_t count) {
            const Terms all = terms(0, t, o, r);
            for (int64_t k = 0; k < axis_.states; ++k)
                for (int64_t j = 0; j < count; j += L::width) {
                    const int64_t n = std::min<int64_t>(count - j, L::width), at = axis_.alone() ? (k * axis_.states + r) * L::width : axis_.place(o, k, r, 0) + j;
                    this->add(at, weighing.shares([&](int c) { return all.value(k, c, j) + L::load_part(cost + c * width + first + j, n, kNothing<F>); }));
                }
        });
        if (varies_) flush(t);
    }
    void unload(int64_t t0, int64_t) override {
        if (!varies_) flush(t0);
    }
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker, int64_t* arc_indices) override {
        const int64_t states = axis_.states, inner = axis_.inner;
        const auto [o, r, i] = axis_.parts(slot);
        const F *from = rows.at(t) + o * states * inner + i, *weight = table(0, 0, t) + axis_.place(o, 0, r, i);
        picker.clear();
        for (int64_t k = 0; k < states; ++k)
            for (int c = 0; c < this->semiring.components; ++c) picker.offer(from[c * this->in.width() + k * inner] + weight[k * axis_.step()]);
        const auto [state, row] = picker.pick(rank);
        const int64_t source = (o * states + state) * inner + i;
        *arc_indices = (axis_.coupled ? source : state) * states + r;
        return {source, row, 1, source};
    }

  protected:
    void reserve() override {
        const int64_t steps = varies_ ? kBlock + 1 : 1, components = this->semiring.components;
        for (auto& side : tables_) this->reserve_tables(side, size_, steps);
        if (kMultiplies)
            for (auto& side : numbers_) side.reset(steps * size_);
        for (Buffer<F>* x : {&in_, &out_, &run_}) x->reset((this->in.width() + L::width) * components);
        this->reserve_sums(axis_.sums());
    }
    void fill(int64_t t, int64_t to) override {
        const F* w = weight_.at(this->b_, t);
        const F peak = matrix_peak(weight_, w), beta = static_cast<F>(beta_);
        this->log_scale_[to] = static_cast<double>(peak) * beta_;
        axis_.each_weight([&](int64_t o, int64_t k, int64_t i, int64_t r, int64_t at) {
            const int64_t row = at / axis_.states, places[] = {axis_.place(o, k, r, i), axis_.place(o, r, k, i)};
            const F x = (w[row * weight_.by_event[0] + r * weight_.by_event[1]] - peak) * beta;
            for (int side = 0; side < 2; ++side) {
                tables_[side][0][to * size_ + places[side]] = x;
                if (kMultiplies) numbers_[side][to * size_ + places[side]] = std::exp(x);
                if constexpr (S::features)
                    tables_[side][1][to * size_ + places[side]] =
                        x == kNothing<F> ? F(0) : feature_.at(this->b_, t)[row * feature_.by_event[0] + r * feature_.by_event[1]];
            }
        });
    }

  private:
    using OneLeaf<S>::weight_, OneLeaf<S>::feature_, OneLeaf<S>::beta_, OneLeaf<S>::varies_, OneLeaf<S>::sums_, OneLeaf<S>::sinks_;
    static constexpr bool kMultiplies = std::is_same_v<S, Log<F>>;

    const F* table(int side, int f, int64_t t) const { return f && !S::features ? nullptr : tables_[side][f].get() + this->step_of(t) * size_; }
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
        const int64_t at = axis_.place(o, 0, r, 0);
        return {in_.get() + o * axis_.states * axis_.inner, this->in.width() + L::width, axis_.inner, table(side, 0, t) + at,
                S::features ? table(side, 1, t) + at : nullptr, axis_.step(), axis_.inner > 1, !axis_.alone()};
    }
    // All components of a vector, with as much behind them as a load may read.
    void copy(const F* from, F* to) const {
        const int64_t width = this->in.width();
        for (int c = 0; c < this->semiring.components; ++c) std::copy_n(from + c * width, width, to + c * (width + L::width));
    }
    void add_up(int side, int64_t t, int64_t first, int64_t o, int64_t r, int64_t count, F* to) {
        const int64_t stride = this->in.width() + L::width;
        this->semiring.sum(axis_.states, padded<F>(count), terms(side, t, o, r), run_.get(), stride);
        for (int c = 0; c < this->semiring.components; ++c) std::copy_n(run_.get() + c * stride, count, to + c * this->in.width() + first);
    }
    void move(int side, int64_t t, const F* from, F* to) {
        const int64_t width = this->in.width();
        if constexpr (std::is_same_v<S, Max<F>>) {
            copy(from, in_.get());
            axis_.template multiply<MaxPlus<F>>(in_.get(), table(side, 0, t), to);
        } else if constexpr (kMultiplies) {
            return multiply(side, t, from, to);
        } else {
            copy(from, in_.get());
            axis_.each_run([&](int64_t first, int64_t o, int64_t r, int64_t count) { add_up(side, t, first, o, r, count, to); });
        }
        for (int c = 0; c < this->semiring.components; ++c) std::fill(to + c * width + slots_, to + (c + 1) * width, kNothing<F>);
    }
    // As numbers, with one exp and one log for each slot; runs with sums that are too small, in log space.
    void multiply(int side, int64_t t, const F* from, F* to) {
        const int64_t width = this->in.width();
        const F best = max_of<F>(slots_, from), peak = best == kNothing<F> ? F(0) : best;  // also where there is a NaN
        for (int64_t j = 0; j < width; j += L::width) L::store(in_.get() + j, exp<F>(L::load(from + j) - peak));
        axis_.template multiply<PlusTimes<F>>(in_.get(), numbers_[side].get() + this->step_of(t) * size_, out_.get());
        std::fill(out_.get() + slots_, out_.get() + width, F(0));
        for (int64_t j = 0; j < width; j += L::width) L::store(to + j, log<F>(L::load(out_.get() + j)) + peak);
        const auto small = [](const F* x, int64_t n) { return std::any_of(x, x + n, [](F y) { return y < kTrusted<F>; }); };
        if (!small(out_.get(), slots_)) return;
        copy(from, in_.get());
        axis_.each_run([&](int64_t first, int64_t o, int64_t r, int64_t count) {
            if (small(out_.get() + first, count)) add_up(side, t, first, o, r, count, to);
        });
    }
    void flush(int64_t t) {
        for (int f = 0; f < 2; ++f) {
            if (!sinks_[f].requested()) continue;
            F* sum = sums_[f].get();
            axis_.each_weight([&](int64_t o, int64_t k, int64_t i, int64_t r, int64_t at) {
                F x = sum[axis_.place(o, k, r, i)];
                if (axis_.alone()) {
                    const V all = L::load(sum + (k * axis_.states + r) * L::width);
                    x = f == 0 && Weighing<S>::best ? L::max(all) : L::sum(all);
                }
                sinks_[f].add(this->b_, t, 1, &x, at);
            });
            std::fill_n(sum, axis_.sums(), this->empty(f));
        }
    }

    AxisProduct<F> axis_;
    int64_t slots_, size_;
    Buffer<F> tables_[2][2], numbers_[2];  // of the move and of its transpose: log-weights, their features; and as numbers
    Buffer<F> in_, out_, run_;
};

}  // namespace semihmm
