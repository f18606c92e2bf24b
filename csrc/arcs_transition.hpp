// Irregular arcs that all steps share, as numbers that scaled vectors are multiplied by: what scaled_step.hpp asks of
// a transition.
//
// Several vectors go together: side by side for each slot, an arc is one number times a vector over the sequences, and
// nothing is gathered. A single one is gathered, a slice of rows at a time. Both add up the arcs of a row one after the
// other, so that a sequence gets the same bits in any company.
#pragma once

#include "arc_slices.hpp"
#include "dense_transition.hpp"

namespace semihmm {

template <class S>
class ArcsTransition {
  public:
    using F = typename S::F;
    using L = Lanes<F>;
    using V = typename L::type;
    using Topology = std::shared_ptr<const ArcSlices<F>>;
    static constexpr bool dense = false;

    // `feature` without data: arcs have none.
    ArcsTransition(Topology topology, Leaf<F> weight, Leaf<F> feature, double beta)
        : topology_(std::move(topology)), given_(weight), feature_(feature), ld_(padded<F>(topology_->slots)), beta_(beta) {
        for (int side = 0; side < 2; ++side) weight_[side].reset(arcs(side).places());
        together_.reset(ld_ * kTogether), sums_.reset(ld_ * kTogether, F(1));
    }
    int64_t states() const { return topology_->slots; }
    double log_scale() const { return log_scale_; }
    bool has_features() const { return has_features_; }

    bool fill(int64_t b) {
        if (filled_ && given_.same_for_all() && feature_.same_for_all()) return false;
        filled_ = true;
        const F* w = given_.at(b, 0);
        const F peak = matrix_peak(given_, w);
        F* numbers = weight_[0].get();
        std::fill_n(numbers, arcs(0).places(), kNothing<F>);
        topology_->each(given_, [&](int64_t place, int64_t at) { numbers[place] = w[at]; });
        exps_above_least(arcs(0).places(), numbers, peak, static_cast<F>(beta_), numbers, F(0), 0);
        topology_->transpose(weight_[0].get(), F(0), weight_[1].get());
        const F most = normalized(0);
        log_scale_ = static_cast<double>(peak) * beta_ + std::log(static_cast<double>(most));
        normalized(1);
        if constexpr (S::features) {
            const F* d = feature_.at(b, 0);
            has_features_ = false;
            topology_->each(feature_, [&](int64_t, int64_t at) { has_features_ = has_features_ || d[at] != 0; });
            if (!has_features_) return true;
            for (int side = 0; side < 2; ++side)
                if (!moments_[side]) moments_[side].reset(arcs(side).places());
            topology_->each(feature_, [&](int64_t place, int64_t at) { moments_[0][place] = d[at]; });
            topology_->transpose(moments_[0].get(), F(0), moments_[1].get());
            for (int side = 0; side < 2; ++side)
                for (int64_t i = 0; i < arcs(side).places(); ++i)
                    moments_[side][i] = weight_[side][i] == 0 ? F(0) : weight_[side][i] * moments_[side][i];
        }
        return true;
    }
    void multiply(int count, const F* const* from, bool transposed, F* const* to) const { product(count, from, transposed, weight_[transposed].get(), to); }
    void multiply_features(int count, const F* const* from, bool transposed, F* const* to) const {
        product(count, from, transposed, moments_[transposed].get(), to);
    }
    bool no_path(const F* from, const F* sum, bool transposed) const {
        const Slices<F>& arcs = this->arcs(transposed);
        for (int64_t row = 0; row < topology_->slots; ++row) {
            if (!(sum[row] < kTrusted<F>)) continue;
            if (sum[row] > 0) return false;
            const int64_t stop = arcs.begin[arcs.lane[row] / L::width + 1];
            for (int64_t at = arcs.first(row); at < stop; at += L::width)
                if (from[arcs.from[at]] != 0 && weight_[transposed][at] != 0) return false;
        }
        return true;
    }

