// Axes of a joint state that move one after the other, alike at all steps, as what scaled_step.hpp asks of a transition; and
// as what best.hpp asks of one.
#pragma once

#include "arc_slices.hpp"
#include "axis_product.hpp"
#include "dense_transition.hpp"

namespace semihmm {

template <class F>
struct AxisWeights {
    AxisProduct<F> axis;
    Leaf<F> given;
};

template <class F>
bool same_for_all(const std::vector<AxisWeights<F>>& axes) {
    return std::all_of(axes.begin(), axes.end(), [](const AxisWeights<F>& a) { return a.given.same_for_all(); });
}

template <class S>
class AxesTransition {
  public:
    using F = typename S::F;
    using L = Lanes<F>;
    using V = typename L::type;
    static constexpr bool dense = false;

    AxesTransition(std::vector<AxisWeights<F>> axes, double beta) : beta_(beta) {
        for (AxisWeights<F>& a : axes) axes_.emplace_back(std::move(a));
        slots_ = axes_[0].axis.slots(), ld_ = padded<F>(slots_);
        for (Moves& m : axes_) {
            for (Buffer<F>& table : m.tables) table.reset(m.axis.size());
            m.first_sum = sums_, m.first_entry = entries_;
            sums_ += m.axis.sums(), entries_ += m.given.entries();
        }
        for (Buffer<F>* x : {&one_, &other_}) x->reset(ld_ + L::width);
        for (int side = 0; side < 2; ++side) there_[side].reset(ld_), reached_[side].reset(ld_);
    }
    int64_t states() const { return slots_; }
    double log_scale() const { return log_scale_; }
    bool has_features() const { return false; }

    bool fill(int64_t b) {
        bool same = filled_;
        for (const Moves& m : axes_) same = same && m.given.same_for_all();
        if (same) return false;
        filled_ = true, log_scale_ = 0;
        for (Moves& m : axes_) log_scale_ += m.fill(b, beta_);
        for (Buffer<F>& there : there_) std::fill_n(there.get(), slots_, kNothing<F>);  // not known of these moves
        return true;
    }
    void multiply(int count, const F* const* from, bool transposed, F* const* to) const {
        for (int v = 0; v < count; ++v) {
            product(from[v], to[v], transposed, transposed);
            std::fill(to[v] + slots_, to[v] + ld_, F(1));  // no sum in the padding is small
        }
    }
    void multiply_features(int, const F* const*, bool, F* const*) const {}
    // Whether all small sums are 0 because no path leads there. Which slots paths lead to depends on where they come from
    // alone: most steps come from the same slots as the one before.
    bool no_path(const F* from, const F* sum, bool transposed) const {
        for (int64_t j = 0; j < slots_; ++j)
            if (sum[j] < kTrusted<F> && sum[j] > 0) return false;
        F *there = there_[transposed].get(), *reached = reached_[transposed].get();  // as numbers that do not get small
        bool same = true;
        for (int64_t j = 0; j < slots_; ++j) {
            const F x = from[j] != 0 ? F(1) : F(0);
            same &= x == there[j];
            there[j] = x;
        }
        if (!same) product(there, reached, transposed, 2 + transposed);
        for (int64_t j = 0; j < slots_; ++j)
            if (sum[j] < kTrusted<F> && reached[j] > 0) return false;
        return true;
    }

