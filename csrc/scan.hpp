// A chain multiplied out for one sequence: the total, the gradient of its weights, and its paths.
#pragma once

#include "operations.hpp"
#include "parallel.hpp"
#include "segmental.hpp"
#include "sparse.hpp"

namespace semihmm {

// The vectors that a chain begins and ends with: the product of some factors.
template <class S>
struct Border {
    using F = typename S::F;
    std::vector<Part<F>> factors;

    // The product for sequence b, near 0 nats; returns what was taken out.
    double read(const S& semiring, int64_t b, const Layout<F>& layout, double beta, F* to) const {
        const int64_t width = layout.width();
        std::fill_n(to, width * semiring.components, kNothing<F>);
        double log_scale = 0;
        for (int64_t slot = 0; slot < layout.slots(); ++slot) to[layout.place(slot)] = 0;
        for (const Part<F>& factor : factors) {
            const F* w = factor.weight.at(b, 0);
            const int64_t by = factor.weight.by_event[0];
            const F peak = static_cast<F>(peak_of<F>(layout.slots(), [&](int64_t slot) { return w[slot * by]; }, 1.0));
            for (int64_t slot = 0; slot < layout.slots(); ++slot) to[layout.place(slot)] += (w[slot * by] - peak) * static_cast<F>(beta);
            log_scale += static_cast<double>(peak) * beta;
        }
        if constexpr (S::features) {
            std::fill_n(to + width, width, F(0));
            for (const Part<F>& factor : factors)
                for (int64_t slot = 0; slot < layout.slots(); ++slot)
                    if (to[layout.place(slot)] > kNothing<F>) to[width + layout.place(slot)] += factor.feature.at(b, 0)[slot * factor.feature.by_event[0]];
        }
        return log_scale;
    }
};

template <class S>
struct Chain {
    using F = typename S::F;
    S semiring;
    std::unique_ptr<Map<S>> steps;
    Border<S> start, end;
    const int64_t* lengths = nullptr;  // one for each sequence; null: all take `length` steps
    int64_t length = 0;
    double beta = 1;
    int64_t work = 1;  // about how many products a step is
    Pulse pulse;       // of whoever goes along the chain

    int64_t length_of(int64_t b) const { return lengths ? lengths[b] : length; }
    int64_t stride() const { return semiring.components * steps->out.width(); }
};

// Brings a vector's peak to 0 and returns that.
template <class S>
double rescale(const S& semiring, int64_t width, typename S::F* vector) {
    using F = typename S::F;
    const F peak = max_of<F>(width, vector);
    if (!(std::abs(peak) < std::numeric_limits<F>::infinity()) || peak == 0) return 0;
    const int64_t scaled = S::features ? width : width * semiring.components;
    for (int64_t j = 0; j < scaled; j += Lanes<F>::width) Lanes<F>::store(vector + j, Lanes<F>::load(vector + j) - peak);
    return peak;
}

// The state vectors at times t0 + 1 to t1, from those before, in place.
template <class S>
double advance(Chain<S>& chain, const Rows<typename S::F>& rows, int64_t t0, int64_t t1) {
    double log_scale = 0;
    for (int64_t at = t0; at < t1; at += kBlock) {
        const int64_t stop = std::min(at + kBlock, t1);
        chain.steps->load(at, stop);
        for (int64_t t = at; t < stop; ++t) {
            chain.pulse(chain.work);
            chain.steps->step(t, rows, rows.at(t + 1));
            // Scores lose nothing by growing for a while; logs of sums would.
            const bool waits = std::is_same_v<S, Max<typename S::F>> && t + 1 < stop;
            rows.off(t + 1) = rows.off(t) + (waits ? 0.0 : rescale(chain.semiring, chain.steps->out.width(), rows.at(t + 1)));
            log_scale += chain.steps->log_scale(t);
        }
    }
    return log_scale;
}

template <class S>
class Scan {
  public:
    using F = typename S::F;
    explicit Scan(Chain<S>& chain) : chain_(chain), map_(*chain.steps), stride_(chain.stride()) {}

