// The tree of best paths that are still in the running, of some streams: what semihmm/streaming/survivors.py says.
//
// Of a tree those nodes are kept that are open, as they may get children, and those from which two ways lead to open ones (Sramek,
// Brejova & Vinar 2007). They are few and lie close together; the codes of all times, which are many, are read where a path is asked
// for. Parents come before their children: one pass from the last node says who leads to whom, one from the first takes the others out.
//
// What the tables hold came from a file, perhaps: each index is checked where it is read.
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

    int32_t* level(int64_t t) const { return codes + t % capacity * width; }
    // The node where another came from.
    int64_t above(int64_t node) const {
        const int64_t now = node / width, code = level(now)[node % width], before = now - 1 - code / width;
        if (now == 1 && code >= 0) return 0;
        if (code < 0 || before < 1) refuse("Survivors: a path comes from where there is none.");
        return before * width + code % width;
    }
    void check() const {
        if (*root < 0 || *root / width > *time || *time > kMost) refuse("Survivors: a root must be a node of the past.");
        if (*time - *root / width >= capacity) refuse("Survivors: a root must be in the ring.");
    }
    void check_node(int64_t node) const {
        if (node < 0 || node / width > *time || node / width < *root / width) refuse("Survivors: there is no such node.");
    }
};

class Survivors {
  public:
    // Memory for as many nodes as there may ever be: later calls need none.
    void prepare(const SurvivorTable& of) {
        follow(of);
        reserve(most_nodes(of) + 2 * of.width);
    }
    // Some levels behind those that there are, by where slots came from (count, width).
    void grow(const SurvivorTable& of, int64_t count, const int32_t* came) {
        follow(of);
        for (int64_t i = 0; i < count; ++i, came += of.width) {
            std::copy_n(came, of.width, of.level(time_ + 1));
            next(of);
            std::copy_backward(of.open, of.open + (of.memory - 1) * of.width, of.open + of.memory * of.width);
            const int32_t* latest = hung(of, time_);
            for (int64_t slot = 0; slot < of.width; ++slot) of.open[slot] = latest[slot] >= 0;
            for (int64_t slot = 0; of.memory > 1 && slot < of.width; ++slot) of.open[of.width + slot] &= of.onward[slot];
        }
        *of.time = time_;
        if (time_ >= until_) compress(of);
    }
    // Move the root down as far as all that is open comes from there; the nodes that it passes are added, the first ones first.
    void settle(const SurvivorTable& of, std::vector<int64_t>& passed) {
        follow(of);
        path(of, node_[0], passed);
        *of.root = node_[0];
    }
    // The nodes from below the root to one.
    static void path(const SurvivorTable& of, int64_t node, std::vector<int64_t>& found) {
        of.check_node(node);
        const auto before = static_cast<std::ptrdiff_t>(found.size());
        for (; node / of.width > *of.root / of.width; node = of.above(node)) found.push_back(node);
        std::reverse(found.begin() + before, found.end());
    }
    // The earliest time of what leads from the root to what is open; the root's own for nothing.
    int64_t first_child(const SurvivorTable& of) {
        follow(of);
        return first_;
    }
    // Close all that do not come from one node: the first that is not before `since` on the path to the open node `end`. Returns it.
    int64_t keep(const SurvivorTable& of, int64_t end, int64_t since) {
        follow(of);
        of.check_node(end);
        const int64_t when = end / of.width, oldest = *of.root / of.width;
        int32_t at = when > time_ - of.memory ? hung(of, when)[end % of.width] : -1;
        if (at < 0) refuse("Survivors: no path may go on from that node.");
        if (const int32_t own = made(of, when)[end % of.width]; own >= 0) at = own;
        int64_t node = end;
        while (node / of.width > oldest) {
            const int64_t before = of.above(node);
            if (before / of.width < since || before / of.width <= oldest) break;
            node = before;
        }
        static thread_local std::vector<uint8_t> kept;
        kept.reserve(node_.size()), kept.assign(static_cast<std::size_t>(count_), 0);
        if (node_[at] >= node) {
            while (at > 0 && node_[parent_[at]] >= node) at = parent_[at];
            for (int64_t i = at; i < count_; ++i) kept[i] = i == at || (parent_[i] >= 0 && kept[parent_[i]]);
        }  // else it leads to the end alone
        each_open(of, [&](int64_t t, int64_t slot) {
            int32_t &up = hung(of, t)[slot], &own = made(of, t)[slot];
            if (kept[own >= 0 ? own : up] || t * of.width + slot == end) return;
            up = own = -1, of.open[(time_ - t) * of.width + slot] = false;
        });
        compress(of);
        return node;
    }

  private:
    static constexpr int32_t kMany = 2;

    int32_t* hung(const SurvivorTable& of, int64_t t) { return hung_.data() + t % (of.memory + 1) * of.width; }
    int32_t* made(const SurvivorTable& of, int64_t t) { return made_.data() + t % (of.memory + 1) * of.width; }
    int64_t* since(const SurvivorTable& of, int64_t t) { return since_.data() + t % (of.memory + 1) * of.width; }

