#include "prefix_beam.hpp"

namespace semihmm {

Scoring::States Scoring::start() const {
    States states{};
    for (std::size_t i = 0; i < of_tokens.size(); ++i) states.of_tokens[i] = of_tokens[i].start();
    if (spelling) states.spelling = spelling->start(), states.words = words->start();
    return states;
}

bool Scoring::end_word(States& states, double& weight) const {
    if (states.spelling == spelling->start()) return true;  // between delimiters
    const int64_t ended = word[states.spelling];
    states.spelling = spelling->start();
    if (ended < 0) return false;
    states.words = words->step(states.words, ended, weight);
    return states.words != Backoff::kNone;
}

bool Scoring::step(States& states, int64_t token, double& weight) const {
    for (std::size_t i = 0; i < of_tokens.size(); ++i) {
        states.of_tokens[i] = of_tokens[i].step(states.of_tokens[i], token, weight);
        if (states.of_tokens[i] == Backoff::kNone) return false;
    }
    if (!spelling) return true;
    if (token == delimiter) return end_word(states, weight);
    states.spelling = spelling->step(states.spelling, token, weight);
    return states.spelling != Backoff::kNone;
}

double Scoring::final(const States& states) const {
    double weight = 0;
    for (std::size_t i = 0; i < of_tokens.size(); ++i) weight += of_tokens[i].final(states.of_tokens[i]);
    if (!spelling) return weight;
    States ended = states;
    if (!end_word(ended, weight)) return -std::numeric_limits<double>::infinity();
    return weight + words->final(ended.words);
}

PrefixBeam::PrefixBeam(const Scoring& scoring, int64_t beam, double margin) : scoring_(scoring), beam_(static_cast<std::size_t>(beam)), margin_(margin) {
    nodes_.push_back({-1, -1, 0, -1, -1, 0, scoring.start()});
    entries_.push_back({0, {0, 0, -1}, {}, {0, 0, -1}});
}

template <class F>
void PrefixBeam::push(const F* row) {
    row_.resize(static_cast<std::size_t>(scoring_.tokens));
    for (int64_t c = 0; c < scoring_.tokens; ++c) row_[c] = row[c] > kZero ? static_cast<double>(row[c]) : kZero;
    advance();
}
template void PrefixBeam::push<float>(const float*);
template void PrefixBeam::push<double>(const double*);

void PrefixBeam::advance() {
    ranked_.clear(), sorted_ = 0;
    for (int64_t c = 0; c < scoring_.tokens; ++c)
        if (c != scoring_.blank && row_[c] > kZero) ranked_.push_back({row_[c], c});
    candidates_.clear(), threshold_ = kZero;
    stay();
    extend();
    select();
    if (kept() > collect_at_) collect();
    ++frame_;
}

// Without a token more; or with one that makes an entry another one of the beam.
void PrefixBeam::stay() {
    stayed_.clear();
    first_taken_.assign(entries_.size(), -1), next_taken_.assign(entries_.size(), -1);
    for (std::size_t slot = 0; slot < entries_.size(); ++slot) {
        const Entry& entry = entries_[slot];
        const Node& node = nodes_[entry.node];
        Entry next{entry.node, entry.either.followed_by(row_[scoring_.blank]), {}, {}};
        if (node.token >= 0) {
            next.token = entry.token.followed_by(row_[node.token]);
            if (const int64_t shorter = nodes_[node.parent].slot; shorter >= 0) {
                Ending longer = before(entries_[shorter], node.token).followed_by(row_[node.token]);
                if (longer.best > next.token.best) longer.onsets = begun(longer.onsets);
                next.token = merged(next.token, longer);
                next_taken_[slot] = first_taken_[shorter], first_taken_[shorter] = static_cast<int64_t>(slot);
            }
        }
        next.either = merged(next.blank, next.token);
        stayed_.push_back(next);
        offer({next.either.sum + node.weight, static_cast<int64_t>(slot), -1});
    }
    if (candidates_.size() >= beam_) keep_best();
}

// With a token more, to a label sequence that the beam does not hold.
void PrefixBeam::extend() {
    const bool plain = scoring_.plain();
    for (std::size_t slot = 0; slot < entries_.size(); ++slot) {
        const Entry& entry = entries_[slot];
        const Node& node = nodes_[entry.node];
        const double most = node.weight + scoring_.gain;
        for (std::size_t rank = 0; ranked(rank); ++rank) {
            const auto [y, token] = ranked_[rank];
            if (entry.either.sum + y + most < threshold_) break;
            int64_t taken = first_taken_[slot];
            while (taken >= 0 && nodes_[entries_[taken].node].token != token) taken = next_taken_[taken];
            if (taken >= 0) continue;
            double gained = 0;
            if (!plain) {
                Scoring::States states = node.states;
                if (!scoring_.step(states, token, gained)) continue;
            }
            offer({before(entry, token).sum + y + (node.weight + gained), static_cast<int64_t>(slot), token});
        }
    }
}

void PrefixBeam::select() {
    keep_best();
    std::sort(candidates_.begin(), candidates_.end());
    while (!candidates_.empty() && candidates_.back().score < candidates_.front().score - margin_) candidates_.pop_back();
    for (const Entry& entry : entries_) nodes_[entry.node].slot = -1;
    std::vector<Entry> next;
    next.reserve(candidates_.size());
    for (const auto& [score, slot, token] : candidates_) {
        if (token < 0) {
            next.push_back(stayed_[slot]);
        } else {
            Ending ending = before(entries_[slot], token).followed_by(row_[token]);
            ending.onsets = begun(ending.onsets);
            next.push_back({child(entries_[slot].node, token), {}, ending, ending});
        }
        nodes_[next.back().node].slot = static_cast<int64_t>(next.size()) - 1;
    }
    entries_ = std::move(next);
}

void PrefixBeam::offer(const Candidate& candidate) {
    if (!(candidate.score > kZero) || candidate.score < threshold_) return;
    candidates_.push_back(candidate);
    if (candidates_.size() >= 2 * beam_ + 64) keep_best();
}

void PrefixBeam::keep_best() {
    if (candidates_.size() < beam_) return;
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(beam_ - 1), candidates_.end());
    candidates_.resize(beam_);
    threshold_ = candidates_.back().score;
}