    // The total of sequence b, components of it: in double, offsets in. `kept` may keep nothing (segment 0).
    void total(int64_t b, const Kept<F>& kept, double* value) {
        const int64_t length = chain_.length_of(b);
        map_.start(b, length);
        double log_scale = 0;
        Rows<F> rows = begin(b, kept, log_scale);
        if (whole(kept)) {
            log_scale += advance(chain_, rows, 0, length);
        } else {
            const int64_t segment = kept.segment ? kept.segment : kBlock;
            for (int64_t t0 = 0; t0 < length; t0 += segment) {
                if (kept.segment) keep(b, kept, t0 / segment, rows, t0);
                const int64_t t1 = std::min(t0 + segment, length);
                log_scale += advance(chain_, rows, t0, t1);
                rows = shifted(rows, t1);
            }
            if (kept.segment && length % segment == 0) keep(b, kept, length / segment, rows, length);
        }
        last_ = rows;
        end(b, length, log_scale);
        finish(length, log_scale, value);
        log_scale_ = log_scale;
    }

    // Adds the gradient of a total, weighted: g0 of its value, g1 of its mean. Or, of the total that was asked for just
    // before, the score of the best path through each weight.
    void gradient(int64_t b, const Kept<F>& kept, double g0, double g1, std::vector<Sink<F>>& start, std::vector<Sink<F>>& end_sinks) {
        const int64_t length = chain_.length_of(b), memory = map_.memory, width = map_.out.width();
        map_.start(b, length);
        const bool whole = this->whole(kept);
        const int64_t segment = whole ? std::max<int64_t>(length, 1) : kept.segment;
        Rows<F> rows;
        if (whole) {
            rows = {kept.vectors + kept.row(b) * stride_, kept.offsets_of(b), stride_, 0};
        }
        // Costs in the order of time, in a ring that slides towards the beginning.
        const int64_t workspace = memory + std::max<int64_t>(kBlock, memory);
        costs_.reset((workspace + 1) * stride_, kNothing<F>);
        cost_offsets_.assign(static_cast<std::size_t>(workspace + 1), 0.0);
        int64_t first = length - workspace;
        Rows<F> costs{costs_.get(), cost_offsets_.data(), stride_, first};
        ends_.reset(stride_, kNothing<F>);
        chain_.end.read(chain_.semiring, b, map_.out, chain_.beta, costs.at(length));
        if (!whole) rows = recall(b, kept, length ? (length - 1) / segment : 0, length);
        // The total, from the end vectors themselves.
        double value[2] = {0, 0};
        last_ = rows;
        total_of(rows, length, costs.at(length), value);
        Weighing<S> weighing;
        weighing.g0 = static_cast<F>(g0), weighing.g1 = static_cast<F>(g1), weighing.mean = static_cast<F>(value[1]);
        const double total = Weighing<S>::best ? -log_scale_ : value[0];  // what log terms are compared with
        const bool possible = value[0] > -std::numeric_limits<double>::infinity();
        if (!possible) {
            map_.finish();
            return;
        }
        border(b, rows.at(length), costs.at(length), static_cast<F>(rows.off(length) - total), weighing, end_sinks, chain_.end, width);
        map_.close(length, costs.at(length));
        for (int64_t stop = length; stop > 0;) {
            const int64_t begin_of_segment = (stop - 1) / segment * segment;
            if (!whole && stop != length) rows = recall(b, kept, begin_of_segment / segment, stop);
            for (int64_t t1 = stop; t1 > begin_of_segment;) {
                const int64_t t0 = std::max(begin_of_segment, (t1 - 1) / kBlock * kBlock);
                map_.load(t0, t1);
                for (int64_t t = t1 - 1; t >= t0; --t) {
                    if (t < costs.first) {  // slide
                        const int64_t moved = workspace - memory;
                        std::copy_backward(costs_.get(), costs_.get() + (memory + 1) * stride_, costs_.get() + (memory + 1 + moved) * stride_);
                        std::copy_backward(cost_offsets_.begin(), cost_offsets_.begin() + memory + 1, cost_offsets_.begin() + memory + 1 + moved);
                        costs.first -= moved;
                    }
                    chain_.pulse(chain_.work);
                    const double after = costs.off(t + 1) - total;
                    weighing.shift = static_cast<F>(rows.off(t) + after);
                    weighing.output_shift = static_cast<F>(rows.off(t + 1) + after);
                    map_.contract(t, rows, rows.at(t + 1), costs, weighing);
                    map_.step_backward(t, costs, costs.at(t));
                    costs.off(t) = costs.off(t + 1) + rescale(chain_.semiring, width, costs.at(t));
                }
                map_.unload(t0, t1);
                t1 = t0;
            }
            stop = begin_of_segment;
        }
        border(b, rows.at(0), costs.at(0), static_cast<F>(rows.off(0) + costs.off(0) - total), weighing, start, chain_.start, width);
        map_.finish();
    }

