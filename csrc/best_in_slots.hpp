// The score of the best path through each slot at each time: its max-marginal.
#pragma once

#include "call.hpp"

namespace semihmm {

// `to` is (batch, length + 1, slots); -inf after a sequence's end. Of dense transitions that all steps share, between more than
// the fewest states; false for others.
template <class S>
bool best_in_slots(const Request& request, int64_t stride, typename S::F* to) {
    using F = typename S::F;
    const auto form = stationary<S>(request, false);
    if (!form || !form->dense() || few<S>(request, *form, DenseWeights<F>::kChoosing)) return false;
    const int64_t group = group_of<S>(request, form), segment = std::max<int64_t>(request.length, 1);
    const Kept<F> like{nullptr, nullptr, request.length + 1, segment, kept_blocks(request.length, segment)};
    Workspaces<F> workspaces(request, like, stride);
    for_each_part(request.batch, parts_of(request, group), request.threads, [&](int64_t, int64_t first, int64_t last, int64_t worker) {
        Chain<S> chain = build<S>(request, {}, {});
        const Workspace<F>& workspace = workspaces.of(worker, group);
        auto best = fast<Best<F, DenseWeights<F>>>(request, *form, chain);
        for (int64_t b = first; b < last; b += group) best.in_slots(b, static_cast<int>(std::min(group, last - b)), workspace.from(b), to);
    });
    return true;
}

}  // namespace semihmm
