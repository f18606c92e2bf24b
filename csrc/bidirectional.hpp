// A bidirectional scan of one sequence of the fast path: its total and the gradient of that, by a forward and a backward pass
// at the same time. Up to the middle each pass keeps what it makes; from there on it combines what it makes with what the
// other has kept, block by block.
//
// A thread for each pass; or, where a step waits for a matrix that the nearest caches do not hold, one thread for both, which
// reads the matrix once for both.
#pragma once

#include "linear.hpp"

namespace semihmm {

constexpr int64_t kNear = 32 << 10;  // bytes of a matrix that stays, with its transpose, in the nearest caches

// What the two passes know of each other.
template <class F>
struct Junction {
    int64_t b, length, half;    // the sequence, its steps, and where the passes meet: between two blocks
    Rows<F> rows;               // the vectors at times 0 to half; behind those, at t + 1, the costs after step t
    Buffer<F> borders;          // the costs between the blocks of the second half, in log space
    std::vector<char> exactly;  // whether a block's costs are in log space alone

    Junction(int64_t b, int64_t length, const Rows<F>& rows)
        : b(b), length(length), half((length + kBlock) / (2 * kBlock) * kBlock), rows(rows),
          borders((block(length) + 1) * rows.stride), exactly(static_cast<std::size_t>(block(length) + 1)) {}
    int64_t block(int64_t time) const { return (time - half + kBlock - 1) / kBlock; }  // the one that begins there, or ends at the end
    F* border(int64_t time) const { return borders.get() + block(time) * rows.stride; }
};

template <class S, class Transition>
class Bidirectional final : public Linear<S, Transition> {
  public:
    using Base = Linear<S, Transition>;
    using F = typename S::F;
    using V = typename Lanes<F>::type;
    using Sinks = std::vector<Sink<F>*>;
    using Base::Base;

    Junction<F> junction(int64_t b, const Kept<F>& kept) const {
        return {b, chain_.length_of(b), {kept.vectors + kept.row(b) * stride_, kept.offsets + kept.row(b), stride_, 0}};
    }

    // On a thread of its own: the forward pass up to the middle; and, if it then `passes`, the rest of it.
    void forward_half(const Junction<F>& at, double g0, double g1, const Sinks& steps) {
        transition_.fill(at.b);
        aim(steps, 1, 1);
        way_ = from_start(at, g0, g1);
        for (int64_t t0 = 0; t0 < at.half; t0 += kBlock) forward(&way_, 1, t0, t0 + kBlock);
        go_on(way_, at);
    }
    bool passes(const Junction<F>& at, double* value, double* mean) { return pass(way_, at, value, mean); }
    void forward_rest(const Junction<F>& at, double* value, double* mean, std::vector<Sink<F>>& end) {
        for (int64_t t0 = at.half, t1; t0 < at.length; t0 = t1) {
            t1 = std::min(t0 + kBlock, at.length);
            forward(&way_, 1, t0, t1);
            meet(way_, 0, t0, t1, at);
        }
        flush(1);
        tell(way_, value, mean);
        at_end(way_, 0, end);
    }
    // On another thread, by another one: the backward pass down to the middle, and the rest of it.
    void backward_half(Junction<F>& at, double g0, double g1, const Sinks& steps) {
        transition_.fill(at.b);
        aim(steps, 1, 1);
        way_ = from_end(0, at, g0, g1);
        for (int64_t t1 = at.length, t0; t1 > at.half; t1 = t0) {
            t0 = (t1 - 1) / kBlock * kBlock;
            leave_costs(way_, 0, t0, t1, backward_block(t0, t1, at.rows.at(t0 + 1)), at);
        }
    }
    void backward_rest(const Junction<F>& at, std::vector<Sink<F>>& start) {
        for (int64_t t0 = at.half - kBlock; t0 >= 0; t0 -= kBlock) {
            F* costs = costs_[0].get();
            meet_vectors(way_, 0, t0, t0 + kBlock, costs, backward_block(t0, t0 + kBlock, costs));
        }
        flush(1);
        at_start(way_, 0, start);
    }
    // Both are done, this one with the forward pass.
    void join(const Bidirectional& other, const Sinks& steps) {
        for (int f = 0; f <= S::features; ++f)
            for (int64_t i = 0; arcs_[f] && i < transition_.entries(); ++i) counts_[f][0][i] += other.counts_[f][0][i];
        hand_out(way_, steps);
    }

