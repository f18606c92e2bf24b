// The backward pass of scaled state vectors: a cost is what comes after a time. In Rabiner's symbols (scaled_forward.hpp),
//
//     y_t(j) = b_j(o_{t+1}) b^_{t+1}(j)        b^_t(i) = d_t sum_j a_ij y_t(j)
//
// where d_t is the power of two that brings y_t near 1. A y_t that is far from 1 goes through log space and its peak is taken
// out, which `y_scale_` holds. Only how costs compare with each other matters, so nothing else is added up.
#pragma once

#include "scaled_forward.hpp"

namespace semihmm {

template <class S, class T>
class ScaledBackward : public ScaledForward<S, T> {
  public:
    using Base = ScaledForward<S, T>;
    using typename Base::F, typename Base::L, typename Base::V, typename Base::Transition;
    using Base::Base;

  protected:
    using typename Base::Sequence;
    using Base::chain_, Base::transition_, Base::states_, Base::ld_, Base::stride_, Base::mask_, Base::sum_, Base::emissions_, Base::ends_;
    using Base::dot, Base::emission, Base::emissions, Base::exps, Base::few_states, Base::has_mass, Base::logs, Base::multiply,
        Base::near_one, Base::registers, Base::scale_of, Base::sound, Base::weigh, Base::weigh_logs, Base::weights;

    // Memory for the costs of so many sequences at a time.
    void reserve(int sequences) {
        for (int r = 0; r < sequences; ++r) {
            if (cost_[r]) continue;
            cost_[r].reset(stride_), next_[r].reset(stride_), log_cost_[r].reset(stride_);
            costs_[r].reset(kBlock * stride_), after_[r].reset(kBlock * stride_);
        }
    }
    // The cost of a sequence, from one in log space with its peak at 0, which is kept.
    void set_cost(Sequence& s, int r, const F* logs) {
        std::copy_n(logs, stride_, log_cost_[r].get());
        exps(logs, cost_[r].get());
        s.has_log_cost = true;
    }
    // The same cost in log space.
    const F* log_cost(const Sequence& s, int r) const {
        if (!s.has_log_cost) logs(cost_[r].get(), log_cost_[r].get());
        return log_cost_[r].get();
    }

    // ---- the ends of the pass, and the gradients of what they are made of

    static Weighing<S> weighing(const Sequence& s, double mean) {
        Weighing<S> weighing;
        weighing.g0 = static_cast<F>(s.g0), weighing.g1 = static_cast<F>(s.g1), weighing.mean = static_cast<F>(mean);
        return weighing;
    }
    void at_end(Sequence& s, int r, std::vector<Sink<F>>& end) {
        chain_.end.read(chain_.semiring, s.b, {1, states_}, chain_.beta, ends_.get());
        const F* last = s.rows.at(s.length);
        const auto [total, mean] = dot(last, ends_.get());
        s.possible = total > -std::numeric_limits<double>::infinity();
        if (!s.possible) return;
        scan_.border(s.b, last, ends_.get(), static_cast<F>(-total), weighing(s, mean), end, chain_.end, ld_);
        rescale(chain_.semiring, ld_, ends_.get());
        set_cost(s, r, ends_.get());
    }
    void at_start(const Sequence& s, int r, std::vector<Sink<F>>& start) {
        const F* cost = log_cost(s, r);
        const auto [total, mean] = dot(s.rows.at(0), cost);
        scan_.border(s.b, s.rows.at(0), cost, static_cast<F>(-total), weighing(s, mean), start, chain_.start, ld_);
    }

    // ---- a block

