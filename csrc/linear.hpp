// The fast path of Log and Expectation for a transition that all steps share, dense or of few arcs, with or without
// emissions (HMM, linear-chain CRF): vectors are the numbers themselves, several sequences at a time, so that a step is a
// product of matrices.
//
// Vectors have their largest number near 1. A number less than the smallest normal one is raised to that: exact 0 means
// that there is no path, and nothing else does. What this costs a sum is at most a smallest normal number for each state,
// so that sums above `kTrusted` are right to rounding error, and with them whatever is made of them. A block of steps in
// which some sum is less, and not because there is no path, is done again in log space. So that it can be, the vector at
// the end of each block is kept in log space, made from trusted sums; so are vectors that shrink a lot in one step, for to
// bring those near 1 would magnify what was raised. All others are brought near 1 by a power of two that multiplies the
// trusted sums made of them. A vector says what it is: the largest number is above 0, the peak in log space is 0.
//
// With a feature, numbers are dual: behind the masses p lie the moments m, mass times mean. A step makes them m W + p (W D),
// where D is what the arcs hold. The moment of a mass that was raised is left as it is: the means that it has a part in
// are off by no more than the feature's range times that part.
//
// Few states, and no feature: few_states.hpp does the steps.
#pragma once

#include "dense_transition.hpp"
#include "few_states.hpp"
#include "scan.hpp"

namespace semihmm {

constexpr int kGroup = 8;  // sequences at a time

template <class S, class T>
class Linear {
  public:
    using Transition = T;  // DenseTransition or ArcsTransition
    using F = typename S::F;
    using L = Lanes<F>;
    using V = typename L::type;

    // `emission` without data: there is none.
    Linear(Chain<S>& chain, Transition transition, Leaf<F> emission, Leaf<F> seen_feature = {})
        : chain_(chain), scan_(chain), transition_(std::move(transition)), emission_(emission), seen_feature_(seen_feature),
          states_(transition_.states()), ld_(padded<F>(states_)), stride_(ld_ * (1 + S::features)),
          beta_(static_cast<F>(chain.beta)) {
        mask_.reset(stride_);
        std::fill_n(mask_.get(), states_, F(1));
        ends_.reset(stride_), row_.reset(stride_), first_.reset(stride_), last_.reset(stride_);
        again_.reset((kBlock + 1) * stride_, kNothing<F>), again_costs_.reset((kBlock + 1) * stride_, kNothing<F>);
        again_offsets_.assign(kBlock + 1, 0.0), again_cost_offsets_.assign(kBlock + 1, 0.0);
        for (int r = 0; r < kGroup; ++r) entry_[r].reset(stride_), sum_[r].reset(stride_), seen_[r].reset(stride_), brought_[r].reset(S::features * ld_);
    }

    // Totals of `count` sequences from `b` on, and the means of the feature, if there is one.
    void total(int64_t b, int count, const Kept<F>& kept, double* values, double* means) {
        Sequence all[kGroup];
        int64_t longest = 0;
        for (int r = 0; r < count; ++r) {
            all[r] = begin(b + r, kept, r);
            longest = std::max(longest, all[r].length);
        }
        transition_.fill(b);
        const bool fronts = kept.segment && !whole(kept);
        const int64_t segment = fronts ? kept.segment : std::max<int64_t>(chain_.length, 1);
        for (int64_t t0 = 0, t1; t0 < longest; t0 = t1) {
            t1 = std::min(block_after(t0, (t0 / segment + 1) * segment), longest);
            if (fronts && t0 % segment == 0)
                for (int r = 0; r < count; ++r)
                    if (all[r].length >= t0) keep(kept, all[r], t0);
            forward(all, count, t0, t1);
            if (whole(kept)) continue;
            for (int r = 0; r < count; ++r)
                if (all[r].length > t0) slide(all[r], std::min(t1, all[r].length));
        }
        for (int r = 0; r < count; ++r) {
            Sequence& s = all[r];
            if (fronts && s.length % segment == 0) keep(kept, s, s.length);
            tell(s, values + r, means + r);
        }
    }