    // Whether `at_once` pays.
    bool reads_once(const Kept<F>& kept) const {
        return Transition::dense && whole(kept) && !few_states() && states_ * ld_ * static_cast<int64_t>(sizeof(F)) > kNear;
    }
    // On one thread, both passes.
    void at_once(int64_t b, const Kept<F>& kept, double g0, double g1, double* value, double* mean, const Sinks& steps,
                 std::vector<Sink<F>>& start, std::vector<Sink<F>>& end) {
        if (transition_.fill(b) || !panels_[0]) panels();
        aim(steps, 2, 1);
        Junction<F> at = junction(b, kept);
        const int64_t length = at.length, half = at.half;
        Sequence forward_pass = from_start(at, g0, g1), backward_pass = from_end(1, at, g0, g1);
        if (half == 0) go_on(forward_pass, at);
        if (length == 0) pass(forward_pass, at, value, mean);
        for (int64_t t = 0; t < length; ++t) {
            const int64_t u = length - 1 - t, t0 = t / kBlock * kBlock, t1 = std::min(t0 + kBlock, length);
            const int64_t u0 = u / kBlock * kBlock, u1 = std::min(u0 + kBlock, length);
            F* costs = u0 >= half ? at.rows.at(u0 + 1) : costs_[1].get();
            if (t == t0) enter(forward_pass, 0, t0);
            if (u + 1 == u1) turn(backward_pass, 1);
            const bool goes = !forward_pass.bad, returns = !backward_pass.bad && depart(backward_pass, 1, u, u0, costs);
            if (goes) look(forward_pass, 0, t);
            F* sums[] = {sum_[0].get(), sum_[1].get()};
            chain_.pulse(2 * chain_.work);
            if (goes && returns) {
                through_both(forward_pass.now, backward_pass.from, sums[0], sums[1]);
            } else if (goes) {
                through(1, &forward_pass.now, false, &sums[0]);
            } else if (returns) {
                through(1, &backward_pass.from, true, &sums[1]);
            }
            if (goes) arrive(forward_pass, 0, t, t1);
            if (returns) return_to(backward_pass, 1, u, u0, costs, goes ? transition_.even() : F(1));
            if (t + 1 == t1) leave(forward_pass, t0, t1);
            if (t + 1 == half) go_on(forward_pass, at);
            if (u == u0 && u0 >= half) leave_costs(backward_pass, 1, u0, u1, !backward_pass.bad, at);
            if (t + 1 == std::max(half, length - half) && !pass(forward_pass, at, value, mean)) break;
            if (t + 1 == t1 && t0 >= half) meet(forward_pass, 0, t0, t1, at);
            if (u == u0 && u1 <= half) meet_vectors(backward_pass, 1, u0, u1, costs, !backward_pass.bad);
        }
        flush(1);
        if (forward_pass.possible) {
            tell(forward_pass, value, mean);
            at_end(forward_pass, 0, end);
            at_start(backward_pass, 1, start);
        }
        hand_out(forward_pass, steps);
    }

  private:
    using Sequence = typename Base::Sequence;
    using Base::aim, Base::arrive, Base::at_end, Base::at_start, Base::back_exactly, Base::came_back, Base::common, Base::contract;
    using Base::depart, Base::emissions, Base::enter, Base::flush, Base::forward, Base::hand_out, Base::in_log_space, Base::in_registers;
    using Base::leave, Base::linear, Base::logs, Base::look, Base::few_states, Base::return_to, Base::workspace, Base::settle;
    using Base::slide, Base::tell, Base::through, Base::turn, Base::whole;
    using Base::after_, Base::arcs_, Base::brought_, Base::chain_, Base::cost_, Base::costs_, Base::counted_, Base::counts_, Base::ends_;
    using Base::exact_, Base::ld_, Base::next_, Base::states_, Base::stride_, Base::sum_;
    using Base::taken_, Base::transition_;

