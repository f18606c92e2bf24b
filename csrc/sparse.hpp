// Few arcs into each slot: Sparse (Banded, Arcs) and Grid. A band is a handful of shifted vectors, read where they lie;
// other arcs are handled as runs of neighbours.
#pragma once

#include <optional>

#include "maps.hpp"
#include "product.hpp"

namespace semihmm {

// Where arcs lead: arc k into slot `to + i` comes from slot `from + i`, `delay` steps earlier.
struct Run {
    int64_t k, to, from, length, delay;
};

// The arcs of one step, by what they lead to and by what they leave.
struct Topology {
    std::vector<Run> into;
    std::vector<Run> leaving;     // k: the rank among the arcs that leave a slot; `from`, `to` as seen from there
    std::vector<int64_t> arcs;    // for each run in `leaving`, which k its arcs have where they arrive
    int64_t ranks = 1;

    // The slot and the delay that a code says. Most arcs go one step: no division for those.
    static std::pair<int64_t, int64_t> apart(int64_t code, int64_t slots) {
        return code < slots ? std::pair<int64_t, int64_t>{code, 1} : std::pair<int64_t, int64_t>{code % slots, code / slots + 1};
    }
    // source[n * by_slot + k * by_arc]: (delay - 1) * slots + slot, -1 for no arc.
    static Topology of(const int64_t* source, int64_t slots, int64_t width, int64_t by_slot, int64_t by_arc) {
        Topology found;
        for (int64_t k = 0; k < width; ++k) {
            Run run{k, 0, 0, 0, 0};
            for (int64_t n = 0; n <= slots; ++n) {
                const int64_t code = n < slots ? source[n * by_slot + k * by_arc] : -1;
                const auto [from, delay] = apart(code, slots);
                if (code >= 0 && run.length && run.to + run.length == n && run.from + run.length == from && run.delay == delay) {
                    ++run.length;
                    continue;
                }
                if (run.length) found.into.push_back(run);
                run = {k, n, from, code >= 0, delay};
            }
        }
        // The arcs by the slots that they leave, in the order of where they arrive.
        struct Arc {
            int64_t k, to, delay;
        };
        const auto code_of = [&](int64_t n, int64_t k) { return source[n * by_slot + k * by_arc]; };
        std::vector<int64_t> first(static_cast<std::size_t>(slots) + 1, 0);
        for (int64_t n = 0; n < slots; ++n)
            for (int64_t k = 0; k < width; ++k)
                if (const int64_t code = code_of(n, k); code >= 0) ++first[apart(code, slots).first + 1];
        for (int64_t n = 0; n < slots; ++n) {
            found.ranks = std::max(found.ranks, first[n + 1]);
            first[n + 1] += first[n];
        }
        std::vector<Arc> out(static_cast<std::size_t>(first[slots]));
        std::vector<int64_t> next(first.begin(), first.end() - 1);
        for (int64_t n = 0; n < slots; ++n)
            for (int64_t k = 0; k < width; ++k)
                if (const int64_t code = code_of(n, k); code >= 0) {
                    const auto [from, delay] = apart(code, slots);
                    out[next[from]++] = {k, n, delay};
                }
        for (int64_t rank = 0; rank < found.ranks; ++rank) {
            Run run{rank, 0, 0, 0, 0};
            int64_t arc = 0;
            for (int64_t n = 0; n <= slots; ++n) {
                const bool found_arc = n < slots && rank < first[n + 1] - first[n];
                const Arc a = found_arc ? out[first[n] + rank] : Arc{-1, -1, 0};
                if (found_arc && run.length && run.from + run.length == n && run.to + run.length == a.to && arc == a.k && run.delay == a.delay) {
                    ++run.length;
                    continue;
                }
                if (run.length) found.leaving.push_back(run), found.arcs.push_back(arc);
                run = {rank, a.to, n, found_arc, a.delay};
                arc = a.k;
            }
        }
        return found;
    }
};

// What Sparse and Grid share: how arcs act. They differ in where an arc's weight is read.
template <class S>
class ByArcs : public OneLeaf<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    using OneLeaf<S>::OneLeaf;

