// A bidirectional scan of one sequence with scaled vectors: its total and the gradient of that, by a forward and a backward pass
// at the same time. Up to the middle each pass keeps what it makes; from there on it combines what it makes with what the
// other has kept, block by block.
//
// A thread for each pass; or one thread for both: where a step waits for a matrix that the nearest caches do not hold, it reads
// that once for both; between few states, where a step waits for the one before, it takes their steps in turn.
#pragma once

#include "scaled_counts.hpp"

namespace semihmm {

constexpr int64_t kNear = 32 << 10;  // bytes of a matrix that stays, with its transpose, in the nearest caches

// What the two passes know of each other.
template <class F>
struct Junction {
    int64_t b, length, half;  // the sequence, its steps, and where the passes meet: between two blocks
    ScaledRows<F> rows;       // the vectors at times 0 to half; behind those, at t + 1, the costs after step t
    Buffer<F> borders;        // the costs between the blocks of the second half, in log space

    Junction(int64_t b, int64_t length, const ScaledRows<F>& rows)
        : b(b), length(length), half((length + kBlock) / (2 * kBlock) * kBlock), rows(rows), borders((block(length) + 1) * rows.stride) {}
    int64_t block(int64_t time) const { return (time - half + kBlock - 1) / kBlock; }  // the one that begins there, or ends at the end
    F* border(int64_t time) const { return borders.get() + block(time) * rows.stride; }
};

template <class S, class Transition>
class Bidirectional final : public ScaledCounts<S, Transition> {
  public:
    using Base = ScaledCounts<S, Transition>;
    using F = typename S::F;
    using typename Base::Sinks;
    using Base::Base;

    Junction<F> junction(int64_t b, const Kept<F>& kept) const { return {b, chain_.length_of(b), rows_of(b, kept)}; }

    // On a thread of its own: the forward pass up to the middle; and, if it then `has_path`, the rest of it.
    void forward_half(const Junction<F>& at, double g0, double g1, const Sinks& steps) {
        fill(at.b, 1);
        reserve(1), gather_into(steps, 1);
        pass_ = from_start(at, g0, g1);
        for (int64_t t0 = 0; t0 < at.half; t0 += kBlock) forward(&pass_, 1, t0, t0 + kBlock);
        use_workspace(pass_, at);
    }
    bool has_path(const Junction<F>& at, double* value, double* mean) { return has_path(pass_, at, value, mean); }
    void forward_rest(const Junction<F>& at, double* value, double* mean, std::vector<Sink<F>>& end) {
        for (int64_t t0 = at.half, t1; t0 < at.length; t0 = t1) {
            t1 = std::min(t0 + kBlock, at.length);
            forward(&pass_, 1, t0, t1);
            contract_with_costs(pass_, 0, t0, t1, at);
        }
        flush(1);
        write_total(pass_, value, mean);
        at_end(pass_, 0, end);
    }
    // On another thread, by another one: the backward pass down to the middle, and the rest of it.
    void backward_half(Junction<F>& at, double g0, double g1, const Sinks& steps) {
        fill(at.b, 1);
        reserve(1), gather_into(steps, 1);
        pass_ = from_end(0, at, g0, g1);
        for (int64_t t1 = at.length, t0; t1 > at.half; t1 = t0) {
            t0 = (t1 - 1) / kBlock * kBlock;
            backward_block(t0, t1, at.rows.at(t0 + 1));
            keep_costs(pass_, 0, t0, t1, at);
        }
    }
    void backward_rest(const Junction<F>& at, std::vector<Sink<F>>& start) {
        for (int64_t t0 = at.half - kBlock; t0 >= 0; t0 -= kBlock) {
            F* costs = costs_[0].get();
            backward_block(t0, t0 + kBlock, costs);
            contract_with_vectors(pass_, 0, t0, t0 + kBlock, costs);
        }
        flush(1);
        at_start(pass_, 0, start);
    }
    // Both are done, this one with the forward pass.
    void join(const Bidirectional& other, const Sinks& steps) {
        for (int f = 0; f <= S::features; ++f)
            for (int64_t i = 0; arcs_[f] && i < transition_.entries(); ++i) counts_[f][0][i] += other.counts_[f][0][i];
        write_counts(pass_, steps);
    }

