// A stream: sums over paths and the best of them, moved on a frame at a time, as semihmm/streaming has them.
#pragma once

#include <limits>
#include <optional>

#include "observations.hpp"
#include "laws.hpp"
#include "looking_back.hpp"
#include "machine.hpp"
#include "paths_tree.hpp"

namespace semihmm {

// A carry in the Log or in the Max semiring, and all that a step of it takes.
class Carry {
  public:
    Carry(const Laws& laws, bool best)
        : laws_(laws), memory_(laws.model.max_duration), states_(laws.model.states), slots_(states_ * (laws.model.segmental() ? 2 : 1)), before_(best ? memory_ : 0),
          carry_(memory_ * slots_), vectors_((before_ + 1) * slots_), offsets_(before_ + 1), came_(best ? slots_ : 0), told_(laws.model.segmental() && !best ? states_ : 0),
          all_{1, 1, memory_, laws.moves(), {}, {}, {}, {}, {}, nullptr, carry_.get(), &offset_, before_, vectors_.get(), offsets_.get(), &scale_, best ? came_.get() : nullptr, nullptr} {
        if (laws.model.segmental()) {
            all_.duration = {laws.lasting.get(), 1, 1, memory_ * states_};
            if (!best) all_.going = {laws.going.get(), 1, 1, memory_ * states_}, all_.told = told_.get();
        } else {
            all_.peak = {&laws.peak, 1, 1, 1};
        }
        all_.emission = {carry_.get(), 1, memory_, states_, 0, states_};  // for the worker's sizes
        worker_.emplace(all_);
    }
    Carry(const Carry&) = delete;

    // In front of the first frame; of an HMM, at it.
    void start(const float* frame) {
        const float* initial = laws_.model.segmental() ? laws_.begins.get() : laws_.model.initial.data();
        const float peak = finite_peak(slots_, initial), more = frame ? finite_peak(slots_, frame) : 0.0f;
        std::fill_n(carry_.get(), memory_ * slots_, kNothing<float>), std::fill_n(vectors_.get(), (before_ + 1) * slots_, kNothing<float>);
        for (int64_t j = 0; j < slots_; ++j) carry_[j] = (initial[j] - peak) + (frame ? frame[j] - more : 0.0f);
        const float most = finite_peak(slots_, carry_.get());
        for (int64_t j = 0; j < slots_; ++j) carry_[j] -= most;
        offset_ = most, scaled_ = static_cast<double>(peak) + static_cast<double>(more);
        std::fill_n(offsets_.get(), before_ + 1, offset_);
        if (before_) std::copy_n(carry_.get(), slots_, vectors_.get() + (before_ - 1) * slots_);
        for (int64_t j = 0; j < slots_ && before_; ++j) came_[j] = carry_[j] > kNothing<float> ? 0 : -1;
    }
    // `frames`: the `memory` latest, the newest last.
    void step(const float* frames, Pulse& pulse) {
        all_.emission = {frames, 1, memory_, states_, 0, states_};
        worker_->sequence(0, pulse);
        scaled_ += scale_;
        if (!before_) return;
        std::copy(vectors_.get() + slots_, vectors_.get() + (before_ + 1) * slots_, vectors_.get());
        std::copy(offsets_.get() + 1, offsets_.get() + before_ + 1, offsets_.get());
    }
    // All die but who is kept (memory, slots), the latest first.
    void keep_only(const bool* kept) {
        for (int64_t age = 0; age < memory_; ++age)
            for (int64_t j = 0; j < slots_; ++j)
                if (!kept[age * slots_ + j]) carry_[age * slots_ + j] = vectors_[(memory_ - 1 - age) * slots_ + j] = kNothing<float>;
    }
    const float* latest() const { return carry_.get(); }
    const float* told() const { return laws_.model.segmental() ? told_.get() : carry_.get(); }  // the weights of states
    const int32_t* came() const { return came_.get(); }
    double offset() const { return offset_ + scaled_; }
    double rescaled() const { return offset_; }  // without what frames and moves weigh at most
    int64_t slots() const { return slots_; }

