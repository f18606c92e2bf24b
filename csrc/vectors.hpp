// The state vectors of a chain at all times, as the caller reads them: the log-weight of all paths so far, in double. By a
// scan in log space, where no path is too unlikely to be told from another.
#pragma once

#include "call.hpp"

namespace semihmm {

// `to` is (batch, length + 1, slots). After a sequence's end its last vector stays.
template <class F>
void vectors(const Request& request, double* to) {
    using S = Log<F>;
    const auto topology = topology_of<F>(request);
    for_each_part(request.batch, std::min(request.batch, kParts), request.threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
        Chain<S> chain = build<S>(request, {}, {}, topology);
        Map<S>& map = *chain.steps;
        const int64_t stride = chain.stride(), slots = map.out.slots();
        Buffer<F> data((request.length + 1) * stride, kNothing<F>);
        std::vector<double> offsets(static_cast<std::size_t>(request.length + 1));
        const Rows<F> rows{data.get(), offsets.data(), stride, 0};
        for (int64_t b = first; b < last; ++b) {
            const int64_t length = chain.length_of(b);
            double* all = to + b * (request.length + 1) * slots;
            map.start(b, length);
            double log_scale = chain.start.read(chain.semiring, b, map.in, chain.beta, rows.at(0));
            rows.off(0) = rescale(chain.semiring, map.in.width(), rows.at(0));
            const auto write = [&](int64_t t) {
                for (int64_t slot = 0; slot < slots; ++slot)
                    all[t * slots + slot] = static_cast<double>(rows.at(t)[map.out.place(slot)]) + (rows.off(t) + log_scale);
            };
            write(0);
            for (int64_t t0 = 0; t0 < length; t0 += kBlock) {
                const int64_t t1 = std::min(t0 + kBlock, length);
                advance(chain, rows, t0, t1);
                for (int64_t t = t0; t < t1; ++t) log_scale += map.log_scale(t), write(t + 1);
            }
            for (int64_t t = length + 1; t <= request.length; ++t) std::copy_n(all + length * slots, slots, all + t * slots);
        }
    });
}

}  // namespace semihmm
