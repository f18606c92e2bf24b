// The tree of best paths that are still in the running, of some streams: what semihmm/streaming/survivors.py says.
//
// What the tables hold came from a file, perhaps: each index is checked where it is read. A tree is what they say, and made anew where
// they are not those of the latest call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "checks.hpp"

namespace semihmm {

// What Python holds of one stream.
struct SurvivorTable {
    int64_t capacity, width, memory;
    int32_t* codes;      // (capacity, width), by time: (delay - 1) * width + slot, -1 for nowhere
    int64_t *time, *root;
    const bool* onward;  // (width)
    bool* open;          // (memory, width), the latest time first

    int64_t row(int64_t t) const { return t % capacity * width; }
    int32_t* level(int64_t t) const { return codes + row(t); }
    int64_t root_time() const { return *root / width; }
    // The node where another came from.
    int64_t above(int64_t node) const {
        const int64_t now = node / width, code = level(now)[node % width], before = now - 1 - code / width;
        if (now == 1 && code >= 0) return 0;
        if (code < 0 || before < 1) refuse("Survivors: a path comes from where there is none.");
        return before * width + code % width;
    }
    // The nodes from below the root to one, behind those that were found.
    void path(int64_t node, std::vector<int64_t>& found) const {
        check_node(node);
        const auto before = static_cast<std::ptrdiff_t>(found.size());
        for (; node / width > root_time(); node = above(node)) found.push_back(node);
        std::reverse(found.begin() + before, found.end());
    }
    // The first node that is not before `since` on the path to one.
    int64_t first_since(int64_t node, int64_t since) const {
        while (node / width > root_time()) {
            const int64_t before = above(node);
            if (before / width < since || before / width <= root_time()) break;
            node = before;
        }
        return node;
    }
    void check() const {
        if (*root < 0 || root_time() > *time || *time > kMost) refuse("Survivors: a root must be a node of the past.");
        if (*time - root_time() >= capacity) refuse("Survivors: a root must be in the ring.");
    }
    void check_node(int64_t node) const {
        if (node < 0 || node / width > *time || node / width < root_time()) refuse("Survivors: there is no such node.");
    }
};

// Where a slot is the predecessor of the next step's alone: all that is open is of the latest time.
//
// Of the tree those nodes are kept from which two ways lead to open ones. They are few and lie close together; the codes of all times,
// which are many, are read where a path is asked for. Parents come before their children: one pass from the last node says who leads
// to whom, one from the first takes the others out.
class PartingPaths {
  public:
    // Memory for as many nodes as there may ever be: later calls need none.
    void prepare(const SurvivorTable& of) {
        follow(of);
        reserve(most(of) + 2 * of.width);
        ways_.reserve(node_.size()), place_.reserve(node_.size()), kept_.reserve(node_.size());
    }
    // Some levels behind those that there are, by where slots came from (count, width).
    void grow(const SurvivorTable& of, int64_t count, const int32_t* came) {
        follow(of);
        for (int64_t i = 0; i < count; ++i, came += of.width) {
            std::copy_n(came, of.width, of.level(time_ + 1));
            next(of);
        }
        *of.time = time_;
        for (int64_t slot = 0; count && slot < of.width; ++slot) of.open[slot] = hung_[slot] >= 0;
        compress(of);
    }
    // Move the root down as far as all that is open comes from there; the nodes that it passes are added, the first ones first.
    void settle(const SurvivorTable& of, std::vector<int64_t>& passed) {
        follow(of);
        of.path(node_[0], passed);
        *of.root = node_[0];
    }
    // The earliest time of what leads from the root to what is open; the root's own for nothing.
    int64_t first_child(const SurvivorTable& of) {
        follow(of);
        return of.root_time() + (of.root_time() < time_ && std::any_of(hung_.begin(), hung_.end(), [](int32_t up) { return up >= 0; }));
    }
    // Close all that do not come from one node: the first that is not before `since` on the path to the open node `end`. Returns it.
    int64_t keep(const SurvivorTable& of, int64_t end, int64_t since) {
        follow(of);
        of.check_node(end);
        int32_t at = end / of.width == time_ ? hung_[end % of.width] : -1;
        if (at < 0) refuse("Survivors: no path may go on from that node.");
        const int64_t node = of.first_since(end, since);
        kept_.assign(static_cast<std::size_t>(count_), 0);
        if (node_[at] >= node) {
            while (at > 0 && node_[parent_[at]] >= node) at = parent_[at];
            for (int64_t i = at; i < count_; ++i) kept_[i] = i == at || (parent_[i] >= 0 && kept_[parent_[i]]);
        }  // else it leads to the end alone
        for (int64_t slot = 0; slot < of.width; ++slot) {
            of.open[slot] = hung_[slot] >= 0 && (kept_[hung_[slot]] || slot == end % of.width);
            if (!of.open[slot]) hung_[slot] = -1;
        }
        compress(of);
        return node;
    }