    static float finite_peak(int64_t n, const float* x) {
        const float peak = max_of<float>(n, x);
        return std::isfinite(peak) ? peak : 0.0f;
    }

  private:
    const Laws& laws_;
    int64_t memory_, states_, slots_, before_;
    Buffer<float> carry_, vectors_;
    Buffer<double> offsets_;
    Buffer<int32_t> came_;
    Buffer<float> told_;
    double offset_ = 0, scale_ = 0, scaled_ = 0;
    Onward<float> all_;
    std::optional<Onward<float>::Worker> worker_;
};

class Stream final : public semihmm_runtime::Streaming {
  public:
    Stream(const Laws& laws, const Observations& observations, int64_t lookahead, int64_t max_delay)
        : laws_(laws), model_(laws.model), observations_(observations), work_(observations.work()), states_(model_.states), memory_(model_.max_duration), lookahead_(lookahead),
          max_delay_(max_delay), sums_(laws, false), best_(laws, true), back_(laws.moves(true)), segments_(laws, back_, lookahead), frames_(memory_ * states_),
          tree_(sums_.slots(), memory_, model_.segmental() ? states_ : 0, std::min<int64_t>(max_delay ? max_delay : 64, kFew) + memory_ + 2), cost_(states_), moved_(states_),
          ended_(std::max(sums_.slots(), states_)) {
        if (lookahead_ && !segments_) vectors_.reset((lookahead_ + 1) * states_), recent_.reset((lookahead_ + 1) * states_);
        passed_.reserve(static_cast<std::size_t>(kFew));
        restart();
    }
    int64_t seen() const override { return seen_; }
    void restart() override {
        seen_ = told_until_ = 0, state_ = -1;
        tree_.restart();
        std::fill_n(frames_.get(), memory_ * states_, 0.0f);
    }
    void push(const float* x, int64_t count, semihmm_update& update) override {
        make_room(count);
        observations_(x, count, scores_.data(), work_);
        const FlushDenormals flush;
        for (int64_t i = 0; i < count; ++i) {
            const float* scores = scores_.data() + i * model_.columns;
            frame(scores);
            normalise_rows<float>(1, states_, sums_.told(), filtered_.data() + i * states_, &mass_);
            log_likelihood_[i] = static_cast<double>(mass_) + sums_.offset();
            if (lookahead_) keep_recent(), look_back(lookahead_, false, smoothed_.data() + i * states_);
        }
        settle();
        update = {update.size, count, filtered_.data(), log_likelihood_.data(), lookahead_ ? smoothed_.data() : nullptr, static_cast<int64_t>(committed_.size()),
                  told_until_ - static_cast<int64_t>(committed_.size()), committed_.data(), forced_.data()};
    }
    void finish(semihmm_ending& ending) override {
        const FlushDenormals flush;
        const int64_t ahead = std::min(lookahead_, seen_);
        if (smoothed_.size() < static_cast<std::size_t>(ahead * states_)) smoothed_.resize(ahead * states_);
        for (int64_t k = ahead; k-- > 0;) look_back(k, true, smoothed_.data() + (ahead - 1 - k) * states_);
        const double likelihood = total();
        committed_.clear(), forced_.clear();
        const int64_t first = told_until_;
        const double score = end();
        ending = {ending.size, likelihood, score, ahead, lookahead_ ? smoothed_.data() : nullptr, static_cast<int64_t>(committed_.size()), first, committed_.data()};
        restart();
    }

  private:
    static constexpr int64_t kFew = 256, kMostAhead = 4096;  // frames: those that there is memory for from the start, and before they wait

