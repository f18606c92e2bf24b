// CTC prefix beam search (Graves & Jaitly 2014; Hannun et al. 2014): the most probable label sequences, frame by frame.
//
// An entry of the beam is a label sequence l, with the log-probabilities of all paths so far that read l and end in a blank, b(l),
// or in its last token, n(l). With y the log-probabilities of the next frame, and b + n meaning logaddexp,
//     b'(l)     = (b(l) + n(l)) y[blank]
//     n'(l)     = n(l) y[last of l]  +  [l = k c] (c is the last of k ? b(k) : b(k) + n(k)) y[c]
// The entries of the next beam are those for which b' + n', times what l weighs by itself, is greatest: the exact ones, of all that
// the beam's entries become. Candidates are met best token first, until none that is left could enter.
#pragma once

#include <array>
#include <cmath>
#include <optional>

#include "backoff.hpp"

namespace semihmm {

// What a label sequence weighs by itself: tokens by automata of their own, words by one over words, which are spelled by another.
struct Scoring {
    static constexpr std::size_t kOfTokens = 2;  // at most
    struct States {
        std::array<int64_t, kOfTokens> of_tokens;
        int64_t spelling, words;
    };
    int64_t tokens = 0, blank = 0, delimiter = -1;
    std::vector<Backoff> of_tokens;
    std::optional<Backoff> spelling, words;
    std::vector<int64_t> word;  // that ends in each state of `spelling`; -1: none may
    double gain = 0;            // no token adds more

    bool plain() const { return of_tokens.empty() && !spelling; }
    States start() const;
    // Reads a token, adds to `weight`; whether it is allowed.
    bool step(States& states, int64_t token, double& weight) const;
    double final(const States& states) const;

  private:
    bool end_word(States& states, double& weight) const;
};

struct Hypothesis {
    double log_prob, score;
    std::vector<int64_t> labels, frames;  // where each label begins on the best path
};

// A beam between two frames, as semihmm/decoding/saving.py writes it: trees by number, what is older first.
struct BeamState {
    int64_t frame = 0;
    std::vector<int64_t> parents, tokens;  // of label sequences; the first is empty
    std::vector<int64_t> before, begun;    // of onsets, -1 for none, and their frames
    std::vector<int64_t> nodes, onsets;    // of each entry its label sequence, and its three onsets
    std::vector<double> sums;              // of each entry, three times a sum and the best
};

class PrefixBeam {
  public:
    // `margin`: entries whose score is further below the best one are dropped.
    PrefixBeam(const Scoring& scoring, int64_t beam, double margin);
    // One more frame: a log-probability of each token, by address.
    template <class F>
    void push(const F* row);
    // Label sequences and onsets that are remembered.
    std::size_t kept() const { return nodes_.size() + onsets_.size(); }
    // The best ones, as if all had been said; or so far, if not `final`.
    std::vector<Hypothesis> best(int64_t count, bool final) const;
    BeamState state();
    // What `state` gave, of a beam without frames. Returns what is wrong with it, or nullptr: then the beam is of no use.
    const char* restore(const BeamState& state);

  private:
    static constexpr double kZero = -std::numeric_limits<double>::infinity();
    struct Node {  // a label sequence
        int64_t parent, token, slot, child, sibling;
        double weight;
        Scoring::States states;
    };
    struct Onset {  // of a token on a path, behind those of the tokens before
        int64_t before, frame;
    };
    struct Ending {  // all paths that end in one way, and the best of them
        double sum = kZero, best = kZero;
        int64_t onsets = -1;
        Ending followed_by(double y) const { return {sum + y, best + y, onsets}; }
    };
    struct Entry {
        int64_t node;
        Ending blank, token, either;
    };
    struct Candidate {
        double score;
        int64_t slot, token;  // -1: no token more
        bool operator<(const Candidate& other) const {
            if (score != other.score) return score > other.score;
            return slot != other.slot ? slot < other.slot : token < other.token;
        }
    };
    struct Ranked {
        double y;
        int64_t token;
        bool operator<(const Ranked& other) const { return y != other.y ? y > other.y : token < other.token; }
    };

    static double log_add(double a, double b) {
        if (a < b) std::swap(a, b);
        return b == kZero ? a : a + std::log1p(std::exp(b - a));
    }
    static Ending merged(const Ending& a, const Ending& b) {
        const Ending& best = b.best > a.best ? b : a;
        return {log_add(a.sum, b.sum), best.best, best.onsets};
    }
    const Ending& before(const Entry& entry, int64_t token) const { return token == nodes_[entry.node].token ? entry.blank : entry.either; }
    void advance();
    void stay();
    void extend();
    void select();
    void offer(const Candidate& candidate);
    void keep_best();
    bool ranked(std::size_t rank);
    int64_t child(int64_t parent, int64_t token);
    int64_t begun(int64_t onsets);
    void collect();

    const Scoring& scoring_;  // outlives this
    std::size_t beam_, collect_at_ = 1 << 12;
    double margin_, threshold_ = kZero;
    int64_t frame_ = 0;
    std::vector<Node> nodes_;
    std::vector<Onset> onsets_;
    std::vector<Entry> entries_, stayed_;  // best first
    std::vector<int64_t> first_taken_, next_taken_;  // of an entry, those entries that are one token longer
    std::vector<double> row_;
    std::vector<Ranked> ranked_;
    std::size_t sorted_ = 0;
    std::vector<Candidate> candidates_;
};

}  // namespace semihmm