  private:
    void follow(const SurvivorTable& of) {
        of.check();
        const auto size = static_cast<std::size_t>(of.width);
        if (time_ == *of.time && hung_.size() == size) return;
        hung_.assign(size, -1), before_.assign(size, -1), children_.assign(size, 0);
        time_ = of.root_time(), count_ = 0;
        reserve(1);
        node_[0] = *of.root, parent_[0] = -1, count_ = 1;
        if (time_) hung_[*of.root % of.width] = 0;
        while (time_ < *of.time) next(of);
        for (int64_t slot = 0; slot < of.width; ++slot)
            if (!of.open[slot]) hung_[slot] = -1;
        compress(of);
    }
    // When to compress, at the latest.
    static int64_t most(const SurvivorTable& of) { return 8 * of.width + 4096; }
    // One more level, whose codes are known. The slots in front of it become nodes where ways part.
    void next(const SurvivorTable& of) {
        if (count_ > most(of)) compress(of);
        const int64_t width = of.width, now = ++time_;
        const int32_t* code = of.level(now);
        if (now == 1) {
            for (int64_t slot = 0; slot < width; ++slot) hung_[slot] = code[slot] < 0 ? -1 : 0;
            return;
        }
        if (*std::max_element(code, code + width) >= width) refuse("Survivors: a slot came from a slot before it.");
        std::swap(hung_, before_);
        std::fill_n(children_.begin(), width, 0);
        for (int64_t slot = 0; slot < width; ++slot)
            if (code[slot] >= 0) ++children_[code[slot]];
        reserve(width);
        int64_t count = count_, *const nodes = node_.data();
        int32_t *const parents = parent_.data(), *const before = before_.data(), *const children = children_.data();
        for (int64_t slot = 0; slot < width; ++slot) {  // no branch: nobody could predict it
            const int32_t up = before[slot];
            const bool parts = (children[slot] > 1) & (up >= 0);
            nodes[count] = (now - 1) * width + slot, parents[count] = up;
            before[slot] = parts ? static_cast<int32_t>(count) : up;
            count += parts;
        }
        count_ = count;
        for (int64_t slot = 0; slot < width; ++slot) hung_[slot] = code[slot] < 0 ? -1 : before[code[slot]];
    }
    // Take out the nodes that lead to nothing open, and those that lead one way; a root that does gives way to who comes next.
    void compress(const SurvivorTable& of) {
        constexpr int32_t many = 2;
        ways_.assign(static_cast<std::size_t>(count_), 0), place_.resize(static_cast<std::size_t>(count_));
        int64_t *const node = node_.data(), alone = 0;
        int32_t *const parent = parent_.data(), *const ways = ways_.data(), *const place = place_.data();
        for (int64_t slot = 0; slot < of.width; ++slot)
            if (hung_[slot] >= 0) ++ways[hung_[slot]], alone = time_ * of.width + slot;
        for (int64_t i = count_ - 1; i > 0; --i) ways[parent[i]] += ways[i] > 0;
        int32_t kept = ways[0] != 1;
        place[0] = kept - 1;
        for (int64_t i = 1; i < count_; ++i) {  // what is written, nobody reads any more
            const int32_t up = place[parent[i]];
            const bool keeps = ways[i] >= many;
            place[i] = keeps ? kept : up, node[kept] = node[i], parent[kept] = up;
            kept += keeps;
        }
        const bool single = kept == 0;  // one way, to what is open and no node
        if (single) node[0] = alone, parent[0] = -1, kept = 1;
        count_ = kept;
        for (int64_t slot = 0; slot < of.width; ++slot) hung_[slot] = hung_[slot] < 0 ? -1 : single ? 0 : place[hung_[slot]];
    }
    // Memory for more nodes.
    void reserve(int64_t more) {
        if (static_cast<int64_t>(node_.size()) >= count_ + more) return;
        const auto size = static_cast<std::size_t>(2 * count_ + more);
        node_.resize(size), parent_.resize(size);
    }