    // Memory for so many frames more, before anything changes.
    void make_room(int64_t count) {
        const auto at_least = [](auto& numbers, int64_t size) {
            if (static_cast<int64_t>(numbers.size()) < size) numbers.resize(static_cast<std::size_t>(size));
        };
        product({count, std::max(model_.columns, states_)}, "frames of a chunk");
        at_least(scores_, count * model_.columns), at_least(filtered_, count * states_), at_least(log_likelihood_, count);
        if (lookahead_) at_least(smoothed_, count * states_);
        const int64_t waiting = std::max(seen_ - told_until_, max_delay_ <= kMostAhead ? max_delay_ : 0) + count;
        tree_.reserve(count + 1, waiting + memory_ + 2);
        const auto most = static_cast<std::size_t>(waiting + memory_ + 2);
        committed_.reserve(most), forced_.reserve(most), passed_.reserve(most);
    }
    void frame(const float* scores) {
        std::copy(frames_.get() + states_, frames_.get() + memory_ * states_, frames_.get());
        float* now = frames_.get() + (memory_ - 1) * states_;
        for (int64_t s = 0; s < states_; ++s) now[s] = scores[laws_.column(s)];
        const bool first = seen_++ == 0, segmental = model_.segmental();
        if (first) {
            sums_.start(segmental ? nullptr : now), best_.start(segmental ? nullptr : now);
            tree_.grow(best_.came());
            if (segments_) segments_.keep_begun(0, sums_.latest() + states_, sums_.rescaled());
        }
        if (first && !segmental) return;
        sums_.step(frames_.get(), pulse_), best_.step(frames_.get(), pulse_);
        tree_.grow(best_.came());
    }

    // ---- what is certain

    int64_t certain() {
        const int64_t frames = model_.segmental() ? tree_.first_child() - 1 : tree_.root() / tree_.width();
        return std::max(frames, told_until_);
    }
    void settle() {
        committed_.clear(), forced_.clear(), passed_.clear();
        if (!seen_) return;
        tree_.settle(passed_);
        const int64_t sure = certain();
        int64_t until = sure, must = sure;
        if (max_delay_ && seen_ - sure > max_delay_) {
            must = force();
            tree_.settle(passed_);
            until = certain();
        }
        const int64_t first = told_until_;
        read(passed_, until);
        for (int64_t f = first; f < until; ++f) forced_.push_back(f >= sure && f < must);
    }
    // The best path so far is the one, as far as it must be: until which frame.
    int64_t force() {
        const int64_t slots = sums_.slots(), lead = model_.segmental() ? 0 : 1;
        for (int64_t age = 0; age < memory_; ++age) {
            const float* row = best_.latest() + age * slots;
            const float* slot = std::max_element(row, row + slots);
            if (*slot == kNothing<float>) continue;
            const int64_t end = (tree_.time() - age) * slots + (slot - row);
            const int64_t node = tree_.keep(end, seen_ - max_delay_ + 1 - lead);
            best_.keep_only(tree_.open());
            return node / slots - 1 + lead;
        }
        return told_until_;
    }
    // The states of frames up to one, along nodes. A node begins a state at the frame before its time; what has ended begins none.
    void read(const std::vector<int64_t>& nodes, int64_t until) {
        const auto fill = [&](int64_t to) {
            for (; told_until_ < to; ++told_until_) committed_.push_back(state_);
        };
        for (const int64_t node : nodes) {
            const int64_t slot = node % tree_.width(), state = model_.segmental() ? slot - states_ : slot;
            if (state < 0) continue;
            fill(std::min(node / tree_.width() - 1, until));
            state_ = state;
        }
        fill(until);
    }

    // ---- the end

