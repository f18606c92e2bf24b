// From what Python passes to chains, and over all sequences of a batch.
//
// A batch is cut into parts by its size alone, and what parts add up is added in their order: the same bits whatever the
// number of threads.
#pragma once

#include "arcs.hpp"
#include "arcs_transition.hpp"
#include "axes_transition.hpp"
#include "axis.hpp"
#include "best.hpp"
#include "bidirectional.hpp"
#include "operations.hpp"
#include "pages.hpp"
#include "parallel.hpp"
#include "row_tiles.hpp"

namespace semihmm {

// The runtime (csrc/runtime), which is to be small, is never asked of grids and of axes.
#if SEMIHMM_SMALL
constexpr bool kGrids = false, kJointStates = false;
#else
constexpr bool kGrids = true, kJointStates = true;
#endif

// About how many products a step is: what a `Pulse` is given.
inline int64_t work_of(const Request& request) {
    int64_t work = 0;
    for (const Given& tensor : request.weights) {
        int64_t entries = 1;
        for (std::size_t axis = tensor.shape.size() > 2 ? 2 : 1; axis < tensor.shape.size(); ++axis) entries *= tensor.shape[axis];
        work += entries;
    }
    return work * request.components;
}

// Whether a Sparse has arcs that are no band, the same for all steps and sequences.
inline bool irregular(const Leaf<int64_t>& source, int64_t memory) {
    return memory == 1 && !source.over_time() && source.same_for_all() && !band_of(source, memory);
}

// The topology of the first map, if that has irregular arcs: made once, for all parts of a batch. The thread keeps the last
// one for its next call, if that is not large.
template <class F>
std::shared_ptr<const ArcSlices<F>> topology_of(const Request& request) {
    const std::size_t map = request.spec[2] == kSegmental ? 4 : 2;  // that of a Segmental is its transition
    if (request.spec[map] != kSparse) return nullptr;
    const auto source = request.weights[static_cast<std::size_t>(request.spec[0] + request.spec[1]) + 1].leaf<int64_t>(true);
    if (!irregular(source, request.spec[map + 1])) return nullptr;
    static thread_local std::shared_ptr<const ArcSlices<F>> last;
    if (last && last->is_of(source)) return last;
    auto made = std::make_shared<const ArcSlices<F>>(ArcSlices<F>::of(source));
    if (source.entries() <= 1 << 20) last = made;
    return made;
}

// Axes whose weights are `count` from `first` on.
template <class F>
std::vector<AxisProduct<F>> axes_of(const Request& request, std::size_t first, int64_t count) {
    std::vector<AxisProduct<F>> axes;
    int64_t inner = 1;
    for (std::size_t i = static_cast<std::size_t>(count); i-- > 0; inner *= axes[0].states) {
        const Sizes& shape = request.weights[first + i].shape;
        axes.insert(axes.begin(), {1, shape[3], inner, shape[2] != shape[3]});
    }
    for (std::size_t i = 1; i < axes.size(); ++i) axes[i].outer = axes[i - 1].outer * axes[i - 1].states;
    return axes;
}

template <class S>
Chain<S> build(const Request& request, const std::vector<Given>& out, const std::vector<Given>& out_features,
               std::shared_ptr<const ArcSlices<typename S::F>> topology = nullptr) {
    using F = typename S::F;
    Chain<S> chain;
    chain.semiring.components = request.components;
    chain.beta = request.beta;
    chain.lengths = request.lengths;
    chain.length = request.length;
    std::size_t next = 0, word = 2;
    const auto out_of = [&](const std::vector<Given>& all, bool time) { return all.empty() ? Out<F>{} : all[next].out<F>(time); };
    const auto part = [&](bool time) {  // the next tensor
        const std::vector<Given>& features = S::features ? request.features : request.weights;
        Part<F> found{request.leaf<F>(request.weights, next, time), request.leaf<F>(features, next, time), out_of(out, time), out_of(out_features, time)};
        ++next;
        return found;
    };
    const auto index = [&] { return request.weights[next++].leaf<int64_t>(true); };
    for (int side = 0; side < 2; ++side)
        for (int64_t i = 0; i < request.spec[side]; ++i) (side ? chain.end : chain.start).factors.push_back(part(false));
    const auto made = [&]<template <class> class M>(auto&&... more) -> std::unique_ptr<Map<S>> {
        return std::make_unique<M<S>>(chain.semiring, std::forward<decltype(more)>(more)...);
    };
    // The next map. `centre`: as a OneLeaf has it.
    const auto read = [&](const auto& self, bool centre) -> std::unique_ptr<Map<S>> {
        switch (request.spec[word++]) {
            case kDense: return made.template operator()<Dense>(part(true), request.beta, centre);
            case kDiagonal: return made.template operator()<Diagonal>(part(true), request.beta);
            case kTied: {  // a Diagonal with an index
                const auto weights = part(true);
                return made.template operator()<Diagonal>(weights, request.beta, index());
            }
            case kSparse: {
                const int64_t memory = request.spec[word++];
                const auto weights = part(true);
                const auto source = index();
                if (irregular(source, memory)) return made.template operator()<Arcs>(weights, request.beta, source, std::exchange(topology, nullptr), centre);
                return made.template operator()<Sparse>(weights, request.beta, source, memory, centre);
            }
            case kAxes:
                if constexpr (kJointStates) {
                    const int64_t count = request.spec[word++];
                    std::vector<std::unique_ptr<Map<S>>> axes;
                    for (const AxisProduct<F>& axis : axes_of<F>(request, next, count)) axes.push_back(made.template operator()<Axis>(part(true), request.beta, axis));
                    return made.template operator()<Compose>(std::move(axes));
                }
                [[fallthrough]];
            case kSegmental: {
                const bool whole = request.spec[word++] != 0;
                auto transition = self(self, false);
                const auto duration = part(true), emission = part(true);
                return made.template operator()<Segmental>(std::move(transition), duration, emission, whole ? part(true) : Part<F>{}, request.beta);
            }
            default:  // a Grid
                if constexpr (kGrids) {
                    typename Grid<S>::Form form;
                    form.memory = request.spec[word++], form.first = request.spec[word++];
                    const auto weights = part(false);
                    const Given* g = &request.weights[next];
                    form.row = g[0].as<int64_t>(), form.source = g[1].as<int64_t>(), form.plane = g[2].as<int64_t>();
                    form.factor = g[3].as<double>(), form.low = g[4].as<int64_t>(), form.high = g[5].as<int64_t>();
                    form.slots = g[1].shape.back(1), form.width = g[1].shape.back();
                    next += kGridTables;
                    return made.template operator()<Grid>(weights, request.beta, form);
                }
                throw std::invalid_argument("semihmm: such a map is not compiled here.");
        }
    };
    std::vector<std::unique_ptr<Map<S>>> maps;
    while (word < request.spec.size()) maps.push_back(read(read, true));
    if (maps.size() == 1) {
        chain.steps = std::move(maps[0]);
    } else {
        chain.steps = std::make_unique<Compose<S>>(chain.semiring, std::move(maps));
    }
    chain.work = work_of(request);
    return chain;
}

template <class S>
constexpr bool kScaled = std::is_same_v<S, Log<typename S::F>> || std::is_same_v<S, Expectation<typename S::F>>;

// A transition that all steps share, dense, of irregular arcs or of axes, with or without emissions.
struct Stationary {
    Kind kind = kDense;
    bool shared = true;  // by all sequences, the emissions' index as well
    std::size_t arcs = 0, emission = 0, index = 0;  // which weights they are; 0: none
    std::size_t axes = 0;                           // how many weights the transition has, if it is of axes

