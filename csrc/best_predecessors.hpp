// A step of the max semiring: the best score of each slot, and the slot that it came from; of equals, the lowest arc's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "parallel.hpp"

namespace semihmm {

template <class F>
struct MaxStep {
    int64_t batch, from, to, arcs, sets;  // `arcs` into each slot; `sets` of weights: 1 or one for each of the batch
    const F *vectors, *weight;            // (batch, from); (sets, from, to), or (sets, to, arcs) with sources
    const int64_t* source;                // (to, arcs), -1 for no arc; null for dense transitions
    F* best;                              // (batch, to)
    int64_t* came;                        // likewise
};

template <class F>
void best_of_all(const MaxStep<F>& step, int64_t b) {
    constexpr int64_t block = 64;
    const F* x = step.vectors + b * step.from;
    const F* weight = step.weight + (step.sets == 1 ? 0 : b) * step.from * step.to;
    for (int64_t first = 0; first < step.to; first += block) {
        const int64_t count = std::min(block, step.to - first);
        F best[block];
        int32_t came[block] = {};
        std::fill_n(best, block, -std::numeric_limits<F>::infinity());
        for (int64_t i = 0; i < step.from; ++i) {
            const F here = x[i], *row = weight + i * step.to + first;
            const auto compare = [&](int64_t n) {
                for (int64_t j = 0; j < n; ++j) {
                    const F score = here + row[j];
                    const bool better = score > best[j];
                    best[j] = better ? score : best[j];
                    came[j] = better ? static_cast<int32_t>(i) : came[j];
                }
            };
            count == block ? compare(block) : compare(count);
        }
        std::copy_n(best, count, step.best + b * step.to + first);
        std::copy_n(came, count, step.came + b * step.to + first);
    }
}

template <class F>
void best_of_arcs(const MaxStep<F>& step, int64_t b) {
    const F* x = step.vectors + b * step.from;
    const F* weight = step.weight + (step.sets == 1 ? 0 : b) * step.to * step.arcs;
    for (int64_t j = 0; j < step.to; ++j) {
        const int64_t* source = step.source + j * step.arcs;
        F best = -std::numeric_limits<F>::infinity();
        int64_t came = std::max<int64_t>(source[0], 0);
        for (int64_t k = 0; k < step.arcs; ++k) {
            const int64_t i = source[k];
            if (i < 0) continue;
            const F score = x[i] + weight[j * step.arcs + k];
            if (score > best) best = score, came = i;
        }
        step.best[b * step.to + j] = best, step.came[b * step.to + j] = came;
    }
}

template <class F>
void best_predecessors(const MaxStep<F>& step, int64_t threads) {
    for_each_part(step.batch, std::min<int64_t>(step.batch, 16), threads, [&](int64_t, int64_t begin, int64_t end, int64_t) {
        Pulse pulse;
        for (int64_t b = begin; b < end; ++b) {
            step.source ? best_of_arcs(step, b) : best_of_all(step, b);
            pulse(step.to * (step.source ? step.arcs : step.from));
        }
    });
}

}  // namespace semihmm