    // Whether `on_one_thread` pays.
    bool reads_once(const Kept<F>& kept) const {
        return Transition::dense && whole(kept) && (few_states() || states_ * ld_ * static_cast<int64_t>(sizeof(F)) > kNear);
    }
    // Both passes, which read the matrix once.
    void on_one_thread(int64_t b, const Kept<F>& kept, double g0, double g1, double* value, double* mean, const Sinks& steps,
                       std::vector<Sink<F>>& start, std::vector<Sink<F>>& end) {
        if constexpr (Transition::dense && kInRegisters) if (few_states()) return few_on_one_thread(b, kept, g0, g1, value, mean, steps, start, end);
        if (fill(b, 2) || !panels_[0]) panels();
        reserve(2), gather_into(steps, 1);
        Junction<F> at = junction(b, kept);
        const int64_t length = at.length, half = at.half;
        Sequence forward_pass = from_start(at, g0, g1), backward_pass = from_end(1, at, g0, g1);
        if (half == 0) use_workspace(forward_pass, at);
        if (length == 0) has_path(forward_pass, at, value, mean);
        for (int64_t t = 0; t < length; ++t) {
            const int64_t u = length - 1 - t, t0 = t / kBlock * kBlock, t1 = std::min(t0 + kBlock, length);
            const int64_t u0 = u / kBlock * kBlock, u1 = std::min(u0 + kBlock, length);
            F* costs = u0 >= half ? at.rows.at(u0 + 1) : costs_[1].get();
            if (t == t0) begin_block(forward_pass, 0, t0);
            if (u + 1 == u1) backward_pass.bad = false, begin_cost_block(backward_pass, 1, u0, u1, costs);
            const bool ahead = !forward_pass.bad, behind = !backward_pass.bad && before_product(backward_pass, 1, u, u0, costs);
            if (ahead) forward_pass.peak = emission(forward_pass.b, t, emissions_[0].get());
            F* sums[] = {sum_[0].get(), sum_[1].get()};
            chain_.pulse(2 * chain_.work);
            if (ahead && behind) {
                multiply_both(forward_pass.now, backward_pass.from, sums[0], sums[1]);
            } else if (ahead) {
                multiply(1, &forward_pass.now, false, &sums[0]);
            } else if (behind) {
                multiply(1, &backward_pass.from, true, &sums[1]);
            }
            if (ahead) after_product(forward_pass, 0, t, t1);
            if (behind) after_cost_product(backward_pass, 1, u, u0, costs, ahead ? transition_.row_scale() : F(1));
            if (t + 1 == t1) end_block(forward_pass, t0, t1);
            if (t + 1 == half) use_workspace(forward_pass, at);
            if (u == u0 && u0 >= half) keep_costs(backward_pass, 1, u0, u1, at);
            if (t + 1 == std::max(half, length - half) && !has_path(forward_pass, at, value, mean)) break;
            if (t + 1 == t1 && t0 >= half) contract_with_costs(forward_pass, 0, t0, t1, at);
            if (u == u0 && u1 <= half) contract_with_vectors(backward_pass, 1, u0, u1, costs);
        }
        flush(1);
        if (forward_pass.possible) {
            write_total(forward_pass, value, mean);
            at_end(forward_pass, 0, end);
            at_start(backward_pass, 1, start);
        }
        write_counts(forward_pass, steps);
    }

  private:
    using typename Base::Sequence;
    using Base::chain_, Base::transition_, Base::states_, Base::ld_, Base::stride_, Base::sum_, Base::emissions_, Base::moments_, Base::ends_;
    using Base::after_, Base::arcs_, Base::cost_, Base::costs_, Base::counted_, Base::counts_, Base::together_, Base::log_cost_, Base::next_, Base::numbers_, Base::y_scale_;
    using Base::after_cost_product, Base::after_product, Base::at_end, Base::at_start, Base::backward_in_log_space, Base::before_product, Base::begin,
        Base::begin_block, Base::begin_cost_block, Base::contract, Base::contract_in_log_space, Base::costs_in_registers, Base::dot, Base::emission, Base::emissions, Base::end_block,
        Base::end_cost_block, Base::few_states, Base::fill, Base::flush, Base::flush_of, Base::forward, Base::gather_into, Base::has_mass, Base::in_registers, Base::log_cost, Base::multiply,
        Base::registers, Base::reserve, Base::rows_of, Base::set_cost, Base::slide, Base::whole, Base::workspace, Base::write_counts, Base::write_total;

