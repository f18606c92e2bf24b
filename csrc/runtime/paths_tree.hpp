// The tree of best paths of one stream (survivors.hpp), with memory of its own, which grows if it must.
#pragma once

#include <memory>

#include "../survivors.hpp"

namespace semihmm {

class PathsTree {
  public:
    // Slots from `first_onward` on may have successors, up to `memory` steps later.
    PathsTree(int64_t width, int64_t memory, int64_t first_onward, int64_t capacity)
        : width_(width), memory_(memory), onward_(new bool[static_cast<std::size_t>(width)]), open_(new bool[static_cast<std::size_t>(memory * width)]) {
        for (int64_t slot = 0; slot < width; ++slot) onward_[slot] = slot >= first_onward;
        restart();
        lay_out(capacity);
        tree_.prepare(table());
    }
    int64_t time() const { return time_; }
    int64_t root() const { return root_; }
    int64_t width() const { return width_; }
    // Which of the latest slots others may come from, (memory, width), the latest time first.
    const bool* open() const { return open_.get(); }
    void restart() {
        time_ = root_ = 0;
        std::fill_n(open_.get(), memory_ * width_, false);
    }
    // So many steps more will fit, and `least` times in all.
    void reserve(int64_t steps, int64_t least) {
        const int64_t times = std::max(time_ + steps - root_ / width_ + 1, least);
        if (times > capacity_) lay_out(std::max(times, 2 * capacity_));
    }
    void grow(const int32_t* came) { tree_.grow(table(), 1, came); }
    void settle(std::vector<int64_t>& passed) { tree_.settle(table(), passed); }
    int64_t first_child() { return tree_.first_child(table()); }
    int64_t keep(int64_t end, int64_t since) { return tree_.keep(table(), end, since); }
    // The nodes from below the root to a node.
    void path(int64_t node, std::vector<int64_t>& to) {
        to.clear();
        Survivors::path(table(), node, to);
    }

  private:
    SurvivorTable table() { return {capacity_, width_, memory_, codes_.data(), &time_, &root_, onward_.get(), open_.get()}; }
    void lay_out(int64_t capacity) {
        product({capacity, width_, 4}, "paths that wait for their states");
        if (capacity * width_ > std::numeric_limits<int32_t>::max()) refuse("Stream: too many frames wait for their states; have a max_delay.");
        std::vector<int32_t> codes(static_cast<std::size_t>(capacity * width_), -1);
        for (int64_t t = root_ / width_; capacity_ && t <= time_; ++t) std::copy_n(table().level(t), width_, codes.data() + t % capacity * width_);
        codes_ = std::move(codes), capacity_ = capacity;
    }

    int64_t capacity_ = 0, width_, memory_, time_ = 0, root_ = 0;
    std::unique_ptr<bool[]> onward_, open_;
    std::vector<int32_t> codes_;
    Survivors tree_;
};

}  // namespace semihmm