    // Where the passes begin; the backward one works in the buffers r.
    Sequence from_start(const Junction<F>& at, double g0, double g1) const {
        Sequence s;
        s.b = at.b, s.length = at.length, s.rows = at.rows, s.g0 = g0, s.g1 = g1;
        s.log_scale = chain_.start.read(chain_.semiring, at.b, {1, states_}, chain_.beta, s.rows.at(0));
        s.rows.off(0) = rescale(chain_.semiring, ld_, s.rows.at(0));
        return s;
    }
    Sequence from_end(int r, Junction<F>& at, double g0, double g1) {
        Sequence s;
        s.b = at.b, s.length = at.length, s.rows = at.rows, s.g0 = g0, s.g1 = g1;
        chain_.end.read(chain_.semiring, at.b, {1, states_}, chain_.beta, ends_.get());
        rescale(chain_.semiring, ld_, ends_.get());
        settle(s, r, ends_.get());
        remember(s, r, at.length, at);
        return s;
    }
    void remember(const Sequence& s, int r, int64_t time, Junction<F>& at) const {
        if (s.exact) {
            std::copy_n(exact_[r].get(), stride_, at.border(time));
        } else {
            logs(cost_[r].get(), at.border(time));
        }
    }
    // The costs of a block from its end to t0, those after each step in `costs`; false where numbers do not tell.
    bool backward_block(int64_t t0, int64_t t1, F* costs) {
        Sequence& s = way_;
        turn(s, 0);
        if (s.bad) return false;
        if constexpr (Transition::dense) if (few_states()) {
            chain_.pulse(chain_.work * (t1 - t0));
            std::copy_n(s.now, ld_, next_[0].get());
            std::fill_n(taken_[0], kBlock, 0.0);
            return in_registers().backward(emissions(s.b), t0, t1, next_[0].get(), costs, after_[0].get());
        }
        for (int64_t t = t1 - 1; t >= t0 && !s.bad; --t) {
            F* sum = sum_[0].get();
            chain_.pulse(chain_.work);
            if (!depart(s, 0, t, t0, costs)) return false;
            through(1, &s.from, true, &sum);
            return_to(s, 0, t, t0, costs, F(1));
        }
        return !s.bad;
    }
    // A block of the second half is gone back over; if not with numbers, then now.
    void leave_costs(Sequence& s, int r, int64_t t0, int64_t t1, bool numbers, Junction<F>& at) {
        at.exactly[at.block(t0)] = !numbers;
        if (numbers) {
            came_back(s, r);
        } else {
            chain_.steps->start(s.b, s.length);
            back_exactly(s, r, t0, t1);
        }
        remember(s, r, t0, at);
    }
    // The forward pass goes on from the middle in rows of its own.
    void go_on(Sequence& forward_pass, const Junction<F>& at) {
        forward_pass.rows = workspace(0, kBlock, at.half);
        std::copy_n(at.rows.at(at.half), stride_, forward_pass.rows.data);
        forward_pass.rows.off(at.half) = at.rows.off(at.half);
    }
    // Both are in the middle. Whether there is a path; if not, that is all.
    bool pass(Sequence& forward_pass, const Junction<F>& at, double* value, double* mean) const {
        const auto [total, its] = common(at.rows.at(at.half), at.border(at.half));
        forward_pass.possible = total > -std::numeric_limits<double>::infinity();
        if (!forward_pass.possible) {
            *value = total;
            if (S::features) *mean = its;
        }
        return forward_pass.possible;
    }
    // A block of the second half, with the costs that were made for it, of which the last is known in log space.
    void meet(Sequence& s, int r, int64_t t0, int64_t t1, const Junction<F>& at) {
        F* costs = at.rows.at(t0 + 1);
        std::copy_n(at.border(t1), stride_, exact_[r].get());
        s.exact = s.at_border = true;
        s.bad = at.exactly[at.block(t0)] || !linear(s, t0, t1);
        if (counted_ && !s.bad && few_states()) {
            if constexpr (Transition::dense) in_registers().weigh(emissions(s.b), t0, t1, costs, after_[r].get());
            std::fill_n(taken_[r], kBlock, 0.0);
        }
        for (int64_t t = t1; counted_ && !s.bad && !few_states() && t-- > t0;) {  // times the emissions once more
            s.now = costs + (t - t0) * stride_;
            depart(s, r, t, t0, costs);
        }
        if (s.bad || !contract(s, r, t0, t1, costs)) in_log_space(s, r, t0, t1);
        slide(s, t1);
        if (at.block(t1) % 8 == 0) flush(1);
    }
    // A block of the first half, with the vectors that were made for it.
    void meet_vectors(Sequence& s, int r, int64_t t0, int64_t t1, F* costs, bool numbers) {
        if (numbers && linear(s, t0, t1) && contract(s, r, t0, t1, costs)) {
            came_back(s, r);
        } else {
            in_log_space(s, r, t0, t1);
        }
        if (t0 / kBlock % 8 == 0) flush(1);
    }

    // The matrices as `multiply_both` reads them.
    void panels() {
        for (int i = 0; i <= transition_.has_features(); ++i) {
            if (!panels_[i]) panels_[i].reset(panels_size<F>(states_, ld_));
            to_panels<F>(states_, i ? transition_.with_feature() : transition_.weight(), ld_, panels_[i].get());
        }
    }
    // A vector times the transition, and the transition times a vector; both numbers.
    void through_both(const F* forward_pass, const F* backward_pass, F* sum, F* cost) const {
        const F *from[] = {forward_pass, forward_pass + ld_}, *to[] = {backward_pass, backward_pass + ld_};
        F *sums[] = {sum, sum + ld_}, *costs[] = {cost, cost + ld_};
        multiply_both<1 + S::features, F>(from, to, states_, panels_[0].get(), ld_, sums, costs);
        std::fill(cost + states_, cost + ld_, F(1));  // padding is not small
        if (!transition_.has_features()) return;
        F *moved[] = {brought_[0].get()}, *backs[] = {brought_[1].get()};
        multiply_both<1, F>(from, to, states_, panels_[1].get(), ld_, moved, backs);
        for (int64_t j = 0; j < ld_; j += Lanes<F>::width) {
            Lanes<F>::store(sums[1] + j, Lanes<F>::load(sums[1] + j) + Lanes<F>::load(moved[0] + j));
            Lanes<F>::store(costs[1] + j, Lanes<F>::load(costs[1] + j) + Lanes<F>::load(backs[0] + j));
        }
    }

    Sequence way_;
    Buffer<F> panels_[2];  // the transition, and that times what its arcs hold
};

}  // namespace semihmm
