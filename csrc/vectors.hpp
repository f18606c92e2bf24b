// The state vectors of a chain at all times, as the caller reads them: the log-weight of all paths so far, or of the best, in
// double. By a scan in log space, where no path is too unlikely to be told from another.
#pragma once

#include "call.hpp"

namespace semihmm {

// `to` is (batch, length + 1, slots); or, of the slot of each sequence that is in `only`, (batch, length + 1). After a sequence's
// end its last vector stays.
template <class S>
void vectors(const Request& request, const int64_t* only, double* to) {
    using F = typename S::F;
    const auto topology = topology_of<F>(request);
    for_each_part(request.batch, std::min(request.batch, kParts), request.threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
        Chain<S> chain = build<S>(request, {}, {}, topology);
        Map<S>& map = *chain.steps;
        const int64_t stride = chain.stride(), slots = map.out.slots(), memory = map.memory, each = only ? 1 : slots;
        Buffer<F> data((memory + kBlock) * stride, kNothing<F>);  // what a block looks back to, and the block
        std::vector<double> offsets(static_cast<std::size_t>(memory + kBlock));
        for (int64_t b = first; b < last; ++b) {
            const int64_t length = chain.length_of(b);
            double* all = to + b * (request.length + 1) * each;
            map.start(b, length);
            Rows<F> rows{data.get(), offsets.data(), stride, 1 - memory};
            double log_scale = chain.start.read(chain.semiring, b, map.in, chain.beta, rows.at(0));
            rows.off(0) = rescale(chain.semiring, map.in.width(), rows.at(0));
            const auto write = [&](int64_t t) {
                const auto value = [&](int64_t slot) { return static_cast<double>(rows.at(t)[map.out.place(slot)]) + (rows.off(t) + log_scale); };
                for (int64_t n = 0; n < each; ++n) all[t * each + n] = value(only ? only[b] : n);
            };
            write(0);
            for (int64_t t0 = 0; t0 < length; t0 += kBlock) {
                const int64_t t1 = std::min(t0 + kBlock, length);
                advance(chain, rows, t0, t1);
                for (int64_t t = t0; t < t1; ++t) log_scale += map.log_scale(t), write(t + 1);
                std::copy_n(rows.at(t1 + 1 - memory), memory * stride, data.get());
                std::copy_n(offsets.begin() + (t1 - t0), memory, offsets.begin());
                rows.first = t1 + 1 - memory;
            }
            for (int64_t t = length + 1; t <= request.length; ++t) std::copy_n(all + length * each, each, all + t * each);
        }
    });
}

}  // namespace semihmm
