// What streams take of the Python module; see semihmm/streaming/survivors.py and semihmm/engine/onward.py.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include "entry.hpp"
#include "onward.hpp"
#include "survivors.hpp"

namespace semihmm {

using namespace nb::literals;

template <class T, int axes>
using Held = nb::ndarray<T, nb::ndim<axes>, nb::c_contig, nb::device::cpu>;

struct SurvivorTables {
    Held<int32_t, 4> nodes;
    Held<int64_t, 1> time, root;
    Held<bool, 1> onward;
    int64_t memory;
};

inline Survivors survivors_of(const SurvivorTables& x) {
    const auto extent = [&](int i) { return static_cast<int64_t>(x.nodes.shape(i)); };
    const auto count = static_cast<std::size_t>(extent(0));
    if (extent(1) < 1 || extent(2) < 1 || extent(3) != 3 || x.time.shape(0) != count || x.root.shape(0) != count || x.onward.shape(0) != x.nodes.shape(2))
        refuse("Survivors: tables must be (streams, capacity, width, 3), and of as many streams and slots.");
    if (extent(1) * extent(2) > std::numeric_limits<int32_t>::max()) refuse("Survivors: there are too many nodes.");
    if (x.memory < 1 || x.memory > kMost) refuse("Survivors: memory must be at least 1.");
    const bool* onward = x.onward.data();
    return {extent(0), extent(1), extent(2), x.memory, reinterpret_cast<Survivor*>(x.nodes.data()), x.time.data(), x.root.data(), onward, !std::all_of(onward, onward + extent(2), [](bool on) { return on; })};
}

inline void grow_survivors(const SurvivorTables& tables, const Held<const int64_t, 1>& streams, const Held<const int64_t, 1>& steps, const Held<const int32_t, 3>& came, int64_t threads) {
    const Survivors tree = survivors_of(tables);
    const auto count = static_cast<int64_t>(streams.shape(0)), longest = static_cast<int64_t>(came.shape(1));
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
    if (static_cast<int64_t>(steps.shape(0)) != count || static_cast<int64_t>(came.shape(0)) != count || static_cast<int64_t>(came.shape(2)) != tree.width)
        refuse("Survivors: came must be (streams, steps, width).");
    std::vector<bool> seen(tree.streams);
    for (int64_t i = 0; i < count; ++i) {
        tree.check(streams.data()[i]);
        if (seen[streams.data()[i]]) refuse("Survivors: a stream is named twice.");
        seen[streams.data()[i]] = true;
        if (steps.data()[i] < 0 || steps.data()[i] > longest) refuse("Survivors: there are not as many steps.");
    }
    const nb::gil_scoped_release release;
    for_each_part(count, std::min<int64_t>(count, 16), threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
        Burials work;
        for (int64_t i = first; i < last; ++i) tree.grow(streams.data()[i], steps.data()[i], came.data() + i * longest * tree.width, work);
    });
}

inline void keep_survivors(const SurvivorTables& tables, const Held<const int64_t, 1>& streams, const Held<const int64_t, 1>& ends, const Held<const int64_t, 1>& since, const Held<int64_t, 1>& nodes, const Held<bool, 3>& kept) {
    const Survivors tree = survivors_of(tables);
    const std::size_t count = streams.shape(0);
    if (ends.shape(0) != count || since.shape(0) != count || nodes.shape(0) != count || kept.shape(0) != count)
        refuse("Survivors: there must be as many ends, times, nodes and latest slots as streams.");
    if (static_cast<int64_t>(kept.shape(1)) != tree.memory || static_cast<int64_t>(kept.shape(2)) != tree.width) refuse("Survivors: kept must be (streams, memory, width).");
    std::vector<Fate> mark(tree.size());
    Burials work;
    for (std::size_t i = 0; i < count; ++i) {
        tree.check(streams.data()[i]);
        nodes.data()[i] = tree.keep(streams.data()[i], ends.data()[i], since.data()[i], kept.data() + static_cast<int64_t>(i) * tree.memory * tree.width, mark, work);
    }
}

inline void first_children(const SurvivorTables& tables, const Held<const int64_t, 1>& streams, const Held<int64_t, 1>& out) {
    const Survivors tree = survivors_of(tables);
    if (streams.shape(0) != out.shape(0)) refuse("Survivors: out must be of as many streams.");
    for (std::size_t i = 0; i < streams.shape(0); ++i) {
        tree.check(streams.data()[i]);
        out.data()[i] = tree.first_child(streams.data()[i]);
    }
}

// The nodes that the roots of streams pass, and whose they are: numbers of `streams`.
inline nb::tuple settle_survivors(const SurvivorTables& tables, const Held<const int64_t, 1>& streams) {
    const Survivors tree = survivors_of(tables);
    std::vector<int64_t> which, passed;
    for (std::size_t i = 0; i < streams.shape(0); ++i) {
        tree.check(streams.data()[i]);
        tree.settle(streams.data()[i], passed);
        which.resize(passed.size(), static_cast<int64_t>(i));
    }
    return nb::make_tuple(which, passed);
}