    bool dense() const { return kind == kDense; }
};

// Whether all sequences have the same numbers, though each has its own, as where Python gathered them for each.
template <class F>
bool repeated(const Given& given) {
    const auto leaf = given.leaf<F>(true);
    if (leaf.by_event[1] != 1 || leaf.by_event[0] != leaf.event[1]) return false;
    for (int64_t b = 1; b < leaf.batch; ++b)
        if (std::memcmp(leaf.at(b, 0), leaf.at(0, 0), static_cast<std::size_t>(leaf.entries()) * sizeof(F))) return false;
    return true;
}

// What the fast paths of Log, Expectation and Max do; nothing where they do not do this chain.
template <class S>
std::optional<Stationary> stationary(const Request& request, bool irregular) {
    if constexpr (!kScaled<S> && !std::is_same_v<S, Max<typename S::F>>) return std::nullopt;
    Stationary found;
    found.arcs = static_cast<std::size_t>(request.spec[0] + request.spec[1]);
    found.kind = static_cast<Kind>(request.spec[2]);
    std::size_t words = found.dense() ? 3 : 4, weights = found.dense() ? 1 : 2;
    if (kJointStates && found.kind == kAxes && !S::features) {
        words = 4, weights = found.axes = static_cast<std::size_t>(request.spec[3]);
    } else if (!found.dense() && (found.kind != kSparse || !irregular)) {
        return std::nullopt;
    }
    if (request.spec.size() > words + 1 || (request.spec.size() > words && request.spec[words] != kDiagonal && request.spec[words] != kTied)) return std::nullopt;
    if (request.spec.size() > words) {
        found.emission = found.arcs + weights;
        if (request.spec[words] == kTied) found.index = found.emission + 1;
    }
    const Given& arcs = request.weights[found.arcs];
    const auto same_for_all = [](const Given& tensor) { return tensor.shape[0] == 1 || tensor.strides[0] == 0; };
    if (request.length < 2 || arcs.shape[1] != 1 || (found.dense() && arcs.shape[2] != arcs.shape[3])) return std::nullopt;
    if (found.emission && request.weights[found.emission].shape[1] != request.length) return std::nullopt;
    found.shared = same_for_all(arcs) || (found.kind == kSparse && repeated<typename S::F>(arcs));
    for (std::size_t i = 1; i < found.axes; ++i) {
        const Given& axis = request.weights[found.arcs + i];
        if (axis.shape[1] != 1) return std::nullopt;
        found.shared = found.shared && same_for_all(axis);
    }
    if (found.index) found.shared = found.shared && same_for_all(request.weights[found.index]);
    if constexpr (S::features) {
        const Given& held = request.features[found.arcs];
        if (held.shape[1] != 1) return std::nullopt;
        found.shared = found.shared && same_for_all(held);
    }
    return found;
}

// How many sequences those take at a time; 0 where there is nothing to take.
template <class S>
int64_t group_of(const Request& request, const std::optional<Stationary>& form) {
    if (!form) return 0;
    if (!form->shared || form->axes) return 1;
    if (!form->dense()) {  // an arc takes as long for all of a group as for one
        const int64_t groups = (request.batch + kGroup - 1) / kGroup;
        return groups ? (request.batch + groups - 1) / groups : 1;
    }
    return request.batch >= 2 * kGroup ? kGroup : (request.batch + 1) / 2;
}

template <class Path, class S>
Path fast(const Request& request, const Stationary& form, Chain<S>& chain, const std::shared_ptr<const ArcSlices<typename S::F>>& topology = nullptr) {
    using F = typename S::F;
    auto weight = request.weights[form.arcs].template leaf<F>(true);
    if (form.shared) weight.by_batch = 0;
    const auto along = [&](std::size_t i) { return S::features ? request.features[i].template leaf<F>(true) : Leaf<F>{}; };
    Emissions<F> emission;
    if (form.emission)
        emission = {request.weights[form.emission].template leaf<F>(true), along(form.emission),
                    form.index ? request.weights[form.index].template leaf<int64_t>(true) : Leaf<int64_t>{}};
    std::vector<AxisWeights<F>> axes;
    for (const AxisProduct<F>& axis : axes_of<F>(request, form.arcs, static_cast<int64_t>(form.axes)))
        axes.push_back({axis, request.weights[form.arcs + axes.size()].template leaf<F>(true)});
    if constexpr (std::is_same_v<Path, Best<F, AxesWeights<F>>>) {
        return {chain, {std::move(axes), static_cast<F>(chain.beta)}, std::move(emission)};
    } else if constexpr (std::is_same_v<Path, Best<F, DenseWeights<F>>>) {
        return {chain, {weight, static_cast<F>(chain.beta)}, std::move(emission)};
    } else if constexpr (std::is_same_v<Path, Best<F, ArcWeights<F>>>) {
        return {chain, {topology, weight, static_cast<F>(chain.beta)}, std::move(emission)};
    } else {
        using Transition = typename Path::Transition;
        if constexpr (std::is_same_v<Transition, AxesTransition<S>>) {
            return {chain, Transition(std::move(axes), chain.beta), std::move(emission)};
        } else if constexpr (Transition::dense) {
            return {chain, Transition(weight, along(form.arcs), chain.beta), std::move(emission)};
        } else {
            return {chain, Transition(topology, weight, along(form.arcs), chain.beta), std::move(emission)};
        }
    }
}

// How many products a step of axes is.
inline int64_t axes_products(const Request& request, const Stationary& form) {
    int64_t states = 0, slots = 1;
    for (std::size_t i = 0; i < form.axes; ++i) states += request.weights[form.arcs + i].shape[3], slots *= request.weights[form.arcs + i].shape[3];
    return states * slots;
}

// Whether a dense transition is between no more states than these: sequences go one after the other then.
template <class S>
bool few(const Request& request, const Stationary& form, int64_t states) {
    return form.dense() && !S::features && request.weights[form.arcs].shape[2] <= states;
}

// Into how many parts a batch is cut: groups of the fast path stay whole.
inline int64_t parts_of(const Request& request, int64_t group) {
    return group > 1 ? (request.batch + group - 1) / group : std::min(request.batch, kParts);
}

// Calls work<Transition>().
template <class S, class Work>
void with_transition(const Stationary& form, const Work& work) {
    if constexpr (kJointStates && !S::features)
        if (form.axes) return work.template operator()<AxesTransition<S>>();
    form.dense() ? work.template operator()<DenseTransition<S>>() : work.template operator()<ArcsTransition<S>>();
}

// A Grid that Log and Max do in tiles: all of it at a time, or nothing is kept.
template <class F>
std::optional<GridForm> grid_form_of(const Request& request, const Kept<F>& kept) {
    if (kept.segment && kept.segment < request.length) return std::nullopt;
    const auto found = GridForm::of<F>(request);
    // The values of all cells are kept where state vectors would be: (length + 1) of them, of more numbers than rows.
    return found && request.length < std::max(found->rows, found->columns) ? std::nullopt : found;
}

template <class S>
void total(const Request& request, const Kept<typename S::F>& kept, double* values) {
    using F = typename S::F;
    if constexpr (kGrids && (std::is_same_v<S, Log<F>> || std::is_same_v<S, Max<F>>))
        if (const auto form = grid_form_of(request, kept)) {
            for_each_part(request.batch, std::min(request.batch, kParts), request.threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
                RowTiles<S> tiles(*form, request);
                for (int64_t b = first; b < last; ++b) values[b] = tiles.total(b, kept);
            });
            return;
        }
    const auto topology = topology_of<F>(request);
    const auto form = stationary<S>(request, topology != nullptr);
    const int64_t group = group_of<S>(request, form);
    for_each_part(request.batch, parts_of(request, group), request.threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
        Chain<S> chain = build<S>(request, {}, {}, topology);
        if constexpr (kScaled<S>)
            if (group) {
                with_transition<S>(*form, [&]<class Transition>() {
                    auto scan = fast<ScaledForward<S, Transition>>(request, *form, chain, topology);
                    for (int64_t b = first; b < last; b += group)
                        scan.total(b, static_cast<int>(std::min(group, last - b)), kept, values + b, values + request.batch + b);
                });
                return;
            }
        Scan<S> scan(chain);
        std::vector<double> value(static_cast<std::size_t>(request.components));
        for (int64_t b = first; b < last; ++b) {
            scan.total(b, kept, value.data());
            for (int c = 0; c < request.components; ++c) values[c * request.batch + b] = value[c];
        }
    });
}

