// What a model file says, checked: sizes agree, indices point at something, no number is NaN or +inf. Plain structures, that the
// kernels of every instruction set read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "safetensors.hpp"

namespace semihmm_runtime {

constexpr int64_t kMostNumbers = int64_t(1) << 26;  // that are made of fewer in a file, as a table of arcs is

// From state to state: (states, states) if there are no `source`s, [from, to]; else (states, arcs), [to, k], where each arc's source
// is a state, or -1 for none.
struct Transition {
    std::vector<float> weight;
    std::vector<int64_t> source;
    int64_t arcs = 0;  // into a state, at most

    bool dense() const { return source.empty(); }
};

struct Emission {
    std::string kind = "log_likelihoods";
    int64_t inputs = 0;  // numbers in a frame of observations

    // "gaussian" and "mixture": sets of `components` Gaussians, of which each state has one.
    int64_t sets = 0, components = 1;
    bool matrices = false;
    std::vector<float> mean;          // (sets, components, inputs)
    std::vector<float> spread;        // of all features: log-variances (sets, components, inputs), or factors (..., inputs, inputs)
    std::vector<float> log_weight;    // (columns, components); none of a "gaussian"
    std::vector<int64_t> codebook;    // (columns): which set

    std::vector<float> table;         // "categorical": (symbols, columns)
    int64_t symbols = 0;

    Json network;                     // "network": the rest of `emission`, for whoever runs it
};

struct Description {
    std::string kind;
    int64_t states = 0, columns = 0;
    std::vector<float> initial, final_;  // (states)
    Transition transition;
    std::vector<int64_t> column;         // (states): which column of the log-likelihoods each has; none: its own
    int64_t max_duration = 1;
    std::vector<float> duration;         // (states, max_duration); none but of an HSMM
    bool cut = false;                    // the last segment may go on behind the end
    Emission emission;
    Json features;                       // what makes frames of samples, for whoever does; null for none
    std::vector<std::string> names;      // of the states, or none

    bool segmental() const { return !duration.empty(); }
    // Throws an Error of a bad file, or of another version.
    static Description read(const void* data, std::size_t size);
};

}  // namespace semihmm_runtime
