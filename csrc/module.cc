// The native backend as a Python module. Compiled once per instruction set, under a name of its own.
//
// Tensors come in through DLPack, without a copy (exchange.hpp). Python allocates what goes out; see
// semihmm/engine/backends/kernels.py.

#include <array>

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include "checks.hpp"
#include "decoding_module.hpp"
#include "distances.hpp"
#include "entry.hpp"
#include "gaussians.hpp"
#include "kernels_module.hpp"
#include "operations.hpp"
#include "pages.hpp"
#include "parallel.hpp"
#include "program.hpp"
#include "streaming_module.hpp"
#include "submatrices.hpp"
#include "warping.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using namespace semihmm;

// Whether all entries of all tensors are below infinity, times `sign`. False where that is not known: neither float nor double.
bool all_usable(const nb::list& tensors, double sign, int64_t threads) {
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
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
    const Given tensor = given(x);
    if (!in_one_piece(tensor)) refuse("in_huge_pages: the tensor must lie in one piece.");
    borrow(x, [](const void* data, nb::dlpack::dtype type, int axes, const int64_t* sizes, const int64_t*) {
        std::size_t bytes = (type.bits * type.lanes + 7) / 8;
        for (int i = 0; i < axes; ++i) bytes *= static_cast<std::size_t>(sizes[i]);  // they are there, so it is no more than memory
        in_huge_pages(const_cast<void*>(data), bytes);
    });
}

// Calls work(from, to) for parts of a tensor. PyTorch's own threads would wait for each other, and those for the cores that others have.
template <class Work>
void each_part(nb::handle x, const std::string& name, int64_t threads, const Work& work) {
    const Given tensor = given(x);
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
    if (tensor.type != Type::kFloat && tensor.type != Type::kDouble) throw WrongType("semihmm: " + name + ": the tensor must be float32 or float64.");
    if (!in_one_piece(tensor)) refuse(name + ": the tensor must lie in one piece.");
    int64_t count = 1;
    for (int64_t size : tensor.shape) count *= size;
    if (!count || !tensor.data) return;
    const int64_t parts = std::clamp<int64_t>(count / (1 << 18), 1, kParts);
    const nb::gil_scoped_release release;
    for_each_part(count, parts, threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
        with_type(tensor.type == Type::kDouble, [&]<class F>(F) { work(tensor.to<F>() + first, tensor.to<F>() + last); });
    });
}

// One number everywhere.
void fill(nb::handle x, double value, int64_t threads) {
    each_part(x, "fill", threads, [=]<class F>(F* from, F* to) { std::fill(from, to, static_cast<F>(value)); });
}

void negate(nb::handle x, int64_t threads) {
    each_part(x, "negate", threads, []<class F>(F* from, F* to) { std::transform(from, to, from, std::negate<F>()); });
}

template <class F>
nb::ndarray<nb::pytorch, F, nb::c_contig, nb::device::cpu> fresh(const std::vector<std::size_t>& shape) {
    if (shape.size() > Sizes::most) refuse("fresh_zeros: too many axes.");
    int64_t count = 1;
    for (std::size_t size : shape) count = product({count, static_cast<int64_t>(size)}, "fresh_zeros: elements");
    const auto [memory, data] = cleared(static_cast<std::size_t>(count) * sizeof(F));
    const nb::capsule owner(memory, [](void* p) noexcept { std::free(p); });
    return {data, shape.size(), shape.data(), owner};
}

