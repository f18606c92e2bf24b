// The forward pass of scaled state vectors, and totals.
//
// In the symbols of Rabiner (1989), "A tutorial on hidden Markov models and selected applications in speech recognition",
// section V.A, the scaled vector a^ and the total are
//
//     a^_{t+1}(j) = c_t b_j(o_{t+1}) sum_i a^_t(i) a_ij        log P = log sum_j a^_T(j) - sum_t log c_t
//
// with another factor than his, which made each vector's sum 1: here c_t is the power of two that brings a^_t near 1, known
// before the step begins, so that nothing waits for a sum and nothing is rounded. The a_ij are divided by the largest sum of a
// column, the b_j of a step by the largest of them: `log_scale` adds up their logarithms, a row's offset is
// - sum_{s<t} log c_s, the logarithm of what the vector is to be multiplied by.
//
// Steps go in blocks of kBlock. A block in which some sum cannot be trusted is done again in log space; so that it can be,
// the vector between two blocks is kept there, made from trusted sums. Through log space goes a vector that shrinks a lot in
// one step, too: to rescale it would magnify what became the smallest normal number.
//
// Few states, and no feature: few_states.hpp does the steps.
#pragma once

#include "few_states.hpp"
#include "scaled_step.hpp"

namespace semihmm {

template <class S, class T>
class ScaledForward : public ScaledStep<S, T> {
  public:
    using Base = ScaledStep<S, T>;
    using typename Base::F, typename Base::L, typename Base::V, typename Base::Transition;
    using Base::Base;

    // Totals of `count` sequences from `b` on, and the means of the feature, if there is one.
    void total(int64_t b, int count, const Kept<F>& kept, double* values, double* means) {
        Sequence all[kGroup];
        int64_t longest = 0;
        for (int r = 0; r < count; ++r) {
            all[r] = begin(b + r, whole(kept) ? rows_of(b + r, kept) : workspace(r, kBlock, 0));
            longest = std::max(longest, all[r].length);
        }
        fill(b, count);
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
            write_total(s, values + r, means + r);
        }
    }

  protected:
    using Base::chain_, Base::transition_, Base::emission_, Base::states_, Base::ld_, Base::stride_, Base::beta_, Base::row_, Base::border_, Base::sum_, Base::emissions_;
    using Base::dot, Base::emission, Base::exps, Base::fill, Base::has_mass, Base::logs, Base::multiply, Base::near_one, Base::scale_of, Base::sound, Base::weigh,
        Base::weigh_logs, Base::weights;

    struct Sequence {
        int64_t b = 0, length = 0;
        ScaledRows<F> rows;
        double log_scale = 0;
        double g0 = 1, g1 = 0;           // the weights of its total and mean, where a gradient is made
        bool possible = true;            // there is a path
        bool has_log_cost = false;       // its cost is known in log space as well
        bool at_border = false;          // and that is the one at hand
        int sums = 0;                    // whose sums of arcs are added to
        // Of the block that is being worked on: whether some sum cannot be trusted; the vector, its offset, its largest number,
        // the log scale of all steps; the peak of the emissions; what is multiplied on the backward pass, and by what its
        // product is to be multiplied.
        bool bad = false;
        const F *now = nullptr, *from = nullptr;
        double offset = 0, block_scale = 0;
        F largest = 1, peak = 0, scale = 1;
    };

    bool whole(const Kept<F>& kept) const { return kept.segment > 0 && kept.segment >= chain_.length; }
    static int64_t block_after(int64_t t, int64_t stop) { return std::min((t / kBlock + 1) * kBlock, stop); }
    bool few_states() const { return kInRegisters && Transition::dense && !S::features && states_ <= kFewStates<F>; }
    FewStates<F> registers() const { return {transition_.weight(), transition_.transposed(), states_, beta_}; }
    // The emissions of a sequence at time t, one after the other; null if there are none.
    auto emissions(int64_t b) const {
        const F* const first = emission_.in_place(b);
        const int64_t by_time = emission_.by_time();
        const bool copied = emission_ && !first;
        return [=, this](int64_t t) { return copied ? emission_.by_state(b, t, row_.get()) : first + t * by_time; };
    }

    // ---- where vectors are kept

    ScaledRows<F> rows_of(int64_t b, const Kept<F>& kept) const {
        return {{kept.vectors + kept.row(b) * stride_, kept.offsets_of(b), stride_, 0}, kept.scaled_of(b)};
    }
    ScaledRows<F> workspace(int r, int64_t steps, int64_t time) {
        if (scratch_[r].size() < (steps + 1) * stride_) {
            scratch_[r].reset((steps + 1) * stride_, kNothing<F>);
            scratch_offsets_[r].assign(static_cast<std::size_t>(steps + 1), 0.0);
            scratch_scaled_[r].assign(static_cast<std::size_t>(steps / kBlock + 2), 0.0);
        }
        return {{scratch_[r].get(), scratch_offsets_[r].data(), stride_, time}, scratch_scaled_[r].data()};
    }
    void slide(Sequence& s, int64_t time) const {
        std::copy_n(s.rows.at(time), stride_, s.rows.data);
        s.rows.offset[0] = s.rows.off(time);
        s.rows.first = time;
    }
    void keep(const Kept<F>& kept, const Sequence& s, int64_t time) const {
        const int64_t row = time / kept.segment;
        if (row >= kept.rows) return;
        std::copy_n(s.rows.at(time), stride_, kept.vectors + (kept.row(s.b) + row) * stride_);
        kept.offsets_of(s.b)[row] = s.rows.off(time);
    }
    // The vectors of a segment again, from the one kept in front of it.
    void recall(Sequence* all, int count, const Kept<F>& kept, int64_t first, int64_t segment) {
        int64_t longest = first;
        for (int r = 0; r < count; ++r) {
            Sequence& s = all[r];
            if (s.length < first) continue;
            s.rows = workspace(r, segment, first);
            const int64_t row = first / segment;
            std::copy_n(kept.vectors + (kept.row(s.b) + row) * stride_, stride_, s.rows.data);
            s.rows.offset[0] = kept.offsets_of(s.b)[row];
            longest = std::max(longest, std::min(s.length, first + segment));
        }
        for (int64_t t0 = first, t1; t0 < longest; t0 = t1) {
            t1 = std::min(block_after(t0, first + segment), longest);
            forward(all, count, t0, t1);
        }
    }

