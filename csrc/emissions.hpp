// The emissions of a chain that all of its steps read alike: at each step a number for each state, or, with an index, for each of
// some columns, of which a state has one. Columns are read where they lie; those that no state has are not read at all.
#pragma once

#include <stdexcept>

#include "chain.hpp"

namespace semihmm {

template <class F>
class Emissions {
  public:
    Emissions() = default;  // there are none
    // `index` without data: each state has a column of its own.
    Emissions(Leaf<F> weight, Leaf<F> feature, Leaf<int64_t> index)
        : weight_(weight), feature_(feature), index_(index), tied_(index.data != nullptr), states_(tied_ ? index.event[0] : weight.event[0]) {}

    explicit operator bool() const { return weight_.data != nullptr; }
    bool tied() const { return tied_; }

    // Whose emissions are read from now on.
    void fill(int64_t b) {
        if (!tied_ || (row_ && index_.same_for_all())) return;
        const int64_t* index = index_.at(b, 0);
        std::vector<int32_t> place(static_cast<std::size_t>(weight_.event[0]), -1);
        columns_.clear(), place_.clear();
        for (int64_t j = 0; j < states_; ++j) {
            const int64_t column = index[j * index_.by_event[0]];
            if (column < 0 || column >= weight_.event[0]) throw std::out_of_range("Diagonal: an index outside the columns of its weights.");
            int32_t& at = place[static_cast<std::size_t>(column)];
            if (at < 0) at = static_cast<int32_t>(columns_.size()), columns_.push_back(column);
            place_.push_back(at);
        }
        row_.reset(size());
    }
    // How many numbers a step has; and those, one after the other: where they lie, or copied to `to`.
    int64_t size() const { return tied_ ? static_cast<int64_t>(columns_.size()) : states_; }
    const F* at(int64_t b, int64_t t, F* to) const { return read(weight_, b, t, to); }
    // From numbers of a step to one for each state.
    void spread(const F* numbers, F* to) const {
        const int32_t* place = place_.data();
        for (int64_t j = 0; j < states_; ++j) to[j] = numbers[place[j]];
    }
    // What each state has at a step, of log-weights or of the feature: where it lies, or copied to `to`.
    const F* by_state(int64_t b, int64_t t, F* to) const { return by_state(weight_, b, t, to); }
    const F* feature_by_state(int64_t b, int64_t t, F* to) const { return by_state(feature_, b, t, to); }
    // All steps of a sequence, if log-weights of states lie one after the other; else null. The steps are `by_time` apart.
    const F* in_place(int64_t b) const { return weight_.data && !tied_ && weight_.by_event[0] == 1 ? weight_.at(b, 0) : nullptr; }
    int64_t by_time() const { return weight_.over_time() ? weight_.by_time : 0; }
    int64_t column(int64_t state) const { return tied_ ? columns_[static_cast<std::size_t>(place_[static_cast<std::size_t>(state)])] : state; }

    // Adds what each state has at step t to the column that it has.
    void collect(Sink<F>& sink, int64_t b, int64_t t, const F* shares) const {
        if (!tied_) return sink.add(b, t, states_, shares);
        F* sums = row_.get();
        const int32_t* place = place_.data();
        std::fill_n(sums, size(), F(0));
        for (int64_t j = 0; j < states_; ++j) sums[place[j]] += shares[j];
        F* const own = sink.row(b, t);
        const int64_t* column = columns_.data();
        for (int64_t i = 0; i < size(); ++i) own ? void(own[column[i]] += sums[i]) : sink.add(b, t, 1, sums + i, column[i]);
    }
    F* row() const { return row_.get(); }  // for the numbers of a step

  private:
    const F* read(const Leaf<F>& leaf, int64_t b, int64_t t, F* to) const {
        const F* from = leaf.at(b, t);
        const int64_t by = leaf.by_event[0], count = size(), *column = columns_.data();
        if (tied_) {
            for (int64_t i = 0; i < count; ++i) to[i] = from[column[i] * by];
        } else if (by != 1) {
            for (int64_t i = 0; i < count; ++i) to[i] = from[i * by];
        } else {
            return from;
        }
        return to;
    }
    const F* by_state(const Leaf<F>& leaf, int64_t b, int64_t t, F* to) const {
        if (!tied_) return read(leaf, b, t, to);
        spread(read(leaf, b, t, row_.get()), to);
        return to;
    }

    Leaf<F> weight_, feature_;
    Leaf<int64_t> index_;
    bool tied_ = false;
    int64_t states_ = 0;
    std::vector<int64_t> columns_;  // that some state has
    std::vector<int32_t> place_;    // which of those each state has
    Buffer<F> row_;
};

}  // namespace semihmm
