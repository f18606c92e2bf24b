// What a model says of all sequences, laid out as the kernels read it.
#pragma once

#include <cmath>
#include <vector>

#include "../onward.hpp"
#include "description.hpp"

namespace semihmm {

struct Laws {
    const semihmm_runtime::Description& model;
    // Of an HSMM: (max_duration, states), of segments that end, and of those that have lasted as long at least; what a sequence begins and
    // ends with, [ended | begun].
    Buffer<float> lasting, going, begins, ends;
    // Of a step, as onward.hpp reads it: arcs into each state one after the other, and transposed. Of an HMM, less their peak.
    double peak = 0;
    std::vector<float> weight, back_weight;
    std::vector<int32_t> first, source, back_first, back_source;

    explicit Laws(const semihmm_runtime::Description& description) : model(description) {
        if (model.segmental()) segments();
        arrange();
    }
    int64_t column(int64_t state) const { return model.column.empty() ? state : model.column[state]; }
    StepMoves<float> moves(bool transposed = false) const {
        const std::vector<float>& numbers = transposed ? back_weight : weight;
        StepMoves<float> found{model.states, {numbers.data(), 1, 1, static_cast<int64_t>(numbers.size())}, nullptr, nullptr};
        if (!model.transition.dense()) found.first = (transposed ? back_first : first).data(), found.source = (transposed ? back_source : source).data();
        return found;
    }

  private:
    void segments() {
        const int64_t states = model.states, longest = model.max_duration;
        lasting.reset(longest * states), going.reset(longest * states);
        begins.reset(2 * states, kNothing<float>), ends.reset(2 * states, kNothing<float>);
        for (int64_t s = 0; s < states; ++s) {
            begins[states + s] = model.initial[s], ends[s] = model.final_.empty() ? 0.0f : model.final_[s];
            double longer = kNothing<double>;
            for (int64_t d = longest - 1; d >= 0; --d) {
                const double one = model.duration[s * longest + d], most = std::max(one, longer);
                longer = most > kNothing<double> ? most + std::log1p(std::exp(std::min(one, longer) - most)) : most;
                lasting[d * states + s] = model.duration[s * longest + d], going[d * states + s] = static_cast<float>(longer);
            }
        }
    }
    void arrange() {
        const semihmm_runtime::Transition& given = model.transition;
        const int64_t states = model.states;
        weight = given.weight;
        if (!model.segmental()) {
            const float most = *std::max_element(weight.begin(), weight.end());
            peak = std::isfinite(most) ? most : 0.0f;
            for (float& w : weight) w -= static_cast<float>(peak);
        }
        if (given.dense()) {
            back_weight.resize(weight.size());
            for (int64_t i = 0; i < states; ++i)
                for (int64_t j = 0; j < states; ++j) back_weight[j * states + i] = weight[i * states + j];
            return;
        }
        std::vector<float> kept;
        first.push_back(0);
        std::vector<int32_t> target;
        for (int64_t to = 0; to < states; ++to) {
            for (int64_t at = to * given.arcs; at < (to + 1) * given.arcs; ++at)
                if (given.source[at] >= 0) kept.push_back(weight[at]), source.push_back(static_cast<int32_t>(given.source[at])), target.push_back(static_cast<int32_t>(to));
            first.push_back(static_cast<int32_t>(source.size()));
        }
        weight = std::move(kept);
        back_first.assign(static_cast<std::size_t>(states + 1), 0);
        for (int32_t from : source) ++back_first[from + 1];
        for (int64_t s = 0; s < states; ++s) back_first[s + 1] += back_first[s];
        std::vector<int32_t> next(back_first.begin(), back_first.end() - 1);
        back_weight.resize(weight.size()), back_source.resize(source.size());
        for (std::size_t a = 0; a < source.size(); ++a) {
            const int32_t at = next[source[a]]++;
            back_weight[at] = weight[a], back_source[at] = target[a];
        }
    }
};

}  // namespace semihmm
