// The weighted moments of observations about a centre, in double: what a mean and a variance are made of.
#pragma once

#include "chain.hpp"
#include "parallel.hpp"
#include "product.hpp"

namespace semihmm {

// Sums over observations of their shares, and of shares times deviations and their squares: first and second moments in rows,
// of whole vectors.
class Moments {
  public:
    using L = Lanes<double>;

    Moments(int64_t features, int64_t groups, const double* centre)
        : features_(features), groups_(groups), ld_(padded<double>(groups)), row_(2 * features + L::width), weight_(ld_), sums_(2 * features * ld_),
          x_(kBlock * features + L::width), share_(kBlock * groups + ld_), centre_(padded<double>(features)), away_(kBlock * row_) {
        std::copy_n(centre, features, centre_.get());
    }

    // No more than kBlock observations, of so many that are left. What a row's last vector reads of the next row is written over, or
    // never read.
    template <class F>
    void add(int64_t count, int64_t left, const F* x, const F* share) {
        const double* const seen = wide(count * features_, (left - count) * features_, x, x_);
        const double* const shares = wide(count * groups_, (left - count) * groups_, share, share_);
        for (int64_t k = 0; k < count; ++k) {
            double* const away = away_.get() + k * row_;
            away_at_[k] = away, share_at_[k] = shares + k * groups_;
            for (int64_t f = 0; f < features_; f += L::width) L::store(away + f, L::load(seen + k * features_ + f) - L::load(centre_.get() + f));
            for (int64_t f = 0; f < features_; f += L::width) L::store(away + features_ + f, L::load(away + f) * L::load(away + f));
        }
        for (int64_t j = 0; j < ld_; j += L::width) {
            auto weight = L::load(weight_.get() + j);
            for (int64_t k = 0; k < count; ++k) weight += L::load(share_at_[k] + j);
            L::store(weight_.get() + j, weight);
        }
        add_outer<double>(count, away_at_, share_at_, 2 * features_, ld_, sums_.get());
    }
    // Adds to (groups,) and to (groups, features) each.
    void give(double* weight, double* first, double* second) const {
        for (int64_t j = 0; j < groups_; ++j) {
            weight[j] += weight_[j];
            for (int64_t f = 0; f < features_; ++f) {
                first[j * features_ + f] += sums_[f * ld_ + j];
                second[j * features_ + f] += sums_[(features_ + f) * ld_ + j];
            }
        }
    }

  private:
    // Numbers as doubles, a vector behind them readable: where they lie, if enough of them follow, or copied.
    template <class F>
    static const double* wide(int64_t count, int64_t more, const F* from, Buffer<double>& copy) {
        if constexpr (sizeof(F) == sizeof(double))
            if (more >= L::width) return from;
        std::copy_n(from, count, copy.get());
        return copy.get();
    }

    int64_t features_, groups_, ld_, row_;
    Buffer<double> weight_, sums_, x_, share_, centre_, away_;
    const double *away_at_[kBlock], *share_at_[kBlock];
};

// Of x (n, features) with shares (n, groups), into weight (groups,), first and second (groups, features), which are 0 before.
// The observations are cut into parts by their number alone, and the parts are added in their order.
template <class F>
void weighted_moments(int64_t n, int64_t features, int64_t groups, const F* x, const F* share, const double* centre, double* weight, double* first,
                      double* second, int64_t threads) {
    const int64_t blocks = (n + kBlock - 1) / kBlock, parts = std::min<int64_t>(blocks, 16);
    std::vector<std::unique_ptr<Moments>> done(static_cast<std::size_t>(parts));
    for_each_part(blocks, parts, threads, [&](int64_t part, int64_t from, int64_t to, int64_t) {
        done[part] = std::make_unique<Moments>(features, groups, centre);
        Pulse pulse;
        for (int64_t at = from * kBlock; at < std::min(to * kBlock, n); at += kBlock) {
            pulse(2 * kBlock * groups * features);
            done[part]->add(std::min(kBlock, n - at), n - at, x + at * features, share + at * groups);
        }
    });
    for (const auto& one : done) one->give(weight, first, second);
}

}  // namespace semihmm
