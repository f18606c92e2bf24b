// Gradients from scaled state vectors and costs: expected counts. In Rabiner's symbols (scaled_forward.hpp), with y of
// scaled_backward.hpp,
//
//     gamma_{t+1}(j) = a^_{t+1}(j) b^_{t+1}(j) / z_t      z_t = sum_j a^_{t+1}(j) b^_{t+1}(j)
//     xi_t(i, j)     = a^_t(i) a_ij y_t(j) f_t / z_t
//
// where f_t makes up for what a^_{t+1} and y_t were divided by, but a^_t was not. The emissions' gradient is gamma, the
// transition's is the sum of xi over steps: a_ij times a sum of outer products, of which a block's are added at once.
#pragma once

#include "scaled_backward.hpp"

namespace semihmm {

// Where the counts of a transition go: the sinks of its weights, those that are requested, as one.
template <class F>
class ArcSinks {
  public:
    // `sizes` are the entries of each weight.
    void gather(const std::vector<Sink<F>*>& steps, std::size_t f, const std::vector<int64_t>& sizes) {
        all_.clear();
        int64_t first = 0;
        for (std::size_t i = 0; i < sizes.size(); first += sizes[i++])
            if (steps[2 * i + f]->requested()) all_.push_back({steps[2 * i + f], first, sizes[i]});
    }
    explicit operator bool() const { return !all_.empty(); }
    bool shared() const {
        return std::all_of(all_.begin(), all_.end(), [](const One& one) { return one.sink->shared(); });
    }
    // Adds to entries from `first` on, which are of one weight.
    void add(int64_t b, int64_t n, const F* x, int64_t first) const {
        for (const One& one : all_)
            if (first >= one.first && first < one.first + one.size) one.sink->add(b, 0, n, x, first - one.first);
    }
    void add_all(int64_t b, const double* counts) const {
        for (const One& one : all_) one.sink->add(b, 0, one.size, counts + one.first);
    }
    // What a sequence has added by itself.
    void drain(double* counts) const {
        for (const One& one : all_)
            if (!one.sink->shared()) one.sink->drain(counts + one.first);
    }

  private:
    struct One {
        Sink<F>* sink;
        int64_t first, size;
    };
    std::vector<One> all_;
};

template <class S, class T>
class ScaledCounts : public ScaledBackward<S, T> {
  public:
    using Base = ScaledBackward<S, T>;
    using typename Base::F, typename Base::L, typename Base::V, typename Base::Transition;
    using Sinks = std::vector<Sink<F>*>;
    using Base::Base;

