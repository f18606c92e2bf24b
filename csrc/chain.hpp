// A chain as the caller's tensors hold it: nothing is copied until a block of steps is worked on.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include "lanes.hpp"

namespace semihmm {

constexpr int64_t kBlock = 32;  // steps whose tables are made at a time

// The sizes of a tensor, or its strides: a few numbers that need no memory of their own.
class Sizes {
  public:
    static constexpr std::size_t most = 8;  // axes: whoever borrows a tensor refuses more

    void push_back(int64_t size) { at_[count_++] = size; }
    std::size_t size() const { return count_; }
    bool empty() const { return count_ == 0; }
    int64_t operator[](std::size_t i) const { return at_[i]; }
    int64_t& operator[](std::size_t i) { return at_[i]; }
    int64_t back(std::size_t i = 0) const { return at_[count_ - 1 - i]; }  // the last one, or the i-th before it
    const int64_t* begin() const { return at_.data(); }
    const int64_t* end() const { return at_.data() + count_; }

  private:
    std::array<int64_t, most> at_{};
    std::size_t count_ = 0;
};

// A tensor (batch or 1, time or 1, event...) as it lies; a size of 1, or an axis that repeats, has stride 0.
template <class T>
struct Leaf {
    const T* data = nullptr;
    int64_t batch = 1, time = 1;
    bool alone = false;                    // there is one sequence, whose own this is
    Sizes event;
    int64_t by_batch = 0, by_time = 0;     // strides, in elements
    Sizes by_event;

    const T* at(int64_t b, int64_t t) const { return data + (batch == 1 ? 0 : b) * by_batch + (time == 1 ? 0 : t) * by_time; }
    bool over_time() const { return time != 1; }
    bool same_for_all() const { return batch == 1 || by_batch == 0; }
    int64_t entries() const {
        int64_t n = 1;
        for (int64_t size : event) n *= size;
        return n;
    }
};

// Memory of whole vectors, aligned to a cache line. It is aligned here: `aligned_alloc` of glibc passes by what each thread has
// just freed, and takes several times as long.
template <class F>
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(int64_t size, F fill = F(0)) { reset(size, fill); }
    void reset(int64_t size, F fill = F(0)) {
        constexpr std::size_t line = 64;
        const std::size_t bytes = (static_cast<std::size_t>(size) * sizeof(F) + line - 1) / line * line + line;
        const bool cleared = fill == F(0);  // by the system, where memory is new: then only what is used costs anything
        memory_.reset(static_cast<char*>(cleared ? std::calloc(bytes + line - 1, 1) : std::malloc(bytes + line - 1)));
        if (!memory_) throw std::bad_alloc();
        char* const from = memory_.get();
        data_ = reinterpret_cast<F*>(from + (line - reinterpret_cast<std::uintptr_t>(from) % line) % line);
        if (!cleared) std::fill_n(data_, bytes / sizeof(F), fill);
        size_ = size;
    }
    F* get() const { return data_; }
    F& operator[](int64_t i) const { return data_[i]; }
    int64_t size() const { return size_; }
    explicit operator bool() const { return static_cast<bool>(memory_); }

  private:
    struct Free {
        void operator()(char* p) const { std::free(p); }
    };
    std::unique_ptr<char, Free> memory_;
    F* data_ = nullptr;
    int64_t size_ = 0;
};

// Whether a number is one in F too: neither infinite nor NaN, nor too large.
template <class F>
bool representable(double x) {
    return std::abs(x) <= static_cast<double>(std::numeric_limits<F>::max());
}

template <class F>
constexpr F kNothing = -std::numeric_limits<F>::infinity();

template <class F>
int64_t padded(int64_t n) {
    return (n + Lanes<F>::width - 1) / Lanes<F>::width * Lanes<F>::width;
}

// How a state vector lies in memory: `parts` (Segmental: ended and begun) of `size` slots, each padded to whole vectors.
template <class F>
struct Layout {
    int64_t parts = 1, size = 0;
    int64_t part() const { return padded<F>(size); }
    int64_t width() const { return parts * part(); }
    int64_t slots() const { return parts * size; }
    int64_t place(int64_t slot) const { return slot / size * part() + slot % size; }
};