    // Adds the gradients of totals, each times its weight in g0, and of means, in g1. `steps` are the sinks of the chain's map.
    void gradient(int64_t b, int count, const Kept<F>& kept, const double* g0, const double* g1, std::vector<Sink<F>*> steps,
                  std::vector<Sink<F>>& start, std::vector<Sink<F>>& end) {
        transition_.fill(b);
        aim(steps, count, count);
        Sequence all[kGroup];
        const int64_t segment = whole(kept) ? std::max<int64_t>(chain_.length, 1) : kept.segment;
        int64_t longest = 0;
        for (int r = 0; r < count; ++r) {
            Sequence& s = all[r];
            s.b = b + r, s.length = chain_.length_of(s.b), s.g0 = g0[r], s.g1 = g1 ? g1[r] : 0.0, s.sums = r;
            longest = std::max(longest, s.length);
            if (whole(kept)) s.rows = {kept.vectors + kept.row(s.b) * stride_, kept.offsets + kept.row(s.b), stride_, 0};
        }
        for (int64_t t1 = longest, t0; t1 > 0; t1 = t0) {
            const int64_t first = (t1 - 1) / segment * segment;
            t0 = std::max(first, (t1 - 1) / kBlock * kBlock);
            if (!whole(kept) && (t1 == longest || t1 == first + segment)) recall(all, count, kept, first, segment);
            backward(all, count, t0, t1, end);
            for (int r = 0; r < count; ++r) {
                Sequence& s = all[r];
                if (s.length <= t0 || !s.possible) continue;
                const int64_t stop = std::min(t1, s.length);
                if (!s.bad && contract(s, r, t0, stop, costs_[r].get())) {
                    came_back(s, r);
                } else {
                    in_log_space(s, r, t0, stop);
                }
            }
            if (together_ || t0 == 0 || t0 / kBlock % 8 == 0) flush(count);
        }
        for (int r = 0; r < count; ++r) {
            Sequence& s = all[r];
            if (s.length == 0) {
                if (!whole(kept)) recall(&s, 1, kept, 0, segment);
                at_end(s, r, end);
            }
            if (s.possible) at_start(s, r, start);
            hand_out(s, steps);
        }
    }

  protected:
    struct Sequence {
        int64_t b = 0, length = 0;
        Rows<F> rows;
        double log_scale = 0;
        double g0 = 1, g1 = 0;
        bool bad = false, possible = true;
        bool exact = false;      // exact_ holds the cost in log space
        bool at_border = false;  // and that is the one at hand
        int sums = 0;            // whose sums of arcs are added to
        // Of the block that is being worked on: the vector, what was taken out of it, its largest number and that taken out
        // of all steps; the peak of the emissions; what is multiplied on the way back, and by what to divide its product.
        const F *now = nullptr, *from = nullptr;
        double offset = 0, spent = 0;
        F largest = 1, peak = 0, scale = 1;
    };

    bool few_states() const { return Transition::dense && !S::features && states_ <= kFewStates<F>; }
    FewStates<F> in_registers() const { return {transition_.weight(), transition_.back(), states_, beta_}; }
    // The emissions of a sequence at time t, one after the other; null if there are none.
    auto emissions(int64_t b) const {
        const F* first = emission_.data ? emission_.at(b, 0) : nullptr;
        const int64_t by_time = emission_.by_time, by = first ? emission_.by_event[0] : 1;
        return [=, states = states_, to = row_.get()](int64_t t) {
            const F* e = first + t * by_time;
            if (by == 1) return e;
            for (int64_t j = 0; j < states; ++j) to[j] = e[j * by];
            return static_cast<const F*>(to);
        };
    }
    // The total, at the end.
    void tell(const Sequence& s, double* value, double* mean) const {
        const double log_scale = chain_.end.read(chain_.semiring, s.b, {1, states_}, chain_.beta, ends_.get());
        const auto found = common(s.rows.at(s.length), ends_.get());
        *value = found.first + s.rows.off(s.length) + s.log_scale + log_scale;
        if (S::features) *mean = found.second;
    }
    // Where gradients go, and workspace for so many costs at a time and sums of so many sequences.
    void aim(const std::vector<Sink<F>*>& steps, int costs, int sequences) {
        for (int f = 0; f <= S::features; ++f) {
            arcs_[f] = steps[f]->wanted() ? steps[f] : nullptr;
            seen_sinks_[f] = emission_.data && steps[2 + f]->wanted() ? steps[2 + f] : nullptr;
        }
        counted_ = arcs_[0] || arcs_[S::features];
        together_ = (!arcs_[0] || arcs_[0]->shared()) && (!arcs_[S::features] || arcs_[S::features]->shared());
        for (int r = 0; r < costs; ++r) {
            if (cost_[r]) continue;
            cost_[r].reset(stride_), next_[r].reset(stride_), exact_[r].reset(stride_);
            costs_[r].reset(kBlock * stride_), after_[r].reset(kBlock * stride_);
        }
        for (int r = 0; r < (together_ ? 1 : sequences) && counted_; ++r)
            for (int f = 0; f <= S::features && !sums_[f][r]; ++f) {
                sums_[f][r].reset(transition_.sums());
                if (!together_) counts_[f][r].reset(transition_.entries());
            }
    }
    // Log space, where numbers cannot be trusted.
    void advance_exactly(Sequence& s, int64_t t0, int64_t t1) {
        chain_.steps->start(s.b, s.length);
        s.log_scale += advance(chain_, s.rows, t0, std::min(t1, s.length));
    }