    // The costs from time t1 down to t0: those after each step, and the last one in next_.
    void backward(Sequence* all, int count, int64_t t0, int64_t t1) {
        for (int r = 0; r < count; ++r)
            if (all[r].length > t0 && all[r].possible) begin_cost_block(all[r], r, t0, std::min(t1, all[r].length), costs_[r].get());
        if (few_states()) return;
        for (int64_t t = t1 - 1; t >= t0; --t) {
            const F* from[kGroup];
            F* sum[kGroup];
            int who[kGroup], active = 0;
            for (int r = 0; r < count; ++r) {
                Sequence& s = all[r];
                if (t >= s.length || !s.possible || s.bad) continue;
                if (!before_product(s, r, t, t0, costs_[r].get())) continue;
                from[active] = s.from, sum[active] = sum_[r].get(), who[active++] = r;
            }
            if (!active) continue;
            chain_.pulse(chain_.work * active);
            multiply(active, from, true, sum);
            for (int i = 0; i < active; ++i) after_cost_product(all[who[i]], who[i], t, t0, costs_[who[i]].get(), F(1));
        }
    }
    // Of a block from t1 down to t0: before its last step, of which few states do all at once; before and after the product of
    // step t; and after its first step. `costs` takes those after each step.
    void begin_cost_block(Sequence& s, int r, int64_t t0, int64_t t1, F* costs) {
        s.now = cost_[r].get(), s.at_border = s.has_log_cost;
        s.bad = s.bad || !has_mass(s.now);
        if constexpr (Transition::dense && kInRegisters) if (few_states() && !s.bad) {
            auto block = costs_in_registers(s, r, t0, t1, costs);
            registers().run(block);
            s.bad = !block.trusted;
        }
    }
    // Of few states: the steps of a block, which are one call.
    auto costs_in_registers(const Sequence& s, int r, int64_t t0, int64_t t1, F* costs) {
        chain_.pulse(chain_.work * (t1 - t0));
        std::copy_n(cost_[r].get(), ld_, next_[r].get());
        std::fill_n(y_scale_[r], kBlock, 0.0);
        return typename FewStates<F>::template Backward<decltype(emissions(s.b))>{emissions(s.b), t0, t1, next_[r].get(), costs, after_[r].get()};
    }
    bool before_product(Sequence& s, int r, int64_t t, int64_t t0, F* costs) {
        F* cost = costs + (t - t0) * stride_;
        F* after = after_[r].get() + (t - t0) * stride_;
        if (s.now != cost) std::copy_n(s.now, stride_, cost);
        s.peak = emission(s.b, t, emissions_[r].get());
        bool trusted;
        const F largest = weigh(cost, weights(r), F(1), after, trusted);
        s.scale = scale_of(largest), s.from = after;
        y_scale_[r][t - t0] = 0;
        s.bad = !sound(largest);
        if (s.bad) return false;
        if (!near_one(largest)) {
            if (s.at_border) {
                std::copy_n(log_cost_[r].get(), stride_, after);
            } else {
                logs(cost, after);
            }
            y_scale_[r][t - t0] = weigh_logs(s.b, t, s.peak, after);
            exps(after, after), s.scale = 1;
        }
        s.at_border = false;
        return true;
    }
    // `scale`: of the product, besides that of what went into it.
    void after_cost_product(Sequence& s, int r, int64_t t, int64_t t0, F* costs, F scale) {
        bool trusted = true;
        F* to = t > t0 ? costs + (t - 1 - t0) * stride_ : next_[r].get();
        const F largest = weigh(sum_[r].get(), mask_.get(), s.scale * scale, to, trusted);
        s.bad = !sound(largest) || (!trusted && !transition_.no_path(s.from, sum_[r].get(), true));
        if (s.bad) return;
        if (!near_one(largest)) {
            logs(to, to);
            rescale(chain_.semiring, ld_, to);
            exps(to, to);
        }
        s.now = to;
    }
    void end_cost_block(Sequence& s, int r) {
        std::swap(cost_[r], next_[r]);
        s.has_log_cost = false;
    }
    // The costs of a block in log space: those after each step in `costs`, and the last one as a block's last is kept.
    void backward_in_log_space(Sequence& s, int r, int64_t t0, int64_t t1, const Rows<F>& costs) {
        std::copy_n(log_cost(s, r), stride_, costs.at(t1));
        chain_.steps->start(s.b, s.length);
        chain_.steps->load(t0, t1);
        for (int64_t t = t1 - 1; t >= t0; --t) {
            F* to = t > t0 ? costs.at(t) : next_[r].get();
            chain_.pulse(chain_.work);
            chain_.steps->step_backward(t, costs, to);
            rescale(chain_.semiring, ld_, to);  // only what costs have to do with each other matters
        }
        set_cost(s, r, next_[r].get());
    }

    Buffer<F> cost_[kGroup], next_[kGroup], log_cost_[kGroup];  // between two blocks, and after the block at hand
    Buffer<F> costs_[kGroup], after_[kGroup];                   // b^ and y of each step of a block
    double y_scale_[kGroup][kBlock];

  private:
    Scan<S> scan_ = Scan<S>(chain_);
};

}  // namespace semihmm