// Weights of steps: of 1 sequence or all, of 1 step or all; None for none.
template <class F>
StepWeights<F> step_weights(nb::handle x, const char* name, int64_t batch, int64_t times, std::initializer_list<int64_t> event) {
    if (x.is_none()) return {};
    const Given one = given(x);
    if (one.shape.size() != 2 + event.size() || (one.shape[0] != 1 && one.shape[0] != batch) || (one.shape[1] != 1 && one.shape[1] != times))
        refuse(std::string(name) + " must be of 1 sequence or all, and of 1 step or all, got " + shown(one.shape) + ".");
    if (!std::equal(event.begin(), event.end(), one.shape.begin() + 2)) refuse(std::string(name) + " must be of the sizes of the others, got " + shown(one.shape) + ".");
    int64_t size = 1;
    for (int64_t n : event) size *= n;
    return {check_array<F>(one, name, one.shape[0] * one.shape[1] * size), one.shape[0], one.shape[1], size};
}

struct OnwardTensors {
    nb::object weight, first, source, peak, emission, duration, segment, going, taken, carry, offset, vectors, offsets, scales, came, told;
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
    StepMoves<F> moves{states, {}, nullptr, nullptr};
    if (x.source.is_none()) {
        moves.weight = step_weights<F>(x.weight, "onward: weight", batch, length, {states, states});
    } else {
        const Given source = given(x.source);
        if (source.shape.size() != 1) refuse("onward: source must be (arcs).");
        const int64_t arcs = source.shape[0];
        check_whole(source, "onward: source", Type::kInt32, {arcs});
        moves.weight = step_weights<F>(x.weight, "onward: weight", batch, length, {arcs});
        moves.source = source.as<int32_t>(), moves.first = whole(x.first, "onward: first", Type::kInt32, {states + 1}).template as<int32_t>();
        if (!moves.first || moves.first[0] != 0 || moves.first[states] != arcs || !std::is_sorted(moves.first, moves.first + states + 1))
            refuse("onward: first must count the arcs into each state.");
        if (!std::all_of(moves.source, moves.source + arcs, [&](int32_t i) { return 0 <= i && i < states; })) refuse("onward: source must be states.");
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

inline void onward(nb::object weight, nb::object first, nb::object source, nb::object peak, nb::object emission, nb::object duration, nb::object segment, nb::object going,
                   nb::object taken, nb::object carry, nb::object offset, nb::object vectors, nb::object offsets, nb::object scales, nb::object came, nb::object told, int64_t threads) {
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
    const Given x = given(carry), steps = given(scales), to = given(vectors);
    if (x.shape.size() != 3 || steps.shape.size() != 2 || to.shape.size() != 3 || to.shape[1] < steps.shape[1]) refuse("onward: carry is (batch, memory, slots), scales (batch, length) and vectors (batch, before + length, slots).");
    if (x.type != Type::kFloat && x.type != Type::kDouble) throw WrongType("semihmm: onward: carry must be float32 or float64.");
    const OnwardTensors all{weight, first, source, peak, emission, duration, segment, going, taken, carry, offset, vectors, offsets, scales, came, told};
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
    // Tables are written to, so none of them may be converted to a copy.
    using Nodes = Held<int32_t, 4>;
    using Line = Held<int64_t, 1>;
    using Flags = Held<bool, 1>;
    const auto define = [&](const char* name, auto work, const auto&... names) {
        m.def(name, work, nb::arg("nodes").noconvert(), nb::arg("time").noconvert(), nb::arg("root").noconvert(), nb::arg("onward").noconvert(), nb::arg("memory"), names...);
    };
    define("grow_survivors", [](Nodes nodes, Line time, Line root, Flags onward, int64_t memory, Held<const int64_t, 1> streams, Held<const int64_t, 1> steps,
                                Held<const int32_t, 3> came, int64_t threads) { grow_survivors({nodes, time, root, onward, memory}, streams, steps, came, threads); },
           "streams"_a, "steps"_a, "came"_a, "threads"_a);
    define("keep_survivors", [](Nodes nodes, Line time, Line root, Flags onward, int64_t memory, Held<const int64_t, 1> streams, Held<const int64_t, 1> ends,
                                Held<const int64_t, 1> since, Line out, Held<bool, 3> kept) { keep_survivors({nodes, time, root, onward, memory}, streams, ends, since, out, kept); },
           "streams"_a, "ends"_a, "since"_a, nb::arg("out").noconvert(), nb::arg("kept").noconvert());
    define("first_children", [](Nodes nodes, Line time, Line root, Flags onward, int64_t memory, Held<const int64_t, 1> streams, Line out) {
        first_children({nodes, time, root, onward, memory}, streams, out);
    }, "streams"_a, nb::arg("out").noconvert());
    define("settle_survivors", [](Nodes nodes, Line time, Line root, Flags onward, int64_t memory, Held<const int64_t, 1> streams) {
        return settle_survivors({nodes, time, root, onward, memory}, streams);
    }, "streams"_a);
    m.def("normalise_rows", static_cast<void (*)(nb::object, nb::object, nb::object)>(&normalise_rows), "x"_a, "out"_a, "mass"_a, "Log-weights less the log of the sum of each row, and those.");
    m.def("onward", &onward, "weight"_a, "first"_a.none(), "source"_a.none(), "peak"_a.none(), "emission"_a.none(), "duration"_a.none(), "segment"_a.none(), "going"_a.none(),
          "taken"_a.none(), "carry"_a, "offset"_a, "vectors"_a, "offsets"_a, "scales"_a, "came"_a.none(), "told"_a.none(), "threads"_a,
          "Move carries over some steps: sums, or with `came` what is best, and where from.");
}

}  // namespace semihmm