    // One path for each row of the semiring: slots (length + 1) and choices (length), -1 where there is none.
    // Likewise the arc_indices of each step, if requested.
    void trace(int64_t b, const Kept<F>& kept, int64_t path_count, int64_t* slots, int64_t* choices, int64_t* arc_indices, int64_t slot_stride,
               int64_t choice_stride, const double* uniforms, int64_t uniform_stride, double* values) {
        const int64_t length = chain_.length_of(b), per_step = map_.arc_indices, width = map_.out.width(), slots_count = map_.out.slots();
        const int comps = chain_.semiring.components;
        total(b, kept, values);
        Rows<F> rows = last_;
        const int64_t segment = whole(kept) ? std::max<int64_t>(length, 1) : kept.segment;
        struct Walk {
            int64_t time, slot, rank;
            bool valid;
        };
        std::vector<Walk> walks(static_cast<std::size_t>(path_count));
        std::vector<Picker<S>> pickers(static_cast<std::size_t>(path_count), Picker<S>(comps));
        for (int64_t r = 0; r < path_count; ++r) {
            Picker<S>& picker = pickers[r];
            if (uniforms) picker.draw_from(uniforms + r * uniform_stride);
            picker.clear();
            for (int64_t slot = 0; slot < slots_count; ++slot)
                for (int c = 0; c < comps; ++c) picker.offer(ends_[c * width + map_.out.place(slot)]);
            const auto [slot, rank] = picker.pick(uniforms ? 0 : r);
            const double its = values[comps == 1 ? 0 : r];
            walks[r] = {length, slot, rank, representable<F>(its)};
            std::fill_n(slots + r * slot_stride, chain_.length + 1, int64_t{-1});
            std::fill_n(choices + r * choice_stride, chain_.length, int64_t{-1});
            if (arc_indices) std::fill_n(arc_indices + r * choice_stride * per_step, chain_.length * per_step, int64_t{-1});
        }
        std::vector<int64_t> unused(static_cast<std::size_t>(per_step));
        for (int64_t stop = length; stop > 0;) {
            const int64_t begin_of_segment = (stop - 1) / segment * segment;
            if (!whole(kept)) rows = recall(b, kept, begin_of_segment / segment, stop);
            for (int64_t t1 = stop; t1 > begin_of_segment;) {
                const int64_t t0 = std::max(begin_of_segment, (t1 - 1) / kBlock * kBlock);
                map_.load_for_trace(t0, t1);
                for (int64_t t = t1 - 1; t >= t0; --t)
                    for (int64_t r = 0; r < path_count; ++r) {
                        Walk& walk = walks[r];
                        if (!walk.valid || walk.time != t + 1) continue;
                        chain_.pulse(slots_count);
                        slots[r * slot_stride + t + 1] = walk.slot;
                        int64_t* its = arc_indices ? arc_indices + (r * choice_stride + t) * per_step : unused.data();
                        const Origin origin = map_.trace(t, walk.slot, walk.rank, rows, pickers[r], its);
                        choices[r * choice_stride + t] = origin.choice;
                        walk.slot = origin.slot, walk.rank = origin.rank, walk.time -= origin.delay;
                    }
                t1 = t0;
            }
            stop = begin_of_segment;
        }
        for (int64_t r = 0; r < path_count; ++r)
            if (walks[r].valid && walks[r].time == 0) slots[r * slot_stride] = walks[r].slot;
    }