    // Adds the gradients of totals, each times its weight in g0, and of means, in g1. `steps` are the sinks of the chain's map.
    void gradient(int64_t b, int count, const Kept<F>& kept, const double* g0, const double* g1, const Sinks& steps, std::vector<Sink<F>>& start,
                  std::vector<Sink<F>>& end) {
        fill(b, count);
        reserve(count), gather_into(steps, count);
        Sequence all[kGroup];
        const int64_t segment = whole(kept) ? std::max<int64_t>(chain_.length, 1) : kept.segment;
        int64_t longest = 0;
        for (int r = 0; r < count; ++r) {
            Sequence& s = all[r];
            s.b = b + r, s.length = chain_.length_of(s.b), s.g0 = g0[r], s.g1 = g1 ? g1[r] : 0.0, s.sums = r;
            longest = std::max(longest, s.length);
            if (whole(kept)) s.rows = rows_of(s.b, kept);
        }
        for (int64_t t1 = longest, t0; t1 > 0; t1 = t0) {
            const int64_t first = (t1 - 1) / segment * segment;
            t0 = std::max(first, (t1 - 1) / kBlock * kBlock);
            if (!whole(kept) && (t1 == longest || t1 == first + segment)) recall(all, count, kept, first, segment);
            for (int r = 0; r < count; ++r) {
                Sequence& s = all[r];
                if (s.length > t0 && s.length <= t1) at_end(s, r, end);
                s.bad = s.length > t0 && !s.rows.is_scaled(t0);
            }
            backward(all, count, t0, t1);
            for (int r = 0; r < count; ++r) {
                Sequence& s = all[r];
                if (s.length <= t0 || !s.possible) continue;
                const int64_t stop = std::min(t1, s.length);
                if (!s.bad && contract(s, r, t0, stop, costs_[r].get())) {
                    end_cost_block(s, r);
                } else {
                    contract_in_log_space(s, r, t0, stop);
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
            write_counts(s, steps);
        }
    }

  protected:
    using typename Base::Sequence;
    using Base::chain_, Base::transition_, Base::emission_, Base::states_, Base::ld_, Base::stride_, Base::row_;
    using Base::after_, Base::costs_, Base::y_scale_;
    using Base::at_end, Base::at_start, Base::backward, Base::backward_in_log_space, Base::dot, Base::end_cost_block, Base::exps, Base::fill, Base::recall, Base::reserve,
        Base::rows_of, Base::weighing, Base::whole;

    // Where gradients go, and workspace for the sums of so many sequences.
    void gather_into(const Sinks& steps, int sequences) {
        const std::vector<int64_t> leaves = transition_.leaves();
        const std::size_t emission = 2 * leaves.size();
        for (std::size_t f = 0; f <= S::features; ++f) {
            arcs_[f].gather(steps, f, leaves);
            emission_sinks_[f] = emission_ && steps[emission + f]->requested() ? steps[emission + f] : nullptr;
        }
        if constexpr (requires { transition_.count_for(steps); }) transition_.count_for(steps);
        counted_ = arcs_[0] || arcs_[S::features];
        together_ = arcs_[0].shared() && arcs_[S::features].shared();
        for (int r = 0; r < (together_ ? 1 : sequences) && counted_; ++r)
            for (int f = 0; f <= S::features && !sums_[f][r]; ++f) {
                sums_[f][r].reset(transition_.sums());
                if (!together_) counts_[f][r].reset(transition_.entries());
            }
    }
    // The gradient over a block; false where vectors and costs have too little in common.
    bool contract(Sequence& s, int r, int64_t t0, int64_t t1, const F* costs) {
        const int64_t count = t1 - t0;
        double factors[kBlock] = {};       // f_t
        const F* vectors[2 * kBlock + 1];  // at times t0 to t1; those at the ends are in log space
        for (int64_t k = 0; k <= count; ++k) vectors[k] = s.rows.at(t0 + k);
        exps(vectors[0], first_.get()), vectors[0] = first_.get();
        exps(vectors[count], last_.get()), vectors[count] = last_.get();
        if (counted_) {
            for (int64_t k = 0; k < count; ++k) factors[k] = s.rows.off(t0 + k) - s.rows.off(t0 + k + 1) + y_scale_[r][k];
            exp<double>(count, factors, factors);
        }
        F shares[kBlock], means[kBlock];  // z_t, and the mean of the feature of what passes through step t
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
        for (int64_t k = 0; k < count && (emission_sinks_[0] || emission_sinks_[S::features]); ++k) {
            const F *vector = vectors[k + 1], *cost = costs + k * stride_;
            const F by = static_cast<F>(weight(k)) / shares[k], slope = static_cast<F>(s.g1) / shares[k];
            if (emission_sinks_[0])
                put(*emission_sinks_[0], s.b, t0 + k, [&](int64_t j) {
                    const V leaf = L::load(vector + j) * L::load(cost + j) * by;
                    if constexpr (S::features) return leaf + moment(vector, cost, j) * slope;
                    return leaf;
                });
            if (S::features && emission_sinks_[1])
                put(*emission_sinks_[1], s.b, t0 + k, [&](int64_t j) { return L::load(vector + j) * L::load(cost + j) * slope; });
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
    // The same in log space, which takes the place of scaled costs; leaves the cost at t0.
    void contract_in_log_space(Sequence& s, int r, int64_t t0, int64_t t1) {
        const Rows<F> costs{costs_[r].get(), no_offsets_.data(), stride_, t0 + 1};
        backward_in_log_space(s, r, t0, t1, costs);
        contract_in_log_space(s, t0, t1, costs);
    }
    // The same with costs in log space, those after each step, which it shifts. The chain has loaded the block.
    void contract_in_log_space(const Sequence& s, int64_t t0, int64_t t1, const Rows<F>& costs) {
        Rows<F> rows = s.rows;
        if (s.rows.is_scaled(t0) || t1 - t0 < 2) {  // else the forward pass has made them in log space
            if (!log_rows_) log_rows_.reset((kBlock + 1) * stride_);
            rows = {log_rows_.get(), log_offsets_.data(), stride_, t0};
            std::copy_n(s.rows.at(t0), stride_, rows.at(t0));
            rows.off(t0) = s.rows.off(t0);
            advance(chain_, rows, t0, t1);
        }
        for (int64_t t = t1 - 1; t >= t0; --t) {
            chain_.pulse(chain_.work);
            F* cost = costs.at(t + 1);
            shift_to(rows.at(t + 1), cost);
            const auto [total, mean] = dot(rows.at(t + 1), cost);
            Weighing<S> by = weighing(s, mean);
            by.output_shift = static_cast<F>(-total);
            by.shift = static_cast<F>(rows.off(t) - rows.off(t + 1) - total);
            chain_.steps->contract(t, rows, rows.at(t + 1), costs, by);
        }
        chain_.steps->unload(t0, t1);
        for (int f = 0; f <= S::features; ++f)
            if (!together_) arcs_[f].drain(counts_[f][s.sums].get());
    }
    // From sums over some blocks to counts in double, the arcs' weights in.
    void flush(int count) {
        if (!counted_) return;
        for (int r = 0; r < (together_ ? 1 : count); ++r) flush_sums(r);
    }
    void flush_sums(int r) {
        transition_.flush(sums_[0][r].get(), sums_[S::features][r].get(), [&](int f, int64_t first, int64_t n, const F* numbers) {
            if (!arcs_[f]) return;
            if (together_) return arcs_[f].add(0, n, numbers, first);
            double* counts = counts_[f][r].get() + first;
            for (int64_t i = 0; i < n; ++i) counts[i] += numbers[i];
        });
    }
    void flush_of(const Sequence& s) {
        if (counted_) flush_sums(together_ ? 0 : s.sums);
    }
    // A sequence is done.
    void write_counts(const Sequence& s, const Sinks& steps) {
        for (int f = 0; f <= S::features; ++f) {
            if (!arcs_[f] || together_) continue;
            arcs_[f].add_all(s.b, counts_[f][s.sums].get());
            std::fill_n(counts_[f][s.sums].get(), transition_.entries(), 0.0);
        }
        for (Sink<F>* sink : steps) sink->finish(s.b);
    }

    ArcSinks<F> arcs_[2];               // of log-weights and features
    Sink<F>* emission_sinks_[2] = {};  // if requested
    bool counted_ = false;                            // whether arcs' are
    bool together_ = true;                            // arcs are summed up for all sequences at once
    Buffer<F> sums_[1 + S::features][kGroup];
    Buffer<double> counts_[1 + S::features][kGroup];

  private:
    // Brings the peak of vector + cost near 0: then a sum of the two is not rounded where their own peaks lie far apart.
    void shift_to(const F* vector, F* cost) const {
        V most = L::broadcast(kNothing<F>);
        for (int64_t j = 0; j < ld_; j += L::width) most = L::max(L::load(vector + j) + L::load(cost + j), most);
        const F peak = L::max(most);
        for (int64_t j = 0; j < ld_ && std::isfinite(peak); j += L::width) L::store(cost + j, L::load(cost + j) - peak);
    }
    // The moment of the paths through the slots from j on.
    V moment(const F* vector, const F* cost, int64_t j) const {
        return L::load(vector + ld_ + j) * L::load(cost + j) + L::load(vector + j) * L::load(cost + ld_ + j);
    }
    // The gradient of the emissions of step t, of which value(j) knows those from j on.
    template <class Value>
    void put(Sink<F>& sink, int64_t b, int64_t t, const Value& value) const {
        F* direct = sink.over_time() && !emission_.tied() ? sink.row(b, t) : nullptr;
        F* to = direct ? direct : row_.get();
        int64_t j = 0;
        for (; j + L::width <= states_; j += L::width) L::store(to + j, value(j));
        if (j < states_) L::store_part(to + j, states_ - j, value(j));
        if (!direct) emission_.collect(sink, b, t, to);
    }

    Buffer<F> first_ = Buffer<F>(stride_), last_ = Buffer<F>(stride_);  // the vectors at the ends of a block, scaled
    Buffer<F> log_rows_;
    std::vector<double> log_offsets_ = std::vector<double>(kBlock + 1, 0.0), no_offsets_ = log_offsets_;
};

}  // namespace semihmm