    // Where the passes begin; the backward one works in the buffers r.
    Sequence from_start(const Junction<F>& at, double g0, double g1) const {
        Sequence s = begin(at.b, at.rows);
        s.g0 = g0, s.g1 = g1;
        return s;
    }
    Sequence from_end(int r, Junction<F>& at, double g0, double g1) {
        Sequence s;
        s.b = at.b, s.length = at.length, s.rows = at.rows, s.g0 = g0, s.g1 = g1;
        chain_.end.read(chain_.semiring, at.b, {1, states_}, chain_.beta, ends_.get());
        rescale(chain_.semiring, ld_, ends_.get());
        set_cost(s, r, ends_.get());
        std::copy_n(log_cost(s, r), stride_, at.border(at.length));
        return s;
    }
    // The costs of a block from its end to t0, those after each step in `costs`; the pass is `bad` where it must be log space.
    void backward_block(int64_t t0, int64_t t1, F* costs) {
        Sequence& s = pass_;
        s.bad = false;
        begin_cost_block(s, 0, t0, t1, costs);
        for (int64_t t = t1 - 1; t >= t0 && !s.bad && !few_states(); --t) {
            F* sum = sum_[0].get();
            chain_.pulse(chain_.work);
            if (!before_product(s, 0, t, t0, costs)) return;
            multiply(1, &s.from, true, &sum);
            after_cost_product(s, 0, t, t0, costs, F(1));
        }
    }
    // The backward pass is through a block of the second half. If not scaled, it is now: in log space, which is kept as well.
    void keep_costs(Sequence& s, int r, int64_t t0, int64_t t1, Junction<F>& at) {
        at.rows.is_scaled(t0) = !s.bad;
        s.bad ? backward_in_log_space(s, r, t0, t1, at.rows) : end_cost_block(s, r);
        std::copy_n(log_cost(s, r), stride_, at.border(t0));
    }
    // From the middle on the forward pass has rows of its own.
    void use_workspace(Sequence& forward_pass, const Junction<F>& at) {
        forward_pass.rows = workspace(0, kBlock, at.half);
        std::copy_n(at.rows.at(at.half), stride_, forward_pass.rows.data);
        forward_pass.rows.off(at.half) = at.rows.off(at.half);
    }
    // Both are in the middle. If there is no path, that is all.
    bool has_path(Sequence& forward_pass, const Junction<F>& at, double* value, double* mean) const {
        const auto [total, its] = dot(at.rows.at(at.half), at.border(at.half));
        forward_pass.possible = total > -std::numeric_limits<double>::infinity();
        if (!forward_pass.possible) {
            *value = total;
            if (S::features) *mean = its;
        }
        return forward_pass.possible;
    }
    // A block of the second half, with the costs that were kept of it, of which the last is known in log space.
    void contract_with_costs(Sequence& s, int r, int64_t t0, int64_t t1, const Junction<F>& at) {
        F* costs = at.rows.at(t0 + 1);
        std::copy_n(at.border(t1), stride_, log_cost_[r].get());
        s.has_log_cost = s.at_border = true;
        s.bad = !at.rows.is_scaled(t0) || !s.rows.is_scaled(t0);
        if (counted_ && !s.bad && few_states()) {
            if constexpr (Transition::dense) registers().weigh(t1 - t0, costs, numbers_.get());
            std::swap(numbers_, after_[r]);
            std::fill_n(y_scale_[r], kBlock, 0.0);
        }
        for (int64_t t = t1; counted_ && !s.bad && !few_states() && t-- > t0;) {  // times the emissions once more
            s.now = costs + (t - t0) * stride_;
            before_product(s, r, t, t0, costs);
        }
        if (!at.rows.is_scaled(t0)) {
            chain_.steps->start(s.b, s.length);
            chain_.steps->load(t0, t1);
            contract_in_log_space(s, t0, t1, at.rows);
        } else if (s.bad || !contract(s, r, t0, t1, costs)) {
            contract_in_log_space(s, r, t0, t1);
        }
        slide(s, t1);
        if (at.block(t1) % 8 == 0) flush_of(s);
    }
    // A block of the first half, with the vectors that were kept of it.
    void contract_with_vectors(Sequence& s, int r, int64_t t0, int64_t t1, F* costs) {
        if (!s.bad && s.rows.is_scaled(t0) && contract(s, r, t0, t1, costs)) {
            end_cost_block(s, r);
        } else {
            contract_in_log_space(s, r, t0, t1);
        }
        if (t0 / kBlock % 8 == 0) flush_of(s);
    }