// Whether there are so many tokens. They are sorted as far as somebody has looked.
bool PrefixBeam::ranked(std::size_t rank) {
    if (rank < sorted_) return true;
    if (rank >= ranked_.size()) return false;
    const std::size_t end = std::min(ranked_.size(), sorted_ + std::max<std::size_t>(16, sorted_));
    const auto at = [&](std::size_t i) { return ranked_.begin() + static_cast<std::ptrdiff_t>(i); };
    if (end < ranked_.size()) std::nth_element(at(sorted_), at(end), ranked_.end());
    std::sort(at(sorted_), at(end));
    sorted_ = end;
    return true;
}

int64_t PrefixBeam::child(int64_t parent, int64_t token) {
    for (int64_t i = nodes_[parent].child; i >= 0; i = nodes_[i].sibling)
        if (nodes_[i].token == token) return i;
    Node made{parent, token, -1, -1, nodes_[parent].child, 0, nodes_[parent].states};
    scoring_.step(made.states, token, made.weight);
    made.weight += nodes_[parent].weight;
    nodes_.push_back(made);
    return nodes_[parent].child = static_cast<int64_t>(nodes_.size()) - 1;
}

int64_t PrefixBeam::begun(int64_t onsets) {
    onsets_.push_back({onsets, frame_});
    return static_cast<int64_t>(onsets_.size()) - 1;
}

// Lets go of what no entry leads back to. What is older comes first, then as before.
void PrefixBeam::collect() {
    const auto compact = [](auto& items, auto before, const auto& roots) {
        std::vector<int64_t> moved(items.size(), -1);
        for (int64_t i : roots)
            for (; i >= 0 && moved[i] < 0; i = before(items[i])) moved[i] = 0;
        int64_t count = 0;
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (moved[i] < 0) continue;
            auto item = items[i];
            if (before(item) >= 0) before(item) = moved[before(item)];
            items[count] = item;
            moved[i] = count++;
        }
        items.erase(items.begin() + count, items.end());
        return moved;
    };
    std::vector<int64_t> nodes{0}, onsets;
    for (const Entry& entry : entries_) {
        nodes.push_back(entry.node);
        for (const Ending* ending : {&entry.blank, &entry.token, &entry.either}) onsets.push_back(ending->onsets);
    }
    const auto node_at = compact(nodes_, [](auto& node) -> auto& { return node.parent; }, nodes);
    const auto onset_at = compact(onsets_, [](auto& onset) -> auto& { return onset.before; }, onsets);
    for (Entry& entry : entries_) {
        entry.node = node_at[entry.node];
        for (Ending* ending : {&entry.blank, &entry.token, &entry.either})
            if (ending->onsets >= 0) ending->onsets = onset_at[ending->onsets];
    }
    for (Node& node : nodes_) node.child = node.sibling = -1;
    for (std::size_t i = 1; i < nodes_.size(); ++i) {
        int64_t& first = nodes_[nodes_[i].parent].child;
        nodes_[i].sibling = first, first = static_cast<int64_t>(i);
    }
    collect_at_ = std::max<std::size_t>(1 << 12, 2 * kept());
}

