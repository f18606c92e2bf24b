// Explicit durations. A state vector is [ended | begun]; see Segmental in Python.
#pragma once

#include "maps.hpp"

namespace semihmm {

template <class S>
class Segmental final : public Map<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    // `arcs`: the transition, from one step to the next, no peak of which may be taken out: few steps end a segment.
    Segmental(S semiring, std::unique_ptr<Map<S>> arcs, Part<F> duration, Part<F> emission, Part<F> segment, double beta)
        : Map<S>(semiring), duration_(duration), emission_(emission), segment_(segment), beta_(static_cast<F>(beta)),
          arcs_(std::move(arcs)),
          sink_{{duration.out, duration.weight, duration.weight.over_time()},
                {emission.out, emission.weight, true},
                {segment.out, segment.weight, true},
                {duration.out_feature, duration.feature, duration.weight.over_time()},
                {emission.out_feature, emission.feature, true},
                {segment.out_feature, segment.feature, true}} {
        longest_ = this->memory = duration.weight.event[0];
        states_ = duration.weight.event[1];
        this->in = this->out = {2, states_};
        this->arc_indices = arcs_->arc_indices + 1;  // those of the arc, -1 for none; then the length and the state
        ld_ = this->in.part();
        width_ = this->in.width();
        for (int f = 0; f <= S::features; ++f) {
            lasting_[f].reset(longest_ * ld_, f ? F(0) : kNothing<F>);
            lengths_[f].reset((duration.weight.over_time() ? 1 : longest_) * ld_, f ? F(0) : kNothing<F>);
        }
        terms_.reset(longest_ * semiring.components * ld_, kNothing<F>);
        for (Buffer<F>& part : part_) part.reset(semiring.components * ld_, kNothing<F>);
        for (int i = 0; i < 6; ++i) requested_ = requested_ || sink_[i].requested();
        if (requested_)
            for (int f = 0; f <= S::features; ++f) through_[f].reset(longest_ * ld_);
    }
    void start(int64_t b, int64_t length) override {
        const bool first = this->b_ < 0;
        this->b_ = b, this->length_ = length;
        arcs_->start(b, length);
        if (!duration_.weight.over_time() && (this->stale(duration_.weight, first) || this->stale(duration_.feature, first)))
            for (int64_t d = 0; d < longest_; ++d)
                for (int64_t s = 0; s < states_; ++s) {
                    lengths_[0][d * ld_ + s] = beta_ * duration(duration_.weight, 0, d, s);
                    if constexpr (S::features) lengths_[1][d * ld_ + s] = duration(duration_.feature, 0, d, s);
                }
        peaks_.assign(static_cast<std::size_t>(length), 0.0);
        for (int f = 0; f <= S::features; ++f)
            if (frames_[f].size() < length * ld_) frames_[f].reset(length * ld_);
        for (int64_t t = 0; t < length; ++t) {
            const F* e = frame(emission_.weight, t);
            const int64_t by = emission_.weight.by_event[0];
            F peak = kNothing<F>;
            for (int64_t s = 0; s < states_; ++s) peak = std::max(peak, e[s * by]);
            if (std::isinf(peak)) peak = 0;
            peaks_[t] = static_cast<double>(peak) * beta_;
            for (int64_t s = 0; s < states_; ++s) frames_[0][t * ld_ + s] = (e[s * by] - peak) * beta_;
            if constexpr (S::features)
                for (int64_t s = 0; s < states_; ++s)
                    frames_[1][t * ld_ + s] = frame(emission_.feature, t)[s * emission_.feature.by_event[0]];
        }
        if (!requested_) return;
        for (int f = 0; f <= S::features; ++f) covered_[f].reset(length * ld_, Weighing<S>::empty);
    }
    // One step more: what ended at time t began something by the arcs of step t - 1.
    void load(int64_t t0, int64_t t1) override { arcs_->load(std::max<int64_t>(t0 - 1, 0), t1); }
    double log_scale(int64_t t) const override { return peaks_[t]; }
    void step(int64_t t, const Rows<F>& rows, F* to) override {
        const int64_t count = gather(t, rows);
        const Ready<S> terms{terms_.get(), this->semiring.components, ld_};
        this->semiring.sum(count, ld_, terms, to, width_);
        F* begun = room(1, to + ld_);
        arcs_->step(t, part(0, to, t), begun);
        join(begun, to + ld_);
    }
    void step_backward(int64_t t, const Rows<F>& costs, F* to) override {
        const int64_t count = std::min(longest_, this->length_ - t), comps = this->semiring.components;
        F* sum[2] = {nullptr, nullptr};
        for (int f = 0; f <= S::features; ++f) {
            if (!frames_sum_[f]) frames_sum_[f].reset(ld_);
            std::fill_n(frames_sum_[f].get(), ld_, F(0));
            sum[f] = frames_sum_[f].get();
        }
        for (int64_t d = 0; d < count; ++d) {  // a segment of d + 1 frames, from t to t + d
            lasts(t + d, d, t + d, sum, 0);
            const F shift = static_cast<F>(costs.off(t + d + 1) - costs.off(t + 1));
            for (int64_t c = 0; c < comps; ++c) {
                const F* ended = costs.at(t + d + 1) + c * width_;
                const F* w = lasting_[S::features && c].get();
                F* term = terms_.get() + (d * comps + c) * ld_;
                const F by = S::features && c ? F(0) : shift;
                for (int64_t j = 0; j < ld_; j += L::width) L::store(term + j, L::load(ended + j) + by + L::load(w + j));
            }
        }
        const Ready<S> terms{terms_.get(), this->semiring.components, ld_};
        this->semiring.sum(count, ld_, terms, to + ld_, width_);
        if (t == 0) return;
        F* ended = room(1, to);
        arcs_->step_backward(t - 1, part(0, to + ld_, t), ended);
        join(ended, to);
    }
    // At the end, what ended may still be said to begin something.
    void close(int64_t length, F* cost) override {
        const int64_t comps = this->semiring.components;
        bool begins = false;
        for (int64_t s = 0; s < states_; ++s) begins = begins || cost[ld_ + s] > kNothing<F>;
        if (!begins || length == 0) return;
        Buffer<F> both(2 * comps * ld_, kNothing<F>);
        for (int64_t c = 0; c < comps; ++c) std::copy_n(cost + c * width_, ld_, both.get() + c * ld_);
        arcs_->load(length - 1, length);
        arcs_->step_backward(length - 1, part(0, cost + ld_, length), both.get() + comps * ld_);
        const Ready<S> terms{both.get(), this->semiring.components, ld_};
        this->semiring.sum(2, ld_, terms, cost, width_);
    }
    void contract(int64_t t, const Rows<F>& rows, const F* output, const Rows<F>& costs, Weighing<S> weighing) override {
        Weighing<S> after = weighing;
        after.shift = weighing.output_shift;
        arcs_->contract(t, part(0, output, t), nullptr, part(1, costs.at(t + 1) + ld_, t + 1), after);
        if (!requested_) return;
        const int64_t count = gather(t, rows), comps = this->semiring.components;
        const F* cost = costs.at(t + 1);
        for (int64_t d = 0; d < count; ++d) {
            const F* term = terms_.get() + d * comps * ld_;
            for (int64_t j = 0; j < ld_; j += L::width) {
                const auto [leaf, feature] = weighing.shares([&](int c) { return L::load(term + c * ld_ + j) + L::load(cost + c * width_ + j); });
                L::store(through_[0].get() + d * ld_ + j, leaf);
                if constexpr (S::features) L::store(through_[1].get() + d * ld_ + j, feature);
            }
        }
        for (int f = 0; f <= S::features; ++f) {
            Sink<F>&durations = sink_[3 * f], &segments = sink_[3 * f + 2];
            for (int64_t d = 0; d < count; ++d) {
                const F* through = through_[f].get() + d * ld_;
                if (durations.requested()) durations.add(this->b_, t, states_, through, d * states_);
                if (segments.requested()) segments.add(this->b_, t, states_, through, d * states_);
            }
            if (!sink_[3 * f + 1].requested()) continue;
            for (int64_t d = count - 1; d >= 0; --d) {  // what lasts d + 1 frames also covers the d before it
                F* through = through_[f].get() + d * ld_;
                F* frame = covered_[f].get() + (t - d) * ld_;
                for (int64_t j = 0; j < ld_; j += L::width) {
                    V covers = L::load(through + j);
                    if (d + 1 < count) covers = Weighing<S>::plus(covers, L::load(through + ld_ + j));
                    L::store(through + j, covers);
                    L::store(frame + j, Weighing<S>::plus(L::load(frame + j), covers));
                }
            }
        }
    }
    void unload(int64_t t0, int64_t t1) override { arcs_->unload(t0, t1); }
    void finish() override {
        arcs_->finish();
        for (int f = 0; f <= S::features; ++f)
            if (sink_[3 * f + 1].requested())
                for (int64_t t = 0; t < this->length_; ++t)
                    sink_[3 * f + 1].add(this->b_, t + longest_ - 1, states_, covered_[f].get() + t * ld_);
        for (Sink<F>& sink : sink_) sink.finish(this->b_);
    }
    std::vector<Sink<F>*> sinks() override {
        std::vector<Sink<F>*> all = arcs_->sinks();
        for (Sink<F>& sink : sink_) all.push_back(&sink);
        return all;
    }
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker, int64_t* arc_indices) override {
        const int comps = this->semiring.components;
        Origin before{slot, rank, 1, -1};
        std::fill_n(arc_indices, arcs_->arc_indices, int64_t{-1});
        if (slot >= states_) before = arcs_->trace(t, slot - states_, rank, part(0, rows.at(t + 1), t), picker, arc_indices);
        const int64_t state = before.slot;
        const int64_t count = gather(t, rows);
        picker.clear();
        for (int64_t d = 0; d < count; ++d)
            for (int c = 0; c < comps; ++c) picker.offer(terms_[(d * comps + c) * ld_ + state]);
        const auto [length, row] = picker.pick(before.rank);
        arc_indices[arcs_->arc_indices] = length * states_ + state;
        return {state + states_, row, length + 1, before.choice};
    }
    void add_share(int64_t b, int64_t t, const int64_t* arc_indices, double share) override {
        if (arc_indices[0] >= 0) arcs_->add_share(b, t, arc_indices, share);
        const int64_t lasting = arc_indices[arcs_->arc_indices], state = lasting % states_;
        if (sink_[0].requested()) sink_[0].add(b, t, 1, &share, lasting);
        if (sink_[2].requested()) sink_[2].add(b, t, 1, &share, lasting);
        for (int64_t frame = t - lasting / states_; sink_[1].requested() && frame <= t; ++frame)
            sink_[1].add(b, frame + longest_ - 1, 1, &share, state);
    }

  private:
    // One part of a state vector, as the transition is given it: components side by side, at `time`.
    Rows<F> part(int which, const F* from, int64_t time) {
        F* to = room(which, const_cast<F*>(from));
        if (to != from)
            for (int c = 0; c < this->semiring.components; ++c) std::copy_n(from + c * width_, ld_, to + c * ld_);
        return {to, &no_offset_, 0, time};
    }
    // Where such a part is: one component lies as it should.
    F* room(int which, F* own) const { return this->semiring.components == 1 ? own : part_[which].get(); }
    // Back into a state vector.
    void join(const F* from, F* to) const {
        if (to != from)
            for (int c = 0; c < this->semiring.components; ++c) std::copy_n(from + c * ld_, ld_, to + c * width_);
    }
    F duration(const Leaf<F>& leaf, int64_t t, int64_t d, int64_t s) const {
        return leaf.at(this->b_, t)[d * leaf.by_event[0] + s * leaf.by_event[1]];
    }
    const F* frame(const Leaf<F>& leaf, int64_t t) const { return leaf.at(this->b_, t + longest_ - 1); }
    // Into lasting_[row]: the weight of d + 1 frames up to `last`, `newest` the one that the sum does not hold yet.
    void lasts(int64_t last, int64_t d, int64_t newest, F* const* sum, int64_t row) {
        for (int f = 0; f <= S::features; ++f) {
            const Part<F>& lengths = duration_;
            const F* e = frames_[f].get() + newest * ld_;
            F* to = lasting_[f].get() + row * ld_;
            for (int64_t j = 0; j < ld_; j += L::width) L::store(sum[f] + j, L::load(sum[f] + j) + L::load(e + j));
            if (lengths.weight.over_time() || (f && lengths.feature.over_time())) {
                const Leaf<F>& leaf = f ? lengths.feature : lengths.weight;
                for (int64_t s = 0; s < states_; ++s) to[s] = sum[f][s] + (f ? F(1) : beta_) * duration(leaf, last, d, s);
            } else {
                const F* w = lengths_[f].get() + d * ld_;
                for (int64_t j = 0; j < ld_; j += L::width) L::store(to + j, L::load(sum[f] + j) + L::load(w + j));
            }
            const Leaf<F>& leaf = f ? segment_.feature : segment_.weight;
            if (leaf.data)
                for (int64_t s = 0; s < states_; ++s) to[s] += (f ? F(1) : beta_) * duration(leaf, last, d, s);
        }
        if constexpr (S::features)
            for (int64_t s = 0; s < states_; ++s)
                if (lasting_[0][row * ld_ + s] == kNothing<F>) lasting_[1][row * ld_ + s] = 0;
    }
    // The weight of segments of each length whose last frame is t. Returns how many lengths there are.
    int64_t gather(int64_t t, const Rows<F>& rows) {
        const int64_t count = std::min(longest_, t + 1), comps = this->semiring.components;
        F* sum[2] = {nullptr, nullptr};
        for (int f = 0; f <= S::features; ++f) {
            if (!frames_sum_[f]) frames_sum_[f].reset(ld_);
            std::fill_n(frames_sum_[f].get(), ld_, F(0));
            sum[f] = frames_sum_[f].get();
        }
        for (int64_t d = 0; d < count; ++d) {
            lasts(t, d, t - d, sum, d);
            const F shift = static_cast<F>(rows.off(t - d) - rows.off(t));
            for (int64_t c = 0; c < comps; ++c) {
                const F* begun = rows.at(t - d) + c * width_ + ld_;
                const F* w = lasting_[S::features && c].get() + d * ld_;
                F* term = terms_.get() + (d * comps + c) * ld_;
                const F by = S::features && c ? F(0) : shift;
                for (int64_t j = 0; j < ld_; j += L::width) L::store(term + j, L::load(begun + j) + by + L::load(w + j));
            }
        }
        return count;
    }

    Part<F> duration_, emission_, segment_;
    F beta_;
    std::unique_ptr<Map<S>> arcs_;
    Sink<F> sink_[6];  // durations, frames, segments; then those of the features
    int64_t states_ = 0, longest_ = 0, ld_ = 0, width_ = 0;
    bool requested_ = false;
    Buffer<F> lasting_[2], lengths_[2], frames_[2], frames_sum_[2], terms_, through_[2], covered_[2], part_[2];
    double no_offset_ = 0;
    std::vector<double> peaks_;
};

}  // namespace semihmm
