// Irregular arcs that all steps share, as numbers that scaled vectors are multiplied by: what scaled_step.hpp asks of
// a transition.
#pragma once

#include "arc_product.hpp"
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
        : topology_(std::move(topology)), given_(weight), feature_(feature), ld_(padded<F>(topology_->slots)), beta_(beta),
          product_(topology_->slots, F(1)) {
        for (int side = 0; side < 2; ++side) weight_[side].reset(arcs(side).places());
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
    void multiply(int count, const F* const* from, bool transposed, F* const* to) const { product_(count, from, arcs(transposed), weight_[transposed].get(), to); }
    void multiply_features(int count, const F* const* from, bool transposed, F* const* to) const {
        product_(count, from, arcs(transposed), moments_[transposed].get(), to);
    }
    bool no_path(const F* from, const F* sum, bool transposed) const {
        const Slices<F>& arcs = this->arcs(transposed);
        for (int64_t row = 0; row < topology_->slots; ++row) {
            if (!(sum[row] < kTrusted<F>)) continue;
            if (sum[row] > 0) return false;
            const int64_t stop = arcs.stop(row);
            for (int64_t at = arcs.first(row); at < stop; at += L::width)
                if (from[arcs.from[at]] != 0 && weight_[transposed][at] != 0) return false;
        }
        return true;
    }

    int64_t sums() const { return arcs(0).places(); }
    int64_t entries() const { return given_.entries(); }
    std::vector<int64_t> leaves() const { return {entries()}; }
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
    mutable Buffer<F> zero_, before_, after_, entries_;
    ArcProduct<PlusTimes<F>, F> product_;  // the columns of the padding hold 1, so that no sum there is small
};

}  // namespace semihmm