    // Made anew where the table is not that of the latest call.
    void follow(const SurvivorTable& of) {
        of.check();
        const auto size = static_cast<std::size_t>((of.memory + 1) * of.width);
        if (time_ == *of.time && hung_.size() == size) return;
        hung_.assign(size, -1), made_.assign(size, -1), since_.assign(size, 0);
        count_ = 0, add(*of.root, *of.root / of.width, -1);
        time_ = *of.root / of.width;
        if (time_) hung(of, time_)[*of.root % of.width] = 0, since(of, time_)[*of.root % of.width] = time_;
        while (time_ < *of.time) next(of);
        each_open(of, [&](int64_t t, int64_t slot) {
            if (!of.open[(time_ - t) * of.width + slot]) hung(of, t)[slot] = made(of, t)[slot] = -1;
        });
        compress(of);
    }
    // One more level, whose codes are known. Its slots hang from the nodes where they come from, which are made if others may, too.
    void next(const SurvivorTable& of) {
        if (count_ > most_nodes(of)) compress(of);
        const int64_t width = of.width, now = ++time_;
        const int32_t* code = of.level(now);
        int32_t *to = hung(of, now), *before = hung(of, now - 1);
        if (now == 1) {
            for (int64_t slot = 0; slot < width; ++slot) to[slot] = code[slot] < 0 ? -1 : 0;
        } else if (of.memory == 1) {
            part(of, code, before);
            for (int64_t slot = 0; slot < width; ++slot) to[slot] = code[slot] < 0 ? -1 : before[code[slot]];
        } else {
            for (int64_t slot = 0; slot < width; ++slot) to[slot] = code[slot] < 0 ? -1 : node_of(of, code[slot]);
        }
        if (of.memory == 1) return void(std::fill_n(before, width, -1));
        std::fill_n(made(of, now), width, -1), std::fill_n(since(of, now), width, now);
        if (now > of.memory) std::fill_n(hung(of, now - of.memory), width, -1);
        for (int64_t slot = 0; slot < width; ++slot) before[slot] = of.onward[slot] ? before[slot] : -1;
    }
    // The slots of the latest level but one become nodes where ways part.
    void part(const SurvivorTable& of, const int32_t* code, int32_t* before) {
        static thread_local std::vector<int32_t> children;
        children.assign(static_cast<std::size_t>(of.width), 0);
        if (*std::max_element(code, code + of.width) >= of.width) refuse("Survivors: a slot came from a slot before it.");
        for (int64_t slot = 0; slot < of.width; ++slot)
            if (code[slot] >= 0) ++children[code[slot]];
        reserve(of.width);
        int64_t count = count_, *const nodes = node_.data();
        int32_t *const parents = parent_.data(), *const counted = children.data();
        for (int64_t slot = 0; slot < of.width; ++slot) {  // no branch: nobody could predict it
            const int32_t up = before[slot];
            const bool parts = (counted[slot] > 1) & (up >= 0);
            nodes[count] = (time_ - 1) * of.width + slot, parents[count] = up;
            before[slot] = parts ? static_cast<int32_t>(count) : up;
            count += parts;
        }
        count_ = count;
    }
    int32_t node_of(const SurvivorTable& of, int32_t code) {
        const int64_t delay = code / of.width + 1, slot = code % of.width, when = time_ - delay;
        if (delay > of.memory || when < 1) refuse("Survivors: a slot came from a slot before it.");
        const int32_t up = hung(of, when)[slot];
        int32_t& own = made(of, when)[slot];
        if (up < 0) return -1;
        if (own < 0) own = static_cast<int32_t>(count_), add(when * of.width + slot, since(of, when)[slot], up);
        return own;
    }
    void add(int64_t node, int64_t begins, int32_t parent) {
        reserve(1);
        node_[count_] = node, begins_[count_] = begins, parent_[count_++] = parent;
    }
    // Memory for more nodes.
    void reserve(int64_t more) {
        if (static_cast<int64_t>(node_.size()) >= count_ + more) return;
        const auto size = static_cast<std::size_t>(2 * count_ + more);
        node_.resize(size), begins_.resize(size), parent_.resize(size);
    }
    // Calls work(time, slot) for all that is open.
    template <class Work>
    void each_open(const SurvivorTable& of, const Work& work) {
        for (int64_t t = std::max<int64_t>(time_ - of.memory, 0) + 1; t <= time_; ++t) {
            const int32_t* level = hung(of, t);
            for (int64_t slot = 0; slot < of.width; ++slot)
                if (level[slot] >= 0) work(t, slot);
        }
    }
    // When to compress, at the latest.
    static int64_t most_nodes(const SurvivorTable& of) { return 4 * (of.memory + 1) * of.width + 4096; }
    // When what is open closes.
    int64_t closing(const SurvivorTable& of, int64_t t, int64_t slot) const { return t + (of.onward[slot] ? of.memory : 1); }

