// What a sum of terms means. A term is a predecessor's value and the arc's: vectors over the slots that they lead to.
//
// `Terms` answers value(k, c, j): component c of term k for the lanes from slot j on. The names are those of the Python
// semirings. A value's components lie one after the other, `stride` apart.
#pragma once

#include "chain.hpp"

namespace semihmm {


template <class Real>
struct Log {
    using F = Real;
    using L = Lanes<F>;
    using V = typename L::type;
    static constexpr bool features = false;
    int components = 1;

    template <class Terms>
    void sum(int64_t count, int64_t width, const Terms& terms, F* out, int64_t) const {
        if (count == 2) return few<2>(width, terms, out);
        if (count == 3) return few<3>(width, terms, out);
        for (int64_t j = 0; j < width; j += L::width) {
            V peak = L::broadcast(kNothing<F>);
            for (int64_t k = 0; k < count; ++k) peak = L::max(peak, terms.value(k, 0, j));
            const V shift = peak == kNothing<F> ? L::broadcast(F(0)) : peak;
            V mass = L::broadcast(F(0));
            for (int64_t k = 0; k < count; ++k) mass += exp<F>(terms.value(k, 0, j) - shift);
            L::store(out + j, log<F>(mass) + shift);
        }
    }

  private:
    // So few terms that each is read once and kept, and that it pays not to take exp of the largest: that is 1.
    template <int count, class Terms>
    void few(int64_t width, const Terms& terms, F* out) const {
        for (int64_t j = 0; j < width; j += L::width) {
            V peak = terms.value(0, 0, j), other[count - 1];
            for (int k = 1; k < count; ++k) {
                const V x = terms.value(k, 0, j);
                other[k - 1] = x > peak ? peak : x;  // either way round, no NaN gets lost
                peak = x > peak ? x : peak;
            }
            const V shift = peak == kNothing<F> ? L::broadcast(F(0)) : peak;
            V mass = peak == kNothing<F> ? L::broadcast(F(0)) : L::broadcast(F(1));
            for (const V& x : other) mass += exp<F>(x - shift);
            L::store(out + j, log<F>(mass) + shift);
        }
    }
};

template <class Real>
struct Max {
    using F = Real;
    using L = Lanes<F>;
    using V = typename L::type;
    static constexpr bool features = false;
    int components = 1;

    template <class Terms>
    void sum(int64_t count, int64_t width, const Terms& terms, F* out, int64_t) const {
        int64_t j = 0;
        for (; j + 4 * L::width <= width; j += 4 * L::width) {
            V best[4];
            for (V& b : best) b = L::broadcast(kNothing<F>);
            for (int64_t k = 0; k < count; ++k)
                for (int u = 0; u < 4; ++u) best[u] = L::max(best[u], terms.value(k, 0, j + u * L::width));
            for (int u = 0; u < 4; ++u) L::store(out + j + u * L::width, best[u]);
        }
        for (; j < width; j += L::width) {
            V best = L::broadcast(kNothing<F>);
            for (int64_t k = 0; k < count; ++k) best = L::max(best, terms.value(k, 0, j));
            L::store(out + j, best);
        }
    }
};

template <class Real>
struct TopK {
    using F = Real;
    using L = Lanes<F>;
    using V = typename L::type;
    static constexpr bool features = false;
    int components;  // k

    // A term is a list, best first, and so is what is kept of those before. The best k of both are, for each c, the better
    // of the c-th best of one and the c-th last of the other: first falling, then rising, which log k rounds of exchanges
    // put in order (Batcher 1968, "Sorting networks and their applications").
    template <class Terms>
    void sum(int64_t count, int64_t width, const Terms& terms, F* out, int64_t stride) const {
        std::vector<V> kept(static_cast<std::size_t>(components));
        V* best = kept.data();
        const int last = components - 1;
        for (int64_t j = 0; j < width; j += L::width) {
            for (V& b : kept) b = L::broadcast(kNothing<F>);
            for (int64_t k = 0; k < count && components < kSorted; ++k)
                for (int c = 0; c < components; ++c) {
                    V x = terms.value(k, c, j);
                    for (int r = c; r < components; ++r) {  // no list's c-th may be better than c others
                        const V high = L::max(best[r], x);
                        x = L::min(best[r], x);
                        best[r] = high;
                    }
                }
            for (int64_t k = 0; k < count && components >= kSorted; ++k) {
                const V first = terms.value(k, 0, j);
                if (L::min(~(first <= best[last])) == 0) continue;  // not even its best is among the best anywhere
                for (int c = 0; c < components; ++c) best[last - c] = L::max(terms.value(k, c, j), best[last - c]);
                sort(best);
            }
            for (int c = 0; c < components; ++c) L::store(out + c * stride + j, best[c]);
        }
    }

  private:
    static constexpr int kSorted = 5;  // of fewer, each is put in its place by itself

    // Puts what first falls and then rises in order, in each lane: as if there were as many entries as the next power of
    // two says, those in front infinite.
    void sort(V* x) const {
        int size = 1;
        while (size < components) size *= 2;
        const int absent = size - components;
        x -= absent;
        for (int half = size / 2; half > 0; half /= 2)
            for (int begin = absent / (2 * half) * (2 * half); begin < size; begin += 2 * half)
                for (int i = std::max(begin, absent); i < begin + half; ++i) {
                    const V high = L::max(x[i], x[i + half]);
                    x[i + half] = L::min(x[i], x[i + half]);
                    x[i] = high;
                }
    }
};

// (log-mass, mean of one feature).
template <class Real>
struct Expectation {
    using F = Real;
    using L = Lanes<F>;
    using V = typename L::type;
    static constexpr bool features = true;
    int components = 2;

    template <class Terms>
    void sum(int64_t count, int64_t width, const Terms& terms, F* out, int64_t stride) const {
        for (int64_t j = 0; j < width; j += L::width) {
            V peak = L::broadcast(kNothing<F>);
            for (int64_t k = 0; k < count; ++k) peak = L::max(peak, terms.value(k, 0, j));
            const V shift = peak == kNothing<F> ? L::broadcast(F(0)) : peak;
            V mass = L::broadcast(F(0)), moment = L::broadcast(F(0));
            for (int64_t k = 0; k < count; ++k) {
                const V share = exp<F>(terms.value(k, 0, j) - shift);
                mass += share;
                moment += share == F(0) ? L::broadcast(F(0)) : share * terms.value(k, 1, j);
            }
            L::store(out + j, log<F>(mass) + shift);
            L::store(out + stride + j, mass == F(0) ? L::broadcast(F(0)) : moment / mass);
        }
    }
};

}  // namespace semihmm
