// Whether log-weights are log-weights: finite, or infinite on the side that forbids.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace semihmm {

// Numbers as they lie, less what repeats: axes of size 1 or stride 0 are left out, and those that follow on one another are one.
struct Extent {
    struct Axis {
        int64_t size, stride;
    };
    std::vector<Axis> axes;  // the narrowest stride last
    bool empty = false;

    Extent(int ndim, const int64_t* sizes, const int64_t* strides) {
        for (int i = 0; i < ndim; ++i) {
            empty |= sizes[i] == 0;
            if (sizes[i] > 1 && strides[i] != 0) axes.push_back({sizes[i], strides[i]});
        }
        std::sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.stride > b.stride; });
        std::vector<Axis> merged;
        for (const Axis& axis : axes) {
            if (!merged.empty() && merged.back().stride == axis.size * axis.stride) {
                merged.back() = {merged.back().size * axis.size, axis.stride};
            } else {
                merged.push_back(axis);
            }
        }
        axes = std::move(merged);
    }
};

// NaN is not below infinity either. Looks at all of a piece, so that the loop is vectors; then stops at the first bad one.
template <class F>
bool usable_row(const F* x, int64_t size, int64_t stride, F sign) {
    constexpr int64_t piece = 4096;
    for (int64_t from = 0; from < size; from += piece) {
        const int64_t to = std::min(size, from + piece);
        int bad = 0;
        if (stride == 1) {
            for (int64_t i = from; i < to; ++i) bad |= !(sign * x[i] < std::numeric_limits<F>::infinity());
        } else {
            for (int64_t i = from; i < to; ++i) bad |= !(sign * x[i * stride] < std::numeric_limits<F>::infinity());
        }
        if (bad) return false;
    }
    return true;
}

// Whether there is a NaN. Said of the numbers from `axis` on, starting at x.
template <class F>
bool has_nan(const F* x, const Extent& extent, std::size_t axis = 0) {
    if (extent.empty) return false;
    if (axis == extent.axes.size()) return *x != *x;
    const auto [size, stride] = extent.axes[axis];
    bool found = false;
    if (axis + 1 == extent.axes.size()) {
        for (int64_t i = 0; i < size; ++i) found |= x[i * stride] != x[i * stride];
        return found;
    }
    for (int64_t i = 0; i < size && !found; ++i) found = has_nan(x + i * stride, extent, axis + 1);
    return found;
}

// Axes from `axis` on, starting at x.
template <class F>
bool usable(const F* x, const Extent& extent, F sign, std::size_t axis = 0) {
    if (extent.empty) return true;
    if (axis == extent.axes.size()) return usable_row(x, 1, 1, sign);
    const auto [size, stride] = extent.axes[axis];
    if (axis + 1 == extent.axes.size()) return usable_row(x, size, stride, sign);
    for (int64_t i = 0; i < size; ++i)
        if (!usable(x + i * stride, extent, sign, axis + 1)) return false;
    return true;
}

}  // namespace semihmm