    // Take out the nodes that lead to nothing open, and those that lead one way; a root that does gives way to who comes next.
    void compress(const SurvivorTable& of) {
        const auto count = static_cast<std::size_t>(count_);
        const bool lasting = of.memory > 1;
        static thread_local std::vector<int32_t> ways, place;
        static thread_local std::vector<int64_t> first, last;  // of what is open below a node, when the last one closes
        const std::size_t most = node_.size();
        ways.reserve(most), place.reserve(most), first.reserve(most), last.reserve(most);
        ways.assign(count, 0), place.resize(count);
        if (lasting) first.resize(count), last.assign(count, 0);
        int64_t alone = node_[0];
        if (!lasting) {
            const int32_t* latest = hung(of, time_);
            for (int64_t slot = 0; slot < of.width && time_; ++slot)
                if (latest[slot] >= 0) ++ways[latest[slot]], alone = time_ * of.width + slot;
        } else {
            each_open(of, [&](int64_t t, int64_t slot) {
                const int32_t own = made(of, t)[slot], at = own >= 0 ? own : hung(of, t)[slot];
                ways[at] += own >= 0 ? kMany : 1, last[at] = std::max(last[at], closing(of, t, slot));
                alone = t * of.width + slot;
            });
        }
        int64_t* const node = node_.data();
        int32_t *const parent = parent_.data(), *const leading = ways.data(), *const to = place.data();
        for (int64_t i = count_ - 1; i > 0; --i) leading[parent[i]] += leading[i] > 0;
        int32_t kept = leading[0] != 1;
        to[0] = kept - 1, leading[0] = kMany;
        if (lasting) {
            for (int64_t i = count_ - 1; i > 0; --i) last[parent[i]] = std::max(last[parent[i]], last[i]);
            for (int64_t i = 1; i < count_; ++i) begins_[i] = leading[parent[i]] < kMany ? begins_[parent[i]] : begins_[i];
        }
        for (int64_t i = 1; i < count_; ++i) {  // what is written, nobody reads any more
            const int32_t up = to[parent[i]];
            const bool keeps = leading[i] >= kMany;
            to[i] = keeps ? kept : up, node[kept] = node[i], parent[kept] = up;
            if (lasting) first[i] = begins_[i], begins_[kept] = begins_[i], last[kept] = last[i];
            kept += keeps;
        }
        const bool single = kept == 0;  // one way, to what is open and no node
        if (single) node[0] = alone, parent[0] = -1, kept = 1;
        count_ = kept;
        if (!lasting) {
            int32_t* const latest = hung(of, time_);
            for (int64_t slot = 0; slot < of.width && time_; ++slot) latest[slot] = latest[slot] < 0 ? -1 : single ? 0 : place[latest[slot]];
            first_ = root_time(of) + (alone > node_[0]);
            until_ = 0;
            return;
        }
        each_open(of, [&](int64_t t, int64_t slot) {
            int32_t &up = hung(of, t)[slot], &own = made(of, t)[slot];
            if (ways[up] < kMany) since(of, t)[slot] = first[up];
            up = single ? 0 : std::max(place[up], 0), own = own < 0 ? -1 : place[own];
        });
        watch(of, last);
    }
    // When to look again: as long as two ways lead from the root to something open, it stays; and so does the earliest of its children
    // as long as that one leads there.
    void watch(const SurvivorTable& of, const std::vector<int64_t>& last) {
        int64_t longest = 0, second = 0, earliest = kMost, its = 0;
        const auto way = [&](int64_t begins, int64_t ends) {
            second = std::max(second, std::min(longest, ends)), longest = std::max(longest, ends);
            if (begins < earliest) earliest = begins, its = 0;
            if (begins == earliest) its = std::max(its, ends);
        };
        for (int64_t i = 1; i < count_; ++i)
            if (parent_[i] == 0) way(begins_[i], last[i]);
        each_open(of, [&](int64_t t, int64_t slot) {
            if (t * of.width + slot == node_[0]) {
                second = std::max(second, std::min(longest, closing(of, t, slot))), longest = std::max(longest, closing(of, t, slot));
            } else if (made(of, t)[slot] < 0 && hung(of, t)[slot] == 0) {
                way(since(of, t)[slot], closing(of, t, slot));
            }
        });
        first_ = earliest == kMost ? root_time(of) : earliest;
        until_ = std::min(second, earliest == kMost ? second : its);
    }
    int64_t root_time(const SurvivorTable& of) const { return node_[0] / of.width; }

    int64_t time_ = -1, first_ = 0, until_ = 0;  // the latest time; that of the root's first child; when to compress again
    int64_t count_ = 0;
    std::vector<int64_t> node_, begins_;  // `count_` of them, and the earliest time on the way there from their parents, where that is asked for
    std::vector<int32_t> parent_;         // -1 of the root
    // By time and slot, (memory + 1, width): the node that something open hangs from, or -1; itself as a node, or -1; the earliest time
    // on the way there.
    std::vector<int32_t> hung_, made_;
    std::vector<int64_t> since_;
};

}  // namespace semihmm