    void step(int64_t t, const Rows<F>& rows, F* to) override {
        if constexpr (std::is_same_v<S, Max<F>>) return best(t, rows, to);
        gather(t, rows);
        const auto [first, last] = lanes(t);
        const Ready<S> terms{terms_.get() + first, this->semiring.components, ld_};
        for (int c = 0; c < this->semiring.components; ++c) {
            const F nothing = S::features && c ? F(0) : kNothing<F>;
            std::fill_n(to + c * ld_, first, nothing), std::fill(to + c * ld_ + last, to + (c + 1) * ld_, nothing);
        }
        this->semiring.sum(width_, last - first, terms, to + first, ld_);
    }
    void step_backward(int64_t t, const Rows<F>& costs, F* to) override {
        const Topology& arcs = topology(t);
        const int64_t comps = this->semiring.components, size = arcs.ranks * comps * ld_;
        if (leaving_.size() < size) leaving_.reset(size);
        std::fill_n(leaving_.get(), size, kNothing<F>);
        for (std::size_t i = 0; i < arcs.leaving.size(); ++i) {
            const Run& run = arcs.leaving[i];
            const int64_t arrival = t + run.delay;
            if (arrival > this->length_) continue;
            const F shift = static_cast<F>(costs.off(arrival) - costs.off(t + 1));
            for (int64_t c = 0; c < comps; ++c) {
                const F* cost = costs.at(arrival) + c * ld_ + run.to;
                const F* w = table(S::features && c, arrival - 1, arcs.arcs[i]) + run.to;
                F* q = leaving_.get() + (run.k * comps + c) * ld_ + run.from;
                const F by = S::features && c ? F(0) : shift;
                for (int64_t n = 0; n < run.length; ++n) q[n] = cost[n] + by + w[n];
            }
        }
        const Ready<S> terms{leaving_.get(), this->semiring.components, ld_};
        this->semiring.sum(arcs.ranks, ld_, terms, to, ld_);
    }
    void contract(int64_t t, const Rows<F>& rows, const F*, const Rows<F>& costs, Weighing<S> weighing) override {
        if (!this->requested()) return;
        gather(t, rows);
        shares(t, Ready<S>{terms_.get(), this->semiring.components, ld_}, costs, weighing);
    }
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker, int64_t* arc_indices) override {
        picker.clear();
        for (int64_t k = 0; k < width_; ++k) {
            const int64_t code = source(t, slot, k), delay = code / slots_ + 1;
            const bool present = code >= 0 && delay <= t + 1;
            const F* from = present ? rows.at(t + 1 - delay) + code % slots_ : nullptr;
            const F shift = present ? static_cast<F>(rows.off(t + 1 - delay) - rows.off(t)) : F(0);
            for (int c = 0; c < this->semiring.components; ++c)
                picker.offer(present ? from[c * ld_] + shift + weight(t, slot, k) : kNothing<F>);
        }
        const auto [k, row] = picker.pick(rank);
        const int64_t code = std::max<int64_t>(source(t, slot, k), 0);
        *arc_indices = slot * width_ + k;
        return {code % slots_, row, code / slots_ + 1, k};
    }

  protected:
    virtual const Topology& topology(int64_t t) = 0;
    virtual int64_t source(int64_t t, int64_t slot, int64_t k) = 0;
    virtual const F* table(int f, int64_t t, int64_t k) = 0;  // the weights of arc k into each slot, at step t
    virtual std::pair<int64_t, int64_t> window(int64_t) const { return {0, slots_}; }  // the slots that arcs lead to
    virtual F weight(int64_t t, int64_t slot, int64_t k) { return table(0, t, k)[slot]; }
    // Shares of arc k into the slots from `first` to `last`.
    virtual void collect(int64_t t, int64_t k, int64_t first, int64_t last, const F* leaf, const F* feature) = 0;
    // Adds the shares of all arcs at step t, given their terms.
    template <class Terms>
    void shares(int64_t t, const Terms& terms, const Rows<F>& costs, const Weighing<S>& weighing) {
        const F* cost = costs.at(t + 1);
        const auto [first, last] = lanes(t);
        for (int64_t k = 0; k < width_; ++k) {
            for (int64_t j = first; j < last; j += L::width) {
                const auto [leaf, feature] = weighing.shares([&](int c) { return terms.value(k, c, j) + L::load(cost + c * ld_ + j); });
                L::store(share_.get() + j, leaf);
                if constexpr (S::features) L::store(share_.get() + ld_ + j, feature);
            }
            collect(t, k, first, std::min(last, slots_), share_.get(), share_.get() + ld_);
        }
    }
    // The window in whole vectors.
    std::pair<int64_t, int64_t> lanes(int64_t t) const {
        const auto [first, last] = window(t);
        if (first >= last) return {0, 0};
        return {first / L::width * L::width, std::min(padded<F>(last), ld_)};
    }

    void sizes(int64_t slots, int64_t width) {
        slots_ = slots, width_ = width;
        this->in = this->out = {1, slots};
        ld_ = this->in.width();
        terms_.reset(width * this->semiring.components * ld_, kNothing<F>);
        share_.reset(2 * ld_);
    }

    void forget() { gathered_ = nullptr; }  // the topology is another one, maybe at the same address

    int64_t slots_ = 0, width_ = 0, ld_ = 0;

  private:
    // The best of all arcs, one run after the other.
    void best(int64_t t, const Rows<F>& rows, F* to) {
        std::fill_n(to, ld_, kNothing<F>);
        const auto [first, last] = window(t);
        for (const Run& run : topology(t).into) {
            const int64_t time = t + 1 - run.delay, skip = std::max<int64_t>(first - run.to, 0);
            const int64_t count = std::min(run.length, last - run.to) - skip;
            if (time < 0 || count <= 0) continue;
            const F by = static_cast<F>(rows.off(time) - rows.off(t));
            const F* from = rows.at(time) + run.from + skip;
            const F* w = table(0, t, run.k) + run.to + skip;
            F* into = to + run.to + skip;
            for (int64_t n = 0; n < count; ++n) {
                const F x = from[n] + by + w[n];
                into[n] = x > into[n] ? x : into[n];
            }
        }
    }
    // Each arc's value, weight and all; nothing where there is no arc.
    void gather(int64_t t, const Rows<F>& rows) {
        const Topology& arcs = topology(t);
        const int64_t comps = this->semiring.components;
        if (&arcs != gathered_ || t < this->memory || fresh_) {
            std::fill_n(terms_.get(), terms_.size(), kNothing<F>);
            gathered_ = &arcs;
            fresh_ = t < this->memory;
        }
        const auto [first, last] = lanes(t);
        for (const Run& run : arcs.into) {
            const int64_t time = t + 1 - run.delay, skip = std::max<int64_t>(first - run.to, 0);
            const int64_t count = std::min(run.length, last - run.to) - skip;
            if (time < 0 || count <= 0) continue;
            const F shift = static_cast<F>(rows.off(time) - rows.off(t));
            for (int64_t c = 0; c < comps; ++c) {
                const F* from = rows.at(time) + c * ld_ + run.from + skip;
                const F* w = table(S::features && c, t, run.k) + run.to + skip;
                F* to = terms_.get() + (run.k * comps + c) * ld_ + run.to + skip;
                const F by = S::features && c ? F(0) : shift;
                for (int64_t n = 0; n < count; ++n) to[n] = from[n] + by + w[n];
            }
        }
    }

    Buffer<F> terms_, leaving_, share_;
    const Topology* gathered_ = nullptr;
    bool fresh_ = true;
};