    double total() {
        const bool segmental = model_.segmental();
        const float* last = model_.cut ? sums_.told() : sums_.latest();
        for (int64_t s = 0; s < states_; ++s) ended_[s] = last[s] + (segmental ? laws_.ends[s] : model_.final_.empty() ? 0.0f : model_.final_[s]);
        normalise_rows<float>(1, states_, ended_.get(), moved_.get(), &mass_);
        return static_cast<double>(mass_) + sums_.offset();
    }
    // Commits what is left; returns the score of the path.
    double end() {
        const int64_t slots = sums_.slots();
        const float* final_ = model_.segmental() ? laws_.ends.get() : model_.final_.empty() ? nullptr : model_.final_.data();
        const float peak = final_ ? Carry::finite_peak(states_, final_) : 0.0f;
        int64_t lasted = 0, best = 0;
        float most = kNothing<float>;
        for (int64_t s = 0; s < states_; ++s) {
            int64_t length = 0;
            float value = best_.latest()[s];
            if (const float longer = model_.cut ? goes_on(s, length) : kNothing<float>; longer >= value) {
                value = longer;
            } else {
                length = 0;
            }
            if (final_) value += final_[s] - peak;
            if (value > most) most = value, best = s, lasted = length;
        }
        passed_.clear();
        if (std::isfinite(most)) {
            tree_.path(lasted ? (tree_.time() - lasted) * slots + states_ + best : tree_.time() * slots + best, passed_);
        } else {
            state_ = -1;
        }
        read(passed_, seen_);
        return static_cast<double>(most) + peak + best_.offset();
    }
    // The best segment of a state that has not ended, of fewer frames than any lasts, and how many.
    float goes_on(int64_t s, int64_t& length) const {
        double frames = 0;
        float most = kNothing<float>;
        for (int64_t d = 0; d + 1 < memory_; ++d) {
            const float *row = frames_.get() + (memory_ - 1 - d) * states_, *carry = best_.latest() + (d + 1) * sums_.slots() + states_;
            frames += static_cast<double>(row[s] - Carry::finite_peak(states_, row));
            const float score = carry[s] + (static_cast<float>(frames) + laws_.going[d * states_ + s]);
            if (score > most || d == 0) most = score, length = d + 1;
        }
        return most;
    }

    // ---- the state some frames before

    // Of the latest frames, what they weigh and the vectors after them, in rings.
    void keep_recent() {
        if (segments_) {
            const float* now = frames_.get() + (memory_ - 1) * states_;
            segments_.keep_frame(seen_ - 1, now, Carry::finite_peak(states_, now));
            return segments_.keep_begun(seen_, sums_.latest() + states_, sums_.rescaled());
        }
        const int64_t at = (seen_ - 1) % (lookahead_ + 1) * states_;
        std::copy_n(sums_.latest(), states_, vectors_.get() + at);
        const float* now = frames_.get();
        const float peak = Carry::finite_peak(states_, now);
        for (int64_t s = 0; s < states_; ++s) recent_[at + s] = now[s] - peak;
    }
    // The log-posterior of the state `ahead` frames before the latest; NaN before the first. `ends`: with what ends weigh.
    void look_back(int64_t ahead, bool ends, float* to) {
        if (seen_ <= ahead) return void(std::fill_n(to, states_, std::numeric_limits<float>::quiet_NaN()));
        if (segments_) return segments_(seen_ - 1 - ahead, seen_, ends, to);
        for (int64_t s = 0; s < states_; ++s) cost_[s] = ends && !model_.final_.empty() ? model_.final_[s] : 0.0f;
        const auto at = [&](int64_t frame) { return frame % (lookahead_ + 1) * states_; };
        for (int64_t frame = seen_ - 1; frame > seen_ - 1 - ahead; --frame) {
            for (int64_t s = 0; s < states_; ++s) cost_[s] += recent_[at(frame) + s];
            const float peak = Carry::finite_peak(states_, cost_.get());
            for (int64_t s = 0; s < states_; ++s) cost_[s] -= peak;
            back_.add_up(cost_.get(), 0, 0, moved_.get());
            std::copy_n(moved_.get(), states_, cost_.get());
        }
        for (int64_t s = 0; s < states_; ++s) cost_[s] += vectors_[at(seen_ - 1 - ahead) + s];
        normalise_rows<float>(1, states_, cost_.get(), to, &mass_);
    }

    const Laws& laws_;
    const semihmm_runtime::Description& model_;
    const Observations& observations_;
    Observations::Work work_;
    int64_t states_, memory_, lookahead_, max_delay_;
    int64_t seen_ = 0, told_until_ = 0, state_ = -1;
    Carry sums_, best_;
    StepSums<float> back_;
    SegmentsBefore segments_;
    Buffer<float> frames_;  // the `memory` latest, by state, the newest last
    PathsTree tree_;
    Buffer<float> cost_, moved_, ended_, vectors_, recent_;
    float mass_ = 0;
    Pulse pulse_;
    std::vector<float> scores_, filtered_, smoothed_;
    std::vector<double> log_likelihood_;
    std::vector<int64_t> committed_, passed_;
    std::vector<uint8_t> forced_;
};

}  // namespace semihmm
