// A dense transition that all steps share, as the numbers that scaled vectors are multiplied by: what linear.hpp asks of
// a transition. arcs_transition.hpp is another.
#pragma once

#include "maps.hpp"
#include "product.hpp"
#include "scaled.hpp"

namespace semihmm {

// exp(beta * (x - peak)) of n log-weights, at least the smallest normal number, 0 for -inf; `rest` up to `ld`.
template <class F>
void exps_above_least(int64_t n, const F* x, F peak, F beta, F* to, F rest, int64_t ld) {
    using L = Lanes<F>;
    using V = typename L::type;
    const V least = L::broadcast(std::numeric_limits<F>::min()), nothing = L::broadcast(kNothing<F>);
    const auto one = [&](V v) {
        const V y = (v - peak) * beta;
        return y == nothing ? V{} : L::max(least, exp<F>(y));
    };
    int64_t j = 0;
    for (; j + L::width <= n; j += L::width) L::store(to + j, one(L::load(x + j)));
    if (j == n) return;
    L::store(to + j, one(L::load_part(x + j, n - j, kNothing<F>)));
    std::fill(to + n, to + ld, rest);
}

template <class S>
class DenseTransition {
  public:
    using F = typename S::F;
    using L = Lanes<F>;
    using V = typename L::type;
    static constexpr bool dense = true;

    // `feature` without data: arcs have none.
    DenseTransition(Leaf<F> weight, Leaf<F> feature, double beta)
        : given_(weight), feature_(feature), states_(weight.event[0]), ld_(padded<F>(states_)), beta_(beta) {
        weight_.reset(ld_ * ld_), back_.reset(ld_ * ld_), row_.reset(ld_);
    }
    int64_t states() const { return states_; }
    double log_scale() const { return log_scale_; }
    bool has_features() const { return moving_; }  // whether some arc's is not 0
    F even() const { return even_; }               // a power of two, times which rows add up to no more than about 1
    const F* weight() const { return weight_.get(); }    // [from][to]
    const F* back() const { return back_.get(); }        // [to][from]
    const F* with_feature() const { return moved_[0].get(); }  // [from][to], times the arcs' features

    // Reads what sequence b has. The columns of the padding hold 1, so that no sum there is small. Whether that is another
    // transition than the one before.
    bool fill(int64_t b) {
        if (filled_ && given_.same_for_all() && feature_.same_for_all()) return false;
        filled_ = true;
        const F* w = given_.at(b, 0);
        const int64_t by_from = given_.by_event[0], by_to = given_.by_event[1];
        const F peak = matrix_peak(given_, w);
        log_scale_ = static_cast<double>(peak) * beta_;
        for (int64_t i = 0; i < states_; ++i) {
            const F* row = w + i * by_from;
            if (by_to != 1) {
                for (int64_t j = 0; j < states_; ++j) row_[j] = row[j * by_to];
                row = row_.get();
            }
            exps_above_least(states_, row, peak, static_cast<F>(beta_), weight_.get() + i * ld_, F(1), ld_);
        }
        transpose<F>(states_, states_, weight_.get(), ld_, back_.get(), ld_);
        const F column = tamed(weight_);
        log_scale_ += std::log(static_cast<double>(column));
        even_ = one_over_power<F>(L::broadcast(tamed(back_) / column))[0];
        if constexpr (S::features) fill_features(b);
        return true;
    }
    // Vectors times the transition; `back`: its transpose.
    void multiply(int count, const F* const* from, bool back, F* const* to) const {
        semihmm::multiply<F>(count, from, states_, (back ? back_ : weight_).get(), ld_, to);
    }
    // The same, times the arcs' features.
    void multiply_features(int count, const F* const* from, bool back, F* const* to) const {
        semihmm::multiply<F>(count, from, states_, moved_[back].get(), ld_, to);
    }
    // Whether all small sums of a product are 0 because no path leads there: their predecessors have no weight, or they no arc.
    bool no_path(const F* from, const F* sum, bool back) const {
        const F* matrix = (back ? weight_ : back_).get();
        const V zero{};
        for (int64_t j = 0; j < states_; ++j) {
            if (!(sum[j] < kTrusted<F>)) continue;
            if (sum[j] > 0) return false;
            const F* arcs = matrix + j * ld_;  // those that lead to j
            typename L::bits any{};
            for (int64_t i = 0; i < ld_; i += L::width) any |= (L::load(from + i) != zero) & (L::load(arcs + i) != zero);
            for (int lane = 0; lane < L::width; ++lane)
                if (any[lane]) return false;
        }
        return true;
    }

