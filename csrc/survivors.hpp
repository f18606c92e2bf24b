// The tree of best paths that are still in the running, in flat tables as semihmm/streaming/survivors.py lays them out.
//
// What the tables hold came from a file, perhaps: each index is checked where it is read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "checks.hpp"

namespace semihmm {

// One slot at one time: how many children it has, and one more while others may come; the place of its parent in the ring of its
// stream; the sum of theirs. (Not side by side: written one by one, counts and sums must not be read as one vector.)
struct Survivor {
    int32_t pending, parent, sum;
};

enum class Fate : uint8_t { kUnknown, kLost, kKept };

// What calls work with, and leave to the next one.
struct Burials {
    std::vector<int64_t> dead, path;
};

struct Survivors {
    int64_t streams, capacity, width, memory;
    Survivor* nodes;  // (streams, capacity, width)
    int64_t* time;    // (streams)
    int64_t* root;
    const bool* onward;  // (width)
    bool ends;           // some are not

    int64_t size() const { return capacity * width; }
    Survivor* ring(int64_t stream) const { return nodes + stream * size(); }
    int64_t row(int64_t t) const { return t % capacity * width; }
    void check(int64_t stream) const {
        if (stream < 0 || stream >= streams) refuse("Survivors: there is no stream " + std::to_string(stream) + ".");
        if (root[stream] < 0 || root[stream] / width > time[stream] || time[stream] > kMost) refuse("Survivors: a root must be a node of the past.");
    }