    static bool numbers(int64_t width, const F* vector) { return max_of<F>(width, vector) > F(0); }
    static int64_t block_after(int64_t t, int64_t stop) { return std::min((t / kBlock + 1) * kBlock, stop); }
    bool whole(const Kept<F>& kept) const { return kept.segment > 0 && kept.segment >= chain_.length; }

    static Weighing<S> weighing(const Sequence& s, double mean) {
        Weighing<S> weighing;
        weighing.g0 = static_cast<F>(s.g0), weighing.g1 = static_cast<F>(s.g1), weighing.mean = static_cast<F>(mean);
        return weighing;
    }

    // Vectors times the transition; `back`: its transpose.
    void through(int count, const F* const* from, bool back, F* const* sum) const {
        const F* rows[2 * kGroup];
        F* to[2 * kGroup];
        for (int i = 0; i < count; ++i) {
            rows[i] = from[i], to[i] = sum[i];
            if (S::features) rows[count + i] = from[i] + ld_, to[count + i] = sum[i] + ld_;
        }
        transition_.multiply((1 + S::features) * count, rows, back, to);
        if (!transition_.has_features()) return;
        for (int i = 0; i < count; ++i) to[i] = brought_[i].get();
        transition_.multiply_features(count, rows, back, to);
        for (int i = 0; i < count; ++i)
            for (int64_t j = ld_; j < stride_; j += L::width) L::store(sum[i] + j, L::load(sum[i] + j) + L::load(to[i] + j - ld_));
    }
    // The emissions of step t, as numbers by their peak, which is returned.
    F emission(int64_t b, int64_t t, F* to) const {
        const F* e = emission_.at(b, t);
        const int64_t by = emission_.by_event[0];
        if (by != 1) {
            for (int64_t j = 0; j < states_; ++j) to[j] = e[j * by];
            e = to;
        }
        F peak = max_of<F>(states_, e);
        if (std::isinf(peak)) peak = 0;
        exps_above_least(states_, e, peak, beta_, to, F(0), ld_);
        if constexpr (S::features) {
            const F* d = seen_feature_.at(b, t);
            const int64_t step = seen_feature_.by_event[0];
            if (step == 1) {
                for (int64_t j = 0; j < states_; ++j) to[ld_ + j] = to[j] > 0 ? d[j] : F(0);
            } else {
                for (int64_t j = 0; j < states_; ++j) to[ld_ + j] = to[j] > 0 ? d[j * step] : F(0);
            }
        }
        return peak;
    }

    // to = sum * by * scale, raised to the least where neither is 0. Returns the largest; whether every sum can be trusted.
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
    // What brings a vector near 1 without rounding; it multiplies the next sums.
    static F scale_of(F largest) { return one_over_power<F>(L::broadcast(largest))[0]; }
    // A vector in log space whose peak is 0 as numbers.
    void exps(const F* from, F* to) const {
        const V least = L::broadcast(std::numeric_limits<F>::min()), nothing = L::broadcast(kNothing<F>);
        for (int64_t j = 0; j < ld_; j += L::width) {
            const V x = L::load(from + j);
            const V y = x == nothing ? V{} : L::max(least, exp<F>(x));
            L::store(to + j, y);
            if constexpr (S::features) L::store(to + ld_ + j, y * L::load(from + ld_ + j));
        }
    }
    // The other way round.
    void logs(const F* from, F* to) const {
        if constexpr (S::features)
            for (int64_t j = 0; j < ld_; j += L::width) {
                const V p = L::load(from + j);
                L::store(to + ld_ + j, p == F(0) ? V{} : L::load(from + ld_ + j) / p);
            }
        log<F>(ld_, from, to);
    }
    // The log of the sum of the products of two vectors in log space, and the mean.
    std::pair<double, double> common(const F* a, const F* b) const {
        for (int64_t j = 0; j < stride_; j += L::width) L::store(row_.get() + j, L::load(a + j) + L::load(b + j));
        double value[2] = {0, 0};
        Scan<S>::mixture(row_.get(), ld_, value);
        return {value[0], value[1]};
    }

