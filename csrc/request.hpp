// What Python passes to a chain.
#pragma once

#include "chain.hpp"

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
    template <class T>
    Out<T> out(bool time) const {
        return {static_cast<T*>(const_cast<void*>(data)), data ? strides[0] : 0, data && time ? strides[1] : 0};
    }
};

enum Kind : int64_t { kDense, kDiagonal, kSparse, kSegmental, kGrid, kTied };

// A chain as Python describes it.
struct Request {
    int components = 1;
    double beta = 1;
    std::vector<int64_t> spec;  // how many start factors, how many end factors, then each map's kind and constants
    std::vector<Given> weights, features;
    const int64_t* lengths = nullptr;
    int64_t batch = 1, length = 0, threads = 1;

    template <class F>
    Leaf<F> leaf(const std::vector<Given>& tensors, std::size_t i, bool time) const {
        Leaf<F> found = tensors[i].leaf<F>(time);
        found.alone = batch == 1;
        return found;
    }
};

}  // namespace semihmm