    // The new nodes of a stream, by where slots came from (count, width); who has died by then is taken out.
    void grow(int64_t stream, int64_t count, const int32_t* came, Burials& work) const {
        const int64_t before = time[stream];
        Survivor* const all = ring(stream);
        for (int64_t now = before + 1; now <= before + count; ++now) {
            const int64_t at = row(now), latest = row(now - 1);
            for (int64_t slot = 0; slot < width; ++slot, ++came) {
                const int64_t above = *came < 0 ? -1 : now == 1 ? 0 : *came < width ? latest + *came : place(now, *came);
                all[at + slot] = {above >= 0, static_cast<int32_t>(above), 0};
                if (above >= 0) ++all[above].pending, add(all[above].sum, at + slot);
            }
        }
        time[stream] = before + count;
        work.dead.clear();
        close(stream, before, true, memory, work.dead);
        if (ends) close(stream, before, false, 1, work.dead);
        bury(stream, work.dead);
    }
    // Take nodes out, and their parents where they were the last children.
    void bury(int64_t stream, std::vector<int64_t>& dead) const {
        constexpr std::size_t ahead = 16;
        Survivor* const all = ring(stream);
        std::size_t end = dead.size();
        for (std::size_t i = 0; i < end; ++i) {
            if (i + ahead < end) __builtin_prefetch(all + std::max(all[dead[i + ahead]].parent, 0));
            if (end == dead.size()) dead.resize(2 * end);
            const int64_t at = dead[i], above = all[at].parent;
            if (above < 0) continue;
            if (above >= size()) refuse("Survivors: a parent is none of the nodes.");
            all[at].parent = -1;
            Survivor& parent = all[above];
            add(parent.sum, -at), add(parent.pending, -1);
            dead[end] = above, end += (parent.pending == 0) & (parent.parent >= 0);  // no branch: nobody could predict it
        }
    }
    // Let all die that do not come from one node: the first that is not before `since` on the path to the node `end`, whose number is
    // returned. kept: which of the latest nodes live, (memory, width), the latest time first. mark: as many as nodes, of any value.
    int64_t keep(int64_t stream, int64_t end, int64_t since, bool* kept, std::vector<Fate>& mark, Burials& work) const {
        const int64_t latest = time[stream], oldest = root[stream] / width;
        if (end < 0 || end / width > latest || end / width < oldest) refuse("Survivors: there is no such node.");
        Survivor* const all = ring(stream);
        const auto when = [&](int64_t at) { return latest - ((latest - at / width) % capacity + capacity) % capacity; };
        int64_t node = row(end / width) + end % width, now = end / width;
        for (int64_t above = all[node].parent; above >= 0; above = all[node].parent) {
            if (above >= size()) refuse("Survivors: a parent is none of the nodes.");
            const int64_t before = when(above);
            if (before >= now) refuse("Survivors: a parent is younger than its child.");
            if (before < since || before <= oldest) break;
            node = above, now = before;
        }
        for (int64_t t = oldest; t <= latest; ++t) std::fill_n(mark.begin() + row(t), width, t > now ? Fate::kUnknown : Fate::kLost);
        mark[node] = Fate::kKept;
        std::vector<int64_t>&dead = work.dead, &path = work.path;
        dead.clear(), path.clear();
        for (int64_t age = 0; age < memory; ++age, kept += width) {
            std::fill_n(kept, width, false);
            if (latest - age < std::max<int64_t>(oldest, 1)) continue;
            for (int64_t slot = 0; slot < width; ++slot) {
                const int64_t place = row(latest - age) + slot;
                if (all[place].parent < 0) continue;
                Fate fate = Fate::kLost;
                for (int64_t at = place; at >= 0 && (fate = mark[at]) == Fate::kUnknown; at = all[at].parent) {
                    if (all[at].parent >= size()) refuse("Survivors: a parent is none of the nodes.");
                    mark[at] = Fate::kLost, path.push_back(at);
                }
                for (; !path.empty(); path.pop_back()) mark[path.back()] = fate;
                kept[slot] = fate == Fate::kKept;
                if (kept[slot]) continue;
                add(all[place].pending, -1);
                if (all[place].pending == 0) dead.push_back(place);
            }
        }
        bury(stream, dead);
        return now * width + node % width;
    }
    // The earliest time of what is alive and comes from a stream's root; the root's own for nothing.
    int64_t first_child(int64_t stream) const {
        const int64_t first = root[stream] / width + 1, top = row(first - 1) + root[stream] % width;
        for (int64_t t = first; t < first + memory && t <= time[stream]; ++t) {
            const Survivor* level = ring(stream) + row(t);
            if (std::any_of(level, level + width, [&](const Survivor& x) { return x.parent == top; })) return t;
        }
        return first - 1;
    }
    // Move a stream's root down as far as all that is alive comes from there; the nodes that it passes are added.
    void settle(int64_t stream, std::vector<int64_t>& passed) const {
        Survivor* const all = ring(stream);
        for (;;) {
            const int64_t when = root[stream] / width, slot = root[stream] % width, latest = time[stream];
            const Survivor& top = all[row(when) + slot];
            if (top.pending != 1 || (when > 0 && when > latest - (onward[slot] ? memory : 1))) return;
            const int64_t below = top.sum;
            if (below < 0 || below >= size()) refuse("Survivors: a child is none of the stream's nodes.");
            const int64_t age = ((latest - below / width) % capacity + capacity) % capacity, node = (latest - age) * width + below % width;
            if (node <= root[stream]) refuse("Survivors: a child is older than its parent.");
            all[below].parent = -1, root[stream] = node, passed.push_back(node);
        }
    }

  private:
    static void add(int32_t& to, int64_t x) { to = static_cast<int32_t>(static_cast<uint32_t>(to) + static_cast<uint32_t>(x)); }

    int64_t place(int64_t now, int64_t came) const {
        const int64_t delay = came / width + 1;
        if (delay > now) refuse("Survivors: a slot came from a slot before it.");
        return row(now - delay) + came % width;
    }
    // Slots that have just left the carry get no more children.
    void close(int64_t stream, int64_t before, bool which, int64_t reach, std::vector<int64_t>& dead) const {
        const int64_t first = std::max({before - reach + 1, int64_t{1}, root[stream] / width});
        for (int64_t t = first; t <= time[stream] - reach; ++t) {
            Survivor* const level = ring(stream) + row(t);
            std::size_t end = dead.size();
            dead.resize(end + width);
            for (int64_t slot = 0; slot < width; ++slot) {
                Survivor& one = level[slot];
                const bool closes = (onward[slot] == which) & (one.pending > 0);
                one.pending -= closes;
                dead[end] = row(t) + slot, end += closes & (one.pending == 0) & (one.parent >= 0);
            }
            dead.resize(end);
        }
    }
};

}  // namespace semihmm