void distances(nb::object x, nb::object y, nb::object log_variance, bool wide, nb::object out, int64_t threads) {
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
    const auto items = [](nb::handle tensor) {
        const Given found = given(tensor);
        return found.shape.size() == 2 ? given(tensor, false) : found;
    };
    const Given a = items(x), b = items(y), c = log_variance.is_none() ? Given{} : items(log_variance);
    const Type type = wide ? Type::kDouble : Type::kFloat;
    if (a.shape.size() != 3 || b.shape.size() != 3) refuse("squared_distances: x and y must be (batch, items, features), got " + shown(a.shape) + " and " + shown(b.shape) + ".");
    const int64_t batch = a.shape[0], n = a.shape[1], m = b.shape[1], features = a.shape[2], sets = b.shape[0];
    if (sets != 1 && sets != batch) refuse("squared_distances: y must be of 1 sequence or " + std::to_string(batch) + ", got " + shown(b.shape) + ".");
    check_whole(a, "squared_distances: x", type, {batch, n, features});
    check_whole(b, "squared_distances: y", type, {sets, m, features});
    if (c.present()) check_whole(c, "squared_distances: log_variance", type, {sets, m, features});
    const int64_t numbers = product({batch, n, m}, "squared_distances: pairs");
    product({sets, features, m + 64}, "squared_distances: numbers");
    const Given result = given(out);
    if (numbers == 0) return;
    void* to = wide ? static_cast<void*>(check_array<double>(result, "squared_distances: out", numbers)) : check_array<float>(result, "squared_distances: out", numbers);
    const nb::gil_scoped_release release;
    const auto work = [&]<class F>(F* into) {
        const auto run = c.present() ? squared_distances<F, true> : squared_distances<F, false>;
        run(batch, n, m, features, a.as<F>(), b.as<F>(), sets == 1, c.as<F>(), into, threads);
    };
    wide ? work(static_cast<double*>(to)) : work(static_cast<float*>(to));
}

void densities_of(nb::object x, nb::object mean, nb::object factor, bool wide, nb::object out, int64_t threads) {
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
    const Given a = given(x), b = given(mean), c = given(factor), result = given(out);
    const Type type = wide ? Type::kDouble : Type::kFloat;
    if (a.shape.size() != 2 || b.shape.size() != 2) refuse("gaussian_densities: x and mean must be (items, features), got " + shown(a.shape) + " and " + shown(b.shape) + ".");
    const int64_t n = a.shape[0], m = b.shape[0], features = a.shape[1];
    check_whole(a, "gaussian_densities: x", type, {n, features});
    check_whole(b, "gaussian_densities: mean", type, {m, features});
    check_whole(c, "gaussian_densities: factor", type, {m, features, features});
    check_whole(result, "gaussian_densities: out", type, {n, m});
    product({features, features, m + 64}, "gaussian_densities: numbers");
    if (product({n, m}, "gaussian_densities: pairs") == 0) return;
    const nb::gil_scoped_release release;
    with_type(wide, [&]<class F>(F) { gaussian_densities<F>(n, m, features, a.as<F>(), b.as<F>(), c.as<F>(), result.to<F>(), threads); });
}

bool factors_of(nb::object matrices, double floor, nb::object out) {
    const Given from = given(matrices), to = given(out);
    if (from.shape.size() != 3) refuse("cholesky_factors: matrices must be (matrices, features, features), got " + shown(from.shape) + ".");
    const int64_t m = from.shape[0], features = from.shape[1];
    check_whole(from, "cholesky_factors: matrices", Type::kDouble, {m, features, features});
    check_whole(to, "cholesky_factors: out", Type::kDouble, {m, features, features});
    return factors(m, features, from.as<double>(), floor, to.to<double>());
}

void moments_about(nb::object x, nb::object share, nb::object centre, bool mixed, bool wide, nb::object out, int64_t threads) {
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
    const Given a = given(x), b = given(share), c = given(centre), result = given(out);
    const Type type = wide ? Type::kDouble : Type::kFloat;
    if (a.shape.size() != 2 || b.shape.size() != 2) refuse("weighted_moments: x must be (items, features) and share (items, groups), got " + shown(a.shape) + " and " + shown(b.shape) + ".");
    const int64_t n = a.shape[0], m = b.shape[1], features = a.shape[1];
    check_whole(a, "weighted_moments: x", type, {n, features});
    check_whole(b, "weighted_moments: share", type, {n, m});
    check_whole(c, "weighted_moments: centre", Type::kDouble, {features});
    product({m + 1, features + 64, features + 64}, "weighted_moments: numbers");
    check_whole(result, "weighted_moments: out", Type::kDouble, {m, 1 + features + (mixed ? features * features : features)});
    if (m == 0) return;
    const nb::gil_scoped_release release;
    with_type(wide, [&]<class F>(F) {
        const auto run = mixed ? weighted_moments<F, true> : weighted_moments<F, false>;
        run(n, m, features, a.as<F>(), b.as<F>(), c.as<double>(), result.to<double>(), threads);
    });
}

