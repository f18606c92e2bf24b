// The native backend as a Python module. Compiled once per instruction set, under a name of its own.
//
// Tensors come in through DLPack, without a copy (exchange.hpp). Python allocates what goes out; see
// semihmm/engine/backends/kernels.py.

#include <atomic>

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include "distances.hpp"
#include "exchange.hpp"
#include "kernels_module.hpp"
#include "operations.hpp"
#include "pages.hpp"
#include "parallel.hpp"
#include "usable.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using namespace semihmm;

enum Semirings : int { kLog, kMax, kTopK, kExpectation };

// With one batch axis; a tensor without batch axes gets one of size 1.
Given given(nb::handle x, bool batched = true) {
    Given found;
    if (x.is_none()) return found;
    borrow(x, [&](const void* data, nb::dlpack::dtype, int axes, const int64_t* sizes, const int64_t* strides) {
        found.data = data;
        if (!batched) found.shape.push_back(1), found.strides.push_back(0);
        found.shape.insert(found.shape.end(), sizes, sizes + axes);
        found.strides.insert(found.strides.end(), strides, strides + axes);
    });
    return found;
}

std::vector<Given> all(const nb::list& tensors, bool batched) {
    std::vector<Given> found;
    found.reserve(tensors.size());
    for (nb::handle x : tensors) found.push_back(given(x, batched));
    return found;
}

void* address(nb::handle x) {
    void* found = nullptr;
    if (x.is_none()) return found;
    borrow(x, [&](const void* data, auto&&...) { found = const_cast<void*>(data); });
    return found;
}

template <class T>
T* data(nb::handle x) {
    return static_cast<T*>(address(x));
}

// On so many threads, each of which takes some of the outermost axis.
template <class F>
bool usable_by_all(const void* data, const Extent& extent, double sign, int64_t threads) {
    const int64_t size = extent.axes.empty() ? 1 : extent.axes[0].size;
    const int64_t parts = threads > 1 ? std::min<int64_t>(size, 16) : 1;
    if (parts == 1) return usable(static_cast<const F*>(data), extent, static_cast<F>(sign));
    std::atomic<bool> good = true;
    for_each_part(size, parts, threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
        Extent mine = extent;
        mine.axes[0].size = last - first;
        if (good && !usable(static_cast<const F*>(data) + first * extent.axes[0].stride, mine, static_cast<F>(sign))) good = false;
    });
    return good;
}

// Whether all entries of all tensors are below infinity, times `sign`. False where that is not known: neither float nor double.
bool all_usable(const nb::list& tensors, double sign, int64_t threads) {
    for (nb::handle x : tensors) {
        bool good = false;
        borrow(x, [&](const void* data, nb::dlpack::dtype type, int axes, const int64_t* sizes, const int64_t* strides) {
            const Extent extent(axes, sizes, strides);
            if (type == nb::dtype<float>()) good = usable_by_all<float>(data, extent, sign, threads);
            if (type == nb::dtype<double>()) good = usable_by_all<double>(data, extent, sign, threads);
        });
        if (!good) return false;
    }
    return true;
}

void spread_out(nb::handle x) {
    borrow(x, [](const void* data, nb::dlpack::dtype type, int axes, const int64_t* sizes, const int64_t*) {
        std::size_t bytes = type.bits / 8;
        for (int i = 0; i < axes; ++i) bytes *= static_cast<std::size_t>(sizes[i]);
        in_huge_pages(const_cast<void*>(data), bytes);
    });
}

template <class F>
nb::ndarray<nb::pytorch, F, nb::c_contig, nb::device::cpu> fresh(const std::vector<std::size_t>& shape) {
    std::size_t bytes = sizeof(F);
    for (std::size_t size : shape) bytes *= size;
    const auto [memory, data] = cleared(bytes);
    const nb::capsule owner(memory, [](void* p) noexcept { std::free(p); });
    return {data, shape.size(), shape.data(), owner};
}

struct Description {
    Request request;
    int semiring;
    bool wide;  // double
};

Description describe(int semiring, int components, double beta, bool wide, const std::vector<int64_t>& spec, bool batched,
                     const nb::list& weights, const nb::list& features, nb::handle lengths, int64_t batch, int64_t length, int64_t threads) {
    Description d;
    d.request.components = components;
    d.request.beta = beta;
    d.request.spec = spec;
    d.request.weights = all(weights, batched);
    d.request.features = all(features, batched);
    d.request.lengths = data<const int64_t>(lengths);
    d.request.batch = batch;
    d.request.length = length;
    d.request.threads = threads;
    d.semiring = semiring;
    d.wide = wide;
    return d;
}

template <class F>
Kept<F> kept(nb::handle vectors, nb::handle offsets, int64_t rows, int64_t segment) {
    return {data<F>(vectors), data<double>(offsets), rows, segment};
}

