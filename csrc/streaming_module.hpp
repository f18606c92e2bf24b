// What streams take of the Python module; see semihmm/streaming/survivors.py and semihmm/engine/onward.py.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include "entry.hpp"
#include "max_steps.hpp"
#include "survivors.hpp"

namespace semihmm {

using namespace nb::literals;

template <class T, int axes>
using Held = nb::ndarray<T, nb::ndim<axes>, nb::c_contig, nb::device::cpu>;

struct SurvivorTables {
    Held<int64_t, 3> parent, children, sum;
    Held<bool, 3> closed;
    Held<int64_t, 1> time, root;
    Held<bool, 1> onward;
    int64_t memory;
};

template <class A, class B>
void must_be_alike(const A& a, const B& b, const char* name) {
    bool same = a.ndim() == b.ndim();
    for (std::size_t i = 0; same && i < a.ndim(); ++i) same = a.shape(i) == b.shape(i);
    if (!same) refuse(std::string("Survivors: ") + name + " is of another shape.");
}

inline Survivors survivors_of(const SurvivorTables& x) {
    must_be_alike(x.parent, x.children, "children"), must_be_alike(x.parent, x.sum, "sum"), must_be_alike(x.parent, x.closed, "closed");
    must_be_alike(x.time, x.root, "root");
    const auto extent = [&](int i) { return static_cast<int64_t>(x.parent.shape(i)); };
    if (extent(1) < 1 || extent(2) < 1 || x.time.shape(0) != x.parent.shape(0) || x.onward.shape(0) != x.parent.shape(2))
        refuse("Survivors: tables must be (streams, capacity, width).");
    if (x.memory < 1 || x.memory > kMost) refuse("Survivors: memory must be at least 1.");
    return {extent(0), extent(1), extent(2), x.memory, x.parent.data(), x.children.data(), x.sum.data(), x.closed.data(), x.time.data(), x.root.data(), x.onward.data()};
}

inline void grow_survivors(const SurvivorTables& tables, const Held<const int64_t, 1>& streams, const Held<const int64_t, 1>& steps,
                           const Held<const int64_t, 3>& source, const Held<const int64_t, 3>& delay, const Held<const bool, 3>& alive) {
    Survivors tree = survivors_of(tables);
    must_be_alike(streams, steps, "steps"), must_be_alike(source, delay, "delay"), must_be_alike(source, alive, "alive");
    const auto count = static_cast<int64_t>(streams.shape(0)), longest = static_cast<int64_t>(source.shape(1));
    if (static_cast<int64_t>(source.shape(0)) != count || static_cast<int64_t>(source.shape(2)) != tree.width) refuse("Survivors: source must be (streams, steps, width).");
    for (int64_t i = 0; i < count; ++i) {
        tree.check(streams.data()[i]);
        if (steps.data()[i] < 0 || steps.data()[i] > longest) refuse("Survivors: there are not as many steps.");
    }
    std::vector<int64_t> dead;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t at = i * longest * tree.width;
        tree.grow(streams.data()[i], {steps.data()[i], source.data() + at, delay.data() + at, alive.data() + at}, dead);
        tree.bury(dead);
    }
}

inline void bury_survivors(const SurvivorTables& tables, const Held<const int64_t, 1>& nodes) {
    Survivors tree = survivors_of(tables);
    std::vector<int64_t> dead(nodes.data(), nodes.data() + nodes.shape(0));
    if (!std::all_of(dead.begin(), dead.end(), [&](int64_t at) { return 0 <= at && at < tree.size(); })) refuse("Survivors: there is no such node.");
    tree.bury(dead);
}

inline void first_children(const SurvivorTables& tables, const Held<const int64_t, 1>& streams, const Held<int64_t, 1>& out) {
    const Survivors tree = survivors_of(tables);
    must_be_alike(streams, out, "out");
    for (std::size_t i = 0; i < streams.shape(0); ++i) {
        tree.check(streams.data()[i]);
        out.data()[i] = tree.first_child(streams.data()[i]);
    }
}

inline nb::list settle_survivors(const SurvivorTables& tables, const Held<const int64_t, 1>& streams) {
    Survivors tree = survivors_of(tables);
    nb::list found;
    for (std::size_t i = 0; i < streams.shape(0); ++i) {
        tree.check(streams.data()[i]);
        found.append(nb::cast(tree.settle(streams.data()[i])));
    }
    return found;
}