// Terms of a band: that of arc k is `by[k]` places from where it leads to, in a vector with margins.
template <class S>
struct Shifted {
    using F = typename S::F;
    const F* in;
    int64_t in_stride;
    const int64_t* by;
    const F *weight, *feature;  // [k][ld]
    int64_t ld;
    auto value(int64_t k, int c, int64_t j) const {
        const F* table = S::features && c ? feature : weight;
        return Lanes<F>::load(in + c * in_stride + by[k] + j) + Lanes<F>::load(table + k * ld + j);
    }
};

// By how many places arc k goes back, where each k spans the same number of them wherever there is such an arc, at all
// times; else nothing.
inline std::optional<std::vector<int64_t>> band_of(const Leaf<int64_t>& source, int64_t memory) {
    if (memory != 1 || source.over_time()) return std::nullopt;
    const int64_t slots = source.event[0], width = source.event[1];
    std::vector<int64_t> by(static_cast<std::size_t>(width), 0);
    for (int64_t k = 0; k < width; ++k) {
        bool found = false;
        const int64_t* codes = source.at(0, 0) + k * source.by_event[1];
        for (int64_t n = 0; n < slots; ++n) {
            const int64_t from = codes[n * source.by_event[0]];
            if (from < 0) continue;
            if (found && from - n != by[k]) return std::nullopt;
            by[k] = from - n, found = true;
        }
    }
    return by;
}

