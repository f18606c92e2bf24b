// Irregular arcs, so arranged that vectors reach them: a slice is as many rows as a vector has lanes, sorted by how many
// arcs they have, and the k-th arcs of all its rows lie side by side (SELL-C-sigma; Kreutzer et al. 2014, "A unified
// sparse matrix data format").
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "chain.hpp"

namespace semihmm {

// x[index[lane]] in each lane. Of 8 numbers AVX2's own instruction takes three times as long on some processors.
template <class F>
[[gnu::always_inline]] inline typename Lanes<F>::type gather(const F* x, const std::int32_t* index) {
    using V = typename Lanes<F>::type;
#if defined(__AVX512F__)
    if constexpr (sizeof(F) == 4) {
        return (V)_mm512_mask_i32gather_ps(V{}, 0xffff, _mm512_loadu_si512(index), x, 4);
    } else {
        return (V)_mm512_mask_i32gather_pd(V{}, 0xff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)), x, 8);
    }
#else
    return [&]<int... lane>(std::integer_sequence<int, lane...>) {
        return V{x[index[lane]]...};
    }(std::make_integer_sequence<int, Lanes<F>::width>{});
#endif
}

// The arcs of a sparse matrix, by the rows that they lead to.
template <class F>
struct Slices {
    static constexpr int kLanes = Lanes<F>::width;

    std::vector<std::int64_t> begin;  // of each slice, where its places begin, and where the last one ends
    std::vector<std::int32_t> row;    // of each lane of each slice; -1: none
    // Of each place, [slice][k][lane]: where the arc comes from, and which arc it is; -1: none. That comes from where the
    // arc in front of it does, so that a NaN stays among those that it reaches.
    std::vector<std::int32_t> from;
    std::vector<std::int64_t> arc;
    std::vector<std::int64_t> lane;  // of each row, its number among those of all slices

    std::int64_t count() const { return static_cast<std::int64_t>(begin.size()) - 1; }
    std::int64_t places() const { return begin.back(); }
    std::int64_t length(std::int64_t slice) const { return (begin[slice + 1] - begin[slice]) / kLanes; }
    // The place of a row's first arc; its others follow kLanes apart.
    std::int64_t first(std::int64_t row) const { return begin[lane[row] / kLanes] + lane[row] % kLanes; }
    std::int64_t stop(std::int64_t row) const { return begin[lane[row] / kLanes + 1]; }  // behind the slice it is in

    // The arcs of a row in the order in which they are given.
    struct Arc {
        std::int32_t to, from;
        std::int64_t arc;
    };
    static Slices of(std::int64_t rows, const std::vector<Arc>& arcs) {
        std::vector<std::int64_t> end(static_cast<std::size_t>(rows + 1), 0);
        for (const Arc& a : arcs) ++end[a.to + 1];
        std::vector<std::int64_t> order(static_cast<std::size_t>(rows));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](std::int64_t i, std::int64_t j) { return end[i + 1] > end[j + 1]; });
        Slices found;
        const std::int64_t slices = (rows + kLanes - 1) / kLanes;
        found.row.assign(static_cast<std::size_t>(slices * kLanes), -1);
        found.lane.assign(static_cast<std::size_t>(rows), 0);
        found.begin.assign(1, 0);
        for (std::int64_t i = 0; i < rows; ++i) {
            found.row[i] = static_cast<std::int32_t>(order[i]), found.lane[order[i]] = i;
            if (i % kLanes == 0) found.begin.push_back(found.begin.back() + end[order[i] + 1] * kLanes);
        }
        found.from.assign(static_cast<std::size_t>(found.places()), 0);
        found.arc.assign(static_cast<std::size_t>(found.places()), -1);
        std::vector<std::int64_t> next(static_cast<std::size_t>(rows));
        for (std::int64_t i = 0; i < rows; ++i) next[i] = found.first(i);
        for (const Arc& a : arcs) {
            std::int64_t& place = next[a.to];
            found.from[place] = a.from, found.arc[place] = a.arc;
            place += kLanes;
        }
        for (std::int64_t slice = 0; slice < slices; ++slice)
            for (std::int64_t i = found.begin[slice] + kLanes; i < found.begin[slice + 1]; ++i)
                if (found.arc[i] < 0) found.from[i] = found.from[i - kLanes];
        return found;
    }
};

// An arc into a slot: where it comes from, and its number among those of that slot and among all.
struct ArcInto {
    std::int64_t from, choice, index;
};