    Sequence begin(int64_t b, const Kept<F>& kept, int r) {
        Sequence s;
        s.b = b, s.length = chain_.length_of(b);
        if (whole(kept)) {
            s.rows = {kept.vectors + kept.row(b) * stride_, kept.offsets + kept.row(b), stride_, 0};
        } else {
            s.rows = workspace(r, kBlock, 0);
        }
        s.log_scale = chain_.start.read(chain_.semiring, b, {1, states_}, chain_.beta, s.rows.at(0));
        s.rows.off(0) = rescale(chain_.semiring, ld_, s.rows.at(0));
        return s;
    }
    Rows<F> workspace(int r, int64_t steps, int64_t time) {
        if (scratch_[r].size() < (steps + 1) * stride_) {
            scratch_[r].reset((steps + 1) * stride_, kNothing<F>);
            scratch_offsets_[r].assign(static_cast<std::size_t>(steps + 1), 0.0);
        }
        return {scratch_[r].get(), scratch_offsets_[r].data(), stride_, time};
    }
    void slide(Sequence& s, int64_t time) const {
        std::copy_n(s.rows.at(time), stride_, s.rows.data);
        s.rows.offset[0] = s.rows.off(time);
        s.rows.first = time;
    }
    void keep(const Kept<F>& kept, const Sequence& s, int64_t time) const {
        const int64_t row = kept.row(s.b) + time / kept.segment;
        if (time / kept.segment >= kept.rows) return;
        std::copy_n(s.rows.at(time), stride_, kept.vectors + row * stride_);
        kept.offsets[row] = s.rows.off(time);
    }
    // The vectors of a segment again, from the one kept in front of it.
    void recall(Sequence* all, int count, const Kept<F>& kept, int64_t first, int64_t segment) {
        int64_t longest = first;
        for (int r = 0; r < count; ++r) {
            Sequence& s = all[r];
            if (s.length < first) continue;
            s.rows = workspace(r, segment, first);
            const int64_t row = kept.row(s.b) + first / segment;
            std::copy_n(kept.vectors + row * stride_, stride_, s.rows.data);
            s.rows.offset[0] = kept.offsets[row];
            longest = std::max(longest, std::min(s.length, first + segment));
        }
        for (int64_t t0 = first, t1; t0 < longest; t0 = t1) {
            t1 = std::min(block_after(t0, first + segment), longest);
            forward(all, count, t0, t1);
        }
    }

