// Max for a stationary dense transition, several sequences at a time: the state vectors that paths are traced from.
#pragma once

#include "product.hpp"
#include "scan.hpp"

namespace semihmm {

template <class F>
class Best {
  public:
    using L = Lanes<F>;
    using S = Max<F>;

    // `emission` without data: there is none.
    Best(Chain<S>& chain, Leaf<F> transition, Leaf<F> emission)
        : chain_(chain), transition_(transition), emission_(emission), states_(transition.event[0]), ld_(padded<F>(states_)),
          beta_(static_cast<F>(chain.beta)) {
        weight_.reset(states_ * ld_, kNothing<F>), ends_.reset(ld_, kNothing<F>);
    }

    // All state vectors of `count` sequences from `b` on, and their totals. `kept` keeps all.
    void total(int64_t b, int count, const Kept<F>& kept, double* values) {
        matrix(b);
        Rows<F> rows[kTogether];
        int64_t length[kTogether], longest = 0;
        double lost[kTogether];
        for (int r = 0; r < count; ++r) {
            const int64_t at = b + r;
            length[r] = chain_.length_of(at);
            longest = std::max(longest, length[r]);
            rows[r] = {kept.vectors + at * kept.rows * ld_, kept.offsets + at * kept.rows, ld_, 0};
            lost[r] = chain_.start.read(chain_.semiring, at, {1, states_}, chain_.beta, rows[r].at(0)) + lost_ * static_cast<double>(length[r]);
            rows[r].off(0) = rescale(chain_.semiring, ld_, rows[r].at(0));
        }
        for (int64_t t = 0; t < longest; ++t) {
            const F* from[kTogether];
            F* to[kTogether];
            int who[kTogether], active = 0;
            for (int r = 0; r < count; ++r)
                if (t < length[r]) from[active] = rows[r].at(t), to[active] = rows[r].at(t + 1), who[active++] = r;
            multiply_max<F>(active, from, states_, weight_.get(), ld_, to);
            for (int i = 0; i < active; ++i) {
                const int r = who[i];
                if (emission_.data) lost[r] += static_cast<double>(weigh(b + r, t, to[i])) * chain_.beta;
                rows[r].off(t + 1) = rows[r].off(t) + rescale(chain_.semiring, ld_, to[i]);
            }
        }
        for (int r = 0; r < count; ++r) {
            lost[r] += chain_.end.read(chain_.semiring, b + r, {1, states_}, chain_.beta, ends_.get());
            const F* last = rows[r].at(length[r]);
            F best = kNothing<F>;
            for (int64_t j = 0; j < states_; ++j) best = std::max(best, last[j] + ends_[j]);
            values[r] = static_cast<double>(best) + rows[r].off(length[r]) + lost[r];
        }
    }
    static constexpr int kTogether = 8;

  private:
    void matrix(int64_t b) {
        if (filled_ && transition_.same_for_all()) return;
        filled_ = true;
        const F* w = transition_.at(b, 0);
        const int64_t by_from = transition_.by_event[0], by_to = transition_.by_event[1];
        const F peak = matrix_peak(transition_, w);
        lost_ = static_cast<double>(peak) * chain_.beta;
        for (int64_t i = 0; i < states_; ++i)
            for (int64_t j = 0; j < states_; ++j) weight_[i * ld_ + j] = (w[i * by_from + j * by_to] - peak) * beta_;
    }
    // Adds the emissions of step t, less their peak, which is returned.
    F weigh(int64_t b, int64_t t, F* vector) const {
        const F* e = emission_.at(b, t);
        const int64_t by = emission_.by_event[0];
        if (by != 1) {
            F peak = peak_of<F>(states_, [&](int64_t j) { return e[j * by]; }, 1.0);
            for (int64_t j = 0; j < states_; ++j) vector[j] += (e[j * by] - peak) * beta_;
            return peak;
        }
        F peak = max_of<F>(states_, e);
        if (std::isinf(peak)) peak = 0;
        for (int64_t j = 0; j < states_; ++j) vector[j] += (e[j] - peak) * beta_;
        return peak;
    }

    Chain<S>& chain_;
    Leaf<F> transition_, emission_;
    int64_t states_, ld_;
    F beta_;
    double lost_ = 0;
    bool filled_ = false;
    Buffer<F> weight_, ends_;
};

}  // namespace semihmm