    // Of all axes, one after the other.
    int64_t sums() const { return sums_; }
    int64_t entries() const { return entries_; }
    std::vector<int64_t> leaves() const {
        std::vector<int64_t> sizes;
        for (const Moves& m : axes_) sizes.push_back(m.given.entries());
        return sizes;
    }
    // Whose products are added up: of the axes whose gradients are requested.
    template <class Sinks>
    void count_for(const Sinks& steps) {
        first_counted_ = axes_.size(), last_counted_ = 0;
        for (std::size_t k = 0; k < axes_.size(); ++k)
            if ((axes_[k].counted = steps[2 * k]->requested())) first_counted_ = std::min(first_counted_, k), last_counted_ = k;
    }
    // Before each axis moves, and after.
    void add(int64_t steps, const F* const* before, const F* const* after, F* sums) const {
        for (const Moves& m : axes_)
            if (!m.before) m.before.reset(kTogether * (ld_ + L::width)), m.after.reset(kTogether * (ld_ + L::width));
        const int64_t apart = ld_ + L::width;
        for (int64_t t0 = 0; t0 < steps; t0 += kTogether) {
            const int64_t count = std::min(kTogether, steps - t0);
            for (int64_t t = 0; t < count; ++t) {
                const int64_t at = t * apart;
                std::copy_n(before[t0 + t], slots_, axes_.front().before.get() + at);
                std::copy_n(after[t0 + t], slots_, axes_.back().after.get() + at);
                for (std::size_t k = 0; k < last_counted_; ++k) axes_[k].multiply(0, axes_[k].before.get() + at, axes_[k + 1].before.get() + at);
                for (std::size_t k = axes_.size() - 1; k > first_counted_; --k) axes_[k].multiply(1, axes_[k].after.get() + at, axes_[k - 1].after.get() + at);
            }
            for (const Moves& m : axes_)
                if (m.counted) m.axis.add_products(count, apart, m.before.get(), m.after.get(), sums + m.first_sum);
        }
    }
    template <class Give>
    void flush(F* sums, F*, const Give& give) const {
        F behind = 1;  // what the transposes of the axes behind make of a cost, beyond what the axes themselves do
        for (std::size_t at = axes_.size(); at-- > 0; behind *= axes_[at].ratio) {
            const Moves& m = axes_[at];
            if (!m.counted) continue;
            if (!entry_) entry_.reset(entries_);
            F* sum = sums + m.first_sum;
            m.axis.each_weight([&](int64_t o, int64_t k, int64_t i, int64_t r, int64_t number) {
                const int64_t place = m.axis.place(o, k, r, i);
                const F x = m.axis.alone() ? L::sum(L::load(sum + (k * m.axis.states + r) * L::width)) : sum[place];
                entry_[number] = x * m.tables[0][place] * behind;
            });
            give(0, m.first_entry, m.given.entries(), entry_.get());
            std::fill_n(sum, m.axis.sums(), F(0));
        }
    }

  private:
    static constexpr int64_t kTogether = 8;  // steps whose products are added up at a time

    // One axis, as numbers: its moves and their transpose, each with a largest sum of about 1.
    struct Moves : AxisWeights<F> {
        explicit Moves(AxisWeights<F> weights) : AxisWeights<F>(std::move(weights)) {}
        Buffer<F> tables[2];
        F ratio = 1;  // of what the transpose was divided by to what the moves were
        int64_t first_sum = 0, first_entry = 0;
        bool counted = true;
        mutable Buffer<F> before, after;  // vectors of some steps, before it moves and after
        mutable Buffer<F> arcs;  // 1 where there is a move

        // Reads what sequence b has; returns the logarithm of what was taken out.
        double fill(int64_t b, double beta) {
            const F* w = this->given.at(b, 0);
            const F peak = matrix_peak(this->given, w);
            const AxisProduct<F>& axis = this->axis;
            std::vector<F> sum[2];
            for (auto& x : sum) x.assign(static_cast<std::size_t>(axis.coupled ? axis.slots() : axis.states), F(0));
            const auto place_of = [&](int64_t o, int64_t k, int64_t i) { return static_cast<std::size_t>(axis.coupled ? (o * axis.states + k) * axis.inner + i : k); };
            axis.each_weight([&](int64_t o, int64_t k, int64_t i, int64_t r, int64_t at) {
                const F x = w[at / axis.states * this->given.by_event[0] + r * this->given.by_event[1]];
                const F y = x == kNothing<F> ? F(0) : std::max(std::numeric_limits<F>::min(), std::exp((x - peak) * static_cast<F>(beta)));
                tables[0][axis.place(o, k, r, i)] = tables[1][axis.place(o, r, k, i)] = y;
                sum[0][place_of(o, r, i)] += y, sum[1][place_of(o, k, i)] += y;
            });
            F most[2];
            for (int side = 0; side < 2; ++side) {
                most[side] = std::max(std::numeric_limits<F>::min(), max_of<F>(static_cast<int64_t>(sum[side].size()), sum[side].data()));
                for (int64_t j = 0; j < axis.size(); ++j) {
                    F& x = tables[side][j];
                    if (x > 0) x = std::max(x / most[side], std::numeric_limits<F>::min());
                }
            }
            ratio = most[1] / most[0];
            return static_cast<double>(peak) * beta + std::log(static_cast<double>(most[0]));
        }
        void multiply(int side, const F* from, F* to) const { this->axis.template multiply<PlusTimes<F>>(from, table(side), to); }
        const F* table(int side) const {
            if (side < 2) return tables[side].get();
            if (!arcs) arcs.reset(this->axis.size());
            for (int64_t j = 0; j < this->axis.size(); ++j) arcs[j] = tables[side - 2][j] > 0 ? F(1) : F(0);
            return arcs.get();
        }
    };
    // A vector times all axes, the last one first if `transposed`; of the tables `side`.
    void product(const F* from, F* to, bool transposed, int side) const {
        F *here = one_.get(), *next = other_.get();
        std::copy_n(from, slots_, here);
        for (std::size_t k = 0; k < axes_.size(); ++k, std::swap(here, next))
            axes_[transposed ? axes_.size() - 1 - k : k].multiply(side, here, k + 1 < axes_.size() ? next : to);
    }

