// One step of scaled state vectors, for a transition that all steps share, dense or of few arcs, with or without emissions (HMM,
// linear-chain CRF), in Log and Expectation. Several sequences take a step at a time, which is a product of matrices.
//
// A vector is either scaled, numbers of which the largest is near 1, or in log space with its peak at 0. Which it is follows
// from where it is kept (`ScaledRows`), never from its numbers.
//
// Exact 0 means that there is no path, and nothing else does: a number less than the smallest normal one becomes that one.
// What this costs a sum is at most a smallest normal number for each state, so sums above `kTrusted` are right to rounding
// error, and with them whatever is made of them. Where some sum is less, and not because there is no path, log space it is.
//
// With a feature, numbers are dual: behind the masses p lie the moments m, mass times mean. A step makes them m W + p (W D),
// where D is what the arcs hold. The moment of such a mass is left as it is: the means that it has a part in
// are off by no more than the feature's range times that part.
#pragma once

#include "dense_transition.hpp"
#include "emissions.hpp"
#include "scan.hpp"

namespace semihmm {

// The state vectors of a sequence. Those between two blocks of kBlock steps are in log space; those within a block, as
// `scaled` says of it, are scaled (1) or in log space (0). A block of one step has none within.
template <class F>
struct ScaledRows : Rows<F> {
    double* scaled = nullptr;  // from the block of time `first` on

    double& is_scaled(int64_t t0) const { return scaled[t0 / kBlock - this->first / kBlock]; }  // the block from t0 on
};

template <class S, class T>
class ScaledStep {
  public:
    using Transition = T;  // DenseTransition, ArcsTransition or AxesTransition
    using F = typename S::F;
    using L = Lanes<F>;
    using V = typename L::type;

    ScaledStep(Chain<S>& chain, Transition transition, Emissions<F> emission)
        : chain_(chain), transition_(std::move(transition)), emission_(std::move(emission)),
          states_(transition_.states()), ld_(padded<F>(states_)), stride_(ld_ * (1 + S::features)), beta_(static_cast<F>(chain.beta)) {
        mask_.reset(stride_), row_.reset(stride_);
        std::fill_n(mask_.get(), states_, F(1));
    }

