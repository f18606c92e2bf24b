// The best paths of a transition that all steps share, dense or of irregular arcs, with or without emissions.
//
// Of few states, a vector never leaves its registers. In one or two of them, what is kept is which predecessor each state has
// chosen; else the state vectors, from which the arcs along the path alone are found. Of more states, and of irregular arcs,
// several sequences go at a time.
#pragma once

#include "arc_product.hpp"
#include "few_states.hpp"
#include "scan.hpp"

namespace semihmm {

// A dense transition, as log-weights less their peak.
template <class F>
class DenseWeights {
  public:
    static constexpr bool dense = true;

    DenseWeights(Leaf<F> weight, F beta) : given_(weight), states_(weight.event[0]), ld_(padded<F>(states_)), beta_(beta) {
        weight_.reset(ld_ * ld_, kNothing<F>);
        if (!few()) transposed_.reset(ld_ * ld_, kNothing<F>);
    }
    int64_t states() const { return states_; }
    double log_scale() const { return log_scale_; }
    const F* weight() const { return weight_.get(); }  // [from][to]
    // So few states that each one's predecessor is chosen as its score is found.
    bool few() const { return states_ <= 2 * Lanes<F>::width; }

    void fill(int64_t b) {
        if (filled_ && given_.same_for_all()) return;
        filled_ = true;
        const F* w = given_.at(b, 0);
        const int64_t by_from = given_.by_event[0], by_to = given_.by_event[1];
        const F peak = matrix_peak(given_, w);
        log_scale_ = static_cast<double>(peak) * beta_;
        for (int64_t i = 0; i < states_; ++i)
            for (int64_t j = 0; j < states_; ++j) weight_[i * ld_ + j] = (w[i * by_from + j * by_to] - peak) * beta_;
        if (!few()) transpose<F>(states_, states_, weight_.get(), ld_, transposed_.get(), ld_);
    }
    void multiply(int count, const F* const* from, F* const* to) const { multiply_max<F>(count, from, states_, weight_.get(), ld_, to); }
    ArcInto arc(int64_t from, int64_t to) const { return {from, from, from * states_ + to}; }
    ArcInto best_arc(const F* from, int64_t to) const { return arc(first_best<F>(states_, from, transposed_.get() + to * ld_), to); }

  private:
    Leaf<F> given_;
    int64_t states_, ld_;
    F beta_;
    double log_scale_ = 0;
    bool filled_ = false;
    Buffer<F> weight_, transposed_;
};

// Irregular arcs, likewise.
template <class F>
class ArcWeights {
  public:
    static constexpr bool dense = false;

    ArcWeights(std::shared_ptr<const ArcSlices<F>> topology, Leaf<F> weight, F beta)
        : topology_(std::move(topology)), given_(weight), beta_(beta), weight_(topology_->into.places(), kNothing<F>), product_(topology_->slots, kNothing<F>) {}
    int64_t states() const { return topology_->slots; }
    double log_scale() const { return log_scale_; }
    bool few() const { return false; }

    void fill(int64_t b) {
        if (filled_ && given_.same_for_all()) return;
        filled_ = true;
        const F* w = given_.at(b, 0);
        const F peak = matrix_peak(given_, w);
        log_scale_ = static_cast<double>(peak) * beta_;
        topology_->each(given_, [&](int64_t place, int64_t at) { weight_[place] = (w[at] - peak) * beta_; });
    }
    void multiply(int count, const F* const* from, F* const* to) const { product_(count, from, topology_->into, weight_.get(), to); }
    ArcInto best_arc(const F* from, int64_t to) const { return topology_->best_arc(from, weight_.get(), to); }

  private:
    std::shared_ptr<const ArcSlices<F>> topology_;
    Leaf<F> given_;
    F beta_;
    double log_scale_ = 0;
    bool filled_ = false;
    Buffer<F> weight_;  // as the places of arcs
    ArcProduct<MaxPlus<F>, F> product_;
};

template <class F, class Weights>
class Best {
  public:
    using L = Lanes<F>;
    using V = typename L::type;
    using S = Max<F>;

    // `emission` without data: there is none.
    Best(Chain<S>& chain, Weights weights, Leaf<F> emission)
        : chain_(chain), weights_(std::move(weights)), emission_(emission), states_(weights_.states()), ld_(padded<F>(states_)),
          beta_(static_cast<F>(chain.beta)) {
        ends_.reset(ld_, kNothing<F>), row_.reset(ld_, kNothing<F>);
    }

