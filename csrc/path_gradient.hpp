// The gradient of best paths' scores: the weights that a path took, from its arc_indices alone. There is no scan.
#pragma once

#include "call.hpp"

namespace semihmm {

// Adds the weights that the paths of sequence b took.
template <class F>
void add(Sums<Max<F>>& sums, int64_t b, const Request& request, const TracedPaths& traced) {
    Map<Max<F>>& steps = *sums.chain.steps;
    const int64_t length = sums.chain.length_of(b);
    for (int64_t r = 0; r < traced.rows; ++r) {
        const int64_t path = r * request.batch + b;
        const int64_t *slots = traced.slots + path * (request.length + 1), *arc_indices = traced.arc_indices + path * request.length * steps.arc_indices;
        const double share = traced.shares[path];
        sums.chain.pulse(length);
        if (slots[0] < 0) continue;  // there is no such path
        for (Sink<F>& sink : sums.start)
            if (sink.requested()) sink.add(b, 0, 1, &share, slots[0]);
        for (Sink<F>& sink : sums.end)
            if (sink.requested()) sink.add(b, 0, 1, &share, slots[length]);
        for (int64_t t = 0; t < length; ++t)
            if (slots[t + 1] >= 0) steps.add_share(b, t, arc_indices + t * steps.arc_indices, share);
    }
    for (Sink<F>* sink : sums.all()) sink->finish(b);
}

template <class F>
void gradient_of_paths(const Request& request, const TracedPaths& traced, const std::vector<Given>& out) {
    const std::vector<Given> nowhere(out.size());  // there are no features
    std::vector<std::unique_ptr<Sums<Max<F>>>> parts(static_cast<std::size_t>(std::min(request.batch, kParts)));
    for_each_part(request.batch, static_cast<int64_t>(parts.size()), request.threads, [&](int64_t part, int64_t first, int64_t last, int64_t) {
        parts[part] = std::make_unique<Sums<Max<F>>>(request, out, nowhere);
        for (int64_t b = first; b < last; ++b) add(*parts[part], b, request, traced);
    });
    write(parts);
}

}  // namespace semihmm