  protected:
    // What `count` sequences from `b` on have; whether that is another transition than before.
    bool fill(int64_t b, int count) {
        for (int r = 0; r < count; ++r) {
            if (border_[r]) continue;
            border_[r].reset(stride_), sum_[r].reset(stride_), emissions_[r].reset(stride_), moments_[r].reset(S::features * ld_);
        }
        emission_.fill(b);
        return transition_.fill(b);
    }
    // Of vectors: the transition, or its transpose, times each.
    void multiply(int count, const F* const* from, bool transposed, F* const* sum) const {
        const F* rows[2 * kGroup] = {};  // filled up to `count`, which GCC does not see
        F* to[2 * kGroup] = {};
        for (int i = 0; i < count; ++i) {
            rows[i] = from[i], to[i] = sum[i];
            if (S::features) rows[count + i] = from[i] + ld_, to[count + i] = sum[i] + ld_;
        }
        transition_.multiply((1 + S::features) * count, rows, transposed, to);
        if (!transition_.has_features()) return;
        for (int i = 0; i < count; ++i) to[i] = moments_[i].get();
        transition_.multiply_features(count, rows, transposed, to);
        for (int i = 0; i < count; ++i)
            for (int64_t j = ld_; j < stride_; j += L::width) L::store(sum[i] + j, L::load(sum[i] + j) + L::load(to[i] + j - ld_));
    }
    // The emissions of step t less their peak, which is returned, as numbers.
    F emission(int64_t b, int64_t t, F* to) const {
        if (!emission_) return 0;
        const bool tied = emission_.tied();
        const int64_t count = tied ? emission_.size() : states_;
        F* const numbers = tied ? emission_.row() : to;
        const F* e = emission_.at(b, t, numbers);
        F peak = max_of<F>(count, e);
        if (std::isinf(peak)) peak = 0;
        exps_above_least(count, e, peak, beta_, numbers, F(0), tied ? padded<F>(count) : ld_);
        if (tied) emission_.spread(numbers, to);
        if constexpr (S::features) {
            const F* d = emission_.feature_by_state(b, t, row_.get());
            for (int64_t j = 0; j < states_; ++j) to[ld_ + j] = to[j] > 0 ? d[j] : F(0);
        }
        return peak;
    }
    // What sums are weighed by: the emissions that `emission` made for the r-th sequence, or 1.
    const F* weights(int r) const { return (emission_ ? emissions_[r] : mask_).get(); }
    // The emissions of step t times a vector in log space; returns its peak, which is taken out.
    double weigh_logs(int64_t b, int64_t t, F peak, F* vector) const {
        std::fill(vector + states_, vector + ld_, kNothing<F>);
        if (emission_) {
            const F* e = emission_.by_state(b, t, row_.get());
            for (int64_t j = 0; j < states_; ++j) vector[j] += (e[j] - peak) * beta_;
            if constexpr (S::features) {
                const F* d = emission_.feature_by_state(b, t, row_.get());
                for (int64_t j = 0; j < states_; ++j)
                    if (vector[j] > kNothing<F>) vector[ld_ + j] += d[j];
            }
        }
        return rescale(chain_.semiring, ld_, vector);
    }
    // to = sum * by * scale, at least the smallest normal number where neither is 0. Returns the largest; whether every sum can
    // be trusted.
    F weigh(const F* sum, const F* by, F scale, F* to, bool& trusted) const {
        const V least = L::broadcast(std::numeric_limits<F>::min()), zero{};
        V largest = zero, smallest = L::broadcast(infinity<F>);
        for (int64_t j = 0; j < ld_; j += L::width) {
            const V q = L::load(sum + j), x = L::load(by + j);
            smallest = L::min(q, smallest);
            const V v = q * (x * scale);
            const V y = v < least ? (q > zero ? (x > zero ? least : zero) : zero) : v;
            largest = L::max(y, largest);
            L::store(to + j, y);
            if constexpr (S::features) L::store(to + ld_ + j, (L::load(sum + ld_ + j) + q * L::load(by + ld_ + j)) * (x * scale));
        }
        trusted = !(-L::max(-smallest) < kTrusted<F>);
        return L::max(largest);
    }
    static bool sound(F largest) { return largest > F(0) && largest < infinity<F>; }
    static bool near_one(F largest) { return largest > F(0x1p-24) && largest < F(4); }
    // The power of two that brings a vector near 1, without rounding; it multiplies the next sums.
    static F scale_of(F largest) { return one_over_power<F>(L::broadcast(largest))[0]; }
    bool has_mass(const F* scaled) const { return max_of<F>(ld_, scaled) > F(0); }

    // A vector in log space whose peak is 0, scaled; and the other way round.
    void exps(const F* from, F* to) const {
        const V least = L::broadcast(std::numeric_limits<F>::min()), nothing = L::broadcast(kNothing<F>);
        for (int64_t j = 0; j < ld_; j += L::width) {
            const V x = L::load(from + j);
            const V y = x == nothing ? V{} : L::max(least, exp<F>(x));
            L::store(to + j, y);
            if constexpr (S::features) L::store(to + ld_ + j, y * L::load(from + ld_ + j));
        }
    }
    void logs(const F* from, F* to) const {
        if constexpr (S::features)
            for (int64_t j = 0; j < ld_; j += L::width) {
                const V p = L::load(from + j);
                L::store(to + ld_ + j, p == F(0) ? V{} : L::load(from + ld_ + j) / p);
            }
        log<F>(ld_, from, to);
    }
    // The log of the sum of the products of two vectors in log space, and the mean.
    std::pair<double, double> dot(const F* a, const F* b) const {
        for (int64_t j = 0; j < stride_; j += L::width) L::store(row_.get() + j, L::load(a + j) + L::load(b + j));
        double value[2] = {0, 0};
        Scan<S>::mixture(row_.get(), ld_, value);
        return {value[0], value[1]};
    }

    Chain<S>& chain_;
    Transition transition_;
    Emissions<F> emission_;
    int64_t states_, ld_, stride_;
    F beta_;
    Buffer<F> mask_, row_;  // 1 for slots, 0 for padding; for a moment
    // Of each sequence at a time: the vector between two blocks, scaled; a product, the emissions it is weighed by, p (W D).
    Buffer<F> border_[kGroup], sum_[kGroup], emissions_[kGroup], moments_[kGroup];
};

}  // namespace semihmm
