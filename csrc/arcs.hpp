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
class Arcs final : public Map<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    using Topology = std::shared_ptr<const ArcSlices<F>>;

    // Without a topology, it is read when the first sequence starts.
    Arcs(S semiring, Leaf<F> weight, Leaf<int64_t> source, Leaf<F> feature, Topology topology, Out<F> out, Out<F> out_feature, double beta)
        : Map<S>(semiring), weight_(weight), feature_(feature), source_(source), topology_(std::move(topology)),
          beta_(static_cast<F>(beta)), varies_(weight.over_time() || feature.over_time()),
          sink_(out, weight, weight.over_time()), sink_feature_(out_feature, feature, weight.over_time()) {
        this->in = this->out = {1, weight.event[0]};
        ld_ = this->in.width();
    }
    // Whether a Sparse is one of these; if its arcs are no band.
    static bool does(const Leaf<int64_t>& source, int64_t memory) { return memory == 1 && !source.over_time() && source.same_for_all(); }

    void start(int64_t b, int64_t length) override {
        const bool first = this->b_ < 0;
        this->b_ = b, this->length_ = length;
        if (first) workspace();
        if (!varies_ && (this->stale(weight_, first) || this->stale(feature_, first))) fill(0, 0);
    }
    void load(int64_t t0, int64_t t1) override {
        t0_ = t0;
        if (varies_)
            for (int64_t t = t0; t < std::min(t1, this->length_); ++t) fill(t, t - t0);
    }
    double log_scale(int64_t t) const override { return log_scale_[step_of(t)]; }
    void step(int64_t t, const Rows<F>& rows, F* to) override {
        sum(topology_->into, rows.at(t), table(0, 0, t), table(0, 1, t), to);
    }
    void back(int64_t t, const Rows<F>& costs, F* to) override {
        turn(step_of(t));
        sum(topology_->leaving, costs.at(t + 1), table(1, 0, t), table(1, 1, t), to);
    }
    void contract(int64_t t, const Rows<F>& rows, const F*, const Rows<F>& costs, Weighing<S> weighing) override {
        if (!sink_.requested() && !sink_feature_.requested()) return;
        const Slices<F>& arcs = topology_->into;
        const F* cost = costs.at(t + 1);
        for (int64_t slice = 0; slice < arcs.count(); ++slice) {
            const int64_t begin = arcs.begin[slice], length = arcs.length(slice);
            const int32_t* row = arcs.row.data() + slice * L::width;
            const Gathered<S> terms{rows.at(t), ld_, arcs.from.data() + begin, table(0, 0, t) + begin, table(0, 1, t) + begin};
            V after[1 + S::features];
            for (int lane = 0; lane < L::width; ++lane)
                for (int c = 0; c <= S::features; ++c) after[c][lane] = row[lane] < 0 ? F(0) : cost[c * ld_ + row[lane]];
            for (int64_t k = 0; k < length; ++k) {
                const int64_t at = begin + k * L::width;
                const V share = weighing.share(terms.value(k, 0, 0) + after[0]);
                V mean = share;
                if constexpr (S::features) mean = terms.value(k, 1, 0) + after[1];
                if (sink_.requested()) add(sum_, at, weighing.leaf(share, mean));
                if (sink_feature_.requested()) add(sum_feature_, at, weighing.feature(share));
            }
        }
        if (varies_) flush(t);
    }
    void unload(int64_t t0, int64_t) override {
        if (!varies_) flush(t0);
    }
    void finish() override { sink_.finish(this->b_), sink_feature_.finish(this->b_); }
    std::vector<Sink<F>*> sinks() override { return {&sink_, &sink_feature_}; }
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker, int64_t* arc_indices) override {
        const Slices<F>& arcs = topology_->into;
        const int64_t first = arcs.first(slot), stop = arcs.begin[arcs.lane[slot] / L::width + 1];
        const F *from = rows.at(t), *w = table(0, 0, t);
        int64_t chosen = first, row = rank;
        if constexpr (std::is_same_v<S, Max<F>>) {
            F best = kNothing<F>;
            for (int64_t at = first; at < stop && arcs.arc[at] >= 0; at += L::width) {
                const F x = from[arcs.from[at]] + w[at];
                chosen = x > best ? at : chosen;
                best = x > best ? x : best;
            }
        } else {
            picker.clear();
            for (int64_t at = first; at < stop && arcs.arc[at] >= 0; at += L::width)
                for (int c = 0; c < this->semiring.components; ++c) picker.offer(from[c * ld_ + arcs.from[at]] + w[at]);
            const auto [candidate, its] = picker.pick(rank);
            chosen = first + candidate * L::width, row = its;
        }
        if (chosen >= stop || arcs.arc[chosen] < 0) return {0, 0, 1, *arc_indices = 0};  // no arc leads there
        *arc_indices = arcs.arc[chosen];
        return {arcs.from[chosen], row, 1, arcs.arc[chosen] % topology_->width};
    }
    void take(int64_t b, int64_t t, const int64_t* arc_indices, double share) override {
        if (sink_.requested()) sink_.add(b, t, 1, &share, *arc_indices);
    }

  private:
    void workspace() {
        if (!topology_) topology_ = std::make_shared<const ArcSlices<F>>(ArcSlices<F>::of(source_));
        const int64_t steps = varies_ ? kBlock + 1 : 1, places[] = {topology_->into.places(), topology_->leaving.places()};
        for (int side = 0; side < 2; ++side)
            for (int f = 0; f <= S::features; ++f) table_[side][f].reset(steps * places[side], f ? F(0) : kNothing<F>);
        log_scale_.assign(static_cast<std::size_t>(steps), 0.0);
        turned_.assign(static_cast<std::size_t>(steps), 0);
        row_.reset(this->semiring.components * L::width);
        if (sink_.requested()) sum_.reset(places[0], Weighing<S>::empty);
        if (sink_feature_.requested()) sum_feature_.reset(places[0]);
        if (sink_.requested() || sink_feature_.requested()) entries_.reset(weight_.entries(), Weighing<S>::empty);
    }
    static void add(Buffer<F>& sum, int64_t at, V x) { L::store(sum.get() + at, Weighing<S>::plus(L::load(sum.get() + at), x)); }
    int64_t step_of(int64_t t) const { return varies_ ? t - t0_ : 0; }
    int64_t places(int side) const { return (side ? topology_->leaving : topology_->into).places(); }
    const F* table(int side, int f, int64_t t) const { return table_[side][S::features && f].get() + step_of(t) * places(side); }
    void fill(int64_t t, int64_t to) {
        const F* w = weight_.at(this->b_, t);
        const F peak = matrix_peak(weight_, w);
        log_scale_[to] = static_cast<double>(peak) * beta_;
        turned_[to] = 0;
        F* log = table_[0][0].get() + to * places(0);
        each(weight_, [&](int64_t place, int64_t at) { log[place] = (w[at] - peak) * beta_; });
        if constexpr (S::features) {
            const F* f = feature_.at(this->b_, t);
            F* held = table_[0][1].get() + to * places(0);
            each(feature_, [&](int64_t place, int64_t at) { held[place] = log[place] == kNothing<F> ? F(0) : f[at]; });
        }
    }
    // Calls give(place, offset of its weight) for each arc.
    template <class Give>
    void each(const Leaf<F>& leaf, const Give& give) const {
        const Slices<F>& arcs = topology_->into;
        const int64_t width = topology_->width, by_slot = leaf.by_event[0], by_arc = leaf.by_event[1];
        const bool even = by_slot == width * by_arc;
        for (int64_t place = 0; place < arcs.places(); ++place) {
            const int64_t arc = arcs.arc[place];
            if (arc >= 0) give(place, even ? arc * by_arc : arc / width * by_slot + arc % width * by_arc);
        }
    }
    // The tables of a step by the slots that arcs leave.
    void turn(int64_t step) {
        if (turned_[step]) return;
        turned_[step] = 1;
        const Slices<F>& arcs = topology_->leaving;
        for (int f = 0; f <= S::features; ++f) {
            const F* from = table_[0][f].get() + step * places(0);
            F* to = table_[1][f].get() + step * places(1);
            for (int64_t i = 0; i < arcs.places(); ++i)
                if (arcs.arc[i] >= 0) to[i] = from[topology_->place[i]];
        }
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
        for (int f = 0; f <= S::features; ++f) {
            Sink<F>& sink = f ? sink_feature_ : sink_;
            Buffer<F>& sum = f ? sum_feature_ : sum_;
            if (!sink.requested()) continue;
            for (int64_t i = 0; i < arcs.places(); ++i)
                if (arcs.arc[i] >= 0) entries_[arcs.arc[i]] = sum[i];
            sink.add(this->b_, t, entries_.size(), entries_.get());
            std::fill_n(sum.get(), sum.size(), f ? F(0) : Weighing<S>::empty);
        }
    }

    Leaf<F> weight_, feature_;
    Leaf<int64_t> source_;
    Topology topology_;
    F beta_;
    bool varies_;
    Sink<F> sink_, sink_feature_;
    int64_t ld_ = 0, t0_ = 0;
    Buffer<F> table_[2][1 + S::features];  // [step][place]: by where arcs lead to, by where they leave
    Buffer<F> row_, sum_, sum_feature_, entries_;
    std::vector<double> log_scale_;
    std::vector<char> turned_;
};

}  // namespace semihmm