BeamState PrefixBeam::state() {
    collect();
    BeamState found{frame_, {}, {}, {}, {}, {}, {}, {}};
    for (const Node& node : nodes_) found.parents.push_back(node.parent), found.tokens.push_back(node.token);
    for (const Onset& onset : onsets_) found.before.push_back(onset.before), found.begun.push_back(onset.frame);
    for (const Entry& entry : entries_) {
        found.nodes.push_back(entry.node);
        for (const Ending* ending : {&entry.blank, &entry.token, &entry.either}) {
            found.onsets.push_back(ending->onsets);
            found.sums.push_back(ending->sum), found.sums.push_back(ending->best);
        }
    }
    return found;
}

const char* PrefixBeam::restore(const BeamState& state) {
    const std::size_t nodes = state.parents.size(), onsets = state.before.size(), entries = state.nodes.size();
    if (nodes < 1 || state.tokens.size() != nodes || state.begun.size() != onsets || state.onsets.size() != 3 * entries || state.sums.size() != 6 * entries)
        return "its parts do not fit together";
    if (state.frame < 0 || state.frame > int64_t{1} << 60) return "it has a number of frames that cannot be";
    if (entries > beam_) return "it has more label sequences than the beam holds";
    std::vector<int64_t> length(nodes, 0), begun(onsets, 1);
    for (std::size_t i = 1; i < nodes; ++i) {
        const int64_t parent = state.parents[i], token = state.tokens[i];
        if (parent < 0 || parent >= static_cast<int64_t>(i) || token < 0 || token >= scoring_.tokens || token == scoring_.blank) return "a label sequence goes on from none";
        Scoring::States states = nodes_[parent].states;
        double weight = 0;
        if (!scoring_.step(states, token, weight)) return "a label sequence is not allowed";
        if (child(parent, token) != static_cast<int64_t>(i)) return "a label sequence is there twice";
        length[i] = length[parent] + 1;
    }
    for (std::size_t i = 0; i < onsets; ++i) {
        const int64_t before = state.before[i], frame = state.begun[i];
        if (before < -1 || before >= static_cast<int64_t>(i) || frame < 0 || frame >= state.frame) return "a token begins at no frame";
        if (before >= 0) begun[i] = begun[before] + 1;
        onsets_.push_back({before, frame});
    }
    nodes_[0].slot = -1, entries_.clear(), frame_ = state.frame;
    for (std::size_t i = 0; i < entries; ++i) {
        const int64_t node = state.nodes[i];
        if (node < 0 || node >= static_cast<int64_t>(nodes) || nodes_[node].slot >= 0) return "an entry has no label sequence of its own";
        nodes_[node].slot = static_cast<int64_t>(i);
        Entry entry{node, {}, {}, {}};
        std::size_t k = 3 * i;
        for (Ending* ending : {&entry.blank, &entry.token, &entry.either}) {
            *ending = {state.sums[2 * k], state.sums[2 * k + 1], state.onsets[k]};
            ++k;
            const double infinity = std::numeric_limits<double>::infinity();
            if (!(ending->sum < infinity) || !(ending->best < infinity)) return "a sum is no number";
            if (ending->onsets < -1 || ending->onsets >= static_cast<int64_t>(onsets)) return "an entry has no onsets";
            const int64_t known = ending->onsets < 0 ? 0 : begun[ending->onsets];
            if (known != length[node] && (ending->sum > kZero || ending->best > kZero)) return "an entry has not as many onsets as labels";
        }
        entries_.push_back(entry);
    }
    return nullptr;
}

std::vector<Hypothesis> PrefixBeam::best(int64_t count, bool final) const {
    std::vector<Candidate> order;
    for (std::size_t slot = 0; slot < entries_.size(); ++slot) {
        const Node& node = nodes_[entries_[slot].node];
        const double score = entries_[slot].either.sum + (node.weight + (final ? scoring_.final(node.states) : 0));
        if (score > kZero) order.push_back({score, static_cast<int64_t>(slot), -1});
    }
    std::sort(order.begin(), order.end());
    if (static_cast<int64_t>(order.size()) > count) order.resize(static_cast<std::size_t>(count));
    std::vector<Hypothesis> found;
    for (const auto& [score, slot, _] : order) {
        Hypothesis next{entries_[slot].either.sum, score, {}, {}};
        for (int64_t i = entries_[slot].node; i > 0; i = nodes_[i].parent) next.labels.push_back(nodes_[i].token);
        for (int64_t i = entries_[slot].either.onsets; i >= 0; i = onsets_[i].before) next.frames.push_back(onsets_[i].frame);
        std::reverse(next.labels.begin(), next.labels.end());
        std::reverse(next.frames.begin(), next.frames.end());
        found.push_back(std::move(next));
    }
    return found;
}

}  // namespace semihmm