    // The vectors at times t0 + 1 to t1.
    void forward(Sequence* all, int count, int64_t t0, int64_t t1) {
        if constexpr (Transition::dense) if (few_states()) {
            for (Sequence* s = all; s < all + count; ++s) {
                if (s->length <= t0) continue;
                chain_.pulse(chain_.work * (t1 - t0));
                const int64_t stop = std::min(t1, s->length);
                double peaks = 0;
                if (in_registers().forward(emissions(s->b), s->rows, t0, stop, peaks)) {
                    s->log_scale += static_cast<double>(stop - t0) * transition_.log_scale() + peaks * chain_.beta;
                } else {
                    advance_exactly(*s, t0, t1);
                }
            }
            return;
        }
        for (int r = 0; r < count; ++r)
            if (all[r].length > t0) enter(all[r], r, t0);
        for (int64_t t = t0; t < t1; ++t) {
            const F* from[kGroup];
            F* sum[kGroup];
            int who[kGroup], active = 0;
            for (int r = 0; r < count; ++r) {
                Sequence& s = all[r];
                if (t >= s.length || s.bad) continue;
                look(s, r, t);
                from[active] = s.now, sum[active] = sum_[r].get(), who[active++] = r;
            }
            if (!active) break;
            chain_.pulse(chain_.work * active);
            through(active, from, false, sum);
            for (int i = 0; i < active; ++i) arrive(all[who[i]], who[i], t, std::min(t1, all[who[i]].length));
        }
        for (int r = 0; r < count; ++r)
            if (all[r].length > t0) leave(all[r], t0, std::min(t1, all[r].length));
    }
    // Of a block from t0 to t1: before the first step, before and after the product of step t, and after the last.
    void enter(Sequence& s, int r, int64_t t0) {
        exps(s.rows.at(t0), entry_[r].get());
        s.now = entry_[r].get(), s.offset = s.rows.off(t0), s.largest = 1, s.spent = 0;
        s.bad = !numbers(ld_, s.now);
    }
    void look(Sequence& s, int r, int64_t t) { s.peak = emission_.data ? emission(s.b, t, seen_[r].get()) : F(0); }
    void arrive(Sequence& s, int r, int64_t t, int64_t t1) {
        const F *sum = sum_[r].get(), *by = emission_.data ? seen_[r].get() : mask_.get();
        s.spent += transition_.log_scale() + static_cast<double>(s.peak) * chain_.beta;
        F* to = s.rows.at(t + 1);
        bool trusted = true;
        const F before = s.largest;
        s.largest = weigh(sum, by, scale_of(before), to, trusted);
        if (!sound(s.largest) || (!trusted && !transition_.no_path(s.now, sum, false))) {
            s.bad = true;
            return;
        }
        const bool last = t + 1 == t1;
        if (last || !near_one(s.largest)) {
            logs(sum, to);
            s.offset += weigh_logs(s.b, t, s.peak, to);
            if (!last) exps(to, to), s.largest = 1;
        } else {
            s.offset += exponent(before) * kLogTwo;
        }
        s.rows.off(t + 1) = s.offset;
        s.now = to;
    }
    void leave(Sequence& s, int64_t t0, int64_t t1) {
        if (s.bad) {
            advance_exactly(s, t0, t1);
        } else {
            s.log_scale += s.spent;
        }
    }
    // The emissions of step t times a vector in log space; returns its peak, which is taken out.
    double weigh_logs(int64_t b, int64_t t, F peak, F* vector) const {
        std::fill(vector + states_, vector + ld_, kNothing<F>);
        if (emission_.data) {
            const F* e = emission_.at(b, t);
            const int64_t by = emission_.by_event[0];
            for (int64_t j = 0; j < states_; ++j) vector[j] += (e[j * by] - peak) * beta_;
            if constexpr (S::features) {
                const F* d = seen_feature_.at(b, t);
                for (int64_t j = 0; j < states_; ++j)
                    if (vector[j] > kNothing<F>) vector[ld_ + j] += d[j * seen_feature_.by_event[0]];
            }
        }
        return rescale(chain_.semiring, ld_, vector);
    }

    // The cost at the end, and the gradient of what it is made of.
    void at_end(Sequence& s, int r, std::vector<Sink<F>>& end) {
        chain_.end.read(chain_.semiring, s.b, {1, states_}, chain_.beta, ends_.get());
        const F* last = s.rows.at(s.length);
        const auto [total, mean] = common(last, ends_.get());
        s.possible = total > -std::numeric_limits<double>::infinity();
        if (!s.possible) return;
        scan_.border(s.b, last, ends_.get(), static_cast<F>(-total), weighing(s, mean), end, chain_.end, ld_);
        rescale(chain_.semiring, ld_, ends_.get());
        settle(s, r, ends_.get());
    }
    // The gradient of what the start is made of.
    void at_start(Sequence& s, int r, std::vector<Sink<F>>& start) {
        if (!s.exact) logs(cost_[r].get(), exact_[r].get());
        const auto [total, mean] = common(s.rows.at(0), exact_[r].get());
        scan_.border(s.b, s.rows.at(0), exact_[r].get(), static_cast<F>(-total), weighing(s, mean), start, chain_.start, ld_);
    }
    // A sequence is done.
    void hand_out(const Sequence& s, const std::vector<Sink<F>*>& steps) {
        for (int f = 0; f <= S::features; ++f) {
            if (!arcs_[f] || together_) continue;
            arcs_[f]->add(s.b, 0, transition_.entries(), counts_[f][s.sums].get());
            std::fill_n(counts_[f][s.sums].get(), transition_.entries(), 0.0);
        }
        for (Sink<F>* sink : steps) sink->finish(s.b);
    }
    // The cost of a sequence, from one in log space with its peak at 0, which is remembered.
    void settle(Sequence& s, int r, const F* logs) {
        std::copy_n(logs, stride_, exact_[r].get());
        exps(logs, cost_[r].get());
        s.exact = true;
    }

