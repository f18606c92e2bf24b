// Irregular arcs from one step to the next, in log space: a topology that all steps and sequences share.
#pragma once

#include "arc_slices.hpp"
#include "maps.hpp"

namespace semihmm {

// The terms of the rows of a slice.
template <class S>
struct Gathered {
    using F = typename S::F;
    const F* in;
    int64_t in_stride;
    const int32_t* from;
    const F *weight, *feature;
    auto value(int64_t k, int c, int64_t) const {
        constexpr int width = Lanes<F>::width;
        const F* table = S::features && c ? feature : weight;
        return gather<F>(in + c * in_stride, from + k * width) + Lanes<F>::load(table + k * width);
    }
};

template <class S>
class Arcs final : public OneLeaf<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    using Topology = std::shared_ptr<const ArcSlices<F>>;

    // Without a topology, it is read when the first sequence starts.
    Arcs(S semiring, const Part<F>& part, double beta, Leaf<int64_t> source, Topology topology, bool centre = true)
        : OneLeaf<S>(semiring, part, beta, part.weight.over_time(), centre), source_(source), topology_(std::move(topology)) {
        this->in = this->out = {1, weight_.event[0]};
        ld_ = this->in.width();
    }
    void step(int64_t t, const Rows<F>& rows, F* to) override {
        sum(topology_->into, rows.at(t), table(0, 0, t), table(0, 1, t), to);
    }
    void step_backward(int64_t t, const Rows<F>& costs, F* to) override {
        transpose(this->step_of(t));
        sum(topology_->leaving, costs.at(t + 1), table(1, 0, t), table(1, 1, t), to);
    }
    void contract(int64_t t, const Rows<F>& rows, const F*, const Rows<F>& costs, Weighing<S> weighing) override {
        if (!this->requested()) return;
        const Slices<F>& arcs = topology_->into;
        const F* cost = costs.at(t + 1);
        for (int64_t slice = 0; slice < arcs.count(); ++slice) {
            const int64_t begin = arcs.begin[slice], length = arcs.length(slice);
            const int32_t* row = arcs.row.data() + slice * L::width;
            const Gathered<S> terms{rows.at(t), ld_, arcs.from.data() + begin, table(0, 0, t) + begin, table(0, 1, t) + begin};
            V after[1 + S::features];
            for (int lane = 0; lane < L::width; ++lane)
                for (int c = 0; c <= S::features; ++c) after[c][lane] = row[lane] < 0 ? F(0) : cost[c * ld_ + row[lane]];
            for (int64_t k = 0; k < length; ++k)
                this->add(begin + k * L::width, weighing.shares([&](int c) { return terms.value(k, c, 0) + after[c]; }));
        }
        if (varies_) flush(t);
    }
    void unload(int64_t t0, int64_t) override {
        if (!varies_) flush(t0);
    }
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker, int64_t* arc_indices) override {
        const F *from = rows.at(t), *w = table(0, 0, t);
        ArcInto chosen{0, 0, 0};
        int64_t row = rank;
        if constexpr (std::is_same_v<S, Max<F>>) {
            chosen = topology_->best_arc(from, w, slot);
        } else {
            const Slices<F>& arcs = topology_->into;
            const int64_t first = arcs.first(slot), stop = arcs.stop(slot);
            picker.clear();
            for (int64_t at = first; at < stop && arcs.arc[at] >= 0; at += L::width)
                for (int c = 0; c < this->semiring.components; ++c) picker.offer(from[c * ld_ + arcs.from[at]] + w[at]);
            const auto [candidate, its] = picker.pick(rank);
            row = its;
            const int64_t at = first + candidate * L::width;
            if (at < stop && arcs.arc[at] >= 0) chosen = topology_->arc_at(at);  // else no arc leads there
        }
        *arc_indices = chosen.index;
        return {chosen.from, row, 1, chosen.choice};
    }

  protected:
    void reserve() override {
        if (!topology_) topology_ = std::make_shared<const ArcSlices<F>>(ArcSlices<F>::of(source_));
        const int64_t steps = varies_ ? kBlock + 1 : 1, places[] = {topology_->into.places(), topology_->leaving.places()};
        for (int side = 0; side < 2; ++side) this->reserve_tables(table_[side], places[side], steps);
        transposed_.assign(static_cast<std::size_t>(steps), 0);
        row_.reset(this->semiring.components * L::width);
        this->reserve_sums(places[0]);
        if (this->requested()) entries_.reset(weight_.entries(), Weighing<S>::empty);
    }
    void fill(int64_t t, int64_t to) override {
        const F *w = weight_.at(this->b_, t), beta = static_cast<F>(this->beta_);
        const F peak = this->peak(w);
        this->log_scale_[to] = static_cast<double>(peak) * beta;
        transposed_[to] = 0;
        F* log = table_[0][0].get() + to * places(0);
        topology_->each(weight_, [&](int64_t place, int64_t at) { log[place] = (w[at] - peak) * beta; });
        if constexpr (S::features) {
            const F* f = feature_.at(this->b_, t);
            F* held = table_[0][1].get() + to * places(0);
            topology_->each(feature_, [&](int64_t place, int64_t at) { held[place] = log[place] == kNothing<F> ? F(0) : f[at]; });
        }
    }

  private:
    using OneLeaf<S>::weight_, OneLeaf<S>::feature_, OneLeaf<S>::varies_;

    int64_t places(int side) const { return (side ? topology_->leaving : topology_->into).places(); }
    const F* table(int side, int f, int64_t t) const { return table_[side][S::features && f].get() + this->step_of(t) * places(side); }
    // The tables of a step by the slots that arcs leave.
    void transpose(int64_t step) {
        if (transposed_[step]) return;
        transposed_[step] = 1;
        for (int f = 0; f <= S::features; ++f)
            topology_->transpose(table_[0][f].get() + step * places(0), f ? F(0) : kNothing<F>, table_[1][f].get() + step * places(1));
    }
    void sum(const Slices<F>& arcs, const F* from, const F* weight, const F* feature, F* to) {
        const int comps = this->semiring.components;
        for (int64_t slice = 0; slice < arcs.count(); ++slice) {
            const int64_t begin = arcs.begin[slice];
            const Gathered<S> terms{from, ld_, arcs.from.data() + begin, weight + begin, feature + begin};
            this->semiring.sum(arcs.length(slice), L::width, terms, row_.get(), L::width);
            const int32_t* row = arcs.row.data() + slice * L::width;
            for (int c = 0; c < comps; ++c)
                for (int lane = 0; lane < L::width; ++lane)
                    if (row[lane] >= 0) to[c * ld_ + row[lane]] = row_[c * L::width + lane];
        }
        for (int c = 0; c < comps; ++c) std::fill(to + c * ld_ + this->in.size, to + (c + 1) * ld_, S::features && c ? F(0) : kNothing<F>);
    }
    void flush(int64_t t) {
        const Slices<F>& arcs = topology_->into;
        for (int f = 0; f < 2; ++f) {
            if (!this->sinks_[f].requested()) continue;
            Buffer<F>& sum = this->sums_[f];
            for (int64_t i = 0; i < arcs.places(); ++i)
                if (arcs.arc[i] >= 0) entries_[arcs.arc[i]] = sum[i];
            this->sinks_[f].add(this->b_, t, entries_.size(), entries_.get());
            std::fill_n(sum.get(), sum.size(), this->empty(f));
        }
    }

    Leaf<int64_t> source_;
    Topology topology_;
    int64_t ld_ = 0;
    Buffer<F> table_[2][1 + S::features];  // [step][place]: by where arcs lead to, by where they leave
    Buffer<F> row_, entries_;
    std::vector<char> transposed_;  // whether the second tables of a step are made
};

}  // namespace semihmm
