// From what Python passes to a checked request, and on to the semiring and type that it is of.
#pragma once

#include <atomic>

#include <nanobind/nanobind.h>

#include "checks.hpp"
#include "exchange.hpp"
#include "operations.hpp"
#include "parallel.hpp"
#include "usable.hpp"

namespace semihmm {

inline Type type_of(nb::dlpack::dtype type) {
    if (type == nb::dtype<float>()) return Type::kFloat;
    if (type == nb::dtype<double>()) return Type::kDouble;
    if (type == nb::dtype<int32_t>()) return Type::kInt32;
    return type == nb::dtype<int64_t>() ? Type::kInt64 : Type::kOther;
}

// With one batch axis; a tensor without batch axes gets one of size 1.
inline Given given(nb::handle x, bool batched = true) {
    Given found;
    if (x.is_none()) return found;
    borrow(x, [&](const void* data, nb::dlpack::dtype type, int axes, const int64_t* sizes, const int64_t* strides) {
        if (axes + !batched > static_cast<int>(Sizes::most)) refuse("a tensor has at most " + std::to_string(Sizes::most) + " axes, got " + std::to_string(axes) + ".");
        found.data = data;
        found.type = type_of(type);
        if (!batched) found.shape.push_back(1), found.strides.push_back(0);
        for (int i = 0; i < axes; ++i) found.shape.push_back(sizes[i]), found.strides.push_back(strides[i]);
    });
    return found;
}

inline std::vector<Given> all(const nb::list& tensors, bool batched) {
    std::vector<Given> found;
    found.reserve(tensors.size());
    for (nb::handle x : tensors) found.push_back(given(x, batched));
    return found;
}

// On so many threads, each of which takes some of the outermost axis.
template <class F>
bool usable_by_all(const void* data, const Extent& extent, double sign, int64_t threads) {
    const int64_t size = extent.axes.empty() ? 1 : extent.axes[0].size;
    const int64_t parts = threads > 1 ? std::min(size, kParts) : 1;
    if (parts == 1) return usable(static_cast<const F*>(data), extent, static_cast<F>(sign));
    std::atomic<bool> good = true;
    for_each_part(size, parts, threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
        Extent mine = extent;
        mine.axes[0].size = last - first;
        if (good && !usable(static_cast<const F*>(data) + first * extent.axes[0].stride, mine, static_cast<F>(sign))) good = false;
    });
    return good;
}

// A chain as it came, and what has been found out about it. Every entry point begins with it.
struct Description {
    Request request;
    Form form;
    bool batched = true;  // its tensors have a batch axis
};

inline Description describe(int semiring, int components, double beta, bool wide, const std::vector<int64_t>& spec, bool batched,
                     const nb::list& weights, const nb::list& features, nb::handle lengths, int64_t batch, int64_t length, int64_t threads) {
    Description d;
    d.batched = batched;
    Request& request = d.request;
    request.semiring = semiring;
    request.components = components;
    request.beta = beta;
    request.wide = wide;
    request.spec = spec;
    request.weights = all(weights, batched);
    request.features = all(features, batched);
    request.batch = batch;
    request.length = length;
    request.threads = threads;
    d.form = check_chain(request);
    request.lengths = check_lengths(request, given(lengths));
    request.threads = std::min<int64_t>(threads, 256);
    return d;
}

inline void must_be(bool answered, const char* question) {
    if (!answered) refuse(std::string(question) + " is not asked of this semiring.");
}

// What is kept, or to be kept.
struct Memory {
    Given vectors, offsets;
    int64_t rows, segment, length;

    template <class F>
    Kept<F> kept() const {
        return {vectors.to<F>(), offsets.to<double>(), rows, segment, kept_blocks(length, segment)};
    }
};
inline Memory memory_of(const Description& d, nb::handle vectors, nb::handle offsets, int64_t rows, int64_t segment) {
    const Memory memory{given(vectors), given(offsets), rows, segment, d.request.length};
    check_kept(d.request, d.form, memory.vectors, memory.offsets, rows, segment);
    return memory;
}

// work(F()), of the type.
template <class Work>
void with_type(bool wide, const Work& work) {
    wide ? work(double()) : work(float());
}

template <class F>
void run_total(const Description& d, const Kept<F>& rows, double* values) {
    switch (d.request.semiring) {
        case kLog: total<Log<F>>(d.request, rows, values); break;
        case kMax: total<Max<F>>(d.request, rows, values); break;
        case kTopK: total<TopK<F>>(d.request, rows, values); break;
        default: total<Expectation<F>>(d.request, rows, values);
    }
    settle(d.request, values);
}

template <class F>
void run_gradient(const Description& d, const Kept<F>& rows, const double* g0, const double* g1, const std::vector<Given>& out,
                  const std::vector<Given>& out_features, double* values, int64_t stride) {
    switch (d.request.semiring) {
        case kLog: gradient<Log<F>>(d.request, rows, g0, g1, out, out_features, values, stride); break;
        case kMax: gradient<Max<F>>(d.request, rows, g0, g1, out, out_features, values, stride); break;
        default: gradient<Expectation<F>>(d.request, rows, g0, g1, out, out_features, values, stride);
    }
    if (values) settle(d.request, values);
}

template <class F>
void run_paths(const Description& d, int64_t rows, int64_t segment, const PathsOut& out) {
    const Kept<F> like{nullptr, nullptr, rows, segment, kept_blocks(d.request.length, segment)};
    switch (d.request.semiring) {
        case kLog: paths<Log<F>>(d.request, like, d.form.stride, out); break;
        case kMax: paths<Max<F>>(d.request, like, d.form.stride, out); break;
        default: paths<TopK<F>>(d.request, like, d.form.stride, out);
    }
    settle(d.request, out.values);
}

}  // namespace semihmm
