// The tree of best paths of one stream (survivors.hpp), with memory of its own, which grows if it must.
#pragma once

#include <memory>

#include "../survivors.hpp"

namespace semihmm {

class PathsTree {
  public:
    // Slots from `first_onward` on may have successors, up to `memory` steps later.
    PathsTree(int64_t width, int64_t memory, int64_t first_onward, int64_t capacity)
        : onward_(new bool[static_cast<std::size_t>(width)]), tree_{1, 0, width, memory, nullptr, &time_, &root_, onward_.get(), first_onward > 0} {
        for (int64_t slot = 0; slot < width; ++slot) onward_[slot] = slot >= first_onward;
        lay_out(capacity);
    }
    int64_t time() const { return time_; }
    int64_t root() const { return root_; }
    int64_t width() const { return tree_.width; }
    void restart() {
        time_ = root_ = 0;
        clear();
    }
    // So many steps more will fit, and `least` times in all.
    void reserve(int64_t steps, int64_t least) {
        const int64_t times = std::max(time_ + steps - root_ / tree_.width + 1, least);
        if (times > tree_.capacity) move(std::max(times, 2 * tree_.capacity));
    }
    void grow(const int32_t* came) { tree_.grow(0, 1, came, work_); }
    void settle(std::vector<int64_t>& passed) const { tree_.settle(0, passed); }
    int64_t first_child() const { return tree_.first_child(0); }
    int64_t keep(int64_t end, int64_t since, bool* kept) { return tree_.keep(0, end, since, kept, mark_, work_); }
    // The nodes from below the root to a node.
    void path(int64_t node, std::vector<int64_t>& to) const {
        to.clear();
        const int64_t top = place(root_);
        for (int64_t at = place(node); at != top && at >= 0; at = nodes_[at].parent) to.push_back(this->node(at));
        std::reverse(to.begin(), to.end());
    }

  private:
    static constexpr int32_t kNobody = -1;

    int64_t place(int64_t node) const { return tree_.row(node / tree_.width) + node % tree_.width; }
    int64_t node(int64_t at) const {
        const int64_t row = at / tree_.width, back = ((time_ - row) % tree_.capacity + tree_.capacity) % tree_.capacity;
        return (time_ - back) * tree_.width + at % tree_.width;
    }
    void clear() { std::fill(nodes_.begin(), nodes_.end(), Survivor{0, kNobody, 0}); }
    void lay_out(int64_t capacity) {
        product({capacity, tree_.width, 4}, "paths that wait for their states");
        if (capacity * tree_.width > std::numeric_limits<int32_t>::max()) refuse("Stream: too many frames wait for their states; have a max_delay.");
        nodes_.resize(static_cast<std::size_t>(capacity * tree_.width));
        tree_.capacity = capacity, tree_.nodes = nodes_.data();
        mark_.resize(nodes_.size());
        work_.dead.reserve(2 * nodes_.size() + 2 * static_cast<std::size_t>(tree_.width)), work_.path.reserve(nodes_.size());
        clear();
    }
    void move(int64_t capacity) {
        const std::vector<Survivor> before = nodes_;
        const int64_t top = place(root_);
        std::vector<int32_t> children(before.size());
        for (const Survivor& one : before)
            if (one.parent >= 0) ++children[one.parent];
        std::vector<int64_t> was(before.size());
        for (std::size_t at = 0; at < before.size(); ++at) was[at] = node(static_cast<int64_t>(at));
        lay_out(capacity);
        for (std::size_t at = 0; at < before.size(); ++at) {
            const Survivor& one = before[at];
            if (one.parent < 0 && static_cast<int64_t>(at) != top) continue;
            const int64_t here = place(was[at]);
            nodes_[here].pending += one.pending - children[at];
            if (one.parent < 0) continue;
            const int64_t above = place(was[one.parent]);
            nodes_[here].parent = static_cast<int32_t>(above);
            ++nodes_[above].pending, nodes_[above].sum = static_cast<int32_t>(static_cast<uint32_t>(nodes_[above].sum) + static_cast<uint32_t>(here));
        }
    }

    int64_t time_ = 0, root_ = 0;
    std::unique_ptr<bool[]> onward_;
    std::vector<Survivor> nodes_;
    std::vector<Fate> mark_;
    Burials work_;
    Survivors tree_;
};

}  // namespace semihmm