// What a worker keeps of a few sequences between forward and backward pass. The thread holds on to some memory for the
// next call: that is faster than to have it cleared again, page by page. What is larger goes when the call is over.
template <class F>
class Workspace {
  public:
    // `like`: how much of each sequence is kept.
    Workspace(int64_t sequences, const Kept<F>& like, int64_t stride) : like_(like) {
        vectors_ = static_cast<std::size_t>(sequences * like.rows * stride) * sizeof(F);
        const std::size_t bytes = vectors_ + static_cast<std::size_t>(sequences * (like.rows + like.blocks)) * sizeof(double);
        static thread_local Memory held;
        if (bytes > kHeld) held.reset(0);
        Memory& memory = bytes > kHeld ? own_ : held;
        if (memory.size < bytes) memory.reset(bytes);
        data_ = memory.data;
    }
    Kept<F> from(int64_t b) const {
        Kept<F> kept = like_;
        kept.vectors = reinterpret_cast<F*>(data_), kept.offsets = reinterpret_cast<double*>(data_ + vectors_), kept.first = b;
        return kept;
    }

  private:
    static constexpr std::size_t kHeld = std::size_t(20) << 20;
    struct Memory {
        char* data = nullptr;
        std::size_t size = 0;
        void reset(std::size_t bytes) {
            std::free(data);
            data = nullptr, size = 0;
            if (!bytes) return;
            data = static_cast<char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
            if (!data) throw std::bad_alloc();
            size = bytes;
            in_huge_pages(data, size);
        }
        ~Memory() { std::free(data); }
    };
    Memory own_;
    char* data_;
    std::size_t vectors_;
    Kept<F> like_;
};