    // The costs from time t1 down to t0: those after each step, and the last one in next_.
    void backward(Sequence* all, int count, int64_t t0, int64_t t1, std::vector<Sink<F>>& end) {
        for (int r = 0; r < count; ++r) {
            Sequence& s = all[r];
            if (s.length <= t0 || !s.possible) continue;
            const int64_t stop = std::min(t1, s.length);
            if (s.length <= t1) at_end(s, r, end);
            turn(s, r);
            s.bad = s.bad || !linear(s, t0, stop);
            if constexpr (Transition::dense) if (few_states() && !s.bad) {
                std::copy_n(s.now, ld_, next_[r].get());
                chain_.pulse(chain_.work * (t1 - t0));
                s.bad = !in_registers().backward(emissions(s.b), t0, stop, next_[r].get(), costs_[r].get(), after_[r].get());
                std::fill_n(taken_[r], kBlock, 0.0);
            }
        }
        if (few_states()) return;
        for (int64_t t = t1 - 1; t >= t0; --t) {
            const F* from[kGroup];
            F* sum[kGroup];
            int who[kGroup], active = 0;
            for (int r = 0; r < count; ++r) {
                Sequence& s = all[r];
                if (t >= s.length || !s.possible || s.bad) continue;
                if (!depart(s, r, t, t0, costs_[r].get())) continue;
                from[active] = s.from, sum[active] = sum_[r].get(), who[active++] = r;
            }
            if (!active) continue;
            chain_.pulse(chain_.work * active);
            through(active, from, true, sum);
            for (int i = 0; i < active; ++i) return_to(all[who[i]], who[i], t, t0, costs_[who[i]].get(), F(1));
        }
    }
    // Of a block from its end to t0: before the first step back, and before and after the product of step t. `costs` takes
    // those after each step.
    void turn(Sequence& s, int r) {
        s.now = cost_[r].get(), s.at_border = s.exact;
        s.bad = !numbers(ld_, s.now);
    }
    bool depart(Sequence& s, int r, int64_t t, int64_t t0, F* costs) {
        F* cost = costs + (t - t0) * stride_;
        F* after = after_[r].get() + (t - t0) * stride_;
        if (s.now != cost) std::copy_n(s.now, stride_, cost);
        look(s, r, t);
        bool trusted;
        const F largest = weigh(cost, emission_.data ? seen_[r].get() : mask_.get(), F(1), after, trusted);
        s.scale = scale_of(largest), s.from = after;
        taken_[r][t - t0] = 0;
        s.bad = !sound(largest);
        if (s.bad) return false;
        if (!near_one(largest)) {
            if (s.at_border) {
                std::copy_n(exact_[r].get(), stride_, after);
            } else {
                logs(cost, after);
            }
            taken_[r][t - t0] = weigh_logs(s.b, t, s.peak, after);
            exps(after, after), s.scale = 1;
        }
        s.at_border = false;
        return true;
    }
    // `scale`: of the product, besides that of what went into it.
    void return_to(Sequence& s, int r, int64_t t, int64_t t0, F* costs, F scale) {
        bool trusted = true;
        F* to = t > t0 ? costs + (t - 1 - t0) * stride_ : next_[r].get();
        const F largest = weigh(sum_[r].get(), mask_.get(), s.scale * scale, to, trusted);
        if (!sound(largest) || (!trusted && !transition_.no_path(s.from, sum_[r].get(), true))) {
            s.bad = true;
            return;
        }
        if (!near_one(largest)) {
            logs(to, to);
            rescale(chain_.semiring, ld_, to);
            exps(to, to);
        }
        s.now = to;
    }
    void came_back(Sequence& s, int r) {
        std::swap(cost_[r], next_[r]);
        s.exact = false;
    }
    // Whether the vectors of a block were made as numbers. Of a single step, they do not tell.
    bool linear(const Sequence& s, int64_t t0, int64_t t1) const { return t1 - t0 >= 2 && numbers(ld_, s.rows.at(t0 + 1)); }