void submatrices(nb::object whole, nb::object rows, nb::object columns, nb::object parts, bool wide, bool back, int64_t threads) {
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
    const Given matrices = given(whole), i = given(rows), j = given(columns), met = given(parts);
    const Type type = wide ? Type::kDouble : Type::kFloat;
    if (matrices.shape.size() != 3 || met.shape.size() != 3) refuse("submatrices: whole and parts must have three axes, got " + shown(matrices.shape) + " and " + shown(met.shape) + ".");
    const int64_t sets = matrices.shape[0], places = met.shape[0];
    if (sets < 1 || places % sets != 0) refuse("submatrices: the places of parts must be as many for each of " + std::to_string(sets) + " matrices, got " + std::to_string(places) + ".");
    Meetings at{places, std::max<int64_t>(places / sets, 1), met.shape[1], met.shape[2], matrices.shape[1], matrices.shape[2], nullptr, nullptr};
    check_whole(matrices, "submatrices: whole", type, {sets, at.height, at.width});
    check_whole(met, "submatrices: parts", type, {places, at.n, at.m});
    check_whole(i, "submatrices: rows", Type::kInt64, {places, at.n});
    check_whole(j, "submatrices: columns", Type::kInt64, {places, at.m});
    if (product({places, at.n, at.m}, "submatrices: numbers") == 0) return;
    at.rows = i.as<int64_t>(), at.columns = j.as<int64_t>();
    const auto inside = [](const int64_t* x, int64_t count, int64_t size) { return std::all_of(x, x + count, [=](int64_t at) { return 0 <= at && at < size; }); };
    if (!inside(at.rows, places * at.n, at.height) || !inside(at.columns, places * at.m, at.width)) refuse("submatrices: rows and columns must be those of whole, " + shown(matrices.shape) + ".");
    const nb::gil_scoped_release release;
    with_type(wide, [&]<class F>(F) {
        if (back) scatter<F>(at, met.as<F>(), matrices.to<F>(), threads);
        else gather<F>(at, matrices.as<F>(), met.to<F>(), threads);
    });
}

// Two sets of series, and how they are warped; `use` gets it all, checked.
template <class Use>
void with_series(nb::handle x, nb::handle x_length, nb::handle y, nb::handle y_length, int metric, const std::vector<double>& factors, const std::vector<int64_t>& ranks,
                 bool open_begin, nb::handle window, bool itakura, bool wide, int64_t threads, const Use& use) {
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
    if (metric < 0 || metric > static_cast<int>(ItemMetric::kEuclidean)) refuse("warp: there is no such metric.");
    if (factors.size() != GridArcs::kArcs || !std::all_of(factors.begin(), factors.end(), [](double f) { return f > 0 && f < 1e6; }))
        refuse("warp: factors must be three numbers above 0.");
    constexpr std::array<int64_t, GridArcs::kArcs> each{0, 1, 2};
    if (!std::is_permutation(ranks.begin(), ranks.end(), each.begin(), each.end()))
        refuse("warp: ranks must be 0, 1 and 2 in some order.");
    const Given series[2] = {given(x), given(y)}, lengths[2] = {given(x_length), given(y_length)}, rows = given(window);
    for (int i = 0; i < 2; ++i) {
        if (series[i].shape.size() != 3) refuse("warp: x and y must have three axes, got " + shown(series[i].shape) + ".");
        const auto [count, items, features] = std::tuple(series[i].shape[0], series[i].shape[1], series[0].shape[2]);
        product({count, items + 1024, features}, "warp: numbers");
        check_whole(series[i], "warp: series", wide ? Type::kDouble : Type::kFloat, {count, items, features});
        check_whole(lengths[i], "warp: lengths", Type::kInt64, {count});
        const auto* length = lengths[i].as<int64_t>();
        if (!std::all_of(length, length + count, [&](int64_t n) { return 1 <= n && n <= items; })) refuse("warp: lengths must be from 1 to the number of items.");
    }
    WarpRequest request;
    request.metric = static_cast<ItemMetric>(metric), request.itakura = itakura, request.threads = threads;
    for (int i = 0; i < GridArcs::kArcs; ++i) request.arcs.factor[i] = -factors[static_cast<std::size_t>(i)], request.arcs.rank[i] = ranks[static_cast<std::size_t>(i)];
    request.arcs.begin_factor = -1, request.arcs.begin_stop = open_begin ? kMost : 1;
    if (rows.present()) {
        const int64_t count = series[0].shape[1];
        check_whole(rows, "warp: window", Type::kInt64, {count, 2});
        request.window = rows.as<int64_t>();
        if (!std::all_of(request.window, request.window + 2 * count, [](int64_t c) { return 0 <= c && c < int64_t{1} << 30; })) refuse("warp: window must hold columns.");
    }
    with_type(wide, [&]<class F>(F) {
        const auto set = [&](int i) { return SeriesSet<F>{series[i].as<F>(), lengths[i].as<int64_t>(), series[i].shape[0], series[i].shape[1], series[i].shape[2]}; };
        use(request, set(0), set(1));
    });
}