    int64_t sums() const { return arcs(0).places(); }
    int64_t entries() const { return given_.entries(); }
    // For each arc, the products over all steps of what is before it and after it: their steps lie side by side.
    void add(int64_t steps, const F* const* before, const F* const* after, F* sums) const {
        if (!zero_) zero_.reset(ld_), before_.reset(ld_ * kBlock), after_.reset(ld_ * kBlock);
        for (int64_t t0 = 0; t0 < steps; t0 += kBlock) {
            const int64_t count = std::min(kBlock, steps - t0);
            const F* rows[2][kBlock];
            for (int64_t t = 0; t < kBlock; ++t)
                rows[0][t] = t < count ? before[t0 + t] : zero_.get(), rows[1][t] = t < count ? after[t0 + t] : zero_.get();
            interleave(kBlock, rows[0], ld_, before_.get());
            interleave(kBlock, rows[1], ld_, after_.get());
            add_products(sums);
        }
    }
    template <class Give>
    void flush(F* sums, F* feature_sums, const Give& give) const {
        const Slices<F>& arcs = this->arcs(0);
        const F* w = weight_[0].get();
        if (!entries_) entries_.reset(entries());
        for (int64_t i = 0; i < arcs.places(); i += L::width) {
            V x = L::load(sums + i) * L::load(w + i);
            if (has_features_) x += L::load(feature_sums + i) * L::load(moments_[0].get() + i);
            L::store(sums + i, x);
            if (S::features) L::store(feature_sums + i, L::load(feature_sums + i) * L::load(w + i));
        }
        for (int f = 0; f <= S::features; ++f) {
            F* numbers = f ? feature_sums : sums;
            for (int64_t i = 0; i < arcs.places(); ++i)
                if (arcs.arc[i] >= 0) entries_[arcs.arc[i]] = numbers[i];
            give(f, 0, entries(), entries_.get());
            std::fill_n(numbers, arcs.places(), F(0));
        }
    }

  private:
    static constexpr int kTogether = 8;  // vectors that lie side by side
    // As many of those as a register holds.
    static constexpr int kRegister = std::min<int>(vector_bytes, kTogether * sizeof(F));
    typedef F Register __attribute__((vector_size(kRegister)));
    static constexpr int kAcross = kRegister / static_cast<int>(sizeof(F));

