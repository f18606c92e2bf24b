// What streams take of the Python module; see semihmm/streaming/survivors.py and semihmm/engine/onward.py.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <mutex>

#include "entry.hpp"
#include "onward.hpp"
#include "survivors.hpp"

namespace semihmm {

using namespace nb::literals;

template <class T, int axes>
using Held = nb::ndarray<T, nb::ndim<axes>, nb::c_contig, nb::device::cpu>;

inline namespace SEMIHMM_MODULE {  // a type for each module, as in program.hpp

// The trees of some streams, whose tables Python holds: as those say, or made anew.
class SurvivorTrees {
  public:
    struct Tables {
        Held<int32_t, 3> codes;
        Held<int64_t, 1> time, root;
        Held<bool, 1> onward;
        Held<bool, 3> open;
    };
    using Line = Held<const int64_t, 1>;

    explicit SurvivorTrees(int64_t streams) : trees_(static_cast<std::size_t>(streams)) {}

    void grow(const Tables& tables, const Line& streams, const Line& steps, const Held<const int32_t, 3>& came, int64_t threads) {
        const auto count = static_cast<int64_t>(streams.shape(0)), longest = static_cast<int64_t>(came.shape(1)), width = static_cast<int64_t>(came.shape(2));
        if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
        if (static_cast<int64_t>(steps.shape(0)) != count || static_cast<int64_t>(came.shape(0)) != count || width != static_cast<int64_t>(tables.onward.shape(0)))
            refuse("Survivors: came must be (streams, steps, width).");
        std::vector<bool> seen(trees_.size());
        std::vector<SurvivorTable> each;
        for (int64_t i = 0; i < count; ++i) {
            const SurvivorTable& of = each.emplace_back(table(tables, streams.data()[i]));
            if (seen[streams.data()[i]]) refuse("Survivors: a stream is named twice.");
            seen[streams.data()[i]] = true;
            if (steps.data()[i] < 0 || steps.data()[i] > longest) refuse("Survivors: there are not as many steps.");
            if (*of.time + steps.data()[i] - *of.root / width >= of.capacity) refuse("Survivors: the ring must hold all times from the root on.");
        }
        const Entered entered(*this);
        for_each_part(count, std::min<int64_t>(count, 16), threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
            for (int64_t i = first; i < last; ++i) trees_[streams.data()[i]].grow(each[i], steps.data()[i], came.data() + i * longest * width);
        });
    }
    // The nodes that roots pass, and whose they are: numbers of `streams`.
    nb::tuple settle(const Tables& tables, const Line& streams) {
        std::vector<int64_t> which, passed;
        each_of(tables, streams, [&](int64_t i, Survivors& tree, const SurvivorTable& of) {
            tree.settle(of, passed);
            which.resize(passed.size(), i);
        });
        return nb::make_tuple(which, passed);
    }
    void first_children(const Tables& tables, const Line& streams, const Held<int64_t, 1>& out) {
        check_counts(streams, {out.shape(0)});
        each_of(tables, streams, [&](int64_t i, Survivors& tree, const SurvivorTable& of) { out.data()[i] = tree.first_child(of); });
    }
    std::vector<int64_t> path(const Tables& tables, int64_t stream, int64_t node) {
        std::vector<int64_t> found;
        Survivors::path(table(tables, stream), node, found);
        return found;
    }
    void keep(const Tables& tables, const Line& streams, const Line& ends, const Line& since, const Held<int64_t, 1>& out) {
        check_counts(streams, {ends.shape(0), since.shape(0), out.shape(0)});
        each_of(tables, streams, [&](int64_t i, Survivors& tree, const SurvivorTable& of) { out.data()[i] = tree.keep(of, ends.data()[i], since.data()[i]); });
    }

  private:
    // One call at a time.
    struct Entered {
        explicit Entered(SurvivorTrees& trees) : locked(trees.busy_) {}
        nb::gil_scoped_release released;
        std::lock_guard<std::mutex> locked;
    };
    static void check_counts(const Line& streams, std::initializer_list<std::size_t> counts) {
        for (const std::size_t count : counts)
            if (count != streams.shape(0)) refuse("Survivors: there must be as many ends, times and nodes as streams.");
    }
    SurvivorTable table(const Tables& x, int64_t stream) const {
        const auto extent = [&](int i) { return static_cast<int64_t>(x.codes.shape(i)); };
        const auto count = static_cast<int64_t>(trees_.size()), memory = static_cast<int64_t>(x.open.shape(1)), width = extent(2);
        const auto streams = [&](const auto& one) { return static_cast<int64_t>(one.shape(0)); };
        if (extent(0) != count || streams(x.time) != count || streams(x.root) != count || streams(x.open) != count) refuse("Survivors: tables must be of as many streams.");
        if (extent(1) < 1 || width < 1 || memory < 1 || streams(x.onward) != width || static_cast<int64_t>(x.open.shape(2)) != width)
            refuse("Survivors: tables must be (streams, times, width), and of as many slots.");
        if (std::max(extent(1), 8 * (memory + 1)) * width > std::numeric_limits<int32_t>::max()) refuse("Survivors: there are too many nodes.");
        if (stream < 0 || stream >= count) refuse("Survivors: there is no stream " + std::to_string(stream) + ".");
        const SurvivorTable found{extent(1), width, memory, x.codes.data() + stream * extent(1) * width, x.time.data() + stream, x.root.data() + stream, x.onward.data(), x.open.data() + stream * memory * width};
        found.check();
        return found;
    }
    template <class Work>
    void each_of(const Tables& tables, const Line& streams, const Work& work) {
        const Entered entered(*this);
        for (std::size_t i = 0; i < streams.shape(0); ++i) {
            const SurvivorTable of = table(tables, streams.data()[i]);
            work(static_cast<int64_t>(i), trees_[streams.data()[i]], of);
        }
    }

    std::vector<Survivors> trees_;
    std::mutex busy_;
};

}  // namespace SEMIHMM_MODULE