// The state vectors at some times, in log space, less an offset each: components by width.
template <class F>
struct Rows {
    F* data = nullptr;
    double* offset = nullptr;
    int64_t stride = 0;  // components * width
    int64_t first = 0;   // the time of data

    F* at(int64_t time) const { return data + (time - first) * stride; }
    double& off(int64_t time) const { return offset[time - first]; }
};

// Where the gradient of a leaf goes: a tensor of the leaf's shape whose event lies in one piece.
template <class F>
struct Out {
    F* data = nullptr;
    int64_t by_batch = 0, by_time = 0;  // strides
};

// Where the gradient of a leaf is summed up. What is shared over time or batch is summed in double. Or, for max-marginals,
// where the best of what passes through it is kept.
template <class F>
class Sink {
  public:
    Sink() = default;
    // `spread`: every entry gets few terms, so that they may be added up in F where the leaf is one sequence's own.
    Sink(Out<F> out, const Leaf<F>& leaf, bool spread)
        : out_(out), shared_(leaf.batch == 1 && !leaf.alone), time_(leaf.time), entries_(leaf.entries()) {
        direct_ = requested() && !shared_ && spread;
        if (requested() && !direct_) sums_.assign(static_cast<std::size_t>(time_ * entries_), 0.0);
    }
    // From now on the best counts and not the sum. Where it goes must hold -inf.
    void keep_best() {
        empty_ = kNothing<double>;
        std::fill(sums_.begin(), sums_.end(), empty_);
    }
    bool requested() const { return out_.data != nullptr; }
    bool shared() const { return shared_; }  // by all sequences
    bool over_time() const { return time_ != 1; }
    // Where the entries of step t are to be written, if they are nobody else's.
    F* row(int64_t b, int64_t t) { return direct_ ? place(b, t) : nullptr; }
    // Moves the sums of a sequence elsewhere.
    void drain(double* to) {
        for (std::size_t i = 0; i < sums_.size(); ++i) to[i] += sums_[i], sums_[i] = 0;
    }
    // Adds x[i] to entry first + i * step of time t, for the sequence b.
    template <class X>
    void add(int64_t b, int64_t t, int64_t n, const X* x, int64_t first = 0, int64_t step = 1) {
        if (direct_) {
            plus(n, x, place(b, t) + first, step);
        } else {
            plus(n, x, sums_.data() + (time_ == 1 ? 0 : t) * entries_ + first, step);
        }
    }
    // The sequence b is done: what is not shared with others goes out.
    void finish(int64_t b) {
        if (!requested() || direct_ || shared_) return;
        hand_out(b);
        std::fill(sums_.begin(), sums_.end(), empty_);
    }
    // All sequences are done: sums of the others, in their order.
    void join(const Sink& other) {
        if (!requested() || !shared_) return;
        plus(time_ * entries_, other.sums_.data(), sums_.data(), 1);
    }
    void write() {
        if (!requested() || !shared_) return;
        hand_out(0);
    }

  private:
    F* place(int64_t b, int64_t t) const { return out_.data + b * out_.by_batch + (time_ == 1 ? 0 : t) * out_.by_time; }
    template <class X, class Y>
    void plus(int64_t n, const X* x, Y* to, int64_t step) const {
        if (empty_ == 0) {
            for (int64_t i = 0; i < n; ++i) to[i * step] += static_cast<Y>(x[i]);
        } else {
            for (int64_t i = 0; i < n; ++i) to[i * step] = std::max(to[i * step], static_cast<Y>(x[i]));
        }
    }
    void hand_out(int64_t b) const {
        for (int64_t t = 0; t < time_; ++t) std::copy_n(sums_.data() + t * entries_, entries_, place(b, t));
    }
    Out<F> out_;
    bool shared_ = true, direct_ = false;
    int64_t time_ = 1, entries_ = 0;
    double empty_ = 0;  // what nothing passes through
    std::vector<double> sums_;
};

}  // namespace semihmm
