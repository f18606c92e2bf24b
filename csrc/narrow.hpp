// Steps of linear.hpp between no more states than a vector has lanes: a state vector stays in its register from the first
// step of a block to the last, and no step waits for what is found out about it.
//
// Each product is divided by the power of two that its vector has added up to: vectors stay near 1, and nothing is rounded.
#pragma once

#include "scaled.hpp"

namespace semihmm {

template <class F>
class Narrow {
  public:
    using L = Lanes<F>;
    using V = typename L::type;
    using B = typename L::bits;

    // Matrices of whole vectors, as many rows as lanes: those behind the last state are 0.
    Narrow(const F* weight, const F* back, int64_t states, F beta)
        : weight_(weight), back_(back), states_(states), beta_(beta),
          none_(L::first(states) ? V{} : L::broadcast(kNothing<F>)) {}

    // The vectors at times t0 + 1 to t1, from one in log space; the last in log space again. `emission(t)` may be null.
    // Adds the peaks of the emissions to `peaks`. False where some sum cannot be trusted.
    template <class Emission>
    bool forward(const Emission& emission, const Rows<F>& rows, int64_t t0, int64_t t1, double& peaks) const {
        return sized([&]<int inner>() { return forward<inner>(emission, rows, t0, t1, peaks); });
    }
    // The costs from time t1 down to t0: those after each step in `costs`, from there on times the emissions in `after`;
    // `cost` is that at t1, and then that at t0. False where some sum cannot be trusted.
    template <class Emission>
    bool backward(const Emission& emission, int64_t t0, int64_t t1, F* cost, F* costs, F* after) const {
        return sized([&]<int inner>() { return backward<inner>(emission, t0, t1, cost, costs, after); });
    }

  private:
    template <class Work>
    bool sized(const Work& work) const {
        if constexpr (L::width >= 16)
            if (states_ > 8) return work.template operator()<16>();
        if constexpr (L::width >= 8)
            if (states_ > 4) return work.template operator()<8>();
        if constexpr (L::width >= 4)
            if (states_ > 2) return work.template operator()<4>();
        return work.template operator()<2>();
    }
    static V least() { return L::broadcast(std::numeric_limits<F>::min()); }
    // exp, but nothing that is more than 0 comes out as less than the least.
    static V number(V log) { return log == kNothing<F> ? V{} : L::max(least(), exp<F>(log)); }

    // The product of a vector and a matrix, and in each lane the sum of the vector.
    template <int first, int count>
    [[gnu::always_inline]] static void multiply(V from, const V* row, V& product, V& mass) {
        const V here = L::template spread<first>(from);
        if constexpr (count == 1) {
            product = here * row[first], mass = here;
        } else if constexpr (count == 2) {
            const V next = L::template spread<first + 1>(from);
            product = here * row[first] + next * row[first + 1], mass = here + next;
        } else {
            V more, other;
            multiply<first, count / 2>(from, row, product, mass);
            multiply<first + count / 2, count / 2>(from, row, more, other);
            product += more, mass += other;
        }
    }
    template <int inner>
    void load(const F* matrix, V* row) const {
        for (int i = 0; i < inner; ++i) row[i] = L::load(matrix + i * L::width);
    }
    // sum * by, where neither is 0 at least the least.
    static V weighed(V sum, V by, V scale) {
        constexpr F large = 1 / std::numeric_limits<F>::min();  // any sum but 0, times that, is more than the least
        const V low = by == F(0) ? V{} : least();
        return L::max(L::min(sum * large, low), sum * (by * scale));
    }
    // The log of the emissions less their peak, which is returned.
    template <class Emission>
    [[gnu::always_inline]] F seen(const Emission& emission, int64_t t, V& log) const {
        const F* e = emission(t);
        if (!e) {
            log = none_;
            return 0;
        }
        log = L::load_part(e, states_, kNothing<F>);
        F peak = L::max(log);
        if (std::isinf(peak)) peak = 0;
        log = (log - peak) * beta_;
        return peak;
    }
    // Whether small sums are 0 because no path leads there, in each product of the vectors of a block.
    template <int inner, class From>
    static bool no_path(const V* row, int64_t count, const From& from) {
        V there[inner];
        for (int i = 0; i < inner; ++i) there[i] = row[i] > F(0) ? L::broadcast(F(1)) : V{};
        B lost{};
        for (int64_t k = 0; k < count; ++k) {
            const V vector = from(k);
            V sum, paths, mass;
            multiply<0, inner>(vector, row, sum, mass);
            multiply<0, inner>(vector > F(0) ? L::broadcast(F(1)) : V{}, there, paths, mass);
            lost |= (sum < kTrusted<F>) & (paths > F(0));
        }
        return L::min(lost) == 0;
    }

    template <int inner, class Emission>
    bool forward(const Emission& emission, const Rows<F>& rows, int64_t t0, int64_t t1, double& peaks) const {
        V row[inner];
        load<inner>(weight_, row);
        const V first = number(L::load(rows.at(t0)));
        V vector = first, least_mass = L::broadcast(infinity<F>);
        B small{};
        double offset = rows.off(t0), taken = 0;
        for (int64_t t = t0;; ++t) {
            V log, sum, mass;
            taken += static_cast<double>(seen(emission, t, log));
            multiply<0, inner>(vector, row, sum, mass);
            small |= sum < kTrusted<F>;
            least_mass = L::min(mass, least_mass);
            if (t + 1 == t1) {
                log += semihmm::log<F>(sum);
                const F peak = L::max(log);
                if (!(std::abs(peak) < infinity<F>)) return false;
                L::store(rows.at(t1), log - peak);
                rows.off(t1) = offset + static_cast<double>(peak);
                break;
            }
            vector = weighed(sum, number(log), one_over_power<F>(mass));
            offset += exponent<F>(mass[0]) * kLogTwo;
            L::store(rows.at(t + 1), vector);
            rows.off(t + 1) = offset;
        }
        peaks += taken;
        if (!(least_mass[0] > F(0))) return false;
        return L::min(small) == 0 || no_path<inner>(row, t1 - t0, [&](int64_t k) { return k ? L::load(rows.at(t0 + k)) : first; });
    }

    template <int inner, class Emission>
    bool backward(const Emission& emission, int64_t t0, int64_t t1, F* cost, F* costs, F* after) const {
        V row[inner];
        load<inner>(back_, row);
        V vector = L::load(cost), least_mass = L::broadcast(infinity<F>);
        B small{};
        const V one = L::broadcast(F(1)), there = none_ == F(0) ? one : V{};
        for (int64_t t = t1 - 1; t >= t0; --t) {
            V log, sum, mass;
            seen(emission, t, log);
            L::store(costs + (t - t0) * L::width, vector);
            const V seen = weighed(vector, number(log), one);
            L::store(after + (t - t0) * L::width, seen);
            multiply<0, inner>(seen, row, sum, mass);
            small |= sum < kTrusted<F>;
            least_mass = L::min(mass, least_mass);
            vector = weighed(sum, there, one_over_power<F>(mass));
        }
        L::store(cost, vector);
        if (!(least_mass[0] > F(0)) || !(L::max(vector) > F(0))) return false;
        return L::min(small) == 0 || no_path<inner>(row, t1 - t0, [&](int64_t k) { return L::load(after + k * L::width); });
    }

    const F *weight_, *back_;
    int64_t states_;
    F beta_;
    V none_;  // 0 for states, -inf for the padding
};

}  // namespace semihmm