    // The gradient over a block; false where vectors and costs have too little in common.
    bool contract(Sequence& s, int r, int64_t t0, int64_t t1, const F* costs) {
        const int64_t count = t1 - t0;
        double factors[kBlock] = {};  // what was taken from the vector after each step, and from y, but not from the vector before
        const F* vectors[2 * kBlock + 1];  // at times t0 to t1; those at the ends are in log space
        for (int64_t k = 0; k <= count; ++k) vectors[k] = s.rows.at(t0 + k);
        exps(vectors[0], first_.get()), vectors[0] = first_.get();
        exps(vectors[count], last_.get()), vectors[count] = last_.get();
        if (counted_) {
            for (int64_t k = 0; k < count; ++k) factors[k] = s.rows.off(t0 + k) - s.rows.off(t0 + k + 1) + taken_[r][k];
            exp<double>(count, factors, factors);
        }
        F shares[kBlock], means[kBlock];
        bool trusted = true;
        for (int64_t k = 0; k < count; ++k) {
            const F *vector = vectors[k + 1], *cost = costs + k * stride_;
            V sum{}, moments{};
            for (int64_t j = 0; j < ld_; j += L::width) {
                sum += L::load(vector + j) * L::load(cost + j);
                if constexpr (S::features) moments += moment(vector, cost, j);
            }
            shares[k] = L::sum(sum);
            if constexpr (S::features) means[k] = L::sum(moments) / shares[k];
            trusted &= shares[k] > kTrusted<F>;
            if (counted_) trusted &= static_cast<double>(shares[k]) > static_cast<double>(kTrusted<F>) * factors[k];
        }
        if (!trusted) return false;
        // The weight of a mass at step k, for which its moment is to be counted `slope` times.
        const auto weight = [&](int64_t k) { return S::features ? s.g0 - s.g1 * means[k] : s.g0; };
        for (int64_t k = 0; k < count && (seen_sinks_[0] || seen_sinks_[S::features]); ++k) {
            const F *vector = vectors[k + 1], *cost = costs + k * stride_;
            const F by = static_cast<F>(weight(k)) / shares[k], slope = static_cast<F>(s.g1) / shares[k];
            if (seen_sinks_[0])
                put(*seen_sinks_[0], s.b, t0 + k, [&](int64_t j) {
                    const V leaf = L::load(vector + j) * L::load(cost + j) * by;
                    if constexpr (S::features) return leaf + moment(vector, cost, j) * slope;
                    return leaf;
                });
            if (S::features && seen_sinks_[1])
                put(*seen_sinks_[1], s.b, t0 + k, [&](int64_t j) { return L::load(vector + j) * L::load(cost + j) * slope; });
        }
        if (!counted_) return true;
        const F* after[2 * kBlock];
        for (int64_t k = 0; k < count; ++k) {
            const F by = static_cast<F>(weight(k) * factors[k] / shares[k]), slope = static_cast<F>(s.g1 * factors[k] / shares[k]);
            F* y = after_[r].get() + k * stride_;
            for (int64_t j = 0; j < ld_; j += L::width) {
                const V mass = L::load(y + j);
                if constexpr (S::features) L::store(y + ld_ + j, mass * by + L::load(y + ld_ + j) * slope);
                L::store(y + j, mass * (S::features ? slope : by));
            }
            after[k] = y;
        }
        const int shared = together_ ? 0 : s.sums;
        if constexpr (S::features) {
            if (transition_.has_features() || arcs_[1]) transition_.add(count, vectors, after, sums_[1][shared].get());
            if (!arcs_[0]) return true;
            for (int64_t k = 0; k < count; ++k) {
                vectors[count + k] = vectors[k] + ld_, after[count + k] = after[k];
                after[k] += ld_;
            }
        }
        transition_.add((1 + S::features) * count, vectors, after, sums_[0][shared].get());
        return true;
    }

