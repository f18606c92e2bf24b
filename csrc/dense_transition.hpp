// A dense transition that all steps share, as the numbers that scaled vectors are multiplied by: what
// scaled_step.hpp asks of a transition. arcs_transition.hpp is another.
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
        weight_.reset(ld_ * ld_), transposed_.reset(ld_ * ld_), row_.reset(ld_);
    }
    int64_t states() const { return states_; }
    double log_scale() const { return log_scale_; }
    bool has_features() const { return has_features_; }  // whether some arc's is not 0
    F row_scale() const { return row_scale_; }     // a power of two, times which rows add up to no more than about 1
    const F* weight() const { return weight_.get(); }    // [from][to]
    const F* transposed() const { return transposed_.get(); }   // [to][from]
    const F* with_features() const { return moments_[0].get(); }  // [from][to], times the arcs' features

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
        transpose<F>(states_, states_, weight_.get(), ld_, transposed_.get(), ld_);
        const F column = normalized(weight_);
        log_scale_ += std::log(static_cast<double>(column));
        row_scale_ = one_over_power<F>(L::broadcast(normalized(transposed_) / column))[0];
        if constexpr (S::features) fill_features(b);
        return true;
    }
    // Vectors times the transition; or its transpose.
    void multiply(int count, const F* const* from, bool transposed, F* const* to) const {
        semihmm::multiply<F>(count, from, states_, (transposed ? transposed_ : weight_).get(), ld_, to);
    }
    // The same, times the arcs' features.
    void multiply_features(int count, const F* const* from, bool transposed, F* const* to) const {
        semihmm::multiply<F>(count, from, states_, moments_[transposed].get(), ld_, to);
    }
    // Whether all small sums of a product are 0 because no path leads there: their predecessors have no weight, or they no arc.
    bool no_path(const F* from, const F* sum, bool transposed) const {
        const F* matrix = (transposed ? weight_ : transposed_).get();
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
    std::vector<int64_t> leaves() const { return {entries()}; }  // of each weight
    void add(int64_t steps, const F* const* before, const F* const* after, F* sums) const {
        add_outer<F>(steps, before, after, states_, ld_, sums);
    }
    // Weighs the sums and calls give(which, first entry, count, numbers): `which` is 1 for features, 0 for log-weights.
    // All sums are 0 then. `sums` and `feature_sums` may be the same.
    template <class Give>
    void flush(F* sums, F* feature_sums, const Give& give) const {
        for (int64_t i = 0; i < states_; ++i) {
            const F *w = weight_.get() + i * ld_, *moment = has_features_ ? moments_[0].get() + i * ld_ : w;
            F *sum = sums + i * ld_, *times = feature_sums + i * ld_;
            for (int64_t j = 0; j < ld_; j += L::width) {
                V x = L::load(sum + j) * L::load(w + j);
                if (has_features_) x += L::load(times + j) * L::load(moment + j);
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
    // Divides a matrix by the largest sum of a column, which is returned: it makes no vector larger then.
    F normalized(Buffer<F>& matrix) const {
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
        has_features_ = false;
        for (int64_t i = 0; i < states_ && !has_features_; ++i)
            for (int64_t j = 0; j < states_; ++j) has_features_ = has_features_ || d[i * by_from + j * by_to] != 0;
        if (!has_features_) return;
        for (Buffer<F>& table : moments_)
            if (!table) table.reset(states_ * ld_);
        for (int64_t i = 0; i < states_; ++i)
            for (int64_t j = 0; j < states_; ++j) moments_[0][i * ld_ + j] = d[i * by_from + j * by_to];
        transpose<F>(states_, states_, moments_[0].get(), ld_, moments_[1].get(), ld_);
        for (int side = 0; side < 2; ++side)
            for (int64_t at = 0; at < states_ * ld_; at += L::width) {
                const V w = L::load((side ? transposed_ : weight_).get() + at), x = L::load(moments_[side].get() + at);
                L::store(moments_[side].get() + at, w == F(0) ? V{} : w * x);
            }
    }

    Leaf<F> given_, feature_;
    int64_t states_, ld_;
    double beta_, log_scale_ = 0;
    bool filled_ = false, has_features_ = false;
    F row_scale_ = 1;
    Buffer<F> weight_, transposed_, moments_[2], row_;
};

}  // namespace semihmm
