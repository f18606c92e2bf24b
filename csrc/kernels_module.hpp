// The inner kernels as Python functions, for the tests to call: arrays in, NumPy arrays out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "lanes.hpp"
#include "parallel.hpp"
#include "product.hpp"

namespace semihmm {

namespace kernels {

namespace nb = nanobind;

template <class F>
using Array1 = nb::ndarray<const F, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class F>
using Array2 = nb::ndarray<const F, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class F>
struct Result {
    explicit Result(std::initializer_list<std::size_t> shape) : shape(shape) {
        std::size_t size = 1;
        for (std::size_t n : shape) size *= n;
        data = new F[size]();
        owner = nb::capsule(data, [](void* p) noexcept { delete[] static_cast<F*>(p); });
    }
    nb::ndarray<nb::numpy, F> array() const { return {data, shape.size(), shape.data(), owner}; }

    std::vector<std::size_t> shape;
    F* data = nullptr;
    nb::capsule owner;
};

// A matrix whose rows are whole vectors; `rest` fills them up.
template <class F>
struct Padded {
    Padded(const Array2<F>& a, F rest) : Padded(a.shape(0), a.shape(1), rest) {
        for (std::size_t i = 0; i < a.shape(0); ++i) {
            if (columns > 0) std::memcpy(row(i), a.data() + i * columns, columns * sizeof(F));
        }
    }
    Padded(std::size_t rows, std::size_t columns, F rest)
        : columns(columns),
          ld((columns + Lanes<F>::width - 1) / Lanes<F>::width * Lanes<F>::width),
          data(rows * ld, rest) {}

    F* row(std::size_t i) { return data.data() + i * ld; }

    template <class Pointer>
    std::vector<Pointer> rows(std::size_t count) {
        std::vector<Pointer> all;
        for (std::size_t i = 0; i < count; ++i) all.push_back(row(i));
        return all;
    }

    nb::ndarray<nb::numpy, F> array(std::size_t count) {
        Result<F> out{count, columns};
        for (std::size_t i = 0; i < count; ++i) {
            if (columns > 0) std::memcpy(out.data + i * columns, row(i), columns * sizeof(F));
        }
        return out.array();
    }