    int64_t time_ = -1, count_ = 0;
    std::vector<int64_t> node_;    // `count_` of them
    std::vector<int32_t> parent_;  // -1 of the root
    std::vector<int32_t> hung_;    // the node that each slot of the latest time hangs from; -1 where no path is
    std::vector<int32_t> before_, children_, ways_, place_;
    std::vector<uint8_t> kept_;
};

// Where slots last: how many children each node has, and one more while it is open. Each is made once and dies once, so that a step
// takes time in proportion to its slots, however many may still be predecessors.
class CountedPaths {
  public:
    void prepare(const SurvivorTable& of) {
        follow(of);
        mark_.reserve(nodes_.size()), path_.reserve(nodes_.size());
        dead_.reserve(2 * nodes_.size() + 2 * static_cast<std::size_t>(of.width));
    }
    void grow(const SurvivorTable& of, int64_t count, const int32_t* came) {
        follow(of);
        const int64_t before = time_;
        for (int64_t i = 0; i < count; ++i, came += of.width) {
            std::copy_n(came, of.width, of.level(time_ + 1));
            next(of);
            std::copy_backward(of.open, of.open + (of.memory - 1) * of.width, of.open + of.memory * of.width);
            for (int64_t slot = 0; slot < of.width; ++slot) of.open[slot] = nodes_[of.row(time_) + slot].parent >= 0, of.open[of.width + slot] &= of.onward[slot];
        }
        *of.time = time_;
        close(of, before);
    }
    void settle(const SurvivorTable& of, std::vector<int64_t>& passed) {
        follow(of);
        for (;;) {
            const int64_t when = of.root_time(), slot = *of.root % of.width;
            const Node& top = nodes_[of.row(when) + slot];
            if (top.pending != 1 || (when > 0 && when > time_ - of.memory && of.open[(time_ - when) * of.width + slot])) return;
            const int64_t below = top.sum;
            if (below < 0 || below >= size()) refuse("Survivors: a child is none of the stream's nodes.");
            const int64_t node = this->when(of, below) * of.width + below % of.width;
            if (node <= *of.root) refuse("Survivors: a child is older than its parent.");
            nodes_[below].parent = -1, *of.root = node, passed.push_back(node);
        }
    }
    int64_t first_child(const SurvivorTable& of) {
        follow(of);
        const int64_t first = of.root_time() + 1, top = of.row(first - 1) + *of.root % of.width;
        for (int64_t t = first; t < first + of.memory && t <= time_; ++t) {
            const Node* level = nodes_.data() + of.row(t);
            if (std::any_of(level, level + of.width, [&](const Node& x) { return x.parent == top; })) return t;
        }
        return first - 1;
    }
    int64_t keep(const SurvivorTable& of, int64_t end, int64_t since) {
        follow(of);
        of.check_node(end);
        if (end / of.width <= time_ - of.memory || !of.open[(time_ - end / of.width) * of.width + end % of.width]) refuse("Survivors: no path may go on from that node.");
        const int64_t node = of.first_since(end, since), now = node / of.width, oldest = of.root_time();
        mark_.resize(nodes_.size());
        for (int64_t t = oldest; t <= time_; ++t) std::fill_n(mark_.begin() + of.row(t), of.width, t > now ? Fate::kUnknown : Fate::kLost);
        mark_[of.row(now) + node % of.width] = Fate::kKept;
        dead_.clear();
        for (int64_t age = 0; age < of.memory && age < time_; ++age) {
            for (int64_t slot = 0; slot < of.width; ++slot) {
                bool& open = of.open[age * of.width + slot];
                const int64_t place = of.row(time_ - age) + slot;
                if (!open) continue;
                Fate fate = Fate::kLost;
                for (int64_t at = place; at >= 0 && (fate = mark_[at]) == Fate::kUnknown; at = nodes_[at].parent) mark_[at] = Fate::kLost, path_.push_back(at);
                for (; !path_.empty(); path_.pop_back()) mark_[path_.back()] = fate;
                open = fate == Fate::kKept;
                if (open) continue;
                add(nodes_[place].pending, -1);
                if (nodes_[place].pending == 0 && nodes_[place].parent >= 0) dead_.push_back(place);
            }
        }
        bury();
        return node;
    }

  private:
    struct Node {
        int32_t pending, parent, sum;  // the place of its parent, and the sum of those of its children: of one, where it is
    };
    enum class Fate : uint8_t { kUnknown, kLost, kKept };

    int64_t size() const { return static_cast<int64_t>(nodes_.size()); }
    static void add(int32_t& to, int64_t x) { to = static_cast<int32_t>(static_cast<uint32_t>(to) + static_cast<uint32_t>(x)); }
    int64_t when(const SurvivorTable& of, int64_t at) const { return time_ - ((time_ - at / of.width) % of.capacity + of.capacity) % of.capacity; }