template <class S>
class Sparse final : public ByArcs<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    Sparse(S semiring, const Part<F>& part, double beta, Leaf<int64_t> source, int64_t memory, bool centre = true)
        : ByArcs<S>(semiring, part, beta, part.weight.over_time(), centre && memory == 1), source_(source) {
        this->memory = memory;
        this->sizes(weight_.event[0], weight_.event[1]);
        band_ = find_band();
        for (int side = 0; side <= band_; ++side) this->reserve_tables(table_[side], this->width_ * this->ld_, varies_ ? kBlock + memory : 1);
        if (!band_ && !source.over_time()) topologies_.push_back(read(0));
    }
    void load(int64_t t0, int64_t t1) override {
        OneLeaf<S>::load(t0, t1);
        if (source_.over_time()) {
            topologies_.clear();
            this->forget();
            for (int64_t t = t0; t < std::min(t1, this->length_); ++t) topologies_.push_back(read(t));
        }
    }
    void step(int64_t t, const Rows<F>& rows, F* to) override {
        if (!band_) return ByArcs<S>::step(t, rows, to);
        this->semiring.sum(this->width_, this->ld_, shifted(kInto, t, rows, t), to, this->ld_);
    }
    void step_backward(int64_t t, const Rows<F>& costs, F* to) override {
        if (!band_) return ByArcs<S>::step_backward(t, costs, to);
        this->semiring.sum(this->width_, this->ld_, shifted(kLeaving, t, costs, t + 1), to, this->ld_);
    }
    void contract(int64_t t, const Rows<F>& rows, const F* output, const Rows<F>& costs, Weighing<S> weighing) override {
        if (!band_) return ByArcs<S>::contract(t, rows, output, costs, weighing);
        if (this->requested()) this->shares(t, shifted(kInto, t, rows, t), costs, weighing);
    }
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker, int64_t* arc_indices) override {
        if constexpr (std::is_same_v<S, Max<F>>)
            if (band_) {
                const Origin best = best_into(t, slot, rank, rows.at(t));
                *arc_indices = slot * this->width_ + best.choice;
                return best;
            }
        return ByArcs<S>::trace(t, slot, rank, rows, picker, arc_indices);
    }

  protected:
    const Topology& topology(int64_t t) override { return topologies_[source_.over_time() ? t - this->t0_ : 0]; }
    int64_t source(int64_t t, int64_t slot, int64_t k) override {
        return source_.at(0, t)[slot * source_.by_event[0] + k * source_.by_event[1]];
    }
    const F* table(int f, int64_t t, int64_t k) override { return tables(kInto, f, t) + k * this->ld_; }
    void collect(int64_t t, int64_t k, int64_t first, int64_t last, const F* leaf, const F* feature) override {
        for (int f = 0; f < 2; ++f)
            if (this->sinks_[f].requested()) this->sinks_[f].add(this->b_, t, last - first, (f ? feature : leaf) + first, first * this->width_ + k, this->width_);
    }
    void fill(int64_t t, int64_t to) override {
        const F* w = weight_.at(this->b_, t);
        const int64_t by_slot = weight_.by_event[0], by_arc = weight_.by_event[1];
        const F peak = this->peak(w);
        this->log_scale_[to] = static_cast<double>(peak) * beta_;
        for (int64_t k = 0; k < this->width_; ++k) {
            const int64_t at = (to * this->width_ + k) * this->ld_;
            F* into = table_[kInto][0].get() + at;
            for (int64_t n = 0; n < this->slots_; ++n) into[n] = (w[n * by_slot + k * by_arc] - peak) * static_cast<F>(beta_);
            if (band_)
                for (int64_t n = 0; n < this->slots_; ++n)
                    if (source(t, n, k) < 0) into[n] = kNothing<F>;
            if constexpr (S::features) {
                const F* f = feature_.at(this->b_, t);
                F* also = table_[kInto][1].get() + at;
                for (int64_t n = 0; n < this->slots_; ++n)
                    also[n] = into[n] == kNothing<F> ? F(0) : f[n * feature_.by_event[0] + k * feature_.by_event[1]];
            }
            if (!band_) continue;
            const int64_t by = by_[kLeaving][k], first = std::max<int64_t>(-by, 0), last = std::min(this->slots_, this->slots_ - by);
            for (int f = 0; f <= S::features; ++f)  // where no arc leaves there is nothing, from the beginning
                std::copy(table_[kInto][f].get() + at + first + by, table_[kInto][f].get() + at + last + by, table_[kLeaving][f].get() + at + first);
        }
    }

  private:
    using OneLeaf<S>::weight_, OneLeaf<S>::feature_, OneLeaf<S>::beta_, OneLeaf<S>::varies_;
    enum Side { kInto, kLeaving };  // the weights of arcs by the slot that they lead to; of a band, also by the one they leave

    Topology read(int64_t t) const {
        return Topology::of(source_.at(0, t), this->slots_, this->width_, source_.by_event[0], source_.by_event[1]);
    }
    bool find_band() {
        const auto band = band_of(source_, this->memory);
        if (!band) return false;
        by_[kInto] = by_[kLeaving] = *band;
        for (int64_t& by : by_[kLeaving]) by = -by;
        int64_t furthest = 0;
        for (int64_t by : *band) furthest = std::max(furthest, std::abs(by));
        margin_ = padded<F>(furthest);
        rightward_ = furthest <= 64 / static_cast<int64_t>(sizeof(F));
        for (int64_t by : by_[kInto]) rightward_ = rightward_ && by <= 0;
        wide_.reset((this->ld_ + 2 * margin_) * this->semiring.components, kNothing<F>);
        return true;
    }
    const F* tables(Side side, int f, int64_t t) const {
        return table_[side][f].get() + this->step_of(t) * this->width_ * this->ld_;
    }
    // By which arc of a band the best value comes into a slot: the first of those.
    Origin best_into(int64_t t, int64_t slot, int64_t rank, const F* from) const {
        F best = kNothing<F>;
        int64_t choice = 0;
        const F* w = tables(kInto, 0, t) + slot;
        for (int64_t k = 0; k < this->width_; ++k) {  // without a branch that depends on the numbers
            const int64_t at = slot + by_[kInto][k];
            const F x = from[at < 0 || at >= this->slots_ ? slot : at] + w[k * this->ld_];
            choice = x > best ? k : choice;
            best = x > best ? x : best;
        }
        return {best > kNothing<F> ? slot + by_[kInto][choice] : 0, rank, 1, choice};
    }
    // The terms of a band at step t, of the vector at `time`. What is next to that serves as a margin where it is sure to
    // hold numbers: before it are vectors of earlier times; behind costs, those of later times or a Buffer's end.
    Shifted<S> shifted(Side side, int64_t t, const Rows<F>& rows, int64_t time) {
        const F* in = rows.at(time);
        int64_t stride = this->ld_;
        if (!rightward_ || (side == kInto && time == rows.first)) {
            stride += 2 * margin_;
            for (int c = 0; c < this->semiring.components; ++c)
                for (int64_t j = 0; j < this->ld_; j += L::width) L::store(wide_.get() + c * stride + margin_ + j, L::load(in + c * this->ld_ + j));
            in = wide_.get() + margin_;
        }
        return {in, stride, by_[side].data(), tables(side, 0, t), S::features ? tables(side, 1, t) : nullptr, this->ld_};
    }
    Leaf<int64_t> source_;
    bool band_ = false;
    bool rightward_ = false;  // no arc of the band leads to a slot before, nor far
    int64_t margin_ = 0;
    Buffer<F> table_[2][2], wide_;  // by side and feature: [step][k][ld]; and a vector with margins
    std::vector<int64_t> by_[2];
    std::vector<Topology> topologies_;
};