template <class F>
void run_total(const Description& d, const Kept<F>& rows, double* values) {
    switch (d.semiring) {
        case kLog: return total<Log<F>>(d.request, rows, values);
        case kMax: return total<Max<F>>(d.request, rows, values);
        case kTopK: return total<TopK<F>>(d.request, rows, values);
        default: return total<Expectation<F>>(d.request, rows, values);
    }
}

template <class F>
void run_gradient(const Description& d, const Kept<F>& rows, const double* g0, const double* g1, const std::vector<Given>& out,
                  const std::vector<Given>& out_features, double* values, int64_t stride) {
    switch (d.semiring) {
        case kLog: return gradient<Log<F>>(d.request, rows, g0, g1, out, out_features, values, stride);
        case kMax: return gradient<Max<F>>(d.request, rows, g0, g1, out, out_features, values, stride);
        default: return gradient<Expectation<F>>(d.request, rows, g0, g1, out, out_features, values, stride);
    }
}

template <class F>
void run_paths(const Description& d, const Kept<F>& rows, const PathsOut& out) {
    switch (d.semiring) {
        case kLog: return paths<Log<F>>(d.request, rows, out);
        case kMax: return paths<Max<F>>(d.request, rows, out);
        default: return paths<TopK<F>>(d.request, rows, out);
    }
}

}  // namespace