    const Slices<F>& arcs(bool transposed) const { return transposed ? topology_->leaving : topology_->into; }
    // Divides a table by the largest sum of a row, which is returned: it makes no vector larger then.
    F normalized(bool transposed) const {
        const Slices<F>& arcs = this->arcs(transposed);
        F* w = weight_[transposed].get();
        V most{};
        for (int64_t slice = 0; slice < arcs.count(); ++slice) {
            V sum{};
            for (int64_t i = arcs.begin[slice]; i < arcs.begin[slice + 1]; i += L::width) sum += L::load(w + i);
            most = L::max(sum, most);
        }
        const F largest = std::max(std::numeric_limits<F>::min(), L::max(most));
        const V least = L::broadcast(std::numeric_limits<F>::min()), zero{};
        for (int64_t i = 0; i < arcs.places(); i += L::width) {
            const V x = L::load(w + i);
            L::store(w + i, x > zero ? L::max(x / largest, least) : x);  // a NaN stays one
        }
        return largest;
    }
    void product(int count, const F* const* from, bool transposed, const F* weight, F* const* to) const {
        for (; count > 1; count -= kTogether, from += kTogether, to += kTogether) side_by_side(std::min(count, kTogether), from, transposed, weight, to);
        if (count == 1) gathered(*from, transposed, weight, *to);
    }
    void gathered(const F* from, bool transposed, const F* weight, F* to) const {
        const Slices<F>& arcs = this->arcs(transposed);
        for (int64_t slice = 0; slice < arcs.count(); ++slice) {
            V sum{};
            for (int64_t at = arcs.begin[slice]; at < arcs.begin[slice + 1]; at += L::width)
                sum += L::load(weight + at) * gather<F>(from, arcs.from.data() + at);
            const int32_t* row = arcs.row.data() + slice * L::width;
            for (int lane = 0; lane < L::width; ++lane)
                if (row[lane] >= 0) to[row[lane]] = sum[lane];
        }
        std::fill(to + topology_->slots, to + ld_, F(1));
    }
    void side_by_side(int count, const F* const* from, bool transposed, const F* weight, F* const* to) const {
        const F* rows[kTogether];
        for (int r = 0; r < kTogether; ++r) rows[r] = from[r < count ? r : 0];
        interleave(kTogether, rows, ld_, together_.get());
        constexpr int all = kTogether / kAcross;
        if (all > 2 && count <= kAcross) {
            multiply_together<1>(arcs(transposed), weight);
        } else if (all > 1 && count <= all / 2 * kAcross) {
            multiply_together<(all > 1 ? all / 2 : 1)>(arcs(transposed), weight);
        } else {
            multiply_together<all>(arcs(transposed), weight);
        }
        constexpr int size = 16 / static_cast<int>(sizeof(F));
        F unused[size];
        for (int r = 0; r < count; r += size)
            for (int64_t i = 0; i < ld_; i += size)
                transpose_square<F>([&](int u) { return sums_.get() + (i + u) * kTogether + r; },
                                    [&](int u) { return r + u < count ? to[r + u] + i : unused; });
    }
    template <int registers>
    void multiply_together(const Slices<F>& arcs, const F* weight) const {
        constexpr int rows = std::min(L::width, std::max(1, (vector_registers == 32 ? 16 : 8) / registers));
        const F* from = together_.get();
        for (int64_t slice = 0; slice < arcs.count(); ++slice)
            for (int lane = 0; lane < L::width; lane += rows) {
                Register sum[rows][registers] = {};
                for (int64_t at = arcs.begin[slice] + lane; at < arcs.begin[slice + 1]; at += L::width)
#pragma GCC unroll 16
                    for (int r = 0; r < rows; ++r) {
                        const F a = weight[at + r];
                        const F* x = from + static_cast<int64_t>(arcs.from[at + r]) * kTogether;
#pragma GCC unroll 4
                        for (int c = 0; c < registers; ++c) {
                            Register b;
                            std::memcpy(&b, x + c * kAcross, sizeof b);
                            sum[r][c] += a * b;
                        }
                    }
                const int32_t* row = arcs.row.data() + slice * L::width + lane;
                for (int r = 0; r < rows; ++r)
                    if (row[r] >= 0) std::memcpy(sums_.get() + row[r] * kTogether, sum[r], sizeof sum[r]);
            }
    }
    void add_products(F* sums) const {
        constexpr int parts = kBlock / L::width;
        const Slices<F>& arcs = this->arcs(0);
        for (int64_t slice = 0; slice < arcs.count(); ++slice)
            for (int lane = 0; lane < L::width; ++lane) {
                const int32_t row = arcs.row[slice * L::width + lane];
                if (row < 0) break;
                V y[parts];
#pragma GCC unroll 16
                for (int c = 0; c < parts; ++c) y[c] = L::load(after_.get() + row * kBlock + c * L::width);
                for (int64_t at = arcs.begin[slice] + lane; at < arcs.begin[slice + 1]; at += L::width) {
                    const F* x = before_.get() + arcs.from[at] * kBlock;
                    V sum = y[0] * L::load(x);
#pragma GCC unroll 16
                    for (int c = 1; c < parts; ++c) sum += y[c] * L::load(x + c * L::width);
                    sums[at] += L::sum(sum);
                }
            }
    }

    Topology topology_;
    Leaf<F> given_, feature_;
    int64_t ld_;
    double beta_, log_scale_ = 0;
    bool filled_ = false, has_features_ = false;
    mutable Buffer<F> weight_[2], moments_[2];  // by the slots that arcs lead to, by those that they leave
    mutable Buffer<F> together_, sums_;       // [slot][vector]
    mutable Buffer<F> zero_, before_, after_, entries_;
};

}  // namespace semihmm