// Weights of steps: of 1 sequence or all, of 1 step or all; None for none.
template <class F>
StepWeights<F> step_weights(nb::handle x, const char* name, int64_t batch, int64_t times, std::initializer_list<int64_t> event) {
    if (x.is_none()) return {};
    const Given one = given(x);
    if (one.shape.size() != 2 + event.size() || (one.shape[0] != 1 && one.shape[0] != batch) || (one.shape[1] != 1 && one.shape[1] != times))
        refuse(std::string(name) + " must be of 1 sequence or all, and of 1 step or all, got " + shown(one.shape) + ".");
    if (!std::equal(event.begin(), event.end(), one.shape.begin() + 2)) refuse(std::string(name) + " must be of the sizes of the others, got " + shown(one.shape) + ".");
    if (one.type != (sizeof(F) == sizeof(double) ? Type::kDouble : Type::kFloat)) throw WrongType(std::string("semihmm: ") + name + " must be of the type of the others.");
    if (!in_one_piece(one, 2)) refuse(std::string(name) + " must be in one piece for each step, got " + shown(one.shape) + " with gaps.");
    int64_t size = 1;
    for (int64_t n : event) size *= n;
    if (!one.data && one.shape[0] * one.shape[1] * size > 0) refuse(std::string(name) + " has no memory to read: it is not a tensor of numbers.");
    return {one.as<F>(), one.shape[0], one.shape[1], size, one.strides[0], one.strides[1]};
}

struct OnwardTensors {
    nb::object weight, begin, row, source, peak, emission, duration, segment, going, taken, carry, offset, vectors, offsets, scales, came, told;
};