    void follow(const SurvivorTable& of) {
        of.check();
        if (time_ == *of.time && size() == of.capacity * of.width) return;
        nodes_.assign(static_cast<std::size_t>(of.capacity * of.width), {0, -1, 0});
        const int64_t before = time_ = of.root_time();
        Node& top = nodes_[of.row(time_) + *of.root % of.width];
        top = {time_ > 0, 0, 0};  // as one that is alive, until its children have been found
        while (time_ < *of.time) next(of);
        top.parent = -1;
        close(of, std::max<int64_t>(before - of.memory, 0));
        dead_.clear();
        for (int64_t age = 0; age < of.memory && age < time_ && time_ - age >= before; ++age)
            for (int64_t slot = 0; slot < of.width; ++slot) {
                Node& one = nodes_[of.row(time_ - age) + slot];
                const bool was = one.pending > 0 && (age == 0 || of.onward[slot]);
                if (!was || of.open[age * of.width + slot]) continue;
                if (--one.pending == 0 && one.parent >= 0) dead_.push_back(of.row(time_ - age) + slot);
            }
        bury();
    }
    // One more level, whose codes are known.
    void next(const SurvivorTable& of) {
        const int64_t now = ++time_, at = of.row(now), width = of.width;
        const int32_t* code = of.level(now);
        for (int64_t slot = 0; slot < width; ++slot) {
            const int64_t delay = code[slot] / width + 1;
            if (now > 1 && code[slot] >= 0 && (delay >= now || delay > of.memory)) refuse("Survivors: a slot came from a slot before it.");
            const int64_t above = code[slot] < 0 ? -1 : now == 1 ? 0 : of.row(now - delay) + code[slot] % width;
            const bool alive = above >= 0 && (nodes_[above].parent >= 0 || above == of.row(of.root_time()) + *of.root % width);
            nodes_[at + slot] = {alive, static_cast<int32_t>(alive ? above : -1), 0};
            if (alive) add(nodes_[above].pending, 1), add(nodes_[above].sum, at + slot);
        }
    }
    // Slots that have left the carry since a time get no more children; who has none dies.
    void close(const SurvivorTable& of, int64_t before) {
        dead_.clear();
        for (const bool lasts : {true, false}) {
            const int64_t reach = lasts ? of.memory : 1;
            for (int64_t t = std::max({before - reach + 1, int64_t{1}, of.root_time()}); t <= time_ - reach; ++t)
                for (int64_t slot = 0; slot < of.width; ++slot) {
                    Node& one = nodes_[of.row(t) + slot];
                    if (of.onward[slot] != lasts || one.pending <= 0) continue;
                    if (--one.pending == 0 && one.parent >= 0) dead_.push_back(of.row(t) + slot);
                }
        }
        bury();
    }
    // Take nodes out, and their parents where they were the last children.
    void bury() {
        for (std::size_t i = 0; i < dead_.size(); ++i) {
            const int64_t at = dead_[i], above = nodes_[at].parent;
            nodes_[at].parent = -1;
            Node& parent = nodes_[above];
            add(parent.sum, -at), add(parent.pending, -1);
            if (parent.pending == 0 && parent.parent >= 0) dead_.push_back(above);
        }
    }

    int64_t time_ = -1;
    std::vector<Node> nodes_;  // (capacity, width), by time
    std::vector<Fate> mark_;
    std::vector<int64_t> dead_, path_;  // those whose parents are not told yet; empty between calls
};

// Either, whichever the table asks for.
class Survivors {
  public:
    void prepare(const SurvivorTable& of) { of.memory == 1 ? parting_.prepare(of) : counted_.prepare(of); }
    void grow(const SurvivorTable& of, int64_t count, const int32_t* came) { of.memory == 1 ? parting_.grow(of, count, came) : counted_.grow(of, count, came); }
    void settle(const SurvivorTable& of, std::vector<int64_t>& passed) { of.memory == 1 ? parting_.settle(of, passed) : counted_.settle(of, passed); }
    int64_t first_child(const SurvivorTable& of) { return of.memory == 1 ? parting_.first_child(of) : counted_.first_child(of); }
    int64_t keep(const SurvivorTable& of, int64_t end, int64_t since) { return of.memory == 1 ? parting_.keep(of, end, since) : counted_.keep(of, end, since); }

  private:
    PartingPaths parting_;
    CountedPaths counted_;
};

}  // namespace semihmm
