// Questions about a whole sequence: a chain as Python would pass it, for the operations that Python calls.
#pragma once

#include "../checks.hpp"
#include "../operations.hpp"
#include "laws.hpp"

namespace semihmm {

class Questions {
  public:
    // Of log-likelihoods (frames, columns).
    Questions(const Laws& laws, const float* scores, int64_t frames) : laws_(laws), model_(laws.model), frames_(frames) { model_.segmental() ? segments(scores) : steps(scores); }

    double log_prob() {
        double value = 0;
        ask(kLog);
        total<Log<float>>(request_, {}, &value);
        settle(request_, &value);
        return value;
    }
    // To (frames, columns).
    double posteriors(float* out) {
        std::vector<Given> to(request_.weights.size());
        const int64_t columns = model_.columns, size = frames_ * columns;
        std::fill_n(out, size, 0.0f);
        std::vector<float> first(static_cast<std::size_t>(model_.states)), padded;
        if (model_.segmental()) {
            padded.resize(request_.weights[emission_].shape[1] * columns);
            to[emission_] = given(padded.data(), {1, request_.weights[emission_].shape[1], columns});
        } else {
            to[1] = given(first.data(), {1, model_.states});
            to[emission_] = given(out + columns, {1, frames_ - 1, columns});
        }
        double value = 0;
        const double one = 1;
        const Form form = ask(kLog);
        gradient<Log<float>>(request_, kept(), &one, nullptr, to, std::vector<Given>(to.size()), &value, form.stride);
        settle(request_, &value);
        if (model_.segmental()) std::copy_n(padded.data() + (model_.max_duration - 1) * columns, size, out);
        for (int64_t s = 0; s < model_.states && !model_.segmental(); ++s) out[laws_.column(s)] += first[s];
        return value;
    }
    double viterbi(int64_t* states, uint8_t* begins) {
        std::vector<int64_t> slots(static_cast<std::size_t>(request_.length + 1)), choices(static_cast<std::size_t>(request_.length));
        double value = 0;
        const Form form = ask(kMax);
        paths<Max<float>>(request_, kept(), form.stride, {.slots = slots.data(), .choices = choices.data(), .values = &value});
        settle(request_, &value);
        const bool there = slots[0] >= 0 && value > -std::numeric_limits<double>::infinity();
        int64_t state = -1;
        for (int64_t t = 0; t < frames_; ++t) {
            const bool begun = !model_.segmental() || slots[t] >= model_.states;
            if (begun) state = slots[t] - (model_.segmental() ? model_.states : 0);
            states[t] = there ? state : -1;
            if (begins) begins[t] = there && begun;
        }
        return value;
    }

  private:
    static Given given(const void* data, Type type, std::initializer_list<int64_t> shape) {
        Given found;
        found.data = data, found.type = type;
        for (int64_t size : shape) found.shape.push_back(size), found.strides.push_back(0);
        int64_t stride = 1;
        for (std::size_t i = shape.size(); i-- > 0; stride *= found.shape[i]) found.strides[i] = stride;
        return found;
    }
    static Given given(const float* data, std::initializer_list<int64_t> shape) { return given(data, Type::kFloat, shape); }

    void begin(int64_t length, int64_t starts, int64_t ends) {
        request_.length = length;
        request_.spec = {starts, ends};
    }
    void moves() {
        const int64_t states = model_.states;
        if (model_.transition.dense()) {
            request_.spec.push_back(kDense);
            request_.weights.push_back(given(model_.transition.weight.data(), {1, 1, states, states}));
            return;
        }
        const int64_t arcs = model_.transition.arcs;
        request_.spec.insert(request_.spec.end(), {kSparse, 1});
        request_.weights.push_back(given(model_.transition.weight.data(), {1, 1, states, arcs}));
        request_.weights.push_back(given(model_.transition.source.data(), Type::kInt64, {1, 1, states, arcs}));
    }
    void steps(const float* scores) {
        const int64_t states = model_.states;
        begin(frames_ - 1, 2, !model_.final_.empty());
        first_.resize(static_cast<std::size_t>(states));
        for (int64_t s = 0; s < states; ++s) first_[s] = scores[laws_.column(s)];
        request_.weights = {given(model_.initial.data(), {1, states}), given(first_.data(), {1, states})};
        if (!model_.final_.empty()) request_.weights.push_back(given(model_.final_.data(), {1, states}));
        moves();
        emission_ = request_.weights.size();
        request_.spec.push_back(model_.column.empty() ? kDiagonal : kTied);
        request_.weights.push_back(given(scores + model_.columns, {1, frames_ - 1, model_.columns}));
        if (!model_.column.empty()) request_.weights.push_back(given(model_.column.data(), Type::kInt64, {1, 1, states}));
    }
    void segments(const float* scores) {
        const int64_t states = model_.states, longest = model_.max_duration;
        begin(frames_, 1, 1);
        request_.weights = {given(laws_.begins.get(), {1, 2 * states}), given(laws_.ends.get(), {1, 2 * states})};
        request_.spec.insert(request_.spec.end(), {kSegmental, 0});
        moves();
        const int64_t table = longest * states;
        if (model_.cut) {  // the last one may go on
            durations_.resize(static_cast<std::size_t>(product({frames_, table}, "durations of a sequence whose last segment may go on; push it through a stream")));
            for (int64_t t = 0; t < frames_; ++t) std::copy_n((t + 1 < frames_ ? laws_.lasting : laws_.going).get(), table, durations_.data() + t * table);
            request_.weights.push_back(given(durations_.data(), {1, frames_, longest, states}));
        } else {
            request_.weights.push_back(given(laws_.lasting.get(), {1, 1, longest, states}));
        }
        padded_.resize(static_cast<std::size_t>((longest - 1 + frames_) * states));
        std::copy_n(scores, frames_ * states, padded_.data() + (longest - 1) * states);
        emission_ = request_.weights.size();
        request_.weights.push_back(given(padded_.data(), {1, longest - 1 + frames_, states}));
    }
    Form ask(int semiring) {
        request_.semiring = semiring;
        return check_chain(request_);
    }
    // All state vectors, in workspace of the operation's own.
    Kept<float> kept() const {
        const int64_t segment = std::max<int64_t>(request_.length, 1);
        return {nullptr, nullptr, request_.length + 1, segment, kept_blocks(request_.length, segment)};
    }

    const Laws& laws_;
    const semihmm_runtime::Description& model_;
    int64_t frames_;
    Request request_;
    std::size_t emission_ = 0;
    std::vector<float> first_, padded_, durations_;
};

}  // namespace semihmm