// One for each worker that works at all.
template <class F>
class Workspaces {
  public:
    Workspaces(const Request& request, const Kept<F>& like, int64_t stride)
        : like_(like), stride_(stride), all_(static_cast<std::size_t>(std::max<int64_t>(request.threads, 1))) {}
    const Workspace<F>& of(int64_t worker, int64_t sequences) {
        auto& workspace = all_[static_cast<std::size_t>(worker)];
        if (!workspace) workspace = std::make_unique<Workspace<F>>(sequences, like_, stride_);
        return *workspace;
    }

  private:
    Kept<F> like_;
    int64_t stride_;
    std::vector<std::unique_ptr<Workspace<F>>> all_;
};

// The gradients of a chain's leaves, summed up over some sequences; or the best that any of these has there.
template <class S>
struct Sums {
    using F = typename S::F;
    Chain<S> chain;
    std::vector<Sink<F>> start, end;

    Sums(const Request& request, const std::vector<Given>& out, const std::vector<Given>& out_features, bool best = false,
         std::shared_ptr<const ArcSlices<F>> topology = nullptr)
        : chain(build<S>(request, out, out_features, std::move(topology))) {
        for (auto [border, sinks] : {std::pair{&chain.start, &start}, std::pair{&chain.end, &end}}) {
            for (const Part<F>& factor : border->factors) sinks->emplace_back(factor.out, factor.weight, false);
            for (const Part<F>& factor : border->factors) sinks->emplace_back(factor.out_feature, factor.feature, false);
        }
        if (best)
            for (Sink<F>* sink : all()) sink->keep_best();
    }
    std::vector<Sink<F>*> all() {
        std::vector<Sink<F>*> sinks = chain.steps->sinks();
        for (Sink<F>& sink : start) sinks.push_back(&sink);
        for (Sink<F>& sink : end) sinks.push_back(&sink);
        return sinks;
    }
};

