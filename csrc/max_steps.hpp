// Steps of the max semiring from state vectors: the best score of each slot, and the slot that it came from; of equals, the
// lowest arc's. Each vector is rescaled to a peak of 0, as by the torch backend's sequential strategy, to the bit.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "lanes.hpp"
#include "parallel.hpp"

namespace semihmm {

template <class F>
struct MaxSteps {
    // What steps weigh: of one sequence or each, of one time or each, `size` numbers each time.
    struct Weights {
        const F* data;
        int64_t sets, times, size;
        const F* at(int64_t b, int64_t t) const { return data + ((sets == 1 ? 0 : b) * times + (times == 1 ? 0 : t)) * size; }
    };

    int64_t batch, length, slots, arcs;  // `arcs` into each slot
    const F* start;                      // (batch, slots)
    const double* offset;                // (batch)
    Weights weight, emission;            // (from, to), or (to, arcs) with sources; (slots), null for none
    const int64_t* source;               // (to, arcs), -1 for no arc; null for dense transitions
    const int64_t* taken;                // how many steps each takes (batch); null for all
    F* vectors;                          // (batch, length, slots)
    double* offsets;                     // (batch, length)
    int64_t* came;                       // (batch, length, slots)

    void run(int64_t threads) const {
        for_each_part(batch, std::min<int64_t>(batch, 16), threads, [&](int64_t, int64_t begin, int64_t end, int64_t) {
            Pulse pulse;
            for (int64_t b = begin; b < end; ++b) {
                const F* x = start + b * slots;
                double scale = offset[b];
                for (int64_t t = 0; t < length; ++t) {
                    const int64_t at = b * length + t;
                    F* to = vectors + at * slots;
                    if (taken && t >= taken[b]) {
                        std::copy_n(x, slots, to), std::fill_n(came + at * slots, slots, 0);
                    } else {
                        source ? through_arcs(x, weight.at(b, t), to, came + at * slots) : through_all(x, weight.at(b, t), to, came + at * slots);
                        scale += static_cast<double>(rescaled(emission.data ? emission.at(b, t) : nullptr, to));
                    }
                    offsets[at] = scale, x = to;
                    pulse(slots * arcs);
                }
            }
        });
    }

  private:
    F rescaled(const F* more, F* to) const {
        if (more)
            for (int64_t j = 0; j < slots; ++j) to[j] += more[j];
        const F peak = max_of<F>(slots, to);
        if (!std::isfinite(peak)) return 0;
        for (int64_t j = 0; j < slots; ++j) to[j] -= peak;
        return peak;
    }
    void through_all(const F* x, const F* w, F* to, int64_t* from) const {
        constexpr int64_t block = 64;
        for (int64_t first = 0; first < slots; first += block) {
            const int64_t count = std::min(block, slots - first);
            F best[block];
            int32_t came_from[block] = {};
            std::fill_n(best, block, -std::numeric_limits<F>::infinity());
            for (int64_t i = 0; i < slots; ++i) {
                const F here = x[i], *row = w + i * slots + first;
                const auto compare = [&](int64_t n) {
                    for (int64_t j = 0; j < n; ++j) {
                        const F score = here + row[j];
                        const bool better = score > best[j];
                        best[j] = better ? score : best[j];
                        came_from[j] = better ? static_cast<int32_t>(i) : came_from[j];
                    }
                };
                count == block ? compare(block) : compare(count);
            }
            std::copy_n(best, count, to + first), std::copy_n(came_from, count, from + first);
        }
    }
    void through_arcs(const F* x, const F* w, F* to, int64_t* from) const {
        for (int64_t j = 0; j < slots; ++j) {
            const int64_t* sources = source + j * arcs;
            F best = -std::numeric_limits<F>::infinity();
            int64_t came_from = std::max<int64_t>(sources[0], 0);
            for (int64_t k = 0; k < arcs; ++k) {
                if (sources[k] < 0) continue;
                const F score = x[sources[k]] + w[j * arcs + k];
                if (score > best) best = score, came_from = sources[k];
            }
            to[j] = best, from[j] = came_from;
        }
    }
};

}  // namespace semihmm
