// The best paths of a transition that all steps share, dense, of irregular arcs or of axes, with or without emissions.
//
// Of few states, a vector never leaves its registers. Of the fewest, what is kept is which predecessor each state has chosen;
// else the state vectors, from which the arcs along the path alone are found. Of more states, and of irregular arcs, several
// sequences go at a time.
#pragma once

#include "arc_product.hpp"
#include "emissions.hpp"
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
    // So few states that each one's predecessor is chosen as its score is found. Of more, that costs more than to find the arcs
    // along the path.
    bool few() const { return states_ <= kChoosing; }
    static constexpr int kChoosing = std::min<int>(kFewStates<F>, std::max(2 * Lanes<F>::width, 16));

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
    // Of more than few states.
    void multiply_transposed(int count, const F* const* from, F* const* to) const { multiply_max<F>(count, from, states_, transposed_.get(), ld_, to); }
    ArcInto arc(int64_t from, int64_t to) const { return {from, from, from * states_ + to}; }
    // The numbers of the weights of an arc; how many those are.
    int tell(const ArcInto& arc, int64_t, int64_t* indices) const { return *indices = arc.index, 1; }
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
    int tell(const ArcInto& arc, int64_t, int64_t* indices) const { return *indices = arc.index, 1; }
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
    using B = typename L::bits;
    using S = Max<F>;

    Best(Chain<S>& chain, Weights weights, Emissions<F> emission)
        : chain_(chain), weights_(std::move(weights)), emission_(std::move(emission)), states_(weights_.states()), ld_(padded<F>(states_)),
          beta_(static_cast<F>(chain.beta)) {
        ends_.reset(ld_, kNothing<F>), row_.reset(ld_, kNothing<F>);
    }

    // The paths of `count` sequences from `b` on, and their totals. `kept` has workspace for all state vectors. Arc indices, if
    // requested, are as `Map::trace` makes them.
    void paths(int64_t b, int count, const Kept<F>& kept, int64_t* slots, int64_t* choices, int64_t* arc_indices, double* values) {
        weights_.fill(b), emission_.fill(b);
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
    // The scores of the best paths of `count` sequences from `b` on through each slot at each time, [sequence][time][slot]: a
    // forward pass, and a backward one from what it has kept. Some slot is on the best path of all, whose score is known; only
    // how scores of one time compare with it matters.
    void in_slots(int64_t b, int count, const Kept<F>& kept, F* to) {
        weights_.fill(b), emission_.fill(b);
        Sequence all[kTogether];
        Buffer<F> costs[kTogether], after[kTogether];
        double best[kTogether];
        int64_t longest = 0;
        for (int r = 0; r < count; ++r) all[r] = begin(b + r, kept), longest = std::max(longest, all[r].length);
        forward(all, count);
        for (int r = 0; r < count; ++r) {
            Sequence& s = all[r];
            costs[r].reset(ld_, kNothing<F>), after[r].reset(ld_, kNothing<F>);
            s.log_scale += chain_.end.read(chain_.semiring, s.b, {1, states_}, chain_.beta, costs[r].get());
            best[r] = static_cast<double>(best_with(s.rows.at(s.length), costs[r].get())) + s.log_scale;
            F* rest = to + (s.b * (chain_.length + 1) + s.length + 1) * states_;
            std::fill_n(rest, (chain_.length - s.length) * states_, kNothing<F>);
        }
        for (int64_t t = longest; t >= 0; --t) {
            const F* from[kTogether];
            F* next[kTogether];
            int active = 0;
            for (int r = 0; r < count; ++r) {
                Sequence& s = all[r];
                if (t > s.length) continue;
                F *cost = costs[r].get(), *y = after[r].get();
                write(s.rows.at(t), cost, best[r], to + (s.b * (chain_.length + 1) + t) * states_);
                if (t == 0) continue;
                if (t % kGrow == 0) rescale(chain_.semiring, ld_, cost);
                const F* e = emission_ ? emission(s.b, t - 1) : nullptr;
                const F peak = e ? finite_peak(max_of<F>(states_, e)) : F(0);
                for (int64_t j = 0; j < states_; ++j) y[j] = cost[j] + (e ? (e[j] - peak) * beta_ : F(0));
                from[active] = y, next[active++] = cost;
            }
            chain_.pulse(chain_.work * active);
            if (active) weights_.multiply_transposed(active, from, next);
        }
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
    F best_with(const F* vector, const F* cost) const {
        F best = kNothing<F>;
        for (int64_t j = 0; j < states_; ++j) best = std::max(best, vector[j] + cost[j]);
        return best;
    }
    void write(const F* vector, const F* cost, double best, F* to) const {
        const F most = best_with(vector, cost);
        const bool possible = representable<F>(best) && most > kNothing<F>;
        for (int64_t j = 0; j < states_; ++j) to[j] = possible ? static_cast<F>(best + static_cast<double>(vector[j] + cost[j] - most)) : kNothing<F>;
    }
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
                int64_t* indices = s.arc_indices + t * per_step;
                const int told = weights_.tell(arc, to, indices);
                if (emission_) indices[told] = emission_.column(to);
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
    const F* emission(int64_t b, int64_t t) const { return emission_.by_state(b, t, row_.get()); }
    static F finite_peak(F peak) { return std::isinf(peak) ? F(0) : peak; }

    // All steps of a sequence of at most `inner` states, which are `parts` vectors. What steps read of this object is copied
    // first: a choice is written as bytes, which to the compiler may be any member.
    template <int inner, int parts>
    void in_registers(Sequence& s) {
        constexpr bool choosing = inner <= Weights::kChoosing, last = inner <= 16;
        const F* const weight = weights_.weight();
        const F beta = beta_;
        const int64_t length = s.length, ld = ld_, left = states_ - (parts - 1) * L::width;
        const F* const emissions = emission_.in_place(s.b);
        const bool emits(emission_), adjacent = emissions != nullptr;
        const int64_t by_time = emission_.by_time();
        uint8_t* chosen = s.chosen;
        double log_scale = s.log_scale;
        V vector[parts];
#pragma GCC unroll 4
        for (int p = 0; p < parts; ++p) vector[p] = L::load(s.rows.at(0) + p * L::width);
        for (int64_t t = 0; t < length; ++t) {
            B first[parts][inner - 1];
            best_of<inner, choosing && !last>(vector, weight, first, chosen, std::make_integer_sequence<int, parts>{});
            if (emits) {
                const F* from = adjacent ? emissions + t * by_time : emission(s.b, t);
                V e[parts];
#pragma GCC unroll 4
                for (int p = 0; p + 1 < parts; ++p) e[p] = L::load(from + p * L::width);
                e[parts - 1] = L::load_part(from + (parts - 1) * L::width, left, kNothing<F>);
                V most = L::broadcast(kNothing<F>);
#pragma GCC unroll 4
                for (int p = 0; p < parts; ++p) most = L::max(e[p], most);
                const F peak = finite_peak(L::max(most));
                log_scale += static_cast<double>(peak) * chain_.beta;
#pragma GCC unroll 4
                for (int p = 0; p < parts; ++p) vector[p] += (e[p] - peak) * beta;
            }
#pragma GCC unroll 4
            for (int p = 0; p < parts; ++p) choose<inner, choosing && last>(first[p], chosen + p * L::width);
            chosen += ld;
            if (t % kGrow == kGrow - 1) {
                chain_.pulse(kGrow * chain_.work);
                V most = vector[0];
#pragma GCC unroll 4
                for (int p = 1; p < parts; ++p) most = L::max(vector[p], most);
                const F peak = L::max(most);
                if (std::abs(peak) < infinity<F>) {
#pragma GCC unroll 4
                    for (V& x : vector) x -= peak;
                    log_scale += static_cast<double>(peak);
                }
            }
            if (!choosing || t + 1 == length)
#pragma GCC unroll 4
                for (int p = 0; p < parts; ++p) L::store(s.rows.at(choosing ? 0 : t + 1) + p * L::width, vector[p]);
        }
        s.log_scale = log_scale;
    }
    // A step without its emissions, in two: first the maxima, which the next step waits for, and masks: where of two halves of
    // the predecessors the first one has the best. Then from the masks, for which nothing waits, which predecessor is the best:
    // that is last in a step, unless there are so many masks (`at_once`) that they would be stored and read again.
    template <int inner, bool at_once, int parts, int... p>
    [[gnu::always_inline]] static void best_of(V (&vector)[parts], const F* weight, B (&first)[parts][inner - 1], uint8_t* chosen, std::integer_sequence<int, p...>) {
        const Spread<F> from[parts] = {Spread<F>(vector[p])...};
        ((vector[p] = greatest<0, inner>(from, weight + p * L::width, first[p]), choose<inner, at_once>(first[p], chosen + p * L::width)), ...);
    }
    template <int inner, bool now, int masks>
    [[gnu::always_inline]] static void choose(const B (&first)[masks], uint8_t* chosen) {
        if constexpr (now) L::store_bytes(chosen, -before<0, inner>(first));
    }
    // The best of `count` predecessors of each state of a register. Of two halves the mask is where the first one begins, and
    // how many predecessors that has: a number of its own for each pair of halves.
    template <int at, int count, int parts>
    [[gnu::always_inline]] static V greatest(const Spread<F> (&from)[parts], const F* weight, B* first) {
        if constexpr (count == 1) {
            return from[at / L::width].template lane<at % L::width>() + L::load(weight + at * parts * L::width);
        } else {
            constexpr int half = half_of(count);
            const V best = greatest<at, half>(from, weight, first);
            const V most = L::max(greatest<at + half, count - half>(from, weight, first), best);
            first[at + half - 1] = (B)most == (B)best;  // bits are compared where no addition has to wait for it
            return most;
        }
    }
    // How many predecessors come before the best, negative: of equal ones the first is the best.
    template <int at, int count>
    [[gnu::always_inline]] static B before(const B* first) {
        if constexpr (count == 1) {
            return B{};
        } else {
            constexpr int half = half_of(count);
            return first[at + half - 1] ? before<at, half>(first) : before<at + half, count - half>(first) - half;
        }
    }
    // A power of two, so that the halves of all halves share their constants.
    static constexpr int half_of(int count) { return static_cast<int>(std::bit_ceil(static_cast<unsigned>(count)) / 2); }

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
                if (emission_) {
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
    Emissions<F> emission_;
    int64_t states_, ld_;
    F beta_;
    Buffer<F> ends_, row_;
};

}  // namespace semihmm
