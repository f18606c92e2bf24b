// The tree of best paths that are still in the running, in flat tables as semihmm/streaming/survivors.py lays them out.
//
// What the tables hold came from a file, perhaps: each index is checked where it is read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "checks.hpp"

namespace semihmm {

struct Survivors {
    int64_t streams, capacity, width, memory;
    int64_t *parent, *children, *sum;  // (streams, capacity, width)
    bool* closed;
    int64_t* time;  // (streams)
    int64_t* root;
    const bool* onward;  // (width)

    // What a stream's new steps bring, each (steps, width).
    struct Steps {
        int64_t count;
        const int64_t *source, *delay;
        const bool* alive;
    };

    int64_t size() const { return streams * capacity * width; }
    int64_t row(int64_t stream, int64_t t) const { return (stream * capacity + t % capacity) * width; }
    void check(int64_t stream) const {
        if (stream < 0 || stream >= streams) refuse("Survivors: there is no stream " + std::to_string(stream) + ".");
        if (root[stream] < 0 || root[stream] / width > time[stream] || time[stream] > kMost) refuse("Survivors: a root must be a node of the past.");
    }

    // The new nodes of a stream; those that have died are added to `dead`.
    void grow(int64_t stream, const Steps& steps, std::vector<int64_t>& dead) {
        const int64_t before = time[stream];
        for (int64_t i = 0; i < steps.count; ++i) {
            const int64_t now = before + 1 + i, at = row(stream, now);
            std::fill_n(parent + at, width, -1), std::fill_n(children + at, width, 0), std::fill_n(sum + at, width, 0);
            std::fill_n(closed + at, width, false);
            for (int64_t slot = 0, from = i * width; slot < width; ++slot, ++from)
                if (steps.alive[from]) adopt(at + slot, now == 1 ? row(stream, 0) : came(stream, now, steps.source[from], steps.delay[from]));
        }
        time[stream] = before + steps.count;
        close(stream, before, true, memory, dead), close(stream, before, false, 1, dead);
    }
    // Take nodes out, and their parents where they were the last children.
    void bury(std::vector<int64_t>& dead) {
        while (!dead.empty()) {
            const int64_t at = dead.back(), above = parent[at];
            dead.pop_back();
            if (above < 0) continue;
            if (above >= size()) refuse("Survivors: a parent is none of the nodes.");
            parent[at] = -1, add(children[above], -1), add(sum[above], -at);
            if (children[above] == 0 && closed[above] && parent[above] >= 0) dead.push_back(above);
        }
    }
    // The earliest time of what is alive and comes from a stream's root; the root's own for nothing.
    int64_t first_child(int64_t stream) const {
        const int64_t first = root[stream] / width + 1, top = row(stream, first - 1) + root[stream] % width;
        for (int64_t t = first; t < first + memory && t <= time[stream]; ++t) {
            const int64_t* above = parent + row(stream, t);
            if (std::find(above, above + width, top) != above + width) return t;
        }
        return first - 1;
    }

    // Move a stream's root down as far as all that is alive comes from there; the nodes that it passes.
    std::vector<int64_t> settle(int64_t stream) {
        std::vector<int64_t> passed;
        const int64_t begin = row(stream, 0);  // which is the first of its ring
        for (;;) {
            const int64_t at = row(stream, root[stream] / width) + root[stream] % width;
            if (children[at] != 1 || !closed[at]) return passed;
            const int64_t below = sum[at] - begin;
            if (sum[at] < begin || below >= capacity * width) refuse("Survivors: a child is none of the stream's nodes.");
            const int64_t latest = time[stream], age = ((latest - below / width) % capacity + capacity) % capacity;
            const int64_t node = (latest - age) * width + below % width;
            if (node <= root[stream]) refuse("Survivors: a child is older than its parent.");
            parent[sum[at]] = -1, root[stream] = node, passed.push_back(node);
        }
    }

  private:
    static void add(int64_t& to, int64_t x) { to = static_cast<int64_t>(static_cast<uint64_t>(to) + static_cast<uint64_t>(x)); }

    int64_t came(int64_t stream, int64_t now, int64_t source, int64_t delay) const {
        if (source < 0 || source >= width || delay < 1 || delay > now) refuse("Survivors: a slot came from a slot before it.");
        return row(stream, now - delay) + source;
    }
    void adopt(int64_t at, int64_t above) { parent[at] = above, add(children[above], 1), add(sum[above], at); }
    // Slots that have just left the carry get no more children.
    void close(int64_t stream, int64_t before, bool which, int64_t reach, std::vector<int64_t>& dead) {
        const int64_t first = std::max({before - reach + 1, int64_t{1}, root[stream] / width});
        for (int64_t t = first; t <= time[stream] - reach; ++t) {
            const int64_t at = row(stream, t);
            for (int64_t slot = 0; slot < width; ++slot) {
                if (onward[slot] != which) continue;
                closed[at + slot] = true;
                if (children[at + slot] == 0 && parent[at + slot] >= 0) dead.push_back(at + slot);
            }
        }
    }
};

}  // namespace semihmm
