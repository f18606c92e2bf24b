// Deterministic weighted automata with backoff arcs: n-gram models, spellings of words, phrases that are listened for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "checks.hpp"

namespace semihmm {

// A symbol for which a state has no arc is read by the state that it backs off to, for the weight of that arc. Where a state
// backs off to none, `other` takes the symbol, if there is such a state; else it is refused.
class Backoff {
  public:
    static constexpr int64_t kNone = -1;

    // What comes may be anything; what passes is safe: arcs sorted by symbol, states in range, a state backs off to one before it.
    Backoff(std::span<const int64_t> first, std::span<const int64_t> symbol, std::span<const int64_t> next, std::span<const double> weight,
            std::span<const int64_t> backoff, std::span<const double> backoff_weight, std::span<const double> final, int64_t start, int64_t other, double other_weight)
        : symbol_(symbol.begin(), symbol.end()), start_(start), other_(other), other_weight_(other_weight) {
        const auto states = static_cast<int64_t>(final.size()), arcs = static_cast<int64_t>(symbol.size());
        const auto is_state = [=](int64_t s) { return 0 <= s && s < states; };
        const auto is_weight = [](double w) { return w < std::numeric_limits<double>::infinity(); };
        const bool sizes = first.size() == final.size() + 1 && next.size() == symbol.size() && weight.size() == symbol.size() &&
                           backoff.size() == final.size() && backoff_weight.size() == final.size();
        if (!sizes || !is_state(start) || !(other == kNone || is_state(other)) || !is_weight(other_weight)) refuse("an automaton's tables must fit together.");
        if (first.front() != 0 || first.back() != arcs) refuse("an automaton's first arcs must begin with 0 and end with their number.");
        for (int64_t s = 0; s < states; ++s) {
            if (first[s] > first[s + 1] || first[s + 1] > arcs) refuse("an automaton's first arcs must not decrease.");
            if (backoff[s] < kNone || backoff[s] >= s) refuse("a state must back off to one before it, or to -1.");
            if (!is_weight(backoff_weight[s]) || !is_weight(final[s])) refuse("an automaton's weights must be below infinity.");
            for (int64_t a = first[s]; a < first[s + 1]; ++a) {
                if (a > first[s] && symbol[a] <= symbol[a - 1]) refuse("a state's arcs must be sorted by symbol.");
                if (!is_state(next[a]) || !is_weight(weight[a])) refuse("an arc must lead to a state, for a weight below infinity.");
            }
            states_.push_back({first[s], first[s + 1], backoff[s], backoff_weight[s], final[s]});
        }
        for (int64_t a = 0; a < arcs; ++a) arcs_.push_back({next[a], weight[a]});
    }

    int64_t size() const { return static_cast<int64_t>(states_.size()); }
    int64_t start() const { return start_; }
    double final(int64_t state) const { return states_[state].final; }

    // The state behind a symbol, or kNone. Adds to `weight`.
    int64_t step(int64_t state, int64_t symbol, double& weight) const {
        double gained = 0;
        for (; state != kNone; state = states_[state].backoff) {
            const State& s = states_[state];
            const auto begin = symbol_.begin() + s.first, end = symbol_.begin() + s.last, found = std::lower_bound(begin, end, symbol);
            if (found != end && *found == symbol) {
                const Arc& arc = arcs_[found - symbol_.begin()];
                weight += gained + arc.weight;
                return arc.next;
            }
            if (s.backoff != kNone) gained += s.backoff_weight;
        }
        weight += gained + other_weight_;
        return other_;
    }

  private:
    struct State {
        int64_t first, last, backoff;
        double backoff_weight, final;
    };
    struct Arc {
        int64_t next;
        double weight;
    };
    std::vector<State> states_;
    std::vector<int64_t> symbol_;  // apart from the rest, for the search
    std::vector<Arc> arcs_;
    int64_t start_, other_;
    double other_weight_;
};

}  // namespace semihmm