    // The gradient of the factors of one border: `row` is what comes before it, `cost` what comes after.
    void border(int64_t b, const F* row, const F* cost, F shift, Weighing<S> weighing, std::vector<Sink<F>>& sinks,
                const Border<S>& border, int64_t width) {
        bool requested = false;
        for (Sink<F>& sink : sinks) requested = requested || sink.requested();
        if (!requested) return;
        weighing.shift = shift;
        Buffer<F> leaf(width), feature(width);
        for (int64_t j = 0; j < width; j += Lanes<F>::width) {
            const auto [own, its] = weighing.shares([&](int c) { return Lanes<F>::load(row + c * width + j) + Lanes<F>::load(cost + c * width + j); });
            Lanes<F>::store(leaf.get() + j, own);
            Lanes<F>::store(feature.get() + j, its);
        }
        const std::size_t count = border.factors.size();
        for (std::size_t i = 0; i < sinks.size(); ++i) {
            if (!sinks[i].requested()) continue;
            const F* from = i < count ? leaf.get() : feature.get();
            for (int64_t part = 0; part < map_.out.parts; ++part)
                sinks[i].add(b, 0, map_.out.size, from + part * map_.out.part(), part * map_.out.size);
            sinks[i].finish(b);
        }
    }
    // The log of the sum of a vector, padded to whole registers with -inf, and its mean. Few terms are added up in F, the rest in double.
    static void mixture(const F* x, int64_t width, double* value) {
        using L = Lanes<F>;
        constexpr int64_t few = 8 * L::width;
        auto most = L::broadcast(kNothing<F>);
        typename L::bits bad{};
        for (int64_t j = 0; j < width; j += L::width) {
            const auto term = L::load(x + j);
            most = L::max(term, most), bad |= term != term;
        }
        const F peak = L::bits_of(bad) ? std::numeric_limits<F>::quiet_NaN() : L::max(most);
        if (peak == kNothing<F>) {
            value[0] = -std::numeric_limits<double>::infinity();
            if constexpr (S::features) value[1] = 0;
            return;
        }
        double mass = 0, moment = 0;
        for (int64_t from = 0; from < width; from += few) {
            typename L::type sum{}, product{};
            for (int64_t j = from; j < std::min(from + few, width); j += L::width) {
                const auto share = exp<F>(L::load(x + j) - peak);
                sum += share;
                if constexpr (S::features) product += share > F(0) ? share * L::load(x + width + j) : L::broadcast(F(0));
            }
            mass += L::sum(sum);
            if constexpr (S::features) moment += L::sum(product);
        }
        value[0] = std::log(mass) + peak;
        if constexpr (S::features) value[1] = moment / mass;
    }