// What all parts of a batch found, written to where gradients go.
template <class S>
void write(const std::vector<std::unique_ptr<Sums<S>>>& parts) {
    const auto sums = parts[0]->all();
    for (std::size_t part = 1; part < parts.size(); ++part) {
        const auto more = parts[part]->all();
        for (std::size_t i = 0; i < sums.size(); ++i) sums[i]->join(*more[i]);
    }
    for (auto* sink : sums) sink->write();
}

// A sequence between so many states, and so long, that a bidirectional scan pays.
constexpr int64_t kLong = 300'000;  // products

template <class S, class Transition>
void bidirectional_gradient(const Request& request, const Stationary& form, const std::shared_ptr<const ArcSlices<typename S::F>>& topology,
               const Kept<typename S::F>& kept, double g0, double g1, const std::vector<Given>& out, const std::vector<Given>& out_features,
               double* values) {
    using F = typename S::F;
    Sums<S> sums(request, out, out_features, false, topology), others(request, out, out_features, false, topology);
    auto one = fast<Bidirectional<S, Transition>>(request, form, sums.chain, topology), other = fast<Bidirectional<S, Transition>>(request, form, others.chain, topology);
    Junction<F> junction = one.junction(0, kept);
    const auto both = [&](const auto& forward, const auto& backward) {
        for_each_part(2, 2, request.threads, [&](int64_t part, int64_t, int64_t, int64_t) { part ? backward() : forward(); });
    };
    both([&] { one.forward_half(junction, g0, g1, sums.chain.steps->sinks()); }, [&] { other.backward_half(junction, g0, g1, others.chain.steps->sinks()); });
    if (one.has_path(junction, values, values + 1))
        both([&] { one.forward_rest(junction, values, values + 1, sums.end); }, [&] { other.backward_rest(junction, others.start); });
    one.join(other, sums.chain.steps->sinks());
}