// A topology that no step and no sequence has to itself, whose arcs go from one step to the next: by the slots that they
// lead to and by those that they leave. An arc's number is that of its weight: slot * K + k.
template <class F>
struct ArcSlices {
    std::int64_t slots = 0, width = 0;  // N and K
    Slices<F> into, leaving;            // `from` of the latter is where they lead to
    std::vector<std::int32_t> place;    // of each place of `leaving`, that of the arc in `into`; 0 where there is none
    std::vector<std::int32_t> codes;    // [slot][k]: what it was made of

    // Calls give(place in `into`, offset of its weight) for each arc.
    template <class Give>
    void each(const Leaf<F>& leaf, const Give& give) const {
        const std::int64_t by_slot = leaf.by_event[0], by_arc = leaf.by_event[1];
        const bool even = by_slot == width * by_arc;
        for (std::int64_t at = 0; at < into.places(); ++at) {
            const std::int64_t arc = into.arc[at];
            if (arc >= 0) give(at, even ? arc * by_arc : arc / width * by_slot + arc % width * by_arc);
        }
    }
    // A table by the places of `leaving`, from one by those of `into`; `rest` where there is no arc.
    void transpose(const F* from, F rest, F* to) const {
        for (std::int64_t i = 0; i < leaving.places(); ++i) to[i] = leaving.arc[i] < 0 ? rest : from[place[i]];
    }
    // The arc at a place of `into`, which holds one.
    ArcInto arc_at(std::int64_t at) const { return {into.from[at], into.arc[at] % width, into.arc[at]}; }
    // The first of the best arcs into a slot, of state vector `from`; where none leads there, the first of all.
    ArcInto best_arc(const F* from, const F* weight, std::int64_t slot) const {
        const std::int64_t first = into.first(slot), stop = into.stop(slot);
        if (first >= stop || into.arc[first] < 0) return {0, 0, 0};
        std::int64_t chosen = first;
        F best = kNothing<F>;
        for (std::int64_t at = first; at < stop && into.arc[at] >= 0; at += into.kLanes) {
            const F x = from[into.from[at]] + weight[at];
            chosen = x > best ? at : chosen;
            best = x > best ? x : best;
        }
        return arc_at(chosen);
    }
    // Whether it is what `of` makes of this.
    bool is_of(const Leaf<std::int64_t>& source) const {
        if (source.event[0] != slots || source.event[1] != width) return false;
        const std::int64_t* given = source.at(0, 0);
        for (std::int64_t n = 0; n < slots; ++n) {
            const std::int64_t* row = given + n * source.by_event[0];
            std::int64_t other = 0;
            for (std::int64_t k = 0; k < width; ++k) other |= row[k * source.by_event[1]] ^ codes[n * width + k];
            if (other) return false;
        }
        return true;
    }
    // source[n * by_slot + k * by_arc]: a slot, -1 for no arc.
    static ArcSlices of(const Leaf<std::int64_t>& source) {
        using Arc = typename Slices<F>::Arc;
        ArcSlices found;
        found.slots = source.event[0], found.width = source.event[1];
        const std::int64_t *codes = source.at(0, 0), by_slot = source.by_event[0], by_arc = source.by_event[1];
        std::vector<Arc> into, leaving;
        found.codes.reserve(static_cast<std::size_t>(found.slots * found.width));
        for (std::int64_t n = 0; n < found.slots; ++n)
            for (std::int64_t k = 0; k < found.width; ++k) {
                const std::int64_t from = codes[n * by_slot + k * by_arc];
                found.codes.push_back(static_cast<std::int32_t>(from));
                if (from < 0) continue;
                if (from >= found.slots) throw std::out_of_range("Sparse: an arc comes from a slot that there is not.");
                into.push_back({static_cast<std::int32_t>(n), static_cast<std::int32_t>(from), n * found.width + k});
                leaving.push_back({static_cast<std::int32_t>(from), static_cast<std::int32_t>(n), n * found.width + k});
            }
        found.into = Slices<F>::of(found.slots, into);
        found.leaving = Slices<F>::of(found.slots, leaving);
        std::vector<std::int32_t> places(static_cast<std::size_t>(found.slots * found.width), 0);
        for (std::int64_t i = 0; i < found.into.places(); ++i)
            if (found.into.arc[i] >= 0) places[found.into.arc[i]] = static_cast<std::int32_t>(i);
        found.place.assign(static_cast<std::size_t>(found.leaving.places()), 0);
        for (std::int64_t i = 0; i < found.leaving.places(); ++i)
            if (found.leaving.arc[i] >= 0) found.place[i] = places[found.leaving.arc[i]];
        return found;
    }
};

}  // namespace semihmm