  private:
    bool whole(const Kept<F>& kept) const { return kept.segment > 0 && kept.segment >= chain_.length; }
    Rows<F> begin(int64_t b, const Kept<F>& kept, double& log_scale) {
        Rows<F> rows;
        if (whole(kept)) {
            rows = {kept.vectors + kept.row(b) * stride_, kept.offsets_of(b), stride_, 0};
        } else {
            rows = workspace(kept.segment ? kept.segment : kBlock, 0);
        }
        log_scale += chain_.start.read(chain_.semiring, b, map_.in, chain_.beta, rows.at(0));
        rows.off(0) = rescale(chain_.semiring, map_.in.width(), rows.at(0));
        return rows;
    }
    // Own memory for a segment that begins at `time`, and for what it looks back to.
    Rows<F> workspace(int64_t segment, int64_t time) {
        const int64_t count = map_.memory - 1 + segment + 1;
        if (own_.size() < count * stride_) {
            own_.reset(count * stride_, kNothing<F>);
            own_offsets_.assign(static_cast<std::size_t>(count), 0.0);
        }
        return {own_.get(), own_offsets_.data(), stride_, time - (map_.memory - 1)};
    }
    // The same memory, for a segment that begins at `time`: the last vectors come to its front.
    Rows<F> shifted(const Rows<F>& rows, int64_t time) {
        Rows<F> moved{rows.data, rows.offset, stride_, time - (map_.memory - 1)};
        const int64_t by = moved.first - rows.first;
        if (by > 0) {
            std::copy_n(rows.data + by * stride_, map_.memory * stride_, moved.data);
            std::copy_n(rows.offset + by, map_.memory, moved.offset);
        }
        return moved;
    }
    void keep(int64_t b, const Kept<F>& kept, int64_t segment, const Rows<F>& rows, int64_t time) {
        const int64_t memory = map_.memory, row = segment * memory;
        if (row + memory > kept.rows) return;
        for (int64_t i = 0; i < memory; ++i) {
            const int64_t at = time - (memory - 1) + i;
            F* to = kept.vectors + (kept.row(b) + row + i) * stride_;
            double* offset = kept.offsets_of(b) + row + i;
            if (at < 0) {
                std::fill_n(to, stride_, kNothing<F>), *offset = 0;
            } else {
                std::copy_n(rows.at(at), stride_, to), *offset = rows.off(at);
            }
        }
    }
    // The vectors of a segment, up to time `stop`, from those kept in front of it.
    Rows<F> recall(int64_t b, const Kept<F>& kept, int64_t segment, int64_t stop) {
        const int64_t memory = map_.memory, t0 = segment * kept.segment;
        Rows<F> rows = workspace(kept.segment, t0);
        std::copy_n(kept.vectors + (kept.row(b) + segment * memory) * stride_, memory * stride_, rows.data);
        std::copy_n(kept.offsets_of(b) + segment * memory, memory, rows.offset);
        advance(chain_, rows, t0, stop);
        return rows;
    }
    void end(int64_t b, int64_t length, double& log_scale) {
        ends_.reset(stride_, kNothing<F>);
        log_scale += chain_.end.read(chain_.semiring, b, map_.out, chain_.beta, ends_.get());
        const int64_t width = map_.out.width();
        const F* last = last_.at(length);
        for (int c = chain_.semiring.components; c-- > 0;)
            for (int64_t j = 0; j < width; ++j) ends_[c * width + j] = last[c * width + j] + ends_[(S::features ? c * width : 0) + j];
    }
    void finish(int64_t length, double log_scale, double* value) {
        const int comps = chain_.semiring.components;
        const int64_t width = map_.out.width();
        const double offset = last_.off(length) + log_scale;
        if constexpr (S::features) {
            mixture(ends_.get(), width, value);
            value[0] += offset;
        } else {
            reduce(comps, width, value);
            for (int c = 0; c < comps; ++c) value[c] += offset;
        }
    }
    void reduce(int comps, int64_t width, double* value) {
        if constexpr (std::is_same_v<S, Log<F>>) {
            mixture(ends_.get(), width, value);
        } else {
            std::vector<F> all(ends_.get(), ends_.get() + comps * width);
            for (F& x : all) x = std::isnan(x) ? kNothing<F> : x;  // or they would be in no order
            std::partial_sort(all.begin(), all.begin() + comps, all.end(), [](F a, F b) { return a > b; });
            for (int c = 0; c < comps; ++c) value[c] = all[c];
        }
    }
    // The total relative to offset and peaks.
    void total_of(const Rows<F>& rows, int64_t length, const F* end, double* value) {
        const int64_t width = map_.out.width();
        const F* last = rows.at(length);
        for (int64_t j = 0; j < stride_; ++j) ends_[j] = last[j] + end[j];
        if constexpr (Weighing<S>::best) {
            value[0] = max_of<F>(width, ends_.get());
        } else {
            mixture(ends_.get(), width, value);
        }
        value[0] += rows.off(length);
    }

    Chain<S>& chain_;
    Map<S>& map_;
    int64_t stride_;
    Buffer<F> own_, costs_, ends_;
    std::vector<double> own_offsets_, cost_offsets_;
    Rows<F> last_;
    double log_scale_ = 0;  // by peaks, of the last total
};

}  // namespace semihmm