    // Sums over steps of what is before an arc times what is after it, from which counts are made: how many numbers those
    // are, to how many entries of the weights they belong.
    int64_t sums() const { return states_ * ld_; }
    int64_t entries() const { return states_ * states_; }
    void add(int64_t steps, const F* const* before, const F* const* after, F* sums) const {
        add_outer<F>(steps, before, after, states_, ld_, sums);
    }
    // Weighs the sums and calls give(which, first entry, count, numbers): `which` is 1 for features, 0 for log-weights.
    // All sums are 0 then. `sums` and `feature_sums` may be the same.
    template <class Give>
    void flush(F* sums, F* feature_sums, const Give& give) const {
        for (int64_t i = 0; i < states_; ++i) {
            const F *w = weight_.get() + i * ld_, *moved = moving_ ? moved_[0].get() + i * ld_ : w;
            F *sum = sums + i * ld_, *times = feature_sums + i * ld_;
            for (int64_t j = 0; j < ld_; j += L::width) {
                V x = L::load(sum + j) * L::load(w + j);
                if (moving_) x += L::load(times + j) * L::load(moved + j);
                L::store(sum + j, x);
                if (S::features) L::store(times + j, L::load(times + j) * L::load(w + j));
            }
            for (int f = 0; f <= S::features; ++f) {
                F* row = f ? times : sum;
                give(f, i * states_, states_, row);
                std::fill_n(row, ld_, F(0));
            }
        }
    }

  private:
    // Divides a matrix so that it makes no vector larger; returns by what.
    F tamed(Buffer<F>& matrix) const {
        const V least = L::broadcast(std::numeric_limits<F>::min()), zero{};
        std::fill_n(row_.get(), ld_, F(0));
        for (int64_t i = 0; i < states_; ++i)
            for (int64_t j = 0; j < ld_; j += L::width) L::store(row_.get() + j, L::load(row_.get() + j) + L::load(matrix.get() + i * ld_ + j));
        const F largest = std::max(std::numeric_limits<F>::min(), max_of<F>(states_, row_.get()));
        for (int64_t i = 0; i < states_; ++i) {
            F* row = matrix.get() + i * ld_;
            for (int64_t j = 0; j < ld_; j += L::width) {
                const V x = L::load(row + j);
                L::store(row + j, x > zero ? L::max(x / largest, least) : x);  // a NaN stays one
            }
            std::fill(row + states_, row + ld_, F(1));
        }
        return largest;
    }
    void fill_features(int64_t b) {
        const F* d = feature_.at(b, 0);
        const int64_t by_from = feature_.by_event[0], by_to = feature_.by_event[1];
        moving_ = false;
        for (int64_t i = 0; i < states_ && !moving_; ++i)
            for (int64_t j = 0; j < states_; ++j) moving_ = moving_ || d[i * by_from + j * by_to] != 0;
        if (!moving_) return;
        for (Buffer<F>& table : moved_)
            if (!table) table.reset(states_ * ld_);
        for (int64_t i = 0; i < states_; ++i)
            for (int64_t j = 0; j < states_; ++j) moved_[0][i * ld_ + j] = d[i * by_from + j * by_to];
        transpose<F>(states_, states_, moved_[0].get(), ld_, moved_[1].get(), ld_);
        for (int back = 0; back < 2; ++back)
            for (int64_t at = 0; at < states_ * ld_; at += L::width) {
                const V w = L::load((back ? back_ : weight_).get() + at), x = L::load(moved_[back].get() + at);
                L::store(moved_[back].get() + at, w == F(0) ? V{} : w * x);
            }
    }

    Leaf<F> given_, feature_;
    int64_t states_, ld_;
    double beta_, log_scale_ = 0;
    bool filled_ = false, moving_ = false;
    F even_ = 1;
    Buffer<F> weight_, back_, moved_[2], row_;
};

}  // namespace semihmm
