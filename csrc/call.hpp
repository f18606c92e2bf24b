// From what Python passes to chains, and over all sequences of a batch.
//
// A batch is cut into parts by its size alone, and what parts add up is added in their order: the same bits whatever the
// number of threads.
#pragma once

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "best.hpp"
#include "linear.hpp"

namespace semihmm {

// A tensor of any type, as it came.
struct Given {
    const void* data = nullptr;
    std::vector<int64_t> shape, strides;

    template <class T>
    Leaf<T> leaf(bool time) const {
        Leaf<T> leaf;
        leaf.data = static_cast<const T*>(data);
        if (shape.empty()) return leaf;  // there is none
        leaf.batch = shape[0];
        leaf.by_batch = shape[0] == 1 ? 0 : strides[0];
        const std::size_t event = time ? 2 : 1;
        if (time) leaf.time = shape[1], leaf.by_time = shape[1] == 1 ? 0 : strides[1];
        leaf.event.assign(shape.begin() + event, shape.end());
        leaf.by_event.assign(strides.begin() + event, strides.end());
        return leaf;
    }
};

enum Kind : int64_t { kDense, kDiagonal, kSparse, kSegmental, kGrid };

// A chain as Python describes it.
struct Request {
    int components = 1;
    double beta = 1;
    std::vector<int64_t> spec;  // how many start factors, how many end factors, then each map's kind and constants
    std::vector<Given> weights, features;
    const int64_t* lengths = nullptr;
    int64_t batch = 1, length = 0, threads = 1;
};

template <class S>
Chain<S> build(const Request& request, const std::vector<void*>& out, const std::vector<void*>& out_features) {
    using F = typename S::F;
    Chain<S> chain;
    chain.semiring.components = request.components;
    chain.beta = request.beta;
    chain.lengths = request.lengths;
    chain.length = request.length;
    std::size_t next = 0, word = 2;
    const auto weight = [&](bool time) { return request.weights[next].leaf<F>(time); };
    const auto feature = [&](bool time) {
        return S::features ? request.features[next].leaf<F>(time) : request.weights[next].leaf<F>(time);
    };
    const auto sink = [&](const std::vector<void*>& all) { return all.empty() ? nullptr : static_cast<F*>(all[next]); };
    Border<S>* borders[2] = {&chain.start, &chain.end};
    for (int side = 0; side < 2; ++side)
        for (int64_t i = 0; i < request.spec[side]; ++i, ++next) {
            borders[side]->weights.push_back(weight(false));
            borders[side]->features.push_back(feature(false));
            borders[side]->out.push_back(sink(out));
            borders[side]->out_features.push_back(sink(out_features));
        }
    std::vector<std::unique_ptr<Map<S>>> maps;
    while (word < request.spec.size()) {
        switch (request.spec[word++]) {
            case kDense:
                maps.push_back(std::make_unique<Dense<S>>(chain.semiring, weight(true), feature(true), sink(out), sink(out_features), request.beta));
                ++next;
                break;
            case kDiagonal:
                maps.push_back(std::make_unique<Diagonal<S>>(chain.semiring, weight(true), feature(true), sink(out), sink(out_features), request.beta));
                ++next;
                break;
            case kSparse: {
                const int64_t memory = request.spec[word++];
                maps.push_back(std::make_unique<Sparse<S>>(chain.semiring, weight(true), request.weights[next + 1].leaf<int64_t>(true),
                                                           feature(true), memory, sink(out), sink(out_features), request.beta));
                next += 2;
                break;
            }
            case kSegmental: {
                const bool whole = request.spec[word++] != 0;
                const auto part = [&] {
                    typename Segmental<S>::Part p{weight(true), feature(true), sink(out), sink(out_features)};
                    ++next;
                    return p;
                };
                const auto transition = part(), duration = part(), emission = part();
                typename Segmental<S>::Part segment;
                if (whole) segment = part();
                maps.push_back(std::make_unique<Segmental<S>>(chain.semiring, transition, duration, emission, segment, request.beta));
                break;
            }
            case kGrid: {
                typename Grid<S>::Form form;
                form.memory = request.spec[word++], form.first = request.spec[word++];
                const Given* g = &request.weights[next + 1];
                form.row = static_cast<const int64_t*>(g[0].data), form.source = static_cast<const int64_t*>(g[1].data);
                form.plane = static_cast<const int64_t*>(g[2].data), form.factor = static_cast<const double*>(g[3].data);
                form.low = static_cast<const int64_t*>(g[4].data), form.high = static_cast<const int64_t*>(g[5].data);
                form.slots = g[1].shape[g[1].shape.size() - 2], form.width = g[1].shape[g[1].shape.size() - 1];
                maps.push_back(std::make_unique<Grid<S>>(chain.semiring, weight(false), feature(false), form, sink(out), sink(out_features), request.beta));
                next += 7;
                break;
            }
        }
    }
    if (maps.size() == 1) {
        chain.steps = std::move(maps[0]);
    } else {
        chain.steps = std::make_unique<Compose<S>>(chain.semiring, std::move(maps));
    }
    return chain;
}

template <class S>
constexpr bool kLinear = std::is_same_v<S, Log<typename S::F>> || std::is_same_v<S, Expectation<typename S::F>>;

// How many sequences the fast paths of Log, Expectation and Max take at a time; 0 where they do not do this chain.
template <class S>
int64_t group_of(const Request& request) {
    if constexpr (!kLinear<S> && !std::is_same_v<S, Max<typename S::F>>) return 0;
    const std::size_t maps = request.spec.size() - 2, first = static_cast<std::size_t>(request.spec[0] + request.spec[1]);
    if (maps > 2 || request.spec[2] != kDense || (maps == 2 && request.spec[3] != kDiagonal)) return 0;
    const Given &arcs = request.weights[first], *seen = maps == 2 ? &request.weights[first + 1] : nullptr;
    if (request.length < 2 || arcs.shape[1] != 1 || arcs.shape[2] != arcs.shape[3]) return 0;
    if (seen && seen->shape[1] != request.length) return 0;
    const auto own = [](const Given& g) { return g.shape[0] != 1 && g.strides[0] != 0; };
    if constexpr (S::features) {
        if (request.features[first].shape[1] != 1) return 0;
        if (own(request.features[first])) return 1;
    }
    if (own(arcs)) return 1;
    return request.batch >= 2 * kGroup ? kGroup : (request.batch + 1) / 2;
}

template <class Path, class S>
Path fast(const Request& request, Chain<S>& chain) {
    using F = typename S::F;
    const std::size_t first = static_cast<std::size_t>(request.spec[0] + request.spec[1]);
    const bool seen = request.spec.size() == 4;
    if constexpr (S::features)
        return {chain, request.weights[first].template leaf<F>(true), seen ? request.weights[first + 1].template leaf<F>(true) : Leaf<F>{},
                request.features[first].template leaf<F>(true), seen ? request.features[first + 1].template leaf<F>(true) : Leaf<F>{}};
    return {chain, request.weights[first].template leaf<F>(true), seen ? request.weights[first + 1].template leaf<F>(true) : Leaf<F>{}};
}

// Into how many parts a batch is cut: groups of the fast path stay whole.
template <class S>
int64_t parts_of(const Request& request) {
    const int64_t group = group_of<S>(request);
    return group > 1 ? (request.batch + group - 1) / group : std::min<int64_t>(request.batch, 16);
}

// Calls work(part, first, last) for each part of the batch, on so many threads.
template <class Work>
void for_each_part(int64_t batch, int64_t parts, int64_t threads, const Work& work) {
    const auto one = [&](int64_t part) {
        const FlushDenormals flush;
        work(part, part * batch / parts, (part + 1) * batch / parts);
    };
    threads = std::min(threads, parts);
    if (threads <= 1) {
        for (int64_t part = 0; part < parts; ++part) one(part);
        return;
    }
    std::atomic<int64_t> next{0};
    std::exception_ptr failed;
    std::mutex guard;
    const auto run = [&] {
        try {
            for (int64_t part = next++; part < parts; part = next++) one(part);
        } catch (...) {
            const std::lock_guard lock(guard);
            failed = std::current_exception();
        }
    };
#ifdef _OPENMP
    // PyTorch's own threads, where it brings the same runtime: threads of ours would wait for those, which spin.
#pragma omp parallel num_threads(static_cast<int>(threads))
    run();
#else
    std::vector<std::thread> others;
    for (int64_t i = 1; i < threads; ++i) others.emplace_back(run);
    run();
    for (std::thread& other : others) other.join();
#endif
    if (failed) std::rethrow_exception(failed);
}

template <class S>
void total(const Request& request, const Kept<typename S::F>& kept, double* values) {
    const int64_t group = group_of<S>(request);
    for_each_part(request.batch, parts_of<S>(request), request.threads, [&](int64_t, int64_t first, int64_t last) {
        Chain<S> chain = build<S>(request, {}, {});
        if constexpr (kLinear<S>)
            if (group) {
                Linear<S> linear = fast<Linear<S>>(request, chain);
                for (int64_t b = first; b < last; b += group)
                    linear.total(b, static_cast<int>(std::min(group, last - b)), kept, values + b, values + request.batch + b);
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

template <class S>
void gradient(const Request& request, const Kept<typename S::F>& kept, const double* g0, const double* g1,
              const std::vector<void*>& out, const std::vector<void*>& out_features) {
    using F = typename S::F;
    struct Part {
        Chain<S> chain;
        std::vector<Sink<F>> start, end;
    };
    const int64_t group = group_of<S>(request), parts = parts_of<S>(request);
    std::vector<std::unique_ptr<Part>> done(static_cast<std::size_t>(parts));
    for_each_part(request.batch, parts, request.threads, [&](int64_t part, int64_t first, int64_t last) {
        auto mine = std::make_unique<Part>(Part{build<S>(request, out, out_features), {}, {}});
        Border<S>* borders[2] = {&mine->chain.start, &mine->chain.end};
        std::vector<Sink<F>>* sinks[2] = {&mine->start, &mine->end};
        for (int side = 0; side < 2; ++side) {
            for (std::size_t i = 0; i < borders[side]->weights.size(); ++i)
                sinks[side]->emplace_back(borders[side]->out[i], borders[side]->weights[i], false);
            for (std::size_t i = 0; i < borders[side]->weights.size(); ++i)
                sinks[side]->emplace_back(borders[side]->out_features[i], borders[side]->features[i], false);
        }
        bool gone = false;
        if constexpr (kLinear<S>)
            if (group) {
                Linear<S> linear = fast<Linear<S>>(request, mine->chain);
                for (int64_t b = first; b < last; b += group)
                    linear.gradient(b, static_cast<int>(std::min(group, last - b)), kept, g0 + b, g1 ? g1 + b : nullptr,
                                    mine->chain.steps->sinks(), mine->start, mine->end);
                gone = true;
            }
        if (!gone) {
            Scan<S> scan(mine->chain);
            for (int64_t b = first; b < last; ++b) scan.gradient(b, kept, g0[b], g1 ? g1[b] : 0.0, mine->start, mine->end);
        }
        done[part] = std::move(mine);
    });
    const auto all = [](Part& part) {
        std::vector<Sink<F>*> sinks = part.chain.steps->sinks();
        for (Sink<F>& sink : part.start) sinks.push_back(&sink);
        for (Sink<F>& sink : part.end) sinks.push_back(&sink);
        return sinks;
    };
    const auto sums = all(*done[0]);
    for (std::size_t part = 1; part < done.size(); ++part) {
        const auto more = all(*done[part]);
        for (std::size_t i = 0; i < sums.size(); ++i) sums[i]->join(*more[i]);
    }
    for (Sink<F>* sink : sums) sink->write();
}

struct PathsOut {
    int64_t rows = 1;
    int64_t *slots = nullptr, *choices = nullptr;  // (rows, batch, length + 1), (rows, batch, length)
    const double* uniforms = nullptr;              // (rows, batch, draws)
    int64_t draws = 0;
    double* values = nullptr;  // (components, batch)
};

template <class S>
void paths(const Request& request, const Kept<typename S::F>& kept, const PathsOut& out) {
    using F = typename S::F;
    const bool whole = kept.segment > 0 && kept.segment >= request.length;
    const int64_t group = std::is_same_v<S, Max<F>> && whole ? group_of<S>(request) : 0;
    const int64_t parts = group ? parts_of<S>(request) : std::min<int64_t>(request.batch, 16);
    for_each_part(request.batch, parts, request.threads, [&](int64_t, int64_t first, int64_t last) {
        Chain<S> chain = build<S>(request, {}, {});
        if constexpr (std::is_same_v<S, Max<F>>)
            if (group) {
                Best<F> best = fast<Best<F>>(request, chain);
                for (int64_t b = first; b < last; b += group) best.total(b, static_cast<int>(std::min(group, last - b)), kept, out.values + b);
            }
        Scan<S> scan(chain);
        std::vector<double> value(static_cast<std::size_t>(request.components));
        for (int64_t b = first; b < last; ++b) {
            if (group) value[0] = out.values[b];
            scan.trace(b, kept, out.rows, out.slots + b * (request.length + 1), out.choices + b * request.length,
                       request.batch * (request.length + 1), request.batch * request.length,
                       out.uniforms ? out.uniforms + b * out.draws : nullptr, request.batch * out.draws, value.data(), group != 0);
            for (int c = 0; c < request.components; ++c) out.values[c * request.batch + b] = value[c];
        }
    });
}

}  // namespace semihmm