template <class F>
void run_onward(const OnwardTensors& x, Type type, int64_t threads) {
    const Given carry = given(x.carry), scales = given(x.scales), vectors = given(x.vectors);
    const int64_t batch = carry.shape[0], memory = carry.shape[1], slots = carry.shape[2], length = scales.shape[1];
    const int64_t states = x.duration.is_none() ? slots : slots / 2, before = vectors.shape[1] - length;
    const bool pointers = !x.came.is_none();
    if (memory < 1 || states < 1 || length < 0 || states * (x.duration.is_none() ? 1 : 2) != slots || memory * slots > std::numeric_limits<int32_t>::max())
        refuse("onward: carry must be (batch, memory, slots), got " + shown(carry.shape) + ".");
    if ((memory > 1 && x.duration.is_none()) || (before != 0 && before != memory) || (before == 0 && pointers && memory > 1))
        refuse("onward: vectors must begin with as many as a carry has, where pointers are asked for.");
    product({batch, memory + length, slots, memory + states}, "onward: scores");
    const auto maybe = [](const nb::object& one) { return one.is_none() ? Given{} : given(one); };
    const auto whole = [&](const nb::object& one, const char* name, Type kind, std::initializer_list<int64_t> sizes) {
        const Given found = maybe(one);
        if (found.present()) check_whole(found, name, kind, sizes);
        return found;
    };
    StepMoves<F> moves{states, {}, nullptr, nullptr, nullptr};
    if (x.source.is_none()) {
        moves.weight = step_weights<F>(x.weight, "onward: weight", batch, length, {states, states});
    } else {
        const Given source = given(x.source);
        if (source.shape.size() != 1) refuse("onward: source must be (places).");
        constexpr int64_t slice = StepMoves<F>::kSlice;
        const int64_t places = source.shape[0], slices = (states + slice - 1) / slice;
        check_whole(source, "onward: source", Type::kInt32, {places});
        moves.weight = step_weights<F>(x.weight, "onward: weight", batch, length, {places});
        moves.source = source.as<int32_t>(), moves.row = whole(x.row, "onward: row", Type::kInt32, {states}).template as<int32_t>();
        moves.begin = whole(x.begin, "onward: begin", Type::kInt32, {slices + 1}).template as<int32_t>();
        bool fits = moves.begin && moves.begin[0] == 0 && moves.begin[slices] == places && std::is_sorted(moves.begin, moves.begin + slices + 1);
        for (int64_t i = 0; fits && i <= slices; ++i) fits = moves.begin[i] % slice == 0;
        if (!fits) refuse("onward: begin must count the places of each slice of " + std::to_string(slice) + " states.");
        const auto outside = [&](const int32_t* from, int64_t count) {
            int32_t found = 0;
            for (int64_t i = 0; i < count; ++i) found |= from[i] < 0 || from[i] >= states;
            return found != 0;
        };
        if (outside(moves.source, places)) refuse("onward: source must be states.");
        if (!moves.row || outside(moves.row, states)) refuse("onward: row must be states.");
    }
    const Onward<F> all{batch, length, memory, moves,
                        step_weights<double>(x.peak, "onward: peak", batch, length, {}),
                        step_weights<F>(x.emission, "onward: emission", batch, memory - 1 + length, {states}),
                        step_weights<F>(x.duration, "onward: duration", batch, length, {memory, states}),
                        step_weights<F>(x.segment, "onward: segment", batch, length, {memory, states}),
                        step_weights<F>(x.going, "onward: going", batch, length, {memory, states}),
                        whole(x.taken, "onward: taken", Type::kInt64, {batch}).template as<int64_t>(),
                        whole(x.carry, "onward: carry", type, {batch, memory, slots}).template to<F>(),
                        whole(x.offset, "onward: offset", Type::kDouble, {batch}).template to<double>(),
                        before,
                        whole(x.vectors, "onward: vectors", type, {batch, before + length, slots}).template to<F>(),
                        whole(x.offsets, "onward: offsets", Type::kDouble, {batch, before + length}).template to<double>(),
                        whole(x.scales, "onward: scales", Type::kDouble, {batch, length}).template to<double>(),
                        whole(x.came, "onward: came", Type::kInt32, {batch, length, slots}).template to<int32_t>(),
                        whole(x.told, "onward: told", type, {batch, length, states}).template to<F>()};
    if ((all.told != nullptr) != static_cast<bool>(all.going)) refuse("onward: told goes with going.");
    if (all.emission && memory > 1 && all.emission.times != memory - 1 + length) refuse("onward: emission must be of all frames.");
    const nb::gil_scoped_release release;
    if (batch && length) all.run(threads);
}