    // Both passes of few states, a block of each at a time.
    void few_on_one_thread(int64_t b, const Kept<F>& kept, double g0, double g1, double* value, double* mean, const Sinks& steps, std::vector<Sink<F>>& start,
                           std::vector<Sink<F>>& end) {
        fill(b, 2);
        reserve(2), gather_into(steps, 2);
        Junction<F> at = junction(b, kept);
        Sequence ahead = from_start(at, g0, g1), behind = from_end(1, at, g0, g1);
        behind.sums = 1;
        for (int64_t t0 = 0, u1 = at.length; t0 < at.half || u1 > at.half;) {
            const int64_t t1 = std::min(t0 + kBlock, at.half), u0 = std::max((u1 - 1) / kBlock * kBlock, at.half);
            both(ahead, t0, t1, behind, u0, u1, at.rows.at(u0 + 1));
            if (u0 < u1) keep_costs(behind, 1, u0, u1, at);
            t0 = t1, u1 = u0;
        }
        use_workspace(ahead, at);
        if (has_path(ahead, at, value, mean)) {
            for (int64_t t0 = at.half, u1 = at.half; t0 < at.length || u1 > 0;) {
                const int64_t t1 = std::min(t0 + kBlock, at.length), u0 = std::max<int64_t>(u1 - kBlock, 0);
                both(ahead, t0, t1, behind, u0, u1, costs_[1].get());
                if (t0 < t1) contract_with_costs(ahead, 0, t0, t1, at);
                if (u0 < u1) contract_with_vectors(behind, 1, u0, u1, costs_[1].get());
                t0 = t1, u1 = u0;
            }
            flush(2);
            write_total(ahead, value, mean);
            at_end(ahead, 0, end);
            at_start(behind, 1, start);
        }
        for (int f = 0; f <= S::features; ++f)
            for (int64_t i = 0; arcs_[f] && !together_ && i < transition_.entries(); ++i) counts_[f][0][i] += std::exchange(counts_[f][1][i], 0.0);
        write_counts(ahead, steps);
    }
    // A block of the forward and one of the backward pass, of which one may have no steps.
    void both(Sequence& ahead, int64_t t0, int64_t t1, Sequence& behind, int64_t u0, int64_t u1, F* costs) {
        behind.now = cost_[1].get(), behind.at_border = behind.has_log_cost;
        behind.bad = !has_mass(behind.now);
        const bool one = t0 < t1, other = u0 < u1 && !behind.bad;
        if (one && other) {
            auto vectors = in_registers(ahead, t0, t1);
            auto after = costs_in_registers(behind, 1, u0, u1, costs);
            registers().run(vectors, after);
            end_block(ahead, vectors);
            behind.bad = !after.trusted;
        } else if (one) {
            forward(&ahead, 1, t0, t1);
        } else if (other) {
            begin_cost_block(behind, 1, u0, u1, costs);
        }
    }

    // The matrices as `multiply_both` reads them.
    void panels() {
        for (int i = 0; i <= transition_.has_features(); ++i) {
            if (!panels_[i]) panels_[i].reset(panels_size<F>(states_, ld_));
            to_panels<F>(states_, i ? transition_.with_features() : transition_.weight(), ld_, panels_[i].get());
        }
    }
    // A vector times the transition, and the transition times a vector; both scaled.
    void multiply_both(const F* vector, const F* weighed_cost, F* sum, F* cost) const {
        const F *from[] = {vector, vector + ld_}, *to[] = {weighed_cost, weighed_cost + ld_};
        F *sums[] = {sum, sum + ld_}, *costs[] = {cost, cost + ld_};
        semihmm::multiply_both<1 + S::features, F>(from, to, states_, panels_[0].get(), ld_, sums, costs);
        std::fill(cost + states_, cost + ld_, F(1));  // padding is not small
        if (!transition_.has_features()) return;
        F *ahead[] = {moments_[0].get()}, *behind[] = {moments_[1].get()};
        semihmm::multiply_both<1, F>(from, to, states_, panels_[1].get(), ld_, ahead, behind);
        for (int64_t j = 0; j < ld_; j += Lanes<F>::width) {
            Lanes<F>::store(sums[1] + j, Lanes<F>::load(sums[1] + j) + Lanes<F>::load(ahead[0] + j));
            Lanes<F>::store(costs[1] + j, Lanes<F>::load(costs[1] + j) + Lanes<F>::load(behind[0] + j));
        }
    }

    Sequence pass_;
    Buffer<F> panels_[2];  // the transition, and that times its arcs' features
};

}  // namespace semihmm