    std::vector<Moves> axes_;
    double beta_, log_scale_ = 0;
    int64_t slots_ = 0, ld_ = 0, sums_ = 0, entries_ = 0;
    std::size_t first_counted_ = 0, last_counted_ = 0;
    bool filled_ = false;
    mutable Buffer<F> one_, other_, entry_;
    mutable Buffer<F> there_[2], reached_[2];  // slots that paths come from, and lead to; forwards and transposed
};

// The same for best paths, as log-weights less their peak.
template <class F>
class AxesWeights {
  public:
    using L = Lanes<F>;
    static constexpr bool dense = false;

    AxesWeights(std::vector<AxisWeights<F>> axes, F beta) : axes_(std::move(axes)), beta_(beta), slots_(axes_[0].axis.slots()), ld_(padded<F>(slots_)) {
        int64_t most = 0;
        for (const AxisWeights<F>& a : axes_) {
            tables_.emplace_back(a.axis.size(), kNothing<F>), before_.emplace_back(ld_ + L::width);
            most = std::max(most, a.axis.ld());
        }
        into_.reset(most, kNothing<F>), weights_.reset(most, kNothing<F>);
    }
    int64_t states() const { return slots_; }
    double log_scale() const { return log_scale_; }
    bool few() const { return false; }

    void fill(int64_t b) {
        if (filled_ && same_for_all(axes_)) return;
        filled_ = true, log_scale_ = 0;
        for (std::size_t n = 0; n < axes_.size(); ++n) {
            const auto& [axis, given] = axes_[n];
            const F* w = given.at(b, 0);
            const F peak = matrix_peak(given, w);
            log_scale_ += static_cast<double>(peak) * beta_;
            axis.each_weight([&](int64_t o, int64_t k, int64_t i, int64_t r, int64_t at) {
                tables_[n][axis.place(o, k, r, i)] = (w[at / axis.states * given.by_event[0] + r * given.by_event[1]] - peak) * beta_;
            });
        }
    }
    void multiply(int count, const F* const* from, F* const* to) const {
        for (int v = 0; v < count; ++v) {
            std::copy_n(from[v], slots_, before_[0].get());
            for (std::size_t n = 0; n < axes_.size(); ++n)
                axes_[n].axis.template multiply<MaxPlus<F>>(before_[n].get(), tables_[n].get(), n + 1 < axes_.size() ? before_[n + 1].get() : to[v]);
            std::fill(to[v] + slots_, to[v] + ld_, kNothing<F>);
        }
    }
    // The last axis is traced back first, of equal states of an axis to the lowest.
    ArcInto best_arc(const F* from, int64_t to) const {
        std::copy_n(from, slots_, before_[0].get());
        for (std::size_t n = 0; n + 1 < axes_.size(); ++n) {  // of what the axes so far have moved to as the path has
            const auto [o, r, _] = axes_[n].axis.parts(to);
            axes_[n].axis.template multiply_one<MaxPlus<F>>(o, r, before_[n].get(), tables_[n].get(), before_[n + 1].get());
        }
        int64_t slot = to;
        for (std::size_t n = axes_.size(); n-- > 0;) {
            const AxisProduct<F>& axis = axes_[n].axis;
            const auto [o, r, i] = axis.parts(slot);
            const F *x = before_[n].get() + i, *w = tables_[n].get() + axis.place(o, 0, r, i);
            for (int64_t k = 0; k < axis.states; ++k) into_[k] = x[k * axis.inner], weights_[k] = w[k * axis.step()];
            std::fill(into_.get() + axis.states, into_.get() + axis.ld(), kNothing<F>);
            slot += (first_best<F>(axis.states, into_.get(), weights_.get()) - r) * axis.inner;
        }
        return {slot, slot, to};
    }
    // Which weight of each axis that was.
    int tell(const ArcInto& arc, int64_t to, int64_t* indices) const {
        int64_t slot = arc.from;
        for (std::size_t n = 0; n < axes_.size(); ++n) {
            const AxisProduct<F>& axis = axes_[n].axis;
            const int64_t k = axis.parts(slot).k, r = axis.parts(to).k;
            indices[n] = (axis.coupled ? slot : k) * axis.states + r;
            slot += (r - k) * axis.inner;
        }
        return static_cast<int>(axes_.size());
    }

  private:
    std::vector<AxisWeights<F>> axes_;
    F beta_;
    int64_t slots_, ld_;
    double log_scale_ = 0;
    bool filled_ = false;
    std::vector<Buffer<F>> tables_, before_;
    Buffer<F> into_, weights_;  // of what leads to a slot along an axis
};

}  // namespace semihmm