NB_MODULE(SEMIHMM_MODULE, m) {
    m.doc() = "semihmm's native backend, for one instruction set.";
    m.def("isa", [] { return SEMIHMM_ISA; }, "The instruction set that this module is compiled for.");
    m.def("lanes", [] { return vector_bytes; }, "Bytes in a vector, to whole numbers of which state vectors are padded.");
    known = find_borrowing();
    bind_kernels(m);
    m.def("in_huge_pages", &spread_out, "tensor"_a, "Ask for huge pages under a contiguous tensor that nobody has touched.");
    m.def("usable", &all_usable, "tensors"_a, "sign"_a, "threads"_a, "Whether all entries of all tensors are below infinity, times `sign`; with 0, finite.");
    m.def("fresh_zeros", [](std::vector<std::size_t> shape, bool wide) {
        return wide ? nb::cast(fresh<double>(shape)) : nb::cast(fresh<float>(shape));
    }, "shape"_a, "wide"_a, "A large tensor of zeros, which the system clears page by page when they are touched first.");
    m.def("squared_distances", [](nb::object x, nb::object y, nb::object log_variance, bool wide, nb::object out, int64_t threads) {
        const auto items = [](nb::handle tensor) {
            const Given found = given(tensor);
            return found.shape.size() > 2 ? found : given(tensor, false);
        };
        const Given a = items(x), b = items(y), c = given(log_variance);
        void* to = address(out);
        const nb::gil_scoped_release release;
        const auto work = [&]<class F>(F* into) {
            const auto run = c.data ? squared_distances<F, true> : squared_distances<F, false>;
            const auto of = [](const Given& tensor) { return static_cast<const F*>(tensor.data); };
            run(a.shape[0], a.shape[1], b.shape[1], a.shape[2], of(a), of(b), b.shape[0] == 1, of(c), into, threads);
        };
        wide ? work(static_cast<double*>(to)) : work(static_cast<float*>(to));
    }, "x"_a, "y"_a, "log_variance"_a.none(), "wide"_a, "out"_a, "threads"_a, "Of contiguous (batch, n, features) and (batch or 1, m, features), into (batch, n, m); no batch axis is one of 1. With log-variances: log-densities.");
    m.def("total", [](int semiring, int components, double beta, bool wide, std::vector<int64_t> spec, bool batched, nb::list weights, nb::list features,
                      nb::object lengths, int64_t batch, int64_t length, int64_t threads, nb::object vectors, nb::object offsets,
                      int64_t rows, int64_t segment, nb::object values) {
        const Description d = describe(semiring, components, beta, wide, spec, batched, weights, features, lengths, batch, length, threads);
        double* to = data<double>(values);
        const auto narrow_rows = kept<float>(vectors, offsets, rows, segment);
        const auto wide_rows = kept<double>(vectors, offsets, rows, segment);
        const nb::gil_scoped_release release;
        d.wide ? run_total<double>(d, wide_rows, to) : run_total<float>(d, narrow_rows, to);
    }, "semiring"_a, "components"_a, "beta"_a, "wide"_a, "spec"_a, "batched"_a, "weights"_a, "features"_a, "lengths"_a.none(), "batch"_a, "length"_a, "threads"_a, "vectors"_a, "offsets"_a, "rows"_a, "segment"_a, "values"_a);
    m.def("gradient", [](int semiring, int components, double beta, bool wide, std::vector<int64_t> spec, bool batched, nb::list weights,
                         nb::list features, nb::object lengths, int64_t batch, int64_t length, int64_t threads, nb::object vectors,
                         nb::object offsets, int64_t rows, int64_t segment, nb::object g0, nb::object g1, nb::list out,
                         nb::list out_features, nb::object values, int64_t stride) {
        const Description d = describe(semiring, components, beta, wide, spec, batched, weights, features, lengths, batch, length, threads);
        const auto to = all(out, batched), to_features = all(out_features, batched);
        const double *by_value = data<const double>(g0), *by_mean = data<const double>(g1);
        const auto narrow_rows = kept<float>(vectors, offsets, rows, segment);
        const auto wide_rows = kept<double>(vectors, offsets, rows, segment);
        double* totals = data<double>(values);
        const nb::gil_scoped_release release;
        d.wide ? run_gradient<double>(d, wide_rows, by_value, by_mean, to, to_features, totals, stride)
               : run_gradient<float>(d, narrow_rows, by_value, by_mean, to, to_features, totals, stride);
    }, "semiring"_a, "components"_a, "beta"_a, "wide"_a, "spec"_a, "batched"_a, "weights"_a, "features"_a, "lengths"_a.none(), "batch"_a, "length"_a, "threads"_a, "vectors"_a.none(), "offsets"_a.none(), "rows"_a, "segment"_a, "g0"_a, "g1"_a.none(), "out"_a, "out_features"_a, "values"_a.none(), "stride"_a);
    m.def("paths", [](int semiring, int components, double beta, bool wide, std::vector<int64_t> spec, bool batched, nb::list weights, nb::list features,
                      nb::object lengths, int64_t batch, int64_t length, int64_t threads, nb::object vectors, nb::object offsets,
                      int64_t rows, int64_t segment, int64_t count, nb::object slots, nb::object choices, nb::object uniforms,
                      int64_t draws, nb::object values, nb::object marks) {
        const Description d = describe(semiring, components, beta, wide, spec, batched, weights, features, lengths, batch, length, threads);
        PathsOut out;
        out.rows = count;
        out.slots = data<int64_t>(slots), out.choices = data<int64_t>(choices);
        out.uniforms = data<const double>(uniforms), out.draws = draws;
        out.values = data<double>(values);
        out.marks = data<int64_t>(marks);
        const auto narrow_rows = kept<float>(vectors, offsets, rows, segment);
        const auto wide_rows = kept<double>(vectors, offsets, rows, segment);
        const nb::gil_scoped_release release;
        d.wide ? run_paths<double>(d, wide_rows, out) : run_paths<float>(d, narrow_rows, out);
    }, "semiring"_a, "components"_a, "beta"_a, "wide"_a, "spec"_a, "batched"_a, "weights"_a, "features"_a, "lengths"_a.none(), "batch"_a, "length"_a, "threads"_a, "vectors"_a, "offsets"_a, "rows"_a, "segment"_a, "count"_a, "slots"_a, "choices"_a, "uniforms"_a.none(), "draws"_a, "values"_a, "marks"_a.none());
    m.def("vectors", [](int semiring, int components, double beta, bool wide, std::vector<int64_t> spec, bool batched, nb::list weights, nb::list features,
                        nb::object lengths, int64_t batch, int64_t length, int64_t threads, nb::object out) {
        const Description d = describe(semiring, components, beta, wide, spec, batched, weights, features, lengths, batch, length, threads);
        double* to = data<double>(out);
        const nb::gil_scoped_release release;
        d.wide ? vectors<double>(d.request, to) : vectors<float>(d.request, to);
    }, "semiring"_a, "components"_a, "beta"_a, "wide"_a, "spec"_a, "batched"_a, "weights"_a, "features"_a, "lengths"_a.none(), "batch"_a, "length"_a, "threads"_a, "out"_a);
    m.def("gradient_of_paths", [](int semiring, int components, double beta, bool wide, std::vector<int64_t> spec, bool batched, nb::list weights,
                                  nb::list features, nb::object lengths, int64_t batch, int64_t length, int64_t threads, int64_t count,
                                  nb::object slots, nb::object marks, nb::object shares, nb::list out) {
        const Description d = describe(semiring, components, beta, wide, spec, batched, weights, features, lengths, batch, length, threads);
        const Taken taken{count, data<const int64_t>(slots), data<const int64_t>(marks), data<const double>(shares)};
        const auto to = all(out, batched);
        const nb::gil_scoped_release release;
        d.wide ? gradient_of_paths<double>(d.request, taken, to) : gradient_of_paths<float>(d.request, taken, to);
    }, "semiring"_a, "components"_a, "beta"_a, "wide"_a, "spec"_a, "batched"_a, "weights"_a, "features"_a, "lengths"_a.none(), "batch"_a, "length"_a, "threads"_a, "count"_a, "slots"_a, "marks"_a, "shares"_a, "out"_a);
}