    std::size_t columns, ld;
    std::vector<F> data;
};

template <class F>
std::vector<const F*> rows_of(const Array2<F>& a) {
    std::vector<const F*> rows;
    for (std::size_t i = 0; i < a.shape(0); ++i) rows.push_back(a.data() + i * a.shape(1));
    return rows;
}

inline void require(bool met, const char* message) {
    if (!met) throw std::invalid_argument(message);
}

template <class F, class Kernel>
nb::ndarray<nb::numpy, F> product(const Array2<F>& p, const Array2<F>& w, F rest, Kernel kernel) {
    require(p.shape(1) == w.shape(0), "multiply: p is (rows, inner) and w is (inner, columns), got different `inner`.");
    Padded<F> matrix(w, rest), out(p.shape(0), w.shape(1), F(0));
    const auto from = rows_of(p);
    const auto to = out.template rows<F*>(p.shape(0));
    kernel(static_cast<int>(from.size()), from.data(), static_cast<std::int64_t>(p.shape(1)), matrix.data.data(),
           static_cast<std::int64_t>(matrix.ld), to.data());
    return out.array(p.shape(0));
}

template <class F>
void bind(nb::module_& m) {
    m.def(
        "exp",
        [](Array1<F> x) {
            Result<F> out{x.shape(0)};
            exp<F>(static_cast<std::int64_t>(x.shape(0)), x.data(), out.data);
            return out.array();
        },
        nb::arg("x").noconvert());
    m.def(
        "log",
        [](Array1<F> x) {
            Result<F> out{x.shape(0)};
            log<F>(static_cast<std::int64_t>(x.shape(0)), x.data(), out.data);
            return out.array();
        },
        nb::arg("x").noconvert());
    m.def(
        "exp_shifted_sum",
        [](Array1<F> x, double shift) {
            Result<F> out{x.shape(0)};
            const F sum =
                exp_shifted_sum<F>(static_cast<std::int64_t>(x.shape(0)), x.data(), static_cast<F>(shift), out.data);
            return nb::make_tuple(out.array(), static_cast<double>(sum));
        },
        nb::arg("x").noconvert(), nb::arg("shift"));
    m.def(
        "max_of",
        [](Array1<F> x) { return static_cast<double>(max_of<F>(static_cast<std::int64_t>(x.shape(0)), x.data())); },
        nb::arg("x").noconvert());
    m.def(
        "multiply", [](Array2<F> p, Array2<F> w) { return product<F>(p, w, F(0), multiply<F>); },
        nb::arg("p").noconvert(), nb::arg("w").noconvert());
    m.def(
        "multiply_both",
        [](Array2<F> p, Array2<F> y, Array2<F> w) {
            require(p.shape(1) == w.shape(0) && y.shape(1) == w.shape(1) && p.shape(0) == y.shape(0) && (p.shape(0) == 1 || p.shape(0) == 2),
                    "multiply_both: p is (rows, inner), y is (rows, columns) and w is (inner, columns), of 1 or 2 rows, got other sizes.");
            const Padded<F> matrix(w, F(0));
            Padded<F> left(p, F(0)), right(y, F(0)), out(p.shape(0), w.shape(1), F(0)), dots(p.shape(0), w.shape(0), F(0));
            const auto inner = static_cast<std::int64_t>(w.shape(0)), ld = static_cast<std::int64_t>(matrix.ld);
            std::vector<F> panels(static_cast<std::size_t>(panels_size<F>(inner, ld)));
            to_panels<F>(inner, matrix.data.data(), ld, panels.data());
            const auto from = left.template rows<const F*>(p.shape(0)), with = right.template rows<const F*>(p.shape(0));
            const auto to = out.template rows<F*>(p.shape(0)), sums = dots.template rows<F*>(p.shape(0));
            const auto work = p.shape(0) == 1 ? multiply_both<1, F> : multiply_both<2, F>;
            work(from.data(), with.data(), inner, panels.data(), ld, to.data(), sums.data());
            return nb::make_tuple(out.array(p.shape(0)), dots.array(p.shape(0)));
        },
        nb::arg("p").noconvert(), nb::arg("y").noconvert(), nb::arg("w").noconvert());
    m.def(
        "multiply_max", [](Array2<F> p, Array2<F> w) { return product<F>(p, w, -infinity<F>, multiply_max<F>); },
        nb::arg("p").noconvert(), nb::arg("w").noconvert());
    m.def(
        "add_outer",
        [](Array2<F> a, Array2<F> y, Array2<F> g) {
            require(a.shape(0) == y.shape(0) && a.shape(1) == g.shape(0) && y.shape(1) == g.shape(1),
                    "add_outer: a is (n, inner), y is (n, columns) and g is (inner, columns), got sizes that differ.");
            Padded<F> right(y, F(0)), sum(g, F(0));
            const auto left = rows_of(a);
            const auto by = right.template rows<const F*>(y.shape(0));
            add_outer<F>(static_cast<std::int64_t>(left.size()), left.data(), by.data(),
                         static_cast<std::int64_t>(g.shape(0)), static_cast<std::int64_t>(sum.ld), sum.data.data());
            return sum.array(g.shape(0));
        },
        nb::arg("a").noconvert(), nb::arg("y").noconvert(), nb::arg("g").noconvert());
    m.def(
        "transpose",
        [](Array2<F> a) {
            Result<F> out{a.shape(1), a.shape(0)};
            const auto rows = static_cast<std::int64_t>(a.shape(0)), columns = static_cast<std::int64_t>(a.shape(1));
            transpose<F>(rows, columns, a.data(), columns, out.data, rows);
            return out.array();
        },
        nb::arg("a").noconvert());
}

// How often each item was worked on, and by which worker. `bad` is a part that throws.
inline nb::tuple parts(std::int64_t batch, std::int64_t count, std::int64_t threads, std::int64_t bad) {
    require(batch >= 0 && batch < 1 << 20 && count >= 0 && count < 1 << 20, "parts: too many.");
    Result<std::int64_t> times{static_cast<std::size_t>(batch)}, workers{static_cast<std::size_t>(batch)};
    const auto its = times.array(), theirs = workers.array();
    {
        const nb::gil_scoped_release release;
        for_each_part(batch, count, threads, [&](std::int64_t part, std::int64_t first, std::int64_t last, std::int64_t worker) {
            if (part == bad) throw std::invalid_argument("parts: this one is bad.");
            for (std::int64_t i = first; i < last; ++i) ++times.data[i], workers.data[i] = worker;
        });
    }
    return nb::make_tuple(its, theirs);
}

}  // namespace kernels

// exp, log, exp_shifted_sum, max_of, multiply, multiply_max, add_outer and transpose for float and double arrays, and
// `halved_without_denormals`.
inline void bind_kernels(nanobind::module_& m) {
    kernels::bind<float>(m);
    kernels::bind<double>(m);
    m.def("parts", &kernels::parts, nb::arg("batch"), nb::arg("count"), nb::arg("threads"), nb::arg("bad"));
    m.def("halved_without_denormals", [](double x) {
        FlushDenormals here;
        volatile double half = 0.5;  // so that the product is taken here
        volatile double y = x * half;
        return y;
    });
}

}  // namespace semihmm