    // The paths of `count` sequences from `b` on, and their totals. `kept` has workspace for all state vectors. Arc indices, if
    // requested, are as `Map::trace` makes them.
    void paths(int64_t b, int count, const Kept<F>& kept, int64_t* slots, int64_t* choices, int64_t* arc_indices, double* values) {
        weights_.fill(b);
        Sequence all[kTogether];
        for (int r = 0; r < count; ++r) all[r] = begin(b + r, kept);
        if (!Weights::dense || states_ > kFewStates<F>) {
            forward(all, count);
        } else if constexpr (Weights::dense) {
            with_rows<F>(states_, [&]<int inner, int parts>() {
                for (int r = 0; r < count; ++r) in_registers<inner, parts>(all[r]);
            });
        }
        trace(all, count, slots, choices, arc_indices, values);
    }
    static constexpr int kTogether = 8;
    static constexpr int64_t kGrow = 8;  // steps for which scores may grow: the larger they are, the more is rounded

  private:
    struct Sequence {
        int64_t b = 0, length = 0;
        Rows<F> rows;
        uint8_t* chosen = nullptr;  // [time][state], where the state vectors would be but the first
        double log_scale = 0;
        int64_t *slots = nullptr, *choices = nullptr, *arc_indices = nullptr;
    };
    // The paths, from the ends of the forward passes on.
    void trace(Sequence* all, int count, int64_t* slots, int64_t* choices, int64_t* arc_indices, double* values) {
        const int64_t per_step = chain_.steps->arc_indices;
        int64_t at[kTogether], longest = 0;
        for (int r = 0; r < count; ++r) {
            Sequence& s = all[r];
            s.log_scale += chain_.end.read(chain_.semiring, s.b, {1, states_}, chain_.beta, ends_.get());
            const F* last = s.rows.at(weights_.few() ? 0 : s.length);
            at[r] = first_best<F>(states_, last, ends_.get());
            const F best = last[at[r]] + ends_[at[r]];
            values[s.b] = static_cast<double>(best) + s.log_scale;
            s.slots = slots + s.b * (chain_.length + 1), s.choices = choices + s.b * chain_.length;
            s.arc_indices = arc_indices ? arc_indices + s.b * chain_.length * per_step : nullptr;
            if (!representable<F>(values[s.b])) s.length = -1;  // there is no path
            std::fill(s.slots + s.length + 1, s.slots + chain_.length + 1, int64_t{-1});
            std::fill(s.choices + std::max<int64_t>(s.length, 0), s.choices + chain_.length, int64_t{-1});
            if (arc_indices) std::fill(s.arc_indices + std::max<int64_t>(s.length, 0) * per_step, s.arc_indices + chain_.length * per_step, int64_t{-1});
            longest = std::max(longest, s.length);
            if (s.length >= 0) s.slots[s.length] = at[r];
        }
        for (int64_t t = longest - 1; t >= 0; --t)
            for (int r = 0; r < count; ++r) {
                Sequence& s = all[r];
                if (t >= s.length) continue;
                const int64_t to = at[r];
                chain_.pulse(states_);
                const ArcInto arc = before(s, t, to);
                s.slots[t] = at[r] = arc.from, s.choices[t] = arc.choice;
                if (!arc_indices) continue;
                s.arc_indices[t * per_step] = arc.index;
                if (emission_.data) s.arc_indices[t * per_step + 1] = to;
            }
    }
    ArcInto before(const Sequence& s, int64_t t, int64_t to) const {
        if constexpr (Weights::dense)
            if (weights_.few()) return weights_.arc(s.chosen[t * ld_ + to], to);
        return weights_.best_arc(s.rows.at(t), to);
    }
    Sequence begin(int64_t b, const Kept<F>& kept) const {
        Sequence s;
        s.b = b, s.length = chain_.length_of(b);
        s.rows = {kept.vectors + kept.row(b) * ld_, kept.offsets_of(b), ld_, 0};
        s.chosen = reinterpret_cast<uint8_t*>(s.rows.at(1));
        s.log_scale = chain_.start.read(chain_.semiring, b, {1, states_}, chain_.beta, s.rows.at(0)) + weights_.log_scale() * static_cast<double>(s.length);
        return s;
    }
    // The emissions of step t, one after the other.
    const F* emission(int64_t b, int64_t t) const {
        const F* e = emission_.at(b, t);
        const int64_t by = emission_.by_event[0];
        if (by == 1) return e;
        for (int64_t j = 0; j < states_; ++j) row_[j] = e[j * by];
        return row_.get();
    }
    static F finite_peak(F peak) { return std::isinf(peak) ? F(0) : peak; }

