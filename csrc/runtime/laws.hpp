// What a model says of all sequences, laid out as the kernels read it.
#pragma once

#include <cmath>
#include <numeric>
#include <vector>

#include "../onward.hpp"
#include "description.hpp"

namespace semihmm {

struct Laws {
    const semihmm_runtime::Description& model;
    // Of an HSMM: (max_duration, states), of segments that end, and of those that have lasted as long at least; what a sequence begins and
    // ends with, [ended | begun].
    Buffer<float> lasting, going, begins, ends;
    // Of a step, as onward.hpp reads it, and transposed. Of an HMM, less their peak.
    struct Steps {
        std::vector<float> weight;
        std::vector<int32_t> begin, row, source;
    };
    double peak = 0;
    Steps steps, back;

    explicit Laws(const semihmm_runtime::Description& description) : model(description) {
        if (model.segmental()) segments();
        arrange();
    }
    int64_t column(int64_t state) const { return model.column.empty() ? state : model.column[state]; }
    StepMoves<float> moves(bool transposed = false) const {
        const Steps& x = transposed ? back : steps;
        const auto size = static_cast<int64_t>(x.weight.size());
        StepMoves<float> found{model.states, {x.weight.data(), 1, 1, size, size, size}};
        if (!model.transition.dense()) found.begin = x.begin.data(), found.row = x.row.data(), found.source = x.source.data();
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
    struct Arc {
        int32_t from, to;
        float weight;
    };
    void arrange() {
        const semihmm_runtime::Transition& given = model.transition;
        const int64_t states = model.states;
        std::vector<float> weight = given.weight;
        if (!model.segmental()) {
            const float most = *std::max_element(weight.begin(), weight.end());
            peak = std::isfinite(most) ? most : 0.0f;
            for (float& w : weight) w -= static_cast<float>(peak);
        }
        if (given.dense()) {
            back.weight.resize(weight.size());
            for (int64_t i = 0; i < states; ++i)
                for (int64_t j = 0; j < states; ++j) back.weight[j * states + i] = weight[i * states + j];
            steps.weight = std::move(weight);
            return;
        }
        std::vector<Arc> arcs;
        for (int64_t at = 0; at < states * given.arcs; ++at)
            if (given.source[at] >= 0) arcs.push_back({static_cast<int32_t>(given.source[at]), static_cast<int32_t>(at / given.arcs), weight[at]});
        steps = sliced(arcs);
        for (Arc& arc : arcs) std::swap(arc.from, arc.to);
        back = sliced(arcs);
    }
    // As `StepMoves` has them: the states that most arcs lead to first.
    Steps sliced(const std::vector<Arc>& arcs) const {
        constexpr int64_t slice = StepMoves<float>::kSlice;
        std::vector<int64_t> count(static_cast<std::size_t>(model.states)), next(count.size());
        for (const Arc& arc : arcs) ++count[arc.to];
        Steps found;
        found.row.resize(count.size());
        std::iota(found.row.begin(), found.row.end(), 0);
        std::stable_sort(found.row.begin(), found.row.end(), [&](int32_t i, int32_t j) { return count[i] > count[j]; });
        int64_t places = 0;
        for (int64_t i = 0; i < model.states; ++i) {
            if (i % slice == 0) found.begin.push_back(static_cast<int32_t>(places)), places += count[found.row[i]] * slice;
            next[found.row[i]] = found.begin.back() + i % slice;
        }
        if (places > std::numeric_limits<int32_t>::max()) refuse("there are too many arcs.");
        found.begin.push_back(static_cast<int32_t>(places));
        found.weight.assign(static_cast<std::size_t>(places), kNothing<float>), found.source.assign(found.weight.size(), 0);
        for (const Arc& arc : arcs) {
            int64_t& place = next[arc.to];
            found.weight[place] = arc.weight, found.source[place] = arc.from, place += slice;
        }
        return found;
    }
};

}  // namespace semihmm
