// The gradient of best paths' scores: the weights that a path took, from its marks alone. There is no scan.
#pragma once

#include "call.hpp"

namespace semihmm {

// Paths as `paths` left them.
struct Taken {
    int64_t rows = 1;
    const int64_t *slots = nullptr, *marks = nullptr;  // (rows, batch, length + 1), (rows, batch, length, marks of the map)
    const double* shares = nullptr;                    // (rows, batch)
};

// The gradient of each leaf, summed up over some sequences.
template <class F>
class Sums {
  public:
    Sums(const Request& request, const std::vector<Given>& out) : chain_(build<Max<F>>(request, out, {})), length_(request.length), batch_(request.batch) {
        for (int side = 0; side < 2; ++side) {
            const Border<Max<F>>& border = side ? chain_.end : chain_.start;
            for (std::size_t i = 0; i < border.weights.size(); ++i) borders_[side].emplace_back(border.out[i], border.weights[i], false);
        }
    }
    void add(int64_t b, const Taken& taken) {
        for (int64_t r = 0; r < taken.rows; ++r) {
            const int64_t path = r * batch_ + b, marked = chain_.steps->marks, length = chain_.length_of(b);
            const int64_t *slots = taken.slots + path * (length_ + 1), *marks = taken.marks + path * length_ * marked;
            const double share = taken.shares[path];
            if (slots[0] < 0) continue;  // there is no such path
            for (int side = 0; side < 2; ++side)
                for (Sink<F>& sink : borders_[side])
                    if (sink.wanted()) sink.add(b, 0, 1, &share, slots[side * length]);
            for (int64_t t = 0; t < length; ++t)
                if (slots[t + 1] >= 0) chain_.steps->take(b, t, marks + t * marked, share);
        }
        for (Sink<F>* sink : all()) sink->finish(b);
    }
    void join(Sums& other) {
        const auto mine = all(), its = other.all();
        for (std::size_t i = 0; i < mine.size(); ++i) mine[i]->join(*its[i]);
    }
    void write() {
        for (Sink<F>* sink : all()) sink->write();
    }

  private:
    std::vector<Sink<F>*> all() {
        std::vector<Sink<F>*> found = chain_.steps->sinks();
        for (auto& border : borders_)
            for (Sink<F>& sink : border) found.push_back(&sink);
        return found;
    }
    Chain<Max<F>> chain_;
    int64_t length_, batch_;
    std::vector<Sink<F>> borders_[2];
};

template <class F>
void gradient_of_paths(const Request& request, const Taken& taken, const std::vector<Given>& out) {
    const int64_t parts = std::min<int64_t>(request.batch, 16);
    std::vector<std::unique_ptr<Sums<F>>> sums(static_cast<std::size_t>(parts));
    for_each_part(request.batch, parts, request.threads, [&](int64_t part, int64_t first, int64_t last, int64_t) {
        sums[part] = std::make_unique<Sums<F>>(request, out);
        for (int64_t b = first; b < last; ++b) sums[part]->add(b, taken);
    });
    for (int64_t part = 1; part < parts; ++part) sums[0]->join(*sums[part]);
    sums[0]->write();
}

}  // namespace semihmm