// A two-dimensional form by anti-diagonals, its weights read where they lie: see Grid in Python.
template <class S>
class Grid final : public ByArcs<S> {
  public:
    using typename Map<S>::F;
    struct Form {
        const int64_t *row, *source, *plane, *low, *high;
        const double* factor;
        int64_t slots, width, memory, first;
    };
    Grid(S semiring, const Part<F>& part, double beta, Form form) : ByArcs<S>(semiring, part, beta, true, false), form_(form), beta_(static_cast<F>(beta)) {
        this->memory = form.memory;
        this->sizes(form.slots, form.width);
        topology_ = Topology::of(form.source, form.slots, form.width, form.width, 1);
        planes_ = weight_.event[0], height_ = weight_.event[1], columns_ = weight_.event[2];
        ring_ = form.memory + 1;
        for (int f = 0; f <= S::features; ++f) {
            skewed_[f].reset((kSkewed + kBlock + form.memory) * planes_ * this->ld_);
            table_[f].reset(ring_ * form.width * this->ld_, kNothing<F>);
        }
        held_.assign(static_cast<std::size_t>(ring_), -1);
        const int64_t cells = form.width * this->ld_;
        low_.reset(cells), high_.reset(cells), factor_.reset(cells);
        for (int64_t k = 0; k < form.width; ++k)
            for (int64_t n = 0; n < form.slots; ++n) {  // in steps rather than columns
                const int64_t arc = n * form.width + k, at = k * this->ld_ + n;
                low_[at] = static_cast<F>(form.low[arc] + form.row[n] - form.first);
                high_[at] = static_cast<F>(form.high[arc] + form.row[n] - form.first);
                factor_[at] = form.plane[arc] < 0 ? F(0) : static_cast<F>(form.factor[arc]);
            }
        for (int64_t k = 0; k < form.width; ++k) {  // runs of slots that read the same plane
            int64_t from = 0;
            for (int64_t n = 1; n <= form.slots; ++n)
                if (n == form.slots || form.plane[n * form.width + k] != form.plane[from * form.width + k] || !follows(k, n)) {
                    planes_of_.push_back({k, from, form.plane[from * form.width + k], n - from, 0});
                    from = n;
                }
        }
        for (int64_t n = 0, from = 0; n < form.slots; ++n)  // runs of slots in consecutive rows
            if (n + 1 == form.slots || form.row[n + 1] != form.row[n] + 1) rows_.push_back({0, from, form.row[from], n + 1 - from, 0}), from = n + 1;
        line_.reset(form.slots * kBlock);
        if (this->requested())
            for (int f = 0; f <= S::features; ++f) sums_[f].reset(kBlock * planes_ * this->ld_, Weighing<S>::empty);
    }
    void start(int64_t b, int64_t length) override {
        this->b_ = b, this->length_ = length;
        std::fill(held_.begin(), held_.end(), -1);
        skewed_from_ = -1;
    }
    void load(int64_t t0, int64_t t1) override {
        t0_ = t0;
        // A block may reach further than its first step's share, where a segment begins anywhere.
        const int64_t from = t0 / kSkewed * kSkewed, stop = std::min(std::max(from + kSkewed, t1) + this->memory - 1, this->length_);
        if (from == skewed_from_ && stop <= skewed_to_) return;
        skewed_from_ = from, skewed_to_ = stop;
        std::fill(held_.begin(), held_.end(), -1);
        skew(weight_, skewed_[0], from, stop);
        if constexpr (S::features) skew(feature_, skewed_[1], from, stop);
    }
    void load_for_trace(int64_t, int64_t) override {}
    double log_scale(int64_t) const override { return 0; }
    void add_share(int64_t b, int64_t t, const int64_t* arc_indices, double share) override {
        const int64_t plane = form_.plane[*arc_indices], row = form_.row[*arc_indices / form_.width];
        share *= form_.factor[*arc_indices];
        if (plane >= 0 && this->sinks_[0].requested()) this->sinks_[0].add(b, 0, 1, &share, (plane * height_ + row) * columns_ + t + form_.first - row);
    }
    void unload(int64_t t0, int64_t t1) override {
        for (int f = 0; f < 2; ++f)
            if (this->sinks_[f].requested()) unskew(this->sinks_[f], sums_[f], t0, t1);
    }