// Adds up gradients. With `values`, nothing is kept yet: totals come first, a few sequences at a time. For Max, which needs
// `values`, the scores of the best paths through each weight are found.
template <class S>
void gradient(const Request& request, const Kept<typename S::F>& kept, const double* g0, const double* g1,
              const std::vector<Given>& out, const std::vector<Given>& out_features, double* values, int64_t stride) {
    using F = typename S::F;
    Workspaces<F> workspaces(request, kept, stride);
    const auto workspace_for = [&](int64_t worker, int64_t sequences) { return values ? &workspaces.of(worker, sequences) : nullptr; };
    if constexpr (kGrids && std::is_same_v<S, Log<F>>)
        if (const auto form = grid_form_of(request, kept)) {
            const int64_t parts = std::min(request.batch, kParts);
            std::vector<std::vector<Sink<F>>> sums(static_cast<std::size_t>(parts));
            for_each_part(request.batch, parts, request.threads, [&](int64_t part, int64_t first, int64_t last, int64_t worker) {
                RowTiles<S> tiles(*form, request);
                for (std::size_t i = 0; i <= GridForm::kCost; ++i)
                    sums[part].emplace_back(out[i].out<F>(false), request.leaf<F>(request.weights, i, false), i == GridForm::kCost);
                const Workspace<F>* workspace = workspace_for(worker, 1);
                for (int64_t b = first; b < last; ++b) {
                    const Kept<F> mine = workspace ? workspace->from(b) : kept;
                    if (values) values[b] = tiles.total(b, mine);
                    tiles.gradient(b, mine, g0[b], sums[part]);
                    for (Sink<F>& sink : sums[part]) sink.finish(b);
                }
            });
            for (std::size_t i = 0; i <= GridForm::kCost; ++i) {
                for (int64_t part = 1; part < parts; ++part) sums[0][i].join(sums[part][i]);
                sums[0][i].write();
            }
            return;
        }
    const auto topology = topology_of<F>(request);
    const auto form = kScaled<S> ? stationary<S>(request, topology != nullptr) : std::nullopt;
    int64_t group = group_of<S>(request, form);
    const int64_t parts = parts_of(request, group);
    if constexpr (kScaled<S>)
        if (form) {
            if (few<S>(request, *form, kFewStates<F>)) group = 1;
            const int64_t states = request.weights[form->arcs].shape[2], products = form->dense() ? states * states : form->axes ? axes_products(request, *form) : topology->into.places();
            const bool interleaved = request.threads == 1 && few<S>(request, *form, kFewStates<F>);
            if (values && request.batch == 1 && kept.segment >= request.length && request.length * products >= kLong && !interleaved)
                return with_transition<S>(*form, [&]<class Transition>() {
                    bidirectional_gradient<S, Transition>(request, *form, topology, workspace_for(0, 1)->from(0), g0[0], g1 ? g1[0] : 0.0, out, out_features, values);
                });
        }
    std::vector<std::unique_ptr<Sums<S>>> done(static_cast<std::size_t>(parts));
    for_each_part(request.batch, parts, request.threads, [&](int64_t part, int64_t first, int64_t last, int64_t worker) {
        done[part] = std::make_unique<Sums<S>>(request, out, out_features, Weighing<S>::best, topology);
        Sums<S>& sums = *done[part];
        const Workspace<F>* workspace = workspace_for(worker, std::max<int64_t>(group, 1));
        if constexpr (kScaled<S>)
            if (group) {
                with_transition<S>(*form, [&]<class Transition>() {
                    auto scan = fast<Bidirectional<S, Transition>>(request, *form, sums.chain, topology);
                    for (int64_t b = first; b < last; b += group) {
                        const int count = static_cast<int>(std::min(group, last - b));
                        const Kept<F> all = workspace ? workspace->from(b) : kept;
                        if constexpr (Transition::dense)
                            if (values && count == 1 && scan.reads_once(all)) {
                                scan.on_one_thread(b, all, g0[b], g1 ? g1[b] : 0.0, values + b, values + request.batch + b, sums.chain.steps->sinks(), sums.start, sums.end);
                                continue;
                            }
                        if (values) scan.total(b, count, all, values + b, values + request.batch + b);
                        scan.gradient(b, count, all, g0 + b, g1 ? g1 + b : nullptr, sums.chain.steps->sinks(), sums.start, sums.end);
                    }
                });
                return;
            }
        Scan<S> scan(sums.chain);
        std::vector<double> value(static_cast<std::size_t>(request.components));
        for (int64_t b = first; b < last; ++b) {
            const Kept<F> one = workspace ? workspace->from(b) : kept;
            if (values) {
                scan.total(b, one, value.data());
                for (int c = 0; c < request.components; ++c) values[c * request.batch + b] = value[c];
            }
            scan.gradient(b, one, g0[b], g1 ? g1[b] : 0.0, sums.start, sums.end);
        }
    });
    write(done);
}