void check_numbers(const int64_t* x, int64_t count, int64_t size, const char* name) {
    if (!std::all_of(x, x + count, [=](int64_t at) { return 0 <= at && at < size; })) refuse(std::string("warp: ") + name + " must be numbers of series.");
}

// A function of the module whose arguments begin with a chain: `work` gets that checked, and the arguments behind it.
template <class Found, class... More, class... Names>
void define(nb::module_& m, const char* name, Found (*work)(const Description&, More...), const Names&... names) {
    m.def(name, [work](int semiring, int components, double beta, bool wide, std::vector<int64_t> spec, bool batched, nb::list weights, nb::list features,
                       nb::object lengths, int64_t batch, int64_t length, int64_t threads, More... more) {
        return work(describe(semiring, components, beta, wide, spec, batched, weights, features, lengths, batch, length, threads), std::move(more)...);
    }, "semiring"_a, "components"_a, "beta"_a, "wide"_a, "spec"_a, "batched"_a, "weights"_a, "features"_a, "lengths"_a.none(), "batch"_a, "length"_a, "threads"_a, names...);
}

}  // namespace

NB_MODULE(SEMIHMM_MODULE, m) {
    m.doc() = "semihmm's native backend, for one instruction set.";
    nb::set_leak_warnings(false);  // programs are kept until the process ends, in whichever order Python takes things down then
    m.def("isa", [] { return SEMIHMM_ISA; }, "The instruction set that this module is compiled for.");
    m.def("has_helpers", &has_helpers, "Whether PyTorch's threads help; else every call is done by one thread.");
    // What Python must know of these sources: semihmm/engine/backends/kernels.py.
    constexpr std::pair<const char*, int64_t> constants[] = {
        {"LOG", kLog}, {"MAX", kMax}, {"TOPK", kTopK}, {"EXPECTATION", kExpectation},
        {"DENSE", kDense}, {"DIAGONAL", kDiagonal}, {"TIED", kTied}, {"SPARSE", kSparse}, {"SEGMENTAL", kSegmental}, {"GRID", kGrid}, {"AXES", kAxes},
        {"GRID_TABLES", kGridTables}, {"LANES", vector_bytes}, {"BLOCK", kBlock}, {"GROUP", kGroup}, {"PARTS", kParts},
    };
    for (const auto& [name, value] : constants) m.attr(name) = value;
    m.def("have_helped", &have_helped, "Whether they have helped since this module was loaded.");
    known = find_borrowing();
    nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
        try {
            std::rethrow_exception(thrown);
        } catch (const WrongType& error) {
            PyErr_SetString(PyExc_TypeError, error.what());
        }
    });
    interruption = [] {  // Ctrl-C, which Python only notes until somebody asks
        const nb::gil_scoped_acquire held;
        if (PyErr_CheckSignals()) throw nb::python_error();
    };
    bind_kernels(m);
    bind_programs(m);
    bind_decoding(m);
    bind_streaming(m);
    m.def("in_huge_pages", &spread_out, "tensor"_a, "Ask for huge pages under a contiguous tensor that nobody has touched.");
    m.def("fill", &fill, "tensor"_a, "value"_a, "threads"_a, "Write one number to all of a contiguous tensor.");
    m.def("negate", &negate, "tensor"_a, "threads"_a, "Change the sign of all of a contiguous tensor.");
    m.def("usable", &all_usable, "tensors"_a, "sign"_a, "threads"_a, "Whether all entries of all tensors are below infinity, times `sign`; with 0, finite.");
    m.def("fresh_zeros", [](std::vector<std::size_t> shape, bool wide) {
        return wide ? nb::cast(fresh<double>(shape)) : nb::cast(fresh<float>(shape));
    }, "shape"_a, "wide"_a, "A large tensor of zeros, which the system clears page by page when they are touched first.");
    m.def("squared_distances", &distances, "x"_a, "y"_a, "log_variance"_a.none(), "wide"_a, "out"_a, "threads"_a, "Of contiguous (batch, n, features) and (batch or 1, m, features), into (batch, n, m); no batch axis is one of 1. With log-variances: log-densities.");
    m.def("gaussian_densities", &densities_of, "x"_a, "mean"_a, "factor"_a, "wide"_a, "out"_a, "threads"_a, "Of contiguous (n, features) under Gaussians with means (m, features) and Cholesky factors (m, features, features), of which the logarithm of the diagonal is given, into (n, m).");
    m.def("cholesky_factors", &factors_of, "matrices"_a, "floor"_a, "out"_a, "Of contiguous float64 (m, features, features), into one like it, the logarithms of the diagonals on these; nothing is written above. False if an eigenvalue is not above the floor.");
    m.def("weighted_moments", &moments_about, "x"_a, "share"_a, "centre"_a, "mixed"_a, "wide"_a, "out"_a, "threads"_a, "Of contiguous (n, features) about a centre, with shares (n, m), into float64 (m, 1 + features + products): the weight, the first and the second moments, those of each feature with all of them or with itself.");
    m.def("submatrices", &submatrices, "whole"_a, "rows"_a, "columns"_a, "parts"_a, "wide"_a, "back"_a, "threads"_a, "Of contiguous whole (sets, height, width), what rows (places, n) and columns (places, m) have in common, into parts (places, n, m); or `back`, added to whole.");
    m.def("warp", [](nb::object x, nb::object x_length, nb::object y, nb::object y_length, int metric, std::vector<double> factors, std::vector<int64_t> ranks, bool open_begin,
                     nb::object window, bool itakura, bool wide, int64_t threads, nb::object pairs, nb::object most, nb::object out, nb::object ends) {
        with_series(x, x_length, y, y_length, metric, factors, ranks, open_begin, window, itakura, wide, threads, [&]<class F>(const WarpRequest& request, const SeriesSet<F>& a, const SeriesSet<F>& b) {
            const Given those = given(pairs);
            if (those.shape.size() != 2) refuse("warp: pairs must be (count, 2), got " + shown(those.shape) + ".");
            const int64_t count = those.shape[0];
            check_whole(those, "warp: pairs", Type::kInt64, {count, 2});
            const auto* at = those.as<int64_t>();
            for (int64_t p = 0; p < count; ++p) check_numbers(at + 2 * p, 1, a.count, "pairs"), check_numbers(at + 2 * p + 1, 1, b.count, "pairs");
            const double* bounds = check_array<double>(given(most), "most", count, true);
            double* to = check_array<double>(given(out), "out", count);
            double* last = check_array<double>(given(ends), "ends", product({count, b.items}, "ends"), true);
            const nb::gil_scoped_release release;
            if (count) warp<F>(request, a, b, at, count, bounds, to, last);
        });
    }, "x"_a, "x_length"_a, "y"_a, "y_length"_a, "metric"_a, "factors"_a, "ranks"_a, "open_begin"_a, "window"_a.none(), "itakura"_a, "wide"_a, "threads"_a, "pairs"_a, "most"_a.none(), "out"_a, "ends"_a.none(),
       "What the best paths of pairs (count, 2) of series (count, items, features) cost, and, if requested, those to each item that they may end in.");
    m.def("nearest", [](nb::object x, nb::object x_length, nb::object y, nb::object y_length, int metric, std::vector<double> factors, std::vector<int64_t> ranks, bool open_begin,
                        nb::object window, bool itakura, bool wide, int64_t threads, nb::object order, nb::object least, nb::object index, nb::object cost) {
        with_series(x, x_length, y, y_length, metric, factors, ranks, open_begin, window, itakura, wide, threads, [&]<class F>(const WarpRequest& request, const SeriesSet<F>& a, const SeriesSet<F>& b) {
            const Given found = given(index);
            if (found.shape.size() != 2 || found.shape[1] < 1) refuse("nearest: index must be (count, k), got " + shown(found.shape) + ".");
            const int64_t k = found.shape[1], all = product({a.count, b.count}, "nearest: pairs");
            auto* numbers = check_array<int64_t>(found, "index", product({a.count, k}, "nearest: index"));
            double* costs = check_array<double>(given(cost), "cost", a.count * k);
            const auto* candidates = check_array<int64_t>(given(order), "order", all);
            const auto* bounds = check_array<double>(given(least), "least", all);
            check_numbers(candidates, all, b.count, "order");
            const nb::gil_scoped_release release;
            if (a.count) nearest<F>(request, a, b, candidates, bounds, k, numbers, costs);
        });
    }, "x"_a, "x_length"_a, "y"_a, "y_length"_a, "metric"_a, "factors"_a, "ranks"_a, "open_begin"_a, "window"_a.none(), "itakura"_a, "wide"_a, "threads"_a, "order"_a, "least"_a, "index"_a, "cost"_a,
       "The nearest series of y (count, k) to each of x, and what they cost; `order` has them by what they cost at least, `least`.");
    m.def("gather_on", [](nb::object x, nb::object x_length, nb::object y, nb::object y_length, int metric, std::vector<double> factors, std::vector<int64_t> ranks, bool open_begin,
                          nb::object window, bool itakura, bool wide, int64_t threads, nb::object weight, nb::object cost, nb::object sum, nb::object mass) {
        with_series(x, x_length, y, y_length, metric, factors, ranks, open_begin, window, itakura, wide, threads, [&]<class F>(const WarpRequest& request, const SeriesSet<F>& a, const SeriesSet<F>& b) {
            if (a.count < 1 || b.count != 1 || *b.length != b.items) refuse("gather_on: x must hold series, and y one of full length.");
            const double* shares = check_array<double>(given(weight), "weight", a.count);
            double *to = check_array<double>(given(cost), "cost", a.count), *sums = check_array<double>(given(sum), "sum", b.items * b.features);
            double* masses = check_array<double>(given(mass), "mass", b.items);
            const nb::gil_scoped_release release;
            gather_on<F>(request, a, b, shares, to, sums, masses);
        });
    }, "x"_a, "x_length"_a, "y"_a, "y_length"_a, "metric"_a, "factors"_a, "ranks"_a, "open_begin"_a, "window"_a.none(), "itakura"_a, "wide"_a, "threads"_a, "weight"_a, "cost"_a, "sum"_a, "mass"_a,
       "What the best paths of series to one series cost; and the sum (items, features) and the mass (items) of what lies on each of its items.");
    define(m, "total", +[](const Description& d, nb::object vectors, nb::object offsets, int64_t rows, int64_t segment, nb::object values) {
        const Memory memory = memory_of(d, vectors, offsets, rows, segment);
        double* to = check_array<double>(given(values), "values", product({d.request.components, d.request.batch}, "values"));
        const nb::gil_scoped_release release;
        with_type(d.request.wide, [&]<class F>(F) { run_total<F>(d, memory.kept<F>(), to); });
    }, "vectors"_a, "offsets"_a, "rows"_a, "segment"_a, "values"_a);
    define(m, "gradient", +[](const Description& d, nb::object vectors, nb::object offsets, int64_t rows, int64_t segment, nb::object g0, nb::object g1,
                              nb::list out, nb::list out_features, nb::object values, int64_t stride) {
        const Request& request = d.request;
        must_be(request.semiring != kTopK, "gradient");
        const auto to = all(out, d.batched), to_features = all(out_features, d.batched);
        check_out(request, d.form, to, request.weights, "out");
        check_out(request, d.form, to_features, request.features, "out_features");
        double* totals = check_array<double>(given(values), "values", product({request.components, request.batch}, "values"), request.semiring != kMax);
        check_rows(request, d.form, rows, segment);
        const Memory memory = totals ? Memory{{}, {}, rows, segment, request.length} : memory_of(d, vectors, offsets, rows, segment);
        if (stride != d.form.stride) refuse("stride must be " + std::to_string(d.form.stride) + ", the numbers in a state vector, got " + std::to_string(stride) + ".");
        const double* by_value = check_array<double>(given(g0), "g0", request.batch);
        const double* by_mean = check_array<double>(given(g1), "g1", request.batch, true);
        const nb::gil_scoped_release release;
        with_type(request.wide, [&]<class F>(F) { run_gradient<F>(d, memory.kept<F>(), by_value, by_mean, to, to_features, totals, stride); });
    }, "vectors"_a.none(), "offsets"_a.none(), "rows"_a, "segment"_a, "g0"_a, "g1"_a.none(), "out"_a, "out_features"_a, "values"_a.none(), "stride"_a);
    define(m, "paths", +[](const Description& d, int64_t rows, int64_t segment, int64_t count, nb::object slots,
                           nb::object choices, nb::object uniforms, int64_t draws, nb::object values, nb::object arc_indices) {
        const Request& request = d.request;
        must_be(request.semiring != kExpectation, "paths");
        const bool drawn = request.semiring == kLog;
        const int64_t most = drawn ? kMost : request.components, paths = product({count, request.batch}, "paths");
        if (count < 1 || count > most) refuse("count must be from 1 to " + std::to_string(most) + ", got " + std::to_string(count) + ".");
        PathsOut out;
        out.rows = count;
        out.slots = check_array<int64_t>(given(slots), "slots", product({paths, request.length + 1}, "slots"));
        out.choices = check_array<int64_t>(given(choices), "choices", product({paths, request.length}, "choices"));
        out.uniforms = check_array<double>(given(uniforms), "uniforms", product({paths, draws}, "uniforms"), !drawn), out.draws = draws;
        if (out.uniforms && (!drawn || draws < d.form.draws))
            refuse("uniforms are for draws, at least " + std::to_string(d.form.draws) + " for each, got " + std::to_string(draws) + ".");
        out.values = check_array<double>(given(values), "values", product({request.components, request.batch}, "values"));
        const auto per_step = static_cast<int64_t>(d.form.arc_indices.size());
        out.arc_indices = check_array<int64_t>(given(arc_indices), "arc_indices", product({paths, request.length, per_step}, "arc_indices"), true);
        check_rows(request, d.form, rows, segment);
        const nb::gil_scoped_release release;
        with_type(request.wide, [&]<class F>(F) { run_paths<F>(d, rows, segment, out); });
    }, "rows"_a, "segment"_a, "count"_a, "slots"_a, "choices"_a, "uniforms"_a.none(), "draws"_a, "values"_a, "arc_indices"_a.none());
    define(m, "vectors", +[](const Description& d, nb::object only, nb::object out) {
        must_be(d.request.semiring == kLog || d.request.semiring == kMax, "vectors");
        const int64_t batch = d.request.batch, slots = d.form.slots;
        const auto* its = check_array<int64_t>(given(only), "only", batch, true);
        if (its && !std::all_of(its, its + batch, [=](int64_t slot) { return 0 <= slot && slot < slots; })) refuse("vectors: only must be slots.");
        double* to = check_array<double>(given(out), "out", product({batch, d.request.length + 1, its ? 1 : slots}, "the numbers in state vectors"));
        const nb::gil_scoped_release release;
        with_type(d.request.wide, [&]<class F>(F) {
            d.request.semiring == kLog ? vectors<Log<F>>(d.request, its, to) : vectors<Max<F>>(d.request, its, to);
        });
    }, "only"_a.none(), "out"_a);
    define(m, "best_in_slots", +[](const Description& d, nb::object out) {
        must_be(d.request.semiring == kMax, "best_in_slots");
        const int64_t count = product({d.request.batch, d.request.length + 1, d.form.slots}, "the numbers in state vectors");
        bool done = false;
        with_type(d.request.wide, [&]<class F>(F) {
            F* to = check_array<F>(given(out), "out", count);
            const nb::gil_scoped_release release;
            done = best_in_slots<Max<F>>(d.request, d.form.stride, to);
        });
        return done;
    }, "out"_a);
    define(m, "gradient_of_paths", +[](const Description& d, int64_t count, nb::object slots, nb::object arc_indices, nb::object shares, nb::list out) {
        must_be(d.request.semiring != kExpectation, "gradient_of_paths");
        Request request = d.request;
        request.components = 1;  // a path's weights are its own, of whichever it is the k-th best
        const int64_t paths = product({count, request.batch}, "paths"), per_step = static_cast<int64_t>(d.form.arc_indices.size());
        if (count < 1) refuse("count must be at least 1, got " + std::to_string(count) + ".");
        const TracedPaths traced{count, check_array<int64_t>(given(slots), "slots", product({paths, request.length + 1}, "slots")),
                                 check_array<int64_t>(given(arc_indices), "arc_indices", product({paths, request.length, per_step}, "arc_indices")),
                                 check_array<double>(given(shares), "shares", paths)};
        const auto to = all(out, d.batched);
        check_out(request, d.form, to, request.weights, "out");
        check_paths(request, d.form, count, traced.slots, traced.arc_indices);
        const nb::gil_scoped_release release;
        with_type(request.wide, [&]<class F>(F) { gradient_of_paths<F>(request, traced, to); });
    }, "count"_a, "slots"_a, "arc_indices"_a, "shares"_a, "out"_a);
}