  protected:
    const Topology& topology(int64_t) override { return topology_; }
    int64_t source(int64_t, int64_t slot, int64_t k) override { return form_.source[slot * form_.width + k]; }
    std::pair<int64_t, int64_t> window(int64_t t) const override {
        int64_t first = form_.slots, last = 0;
        for (const Run& run : planes_of_) {
            const auto [begin, end] = present(t, run);
            if (begin < end) first = std::min(first, begin), last = std::max(last, end);
        }
        return {first, last};
    }
    F weight(int64_t t, int64_t slot, int64_t k) override {
        const int64_t arc = slot * form_.width + k, column = t + form_.first - form_.row[slot], plane = form_.plane[arc];
        if (column < form_.low[arc] || column >= form_.high[arc]) return kNothing<F>;
        if (plane < 0) return 0;
        const F cell = weight_.at(this->b_, 0)[plane * weight_.by_event[0] + form_.row[slot] * weight_.by_event[1] + column * weight_.by_event[2]];
        return std::isinf(cell) ? kNothing<F> : factor_[k * this->ld_ + slot] * beta_ * cell;
    }
    const F* table(int f, int64_t t, int64_t k) override {
        const int64_t place = t % ring_;
        if (held_[place] != t) make(t, place);
        return table_[f].get() + (place * form_.width + k) * this->ld_;
    }
    void collect(int64_t t, int64_t k, int64_t first, int64_t last, const F* leaf, const F* feature) override {
        for (const Run& run : planes_of_) {
            const F* factor = factor_.get() + k * this->ld_;
            if (run.k != k || run.from < 0 || factor[run.to] == 0) continue;  // an arc that does not weigh its cell
            const F* shares[2] = {leaf, feature};
            for (int f = 0; f <= S::features; ++f) {
                F* sum = sums_[f].get() + ((t - t0_) * planes_ + run.from) * this->ld_;
                const int64_t stop = std::min(last, run.to + run.length);
                for (int64_t n = std::max(first, run.to); n < stop; ++n)
                    sum[n] = Weighing<S>::plus(sum[n], Weighing<S>::best ? shares[f][n] : shares[f][n] * factor[n]);
            }
        }
    }