// The state vectors are requested no longer than it takes to trace a path: each worker has workspace for those of a group
// of sequences, as much as `like` says, and they stay in its cache.
template <class S>
void paths(const Request& request, const Kept<typename S::F>& like, int64_t stride, const PathsOut& out) {
    using F = typename S::F;
    if constexpr (kGrids && std::is_same_v<S, Max<F>>)
        if (const auto form = grid_form_of(request, like)) {
            for_each_part(request.batch, std::min(request.batch, kParts), request.threads, [&](int64_t, int64_t first, int64_t last, int64_t) {
                RowTiles<S> tiles(*form, request);
                for (int64_t b = first; b < last; ++b)
                    out.values[b] = tiles.path(b, out.slots + b * (request.length + 1), out.choices + b * request.length,
                                                out.arc_indices ? out.arc_indices + b * request.length : nullptr);
            });
            return;
        }
    const bool whole = like.segment > 0 && like.segment >= request.length;
    const auto topology = topology_of<F>(request);
    const auto form = std::is_same_v<S, Max<F>> && whole ? stationary<S>(request, topology != nullptr) : std::nullopt;
    int64_t group = group_of<S>(request, form);
    const int64_t parts = parts_of(request, group);
    if (form && few<S>(request, *form, Lanes<F>::width)) group = 1;
    Workspaces<F> workspaces(request, like, stride);
    for_each_part(request.batch, parts, request.threads, [&](int64_t, int64_t first, int64_t last, int64_t worker) {
        Chain<S> chain = build<S>(request, {}, {}, topology);
        const Workspace<F>& workspace = workspaces.of(worker, std::max<int64_t>(group, 1));
        if constexpr (std::is_same_v<S, Max<F>>)
            if (group) {
                const auto run = [&]<class Weights>() {
                    auto best = fast<Best<F, Weights>>(request, *form, chain, topology);
                    for (int64_t b = first; b < last; b += group)
                        best.paths(b, static_cast<int>(std::min(group, last - b)), workspace.from(b), out.slots, out.choices, out.arc_indices, out.values);
                };
                if constexpr (kJointStates)
                    if (form->axes) return run.template operator()<AxesWeights<F>>();
                form->dense() ? run.template operator()<DenseWeights<F>>() : run.template operator()<ArcWeights<F>>();
                return;
            }
        Scan<S> scan(chain);
        std::vector<double> value(static_cast<std::size_t>(request.components));
        for (int64_t b = first; b < last; ++b) {
            scan.trace(b, workspace.from(b), out.rows, out.slots + b * (request.length + 1), out.choices + b * request.length,
                       out.arc_indices ? out.arc_indices + b * request.length * chain.steps->arc_indices : nullptr, request.batch * (request.length + 1), request.batch * request.length,
                       out.uniforms ? out.uniforms + b * out.draws : nullptr, request.batch * out.draws, value.data());
            for (int c = 0; c < request.components; ++c) out.values[c * request.batch + b] = value[c];
        }
    });
}

}  // namespace semihmm