    // ---- the pass

    Sequence begin(int64_t b, const ScaledRows<F>& rows) const {
        Sequence s;
        s.b = b, s.length = chain_.length_of(b), s.rows = rows;
        s.log_scale = chain_.start.read(chain_.semiring, b, {1, states_}, chain_.beta, s.rows.at(0));
        s.rows.off(0) = rescale(chain_.semiring, ld_, s.rows.at(0));
        return s;
    }
    // The vectors at times t0 + 1 to t1.
    void forward(Sequence* all, int count, int64_t t0, int64_t t1) {
        if constexpr (Transition::dense && kInRegisters) if (few_states()) {
            for (Sequence* s = all; s < all + count; ++s) {
                if (s->length <= t0) continue;
                auto block = in_registers(*s, t0, std::min(t1, s->length));
                registers().run(block);
                end_block(*s, block);
            }
            return;
        }
        for (int r = 0; r < count; ++r)
            if (all[r].length > t0) begin_block(all[r], r, t0);
        for (int64_t t = t0; t < t1; ++t) {
            const F* from[kGroup];
            F* sum[kGroup];
            int who[kGroup], active = 0;
            for (int r = 0; r < count; ++r) {
                Sequence& s = all[r];
                if (t >= s.length || s.bad) continue;
                s.peak = emission(s.b, t, emissions_[r].get());
                from[active] = s.now, sum[active] = sum_[r].get(), who[active++] = r;
            }
            if (!active) break;
            chain_.pulse(chain_.work * active);
            multiply(active, from, false, sum);
            for (int i = 0; i < active; ++i) after_product(all[who[i]], who[i], t, std::min(t1, all[who[i]].length));
        }
        for (int r = 0; r < count; ++r)
            if (all[r].length > t0) end_block(all[r], t0, std::min(t1, all[r].length));
    }
    // Of a block from t0 to t1: before its first step, after the product of step t, and after its last step.
    void begin_block(Sequence& s, int r, int64_t t0) {
        exps(s.rows.at(t0), border_[r].get());
        s.now = border_[r].get(), s.offset = s.rows.off(t0), s.largest = 1, s.block_scale = 0;
        s.bad = !has_mass(s.now);
    }
    void after_product(Sequence& s, int r, int64_t t, int64_t t1) {
        const F* sum = sum_[r].get();
        s.block_scale += transition_.log_scale() + static_cast<double>(s.peak) * chain_.beta;
        F* to = s.rows.at(t + 1);
        bool trusted = true;
        const F before = s.largest;
        s.largest = weigh(sum, weights(r), scale_of(before), to, trusted);
        s.bad = !sound(s.largest) || (!trusted && !transition_.no_path(s.now, sum, false));
        if (s.bad) return;
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
    void end_block(Sequence& s, int64_t t0, int64_t t1) {
        s.rows.is_scaled(t0) = !s.bad && t1 - t0 >= 2;
        if (s.bad) {
            chain_.steps->start(s.b, s.length);
            s.log_scale += advance(chain_, s.rows, t0, t1);
        } else {
            s.log_scale += s.block_scale;
        }
    }
    // Of few states: a block whose steps are one call, before and after that.
    auto in_registers(const Sequence& s, int64_t t0, int64_t t1) {
        chain_.pulse(chain_.work * (t1 - t0));
        if (!numbers_) numbers_.reset(kBlock * ld_);
        return typename FewStates<F>::template Forward<decltype(emissions(s.b))>{emissions(s.b), s.rows, t0, t1, numbers_.get()};
    }
    template <class Block>
    void end_block(Sequence& s, const Block& block) {
        s.bad = !block.trusted;
        s.block_scale = static_cast<double>(block.t1 - block.t0) * transition_.log_scale() + block.peaks * chain_.beta;
        end_block(s, block.t0, block.t1);
    }
    void write_total(const Sequence& s, double* value, double* mean) const {
        const double log_scale = chain_.end.read(chain_.semiring, s.b, {1, states_}, chain_.beta, ends_.get());
        const auto found = dot(s.rows.at(s.length), ends_.get());
        *value = found.first + s.rows.off(s.length) + s.log_scale + log_scale;
        if (S::features) *mean = found.second;
    }

    Buffer<F> ends_ = Buffer<F>(stride_);  // the vector of ends
    Buffer<F> numbers_;                    // of few states: the emissions of the forward pass's last block

  private:
    Buffer<F> scratch_[kGroup];
    std::vector<double> scratch_offsets_[kGroup], scratch_scaled_[kGroup];
};

}  // namespace semihmm