  private:
    using OneLeaf<S>::weight_, OneLeaf<S>::feature_, OneLeaf<S>::sums_, OneLeaf<S>::t0_;

    // Whether the arc k into slot n is there one step later than the one into the slot before, and counts as often.
    bool follows(int64_t k, int64_t n) const {
        const int64_t at = k * this->ld_ + n;
        return low_[at] == low_[at - 1] + 1 && high_[at] == high_[at - 1] + 1 && factor_[at] == factor_[at - 1];
    }
    // The slots of a run whose arc is there at step t: low <= t < high, and both grow with the slot.
    std::pair<int64_t, int64_t> present(int64_t t, const Run& run) const {
        const int64_t at = run.k * this->ld_ + run.to, last = run.to + run.length;
        const F now = static_cast<F>(t);
        const int64_t begin = std::clamp(run.to + static_cast<int64_t>(now - high_[at]) + 1, run.to, last);
        return {begin, std::clamp(run.to + static_cast<int64_t>(now - low_[at]) + 1, begin, last)};
    }
    // The weights of all arcs at step t.
    void make(int64_t t, int64_t place) {
        for (const Run& run : planes_of_) {
            const int64_t at = run.k * this->ld_;
            F* to = table_[0].get() + place * form_.width * this->ld_ + at;
            const F factor = factor_[at + run.to] * beta_;
            const int64_t last = run.to + run.length;
            const auto [begin, end] = present(t, run);
            std::fill(to + run.to, to + begin, kNothing<F>), std::fill(to + end, to + last, kNothing<F>);
            const int64_t from = (t - skewed_from_) * planes_ + std::max<int64_t>(run.from, 0);
            const F* cell = skewed_[0].get() + from * this->ld_;
            if (run.from < 0) {
                std::fill(to + begin, to + end, F(0));
            } else if (factor < 0) {  // so inf is -inf
                for (int64_t n = begin; n < end; ++n) to[n] = factor * cell[n];
            } else {
                for (int64_t n = begin; n < end; ++n) to[n] = std::abs(cell[n]) < infinity<F> ? factor * cell[n] : std::isinf(cell[n]) ? kNothing<F> : cell[n];
            }
            if constexpr (S::features) {
                F* also = table_[1].get() + place * form_.width * this->ld_ + at;
                const F* feature = skewed_[1].get() + from * this->ld_;
                for (int64_t n = run.to; n < last; ++n)
                    also[n] = run.from < 0 || to[n] == kNothing<F> ? F(0) : factor_[at + n] * feature[n];
            }
        }
        held_[place] = t;
    }
    // Each slot's cell at steps t0 to t1.
    void skew(const Leaf<F>& leaf, Buffer<F>& to, int64_t t0, int64_t t1) {
        // A diagonal is the column of a matrix whose rows are one shorter, of which nothing lies outside the planes.
        const bool inside = leaf.by_event[1] > 0 && form_.first >= 0 && t1 + form_.first < height_ + columns_;
        if (leaf.by_event[2] == 1 && t0 < t1 && inside) {
            for (int64_t p = 0; p < planes_; ++p)
                for (const Run& run : rows_) {
                    const int64_t ahead = t0 + form_.first - run.from;  // the column of the first slot at t0
                    const int64_t skip = std::clamp<int64_t>(ahead - columns_ + 1, 0, run.length);
                    const int64_t count = std::min(run.length, ahead + t1 - t0) - skip;
                    if (count <= 0) continue;
                    const int64_t by = leaf.by_event[1] - 1;
                    const F* from = leaf.at(this->b_, 0) + p * leaf.by_event[0] + (run.from + skip) * by + t0 + form_.first;
                    transpose<F>(count, t1 - t0, from, by, to.get() + p * this->ld_ + run.to + skip, planes_ * this->ld_);
                }
            return;
        }
        for (int64_t p = 0; p < planes_; ++p)
            for (int64_t n = 0; n < form_.slots; ++n) {
                const int64_t shift = form_.first - form_.row[n];
                const F* from = leaf.at(this->b_, 0) + p * leaf.by_event[0] + form_.row[n] * leaf.by_event[1];
                const int64_t start = std::max(t0, -shift), stop = std::min(t1, columns_ - shift);
                for (int64_t t = start; t < stop; ++t)
                    to[((t - t0) * planes_ + p) * this->ld_ + n] = from[(t + shift) * leaf.by_event[2]];
            }
    }
    void unskew(Sink<F>& sink, Buffer<F>& sums, int64_t t0, int64_t t1) {
        for (int64_t p = 0; p < planes_; ++p) {
            transpose<F>(t1 - t0, form_.slots, sums.get() + p * this->ld_, planes_ * this->ld_, line_.get(), kBlock);
            for (int64_t n = 0; n < form_.slots; ++n) {
                const int64_t shift = form_.first - form_.row[n];
                const int64_t start = std::max(t0, -shift), stop = std::min(t1, columns_ - shift);
                const F* line = line_.get() + n * kBlock + start - t0;
                if (start < stop) sink.add(this->b_, 0, stop - start, line, (p * height_ + form_.row[n]) * columns_ + start + shift);
            }
        }
        std::fill_n(sums.get(), sums.size(), Weighing<S>::empty);
    }

    Form form_;
    F beta_;
    Topology topology_;
    std::vector<Run> planes_of_;  // slots one after the other whose arcs read the same plane; `from` is that
    std::vector<Run> rows_;       // slots that lie in consecutive rows, from row `from` on
    static constexpr int64_t kSkewed = 4 * kBlock;  // steps whose cells are brought side by side at a time
    int64_t planes_ = 1, height_ = 0, columns_ = 0, ring_ = 2, skewed_from_ = -1, skewed_to_ = -1;
    Buffer<F> skewed_[2], table_[2], low_, high_, factor_, line_;
    std::vector<int64_t> held_;
};

}  // namespace semihmm
