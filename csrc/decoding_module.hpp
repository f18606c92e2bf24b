// Prefix beam searches of a batch, as a class of the Python module; see semihmm/decoding/beam.py.
#pragma once

#include <memory>
#include <mutex>

#include <nanobind/nanobind.h>

#include "entry.hpp"
#include "parallel.hpp"
#include "prefix_beam.hpp"

namespace semihmm {
inline namespace SEMIHMM_MODULE {  // a type for each module, as in program.hpp

using namespace nb::literals;

template <class T>
std::span<const T> numbers(nb::handle x, const char* name) {
    const Given found = given(x);
    if (found.shape.size() != 1) refuse(std::string(name) + " must have one axis, got " + shown(found.shape) + ".");
    const T* data = check_array<T>(found, name, found.shape[0]);
    return {data, static_cast<std::size_t>(found.shape[0])};
}

// As semihmm/decoding/backoff.py lays it out.
inline Backoff automaton_of(const nb::tuple& tables) {
    if (tables.size() != 10) refuse("an automaton has 10 tables and numbers, got " + std::to_string(tables.size()) + ".");
    const auto whole = [&](int i, const char* name) { return numbers<int64_t>(tables[i], name); };
    const auto real = [&](int i, const char* name) { return numbers<double>(tables[i], name); };
    return Backoff(whole(0, "first"), whole(1, "symbol"), whole(2, "next"), real(3, "weight"), whole(4, "backoff"), real(5, "backoff_weight"), real(6, "final"),
                   nb::cast<int64_t>(tables[7]), nb::cast<int64_t>(tables[8]), nb::cast<double>(tables[9]));
}

// What searches have in common, however many there are.
struct BeamScoring {
    std::shared_ptr<const Scoring> scoring;

    BeamScoring(int64_t tokens, int64_t blank, int64_t delimiter, double gain, const nb::list& of_tokens, nb::object spelling, nb::object words, nb::object word) {
        if (tokens < 1 || tokens > kMost || blank < 0 || blank >= tokens || delimiter < -1 || delimiter >= tokens)
            refuse("BeamSearch: blank and delimiter must be among the tokens.");
        if (!(gain < std::numeric_limits<double>::infinity())) refuse("BeamSearch: gain must be below infinity.");
        if (of_tokens.size() > Scoring::kOfTokens) refuse("BeamSearch: there are too many automata over tokens.");
        Scoring made{tokens, blank, delimiter, {}, {}, {}, {}, gain};
        for (nb::handle tables : of_tokens) made.of_tokens.push_back(automaton_of(nb::cast<nb::tuple>(tables)));
        if (spelling.is_none() != words.is_none()) refuse("BeamSearch: spelling and words come together.");
        if (!spelling.is_none()) {
            made.spelling = automaton_of(nb::cast<nb::tuple>(spelling)), made.words = automaton_of(nb::cast<nb::tuple>(words));
            const auto ended = numbers<int64_t>(word, "word");
            made.word.assign(ended.begin(), ended.end());
            if (static_cast<int64_t>(made.word.size()) != made.spelling->size()) refuse("BeamSearch: word must have an entry for each state of spelling.");
        }
        scoring = std::make_shared<const Scoring>(std::move(made));
    }
};

class BeamSearches {
  public:
    BeamSearches(const BeamScoring& given, int64_t batch, int64_t beam, double margin) : scoring_(given.scoring) {
        if (beam < 1 || beam > 1 << 20) refuse("BeamSearch: beam must be from 1 to 1048576, got " + std::to_string(beam) + ".");
        if (batch < 0 || batch > 1 << 20) refuse("BeamSearch: batch must be from 0 to 1048576, got " + std::to_string(batch) + ".");
        if (!(margin >= 0)) refuse("BeamSearch: margin must not be negative.");
        for (int64_t i = 0; i < batch; ++i) beams_.emplace_back(*scoring_, beam, margin);
    }

    // log_probs (batch, time, tokens), of which so many frames of each count.
    void push(nb::object log_probs, nb::object lengths, int64_t threads) {
        if (threads < 1) refuse("threads must be at least 1, got " + std::to_string(threads) + ".");
        const Given x = given(log_probs);
        const auto batch = static_cast<int64_t>(beams_.size());
        if (x.type != Type::kFloat && x.type != Type::kDouble) throw WrongType("semihmm: BeamSearch: log_probs must be float32 or float64.");
        if (x.shape.size() != 3) refuse("BeamSearch: log_probs must be (batch, time, tokens), got " + shown(x.shape) + ".");
        const int64_t steps = x.shape[1];
        check_whole(x, "BeamSearch: log_probs", x.type, {batch, steps, scoring_->tokens});
        const auto used = numbers<int64_t>(lengths, "lengths");
        if (static_cast<int64_t>(used.size()) != batch || std::any_of(used.begin(), used.end(), [=](int64_t n) { return n < 0 || n > steps; }))
            refuse("BeamSearch: lengths must be one for each of the batch, none beyond the frames.");
        const nb::gil_scoped_release release;
        const std::lock_guard held(lock_);
        check_complete();
        complete_ = false;  // until all frames are in
        const auto work = [&]<class F>(F) {
            for_each_part(batch, batch, std::min<int64_t>(threads, 256), [&](int64_t, int64_t first, int64_t last, int64_t) {
                Pulse pulse;
                for (int64_t b = first; b < last; ++b)
                    for (int64_t t = 0; t < used[b]; ++t) {
                        beams_[b].push(x.as<F>() + (b * steps + t) * scoring_->tokens);
                        pulse(1 << 13);
                    }
            });
        };
        x.type == Type::kDouble ? work(double{}) : work(float{});
        complete_ = true;
    }

    // Of each of the batch, (labels, frames, log_prob, score) of the best ones.
    nb::list best(int64_t count, bool final) {
        if (count < 1) refuse("BeamSearch: count must be at least 1, got " + std::to_string(count) + ".");
        std::vector<std::vector<Hypothesis>> found;
        {
            const nb::gil_scoped_release release;
            const std::lock_guard held(lock_);
            check_complete();
            for (const auto& beam : beams_) found.push_back(beam.best(count, final));
        }
        nb::list batch;
        for (const auto& hypotheses : found) {
            nb::list item;
            for (const Hypothesis& h : hypotheses) item.append(nb::make_tuple(h.labels, h.frames, h.log_prob, h.score));
            batch.append(item);
        }
        return batch;
    }

    // Of each of the batch, what semihmm/decoding/saving.py writes.
    nb::list state() {
        std::vector<BeamState> found;
        {
            const nb::gil_scoped_release release;
            const std::lock_guard held(lock_);
            check_complete();
            for (auto& beam : beams_) found.push_back(beam.state());
        }
        nb::list batch;
        for (const BeamState& s : found) batch.append(nb::make_tuple(s.frame, s.parents, s.tokens, s.before, s.begun, s.nodes, s.onsets, s.sums));
        return batch;
    }

    // Of searches without frames.
    void restore(const nb::list& batch) {
        using Whole = std::vector<int64_t>;
        if (batch.size() != beams_.size()) refuse("BeamSearch: there must be a state for each of the batch.");
        std::vector<BeamState> states;
        for (nb::handle item : batch) {
            const auto s = nb::cast<nb::tuple>(item);
            if (s.size() != 8) refuse("BeamSearch: a state has 8 parts, got " + std::to_string(s.size()) + ".");
            states.push_back({nb::cast<int64_t>(s[0]), nb::cast<Whole>(s[1]), nb::cast<Whole>(s[2]), nb::cast<Whole>(s[3]), nb::cast<Whole>(s[4]),
                              nb::cast<Whole>(s[5]), nb::cast<Whole>(s[6]), nb::cast<std::vector<double>>(s[7])});
        }
        const nb::gil_scoped_release release;
        const std::lock_guard held(lock_);
        check_complete();
        complete_ = false;
        for (std::size_t b = 0; b < states.size(); ++b)
            if (const char* wrong = beams_[b].restore(states[b])) refuse(std::string("BeamSearch: ") + wrong + ".");
        complete_ = true;
    }

    int64_t kept() {
        const nb::gil_scoped_release release;
        const std::lock_guard held(lock_);
        std::size_t most = 0;
        for (const auto& beam : beams_) most = std::max(most, beam.kept());
        return static_cast<int64_t>(most);
    }

  private:
    void check_complete() const {
        if (!complete_) refuse("BeamSearch: a push was interrupted. Begin anew.");
    }
    std::shared_ptr<const Scoring> scoring_;
    std::vector<PrefixBeam> beams_;
    std::mutex lock_;
    bool complete_ = true;
};

inline void bind_decoding(nb::module_& m) {
    if (const nb::handle made = nb::type<BeamSearches>(); made.is_valid()) {  // the same module, imported once more
        m.attr("BeamSearches") = made, m.attr("BeamScoring") = nb::type<BeamScoring>();
        return;
    }
    nb::class_<BeamScoring>(m, "BeamScoring", "What label sequences weigh by themselves; see semihmm/decoding/scoring.py.")
        .def(nb::init<int64_t, int64_t, int64_t, double, const nb::list&, nb::object, nb::object, nb::object>(), "tokens"_a, "blank"_a, "delimiter"_a, "gain"_a,
             "of_tokens"_a, "spelling"_a.none(), "words"_a.none(), "word"_a.none());
    nb::class_<BeamSearches>(m, "BeamSearches", "CTC prefix beam searches of a batch; see semihmm/decoding/beam.py.")
        .def(nb::init<const BeamScoring&, int64_t, int64_t, double>(), "scoring"_a, "batch"_a, "beam"_a, "margin"_a)
        .def("push", &BeamSearches::push, "log_probs"_a, "lengths"_a, "threads"_a)
        .def("best", &BeamSearches::best, "count"_a, "final"_a)
        .def("state", &BeamSearches::state, "Of each of the batch; see semihmm/decoding/saving.py.")
        .def("restore", &BeamSearches::restore, "states"_a, "What `state` gave, for searches without frames.")
        .def("kept", &BeamSearches::kept, "How many label sequences and onsets the largest beam remembers.");
}

}  // namespace SEMIHMM_MODULE
}  // namespace semihmm
