// What Python passes to a chain.
#pragma once

#include "chain.hpp"

namespace semihmm {

enum class Type : uint8_t { kNone, kFloat, kDouble, kInt64, kInt32, kOther };  // kNone: Python gave None

template <class T>
constexpr Type kTypeOf = std::is_same_v<T, float> ? Type::kFloat : std::is_same_v<T, double> ? Type::kDouble : Type::kInt64;

// A tensor of any type, as it came.
struct Given {
    const void* data = nullptr;
    Type type = Type::kNone;
    Sizes shape, strides;

    bool present() const { return type != Type::kNone; }
    template <class T>
    const T* as() const {
        return static_cast<const T*>(data);
    }
    template <class T>
    T* to() const {  // to be written to
        return static_cast<T*>(const_cast<void*>(data));
    }
    template <class T>
    Leaf<T> leaf(bool time) const {
        Leaf<T> leaf;
        leaf.data = as<T>();
        if (shape.empty()) return leaf;  // there is none
        leaf.batch = shape[0];
        leaf.by_batch = shape[0] == 1 ? 0 : strides[0];
        const std::size_t event = time ? 2 : 1;
        if (time) leaf.time = shape[1], leaf.by_time = shape[1] == 1 ? 0 : strides[1];
        for (std::size_t i = event; i < shape.size(); ++i) leaf.event.push_back(shape[i]), leaf.by_event.push_back(strides[i]);
        return leaf;
    }
    template <class T>
    Out<T> out(bool time) const {
        return {to<T>(), data ? strides[0] : 0, data && time ? strides[1] : 0};
    }
};

enum Semirings : int { kLog, kMax, kTopK, kExpectation };
enum Kind : int64_t { kDense, kDiagonal, kSparse, kSegmental, kGrid, kTied, kAxes };
constexpr std::size_t kGridTables = 6;  // of a grid, behind its weight: row, source, plane, factor, low, high

// A chain as Python describes it. `check_chain` (checks.hpp) has seen it before anything is read.
struct Request {
    int semiring = kLog, components = 1;
    double beta = 1;
    bool wide = false;          // double
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