    // All steps of a sequence of at most `inner` states, which are `parts` vectors.
    template <int inner, int parts>
    void in_registers(Sequence& s) {
        V vector[parts];
#pragma GCC unroll 4
        for (int p = 0; p < parts; ++p) vector[p] = L::load(s.rows.at(0) + p * L::width);
        for (int64_t t = 0; t < s.length; ++t) {
            V best[parts];
            best_of<inner, parts>(vector, best, parts <= 2 ? s.chosen + t * ld_ : nullptr, std::make_integer_sequence<int, parts>{});
#pragma GCC unroll 4
            for (int p = 0; p < parts; ++p) vector[p] = best[p];
            if (emission_.data) {
                const F* from = emission(s.b, t);
                V e[parts], most = L::broadcast(kNothing<F>);
#pragma GCC unroll 4
                for (int p = 0; p < parts; ++p) {
                    const int64_t left = states_ - p * L::width;
                    e[p] = p + 1 < parts ? L::load(from + p * L::width) : L::load_part(from + p * L::width, left, kNothing<F>);
                    most = L::max(e[p], most);
                }
                const F peak = finite_peak(L::max(most));
                s.log_scale += static_cast<double>(peak) * chain_.beta;
#pragma GCC unroll 4
                for (int p = 0; p < parts; ++p) vector[p] += (e[p] - peak) * beta_;
            }
            if (t % kGrow == kGrow - 1) {
                chain_.pulse(kGrow * chain_.work);
                V most = vector[0];
#pragma GCC unroll 4
                for (int p = 1; p < parts; ++p) most = L::max(vector[p], most);
                const F peak = L::max(most);
                if (std::abs(peak) < infinity<F>) {
#pragma GCC unroll 4
                    for (V& x : vector) x -= peak;
                    s.log_scale += static_cast<double>(peak);
                }
            }
            if (parts > 2 || t + 1 == s.length)
#pragma GCC unroll 4
                for (int p = 0; p < parts; ++p) L::store(s.rows.at(parts > 2 ? t + 1 : 0) + p * L::width, vector[p]);
        }
    }
    template <int inner, int parts, int... p>
    [[gnu::always_inline]] void best_of(const V (&vector)[parts], V (&best)[parts], uint8_t* chosen, std::integer_sequence<int, p...>) const {
        (best_of_part<inner, parts, p>(vector, best[p], chosen), ...);
    }
    template <int inner, int parts, int p>
    [[gnu::always_inline]] void best_of_part(const V (&vector)[parts], V& best, uint8_t* chosen) const {
        typename L::bits at;
        choose<0, inner, parts>(vector, weights_.weight() + p * L::width, best, at);
        if constexpr (parts <= 2) {
            typedef uint8_t Bytes __attribute__((vector_size(L::width)));
            const Bytes bytes = __builtin_convertvector(at, Bytes);
            std::memcpy(chosen + p * L::width, &bytes, sizeof bytes);
        }
    }
    // The best of so many predecessors of each state of a register, and which it is: of equal ones the first.
    template <int first, int count, int parts>
    [[gnu::always_inline]] static void choose(const V (&from)[parts], const F* weight, V& best, typename L::bits& at) {
        if constexpr (count == 1) {
            best = L::template spread<first % L::width>(from[first / L::width]) + L::load(weight + first * parts * L::width);
            at = typename L::bits{} + first;
        } else {
            V other;
            typename L::bits there;
            choose<first, count / 2>(from, weight, best, at);
            choose<first + count / 2, count - count / 2>(from, weight, other, there);
            at = other > best ? there : at;
            best = L::max(other, best);
        }
    }

    void forward(Sequence* all, int count) {
        int64_t longest = 0;
        for (int r = 0; r < count; ++r) longest = std::max(longest, all[r].length);
        for (int64_t t = 0; t < longest; ++t) {
            const F* from[kTogether];
            F* to[kTogether];
            int who[kTogether], active = 0;
            for (int r = 0; r < count; ++r)
                if (t < all[r].length) from[active] = all[r].rows.at(t), to[active] = all[r].rows.at(t + 1), who[active++] = r;
            chain_.pulse(chain_.work * active);
            weights_.multiply(active, from, to);
            for (int i = 0; i < active; ++i) {
                Sequence& s = all[who[i]];
                if (emission_.data) {
                    const F* e = emission(s.b, t);
                    const F peak = finite_peak(max_of<F>(states_, e));
                    s.log_scale += static_cast<double>(peak) * chain_.beta;
                    F* vector = to[i];
                    for (int64_t j = 0; j < states_; ++j) vector[j] += (e[j] - peak) * beta_;
                }
                if (t % kGrow == kGrow - 1) s.log_scale += rescale(chain_.semiring, ld_, to[i]);
            }
        }
    }

    Chain<S>& chain_;
    Weights weights_;
    Leaf<F> emission_;
    int64_t states_, ld_;
    F beta_;
    Buffer<F> ends_, row_;
};

}  // namespace semihmm