inline void max_steps(nb::object start, nb::object offset, nb::object weight, nb::object source, nb::object emission, nb::object taken, nb::object vectors,
                      nb::object offsets, nb::object came, int64_t threads) {
    if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
    const auto maybe = [](const nb::object& x) { return x.is_none() ? Given{} : given(x); };
    const Given x = given(start), w = given(weight), s = maybe(source), e = maybe(emission), n = maybe(taken), to = given(vectors), scale = given(offset), scales = given(offsets), from = given(came);
    if (x.shape.size() != 2 || w.shape.size() != 4 || to.shape.size() != 3 || (e.present() && e.shape.size() != 3))
        refuse("max_steps: start is (batch, slots), weight (sets, times, ., .), emission (sets, times, slots) and vectors (batch, length, slots).");
    if (x.type != Type::kFloat && x.type != Type::kDouble) throw WrongType("semihmm: max_steps: start must be float32 or float64.");
    const int64_t batch = x.shape[0], slots = x.shape[1], length = to.shape[1], arcs = s.present() ? w.shape[3] : slots;
    if (arcs < 1 || slots < 1 || slots > std::numeric_limits<int32_t>::max()) refuse("max_steps: there must be slots and arcs.");
    product({batch, length, slots, arcs}, "max_steps: scores");
    const auto check_weights = [&](const Given& one, const char* name, std::initializer_list<int64_t> sizes) {
        if ((one.shape[0] != 1 && one.shape[0] != batch) || (one.shape[1] != 1 && one.shape[1] != length))
            refuse(std::string(name) + " must be of 1 sequence or all, and of 1 step or all, got " + shown(one.shape) + ".");
        check_whole(one, name, x.type, sizes);
    };
    check_whole(x, "max_steps: start", x.type, {batch, slots});
    check_weights(w, "max_steps: weight", {w.shape[0], w.shape[1], slots, arcs});
    if (e.present()) check_weights(e, "max_steps: emission", {e.shape[0], e.shape[1], slots});
    check_whole(scale, "max_steps: offset", Type::kDouble, {batch});
    check_whole(to, "max_steps: vectors", x.type, {batch, length, slots});
    check_whole(scales, "max_steps: offsets", Type::kDouble, {batch, length});
    check_whole(from, "max_steps: came", Type::kInt64, {batch, length, slots});
    if (n.present()) check_whole(n, "max_steps: taken", Type::kInt64, {batch});
    if (s.present()) {
        check_whole(s, "max_steps: source", Type::kInt64, {slots, arcs});
        const auto* at = s.as<int64_t>();
        if (!std::all_of(at, at + slots * arcs, [=](int64_t i) { return -1 <= i && i < slots; })) refuse("max_steps: source must be slots, or -1.");
    }
    const nb::gil_scoped_release release;
    const auto work = [&]<class F>(F) {
        const auto weights = [](const Given& one, int64_t size) { return typename MaxSteps<F>::Weights{one.as<F>(), one.shape[0], one.shape[1], size}; };
        const MaxSteps<F> steps{batch, length, slots, arcs, x.as<F>(), scale.as<double>(), weights(w, slots * arcs),
                                e.present() ? weights(e, slots) : typename MaxSteps<F>::Weights{}, s.present() ? s.as<int64_t>() : nullptr,
                                n.present() ? n.as<int64_t>() : nullptr, to.to<F>(), scales.to<double>(), from.to<int64_t>()};
        if (batch && length) steps.run(threads);
    };
    x.type == Type::kDouble ? work(double{}) : work(float{});
}

inline void bind_streaming(nb::module_& m) {
    // Tables are written to, so none of them may be converted to a copy.
    const auto define = [&](const char* name, auto work, const auto&... names) {
        m.def(name, work, nb::arg("parent").noconvert(), nb::arg("children").noconvert(), nb::arg("sum").noconvert(), nb::arg("closed").noconvert(),
              nb::arg("time").noconvert(), nb::arg("root").noconvert(), nb::arg("onward").noconvert(), nb::arg("memory"), names...);
    };
    using Cube = Held<int64_t, 3>;
    using Line = Held<int64_t, 1>;
    define("grow_survivors", [](Cube parent, Cube children, Cube sum, Held<bool, 3> closed, Line time, Line root, Held<bool, 1> onward, int64_t memory,
                                Held<const int64_t, 1> streams, Held<const int64_t, 1> steps, Held<const int64_t, 3> source, Held<const int64_t, 3> delay,
                                Held<const bool, 3> alive) { grow_survivors({parent, children, sum, closed, time, root, onward, memory}, streams, steps, source, delay, alive); },
           "streams"_a, "steps"_a, "source"_a, "delay"_a, "alive"_a);
    define("bury_survivors", [](Cube parent, Cube children, Cube sum, Held<bool, 3> closed, Line time, Line root, Held<bool, 1> onward, int64_t memory,
                                Held<const int64_t, 1> nodes) { bury_survivors({parent, children, sum, closed, time, root, onward, memory}, nodes); }, "nodes"_a);
    define("first_children", [](Cube parent, Cube children, Cube sum, Held<bool, 3> closed, Line time, Line root, Held<bool, 1> onward, int64_t memory,
                                Held<const int64_t, 1> streams, Line out) { first_children({parent, children, sum, closed, time, root, onward, memory}, streams, out); },
           "streams"_a, nb::arg("out").noconvert());
    define("settle_survivors", [](Cube parent, Cube children, Cube sum, Held<bool, 3> closed, Line time, Line root, Held<bool, 1> onward, int64_t memory,
                                  Held<const int64_t, 1> streams) { return settle_survivors({parent, children, sum, closed, time, root, onward, memory}, streams); },
           "streams"_a);
    m.def("max_steps", &max_steps, "start"_a, "offset"_a, "weight"_a, "source"_a.none(), "emission"_a.none(), "taken"_a.none(), "vectors"_a, "offsets"_a, "came"_a, "threads"_a,
          "Steps of the max semiring: what is best in each slot (batch, length, slots), and the slot that it came from.");
}

}  // namespace semihmm