    // The moment of the paths through the slots from j on.
    V moment(const F* vector, const F* cost, int64_t j) const {
        return L::load(vector + ld_ + j) * L::load(cost + j) + L::load(vector + j) * L::load(cost + ld_ + j);
    }
    // The gradient of the emissions of step t, of which value(j) knows those from j on.
    template <class Value>
    void put(Sink<F>& sink, int64_t b, int64_t t, const Value& value) const {
        F* direct = sink.over_time() ? sink.row(b, t) : nullptr;
        F* to = direct ? direct : row_.get();
        int64_t j = 0;
        for (; j + L::width <= states_; j += L::width) L::store(to + j, value(j));
        if (j < states_) L::store_part(to + j, states_ - j, value(j));
        if (!direct) sink.add(b, t, states_, to);
    }
    // From sums over some blocks to counts in double, the arcs' weights in.
    void flush(int count) {
        if (!counted_) return;
        for (int r = 0; r < (together_ ? 1 : count); ++r)
            transition_.flush(sums_[0][r].get(), sums_[S::features][r].get(), [&](int f, int64_t first, int64_t n, const F* numbers) {
                if (!arcs_[f]) return;
                if (together_) return arcs_[f]->add(0, 0, n, numbers, first);
                double* counts = counts_[f][r].get() + first;
                for (int64_t i = 0; i < n; ++i) counts[i] += numbers[i];
            });
    }

    // The gradient over a block in log space; leaves the cost at t0.
    void in_log_space(Sequence& s, int r, int64_t t0, int64_t t1) {
        const Rows<F> rows{again_.get(), again_offsets_.data(), stride_, t0};
        std::copy_n(s.rows.at(t0), stride_, rows.at(t0));
        rows.off(t0) = s.rows.off(t0);
        chain_.steps->start(s.b, s.length);
        advance(chain_, rows, t0, t1);
        const Rows<F> costs = back_exactly(s, r, t0, t1);
        for (int64_t t = t1 - 1; t >= t0; --t) {
            chain_.pulse(chain_.work);
            const auto [total, mean] = common(rows.at(t + 1), costs.at(t + 1));
            Weighing<S> by = weighing(s, mean);
            by.output_shift = static_cast<F>(-total);
            by.shift = static_cast<F>(rows.off(t) - rows.off(t + 1) - total);
            chain_.steps->contract(t, rows, rows.at(t + 1), costs, by);
        }
        chain_.steps->unload(t0, t1);
        for (int f = 0; f <= S::features; ++f)
            if (arcs_[f] && !arcs_[f]->shared()) arcs_[f]->drain(counts_[f][s.sums].get());
    }
    // The costs over a block in log space.
    Rows<F> back_exactly(Sequence& s, int r, int64_t t0, int64_t t1) {
        const Rows<F> costs{again_costs_.get(), again_cost_offsets_.data(), stride_, t0};
        if (!s.exact) logs(cost_[r].get(), exact_[r].get());
        std::copy_n(exact_[r].get(), stride_, costs.at(t1));
        chain_.steps->load(t0, t1);
        for (int64_t t = t1 - 1; t >= t0; --t) {
            chain_.pulse(chain_.work);
            chain_.steps->back(t, costs, costs.at(t));
            rescale(chain_.semiring, ld_, costs.at(t));  // only what costs have to do with each other matters
        }
        settle(s, r, costs.at(t0));
        return costs;
    }

    Chain<S>& chain_;
    Scan<S> scan_;
    Transition transition_;
    Leaf<F> emission_, seen_feature_;
    int64_t states_, ld_, stride_;
    F beta_;
    Buffer<F> mask_;  // 1 for slots, 0 for padding
    Sink<F>*arcs_[2] = {}, *seen_sinks_[2] = {};  // of log-weights and features, if wanted
    bool counted_ = false;                        // whether arcs' are
    bool together_ = true;                        // arcs are summed up for all sequences at once
    Buffer<F> ends_, row_, first_, last_, again_, again_costs_;
    std::vector<double> again_offsets_, again_cost_offsets_;
    Buffer<F> scratch_[kGroup], entry_[kGroup], sum_[kGroup], seen_[kGroup], brought_[kGroup];
    std::vector<double> scratch_offsets_[kGroup];
    double taken_[kGroup][kBlock];
    Buffer<F> cost_[kGroup], next_[kGroup], exact_[kGroup], costs_[kGroup], after_[kGroup];
    Buffer<F> sums_[1 + S::features][kGroup];
    Buffer<double> counts_[1 + S::features][kGroup];
};

}  // namespace semihmm