inline void onward(nb::object weight, nb::object begin, nb::object row, nb::object source, nb::object peak, nb::object emission, nb::object duration, nb::object segment, nb::object going,
                   nb::object taken, nb::object carry, nb::object offset, nb::object vectors, nb::object offsets, nb::object scales, nb::object came, nb::object told, int64_t threads) {
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
    const Given x = given(carry), steps = given(scales), to = given(vectors);
    if (x.shape.size() != 3 || steps.shape.size() != 2 || to.shape.size() != 3 || to.shape[1] < steps.shape[1]) refuse("onward: carry is (batch, memory, slots), scales (batch, length) and vectors (batch, before + length, slots).");
    if (x.type != Type::kFloat && x.type != Type::kDouble) throw WrongType("semihmm: onward: carry must be float32 or float64.");
    const OnwardTensors all{weight, begin, row, source, peak, emission, duration, segment, going, taken, carry, offset, vectors, offsets, scales, came, told};
    x.type == Type::kDouble ? run_onward<double>(all, x.type, threads) : run_onward<float>(all, x.type, threads);
}

inline void normalise_rows(nb::object x, nb::object to, nb::object mass) {
    const Given from = given(x), out = given(to), sums = given(mass);
    if (from.shape.size() != 2) refuse("normalise_rows: x must be (rows, size), got " + shown(from.shape) + ".");
    if (from.type != Type::kFloat && from.type != Type::kDouble) throw WrongType("semihmm: normalise_rows: x must be float32 or float64.");
    const int64_t rows = from.shape[0], size = from.shape[1];
    check_whole(from, "normalise_rows: x", from.type, {rows, size}), check_whole(out, "normalise_rows: out", from.type, {rows, size});
    check_whole(sums, "normalise_rows: mass", from.type, {rows});
    const nb::gil_scoped_release release;
    with_type(from.type == Type::kDouble, [&]<class F>(F) { normalise_rows(rows, size, from.as<F>(), out.to<F>(), sums.to<F>()); });
}

inline void bind_streaming(nb::module_& m) {
    m.def("normalise_rows", static_cast<void (*)(nb::object, nb::object, nb::object)>(&normalise_rows), "x"_a, "out"_a, "mass"_a, "Log-weights less the log of the sum of each row, and those.");
    m.def("onward", &onward, "weight"_a, "begin"_a.none(), "row"_a.none(), "source"_a.none(), "peak"_a.none(), "emission"_a.none(), "duration"_a.none(), "segment"_a.none(), "going"_a.none(),
          "taken"_a.none(), "carry"_a, "offset"_a, "vectors"_a, "offsets"_a, "scales"_a, "came"_a.none(), "told"_a.none(), "threads"_a,
          "Move carries over some steps: sums, or with `came` what is best, and where from.");
    if (const nb::handle made = nb::type<SurvivorTrees>(); made.is_valid()) {  // the same module, imported once more
        m.attr("SurvivorTrees") = made;
        return;
    }
    auto trees = nb::class_<SurvivorTrees>(m, "SurvivorTrees", "The trees of best paths of some streams; see semihmm/streaming/survivors.py.");
    trees.def("__init__", [](SurvivorTrees* made, int64_t streams) {
        if (streams < 0 || streams > kMost) refuse("Survivors: there cannot be " + std::to_string(streams) + " streams.");
        new (made) SurvivorTrees(streams);
    }, "streams"_a);
    // Tables are written to, so none of them may be converted to a copy.
    const auto define = [&]<class Found, class... More>(const char* name, Found (SurvivorTrees::*work)(const SurvivorTrees::Tables&, More...), const auto&... names) {
        trees.def(name, [work](SurvivorTrees& self, Held<int32_t, 3> codes, Held<int64_t, 1> time, Held<int64_t, 1> root, Held<bool, 1> onward, Held<bool, 3> open, std::decay_t<More>... more) {
            return (self.*work)({codes, time, root, onward, open}, more...);
        }, nb::arg("codes").noconvert(), nb::arg("time").noconvert(), nb::arg("root").noconvert(), nb::arg("onward").noconvert(), nb::arg("open").noconvert(), names...);
    };
    define("grow", &SurvivorTrees::grow, "streams"_a, "steps"_a, "came"_a, "threads"_a);
    define("settle", &SurvivorTrees::settle, "streams"_a);
    define("first_children", &SurvivorTrees::first_children, "streams"_a, nb::arg("out").noconvert());
    define("path", &SurvivorTrees::path, "stream"_a, "node"_a);
    define("keep", &SurvivorTrees::keep, "streams"_a, "ends"_a, "since"_a, nb::arg("out").noconvert());
}

}  // namespace semihmm
