// The state some frames before the latest, given all of them, where states last.
//
// It is that of the segment that covers the frame f: with begun_b(s) the weight of paths that begin a segment of state s behind b
// frames, o_t(s) what frame t weighs, and rest_e(s) the weight of all that may follow a segment that ends behind e frames,
//     p_f(s) ~ sum over b <= f < e of begun_b(s) o_b(s) ... o_(e-1)(s) lasting_(e-b)(s) rest_e(s),
//     rest_e(i) = sum over j of transition_ij sum over d of o_e(j) ... o_(e+d-1)(j) lasting_d(j) rest_(e+d)(j),
// in logarithms. Behind the latest frame a segment may go on, so that it weighs what those weigh that last as long at least.
#pragma once

#include "laws.hpp"

namespace semihmm {

class SegmentsBefore {
  public:
    // None of an HMM, or without a lookahead.
    SegmentsBefore(const Laws& laws, StepSums<float>& back, int64_t lookahead)
        : laws_(laws), back_(back), states_(laws.model.states), longest_(laws.model.max_duration), size_(lookahead && laws.model.segmental() ? longest_ + lookahead + 1 : 0) {
        if (!size_) return;
        int64_t numbers = 0;
        if (__builtin_mul_overflow(longest_ * (lookahead + 1), states_, &numbers) || numbers > semihmm_runtime::kMostNumbers)
            semihmm_runtime::bad_argument("a lookahead of " + std::to_string(lookahead) + " frames, in each of which segments of as many lengths end, takes too much memory. Have less.");
        begun_.reset(size_ * states_), frames_.reset(size_ * states_), offsets_.reset(size_);
        rest_.reset((lookahead + 2) * states_), ahead_.reset((lookahead + 2) * states_), behind_.reset(states_), sum_.reset(states_), terms_.reset(numbers);
        cost_.reset(states_), moved_.reset(states_);
    }
    explicit operator bool() const { return size_ > 0; }
    // Segments that begin behind so many frames.
    void keep_begun(int64_t time, const float* begun, double offset) {
        std::copy_n(begun, states_, begun_.get() + at(time));
        offsets_[time % size_] = offset;
    }
    // A frame, less its peak.
    void keep_frame(int64_t frame, const float* x, float peak) {
        for (int64_t s = 0; s < states_; ++s) frames_[at(frame) + s] = x[s] - peak;
    }
    // The log-posterior at `frame`, of `seen`; `ends`: the sequence does.
    void operator()(int64_t frame, int64_t seen, bool ends, float* to) {
        find_rest(frame, seen, ends);
        // ahead[e]: the frames behind the one in question, up to e.
        std::fill_n(ahead_.get(), states_, 0.0);
        for (int64_t e = frame + 2; e <= seen; ++e)
            for (int64_t s = 0; s < states_; ++s) ahead_[(e - frame - 1) * states_ + s] = ahead_[(e - frame - 2) * states_ + s] + frames_[at(e - 1) + s];
        std::fill_n(behind_.get(), states_, 0.0);
        int64_t count = 0;
        for (int64_t b = frame; b >= std::max<int64_t>(0, frame + 1 - longest_); --b) {
            for (int64_t s = 0; s < states_; ++s) behind_[s] += frames_[at(b) + s];
            for (int64_t e = frame + 1; e <= std::min(seen, b + longest_); ++e, ++count) {
                const float *lasts = law(e, seen, ends) + (e - b - 1) * states_, *begun = begun_.get() + at(b);
                const double *after = rest_.get() + (e - frame - 1) * states_, *more = ahead_.get() + (e - frame - 1) * states_;
                double* term = terms_.get() + count * states_;
                for (int64_t s = 0; s < states_; ++s) term[s] = begun[s] + offsets_[b % size_] + behind_[s] + more[s] + lasts[s] + after[s];
            }
        }
        const double peak = count ? max_of<double>(count * states_, terms_.get()) : kNothing<double>;
        if (peak == kNothing<double>) return void(std::fill_n(to, states_, kNothing<float>));
        for (int64_t i = 0; i < count * states_; ++i) terms_[i] -= peak;
        exp<double>(count * states_, terms_.get(), terms_.get());
        std::fill_n(sum_.get(), states_, 0.0);
        for (int64_t i = 0; i < count; ++i)
            for (int64_t s = 0; s < states_; ++s) sum_[s] += terms_[i * states_ + s];
        double all = 0;
        for (int64_t s = 0; s < states_; ++s) all += sum_[s];
        for (int64_t s = 0; s < states_; ++s) to[s] = static_cast<float>(std::log(sum_[s] / all));
    }

  private:
    int64_t at(int64_t time) const { return time % size_ * states_; }
    const float* law(int64_t e, int64_t seen, bool ends) const { return (e == seen && (!ends || laws_.model.cut) ? laws_.going : laws_.lasting).get(); }
    // rest[e - frame - 1], for e from the latest frame back.
    void find_rest(int64_t frame, int64_t seen, bool ends) {
        for (int64_t e = seen; e > frame; --e) {
            double* const rest = rest_.get() + (e - frame - 1) * states_;
            if (e == seen) {
                for (int64_t s = 0; s < states_; ++s) rest[s] = ends ? laws_.ends[s] : 0.0;
                continue;
            }
            const int64_t lengths = std::min(longest_, seen - e);
            std::fill_n(sum_.get(), states_, 0.0);
            for (int64_t d = 0; d < lengths; ++d) {
                const float* lasts = law(e + d + 1, seen, ends) + d * states_;
                const double* after = rest + (d + 1) * states_;
                for (int64_t s = 0; s < states_; ++s) sum_[s] += frames_[at(e + d) + s], terms_[d * states_ + s] = sum_[s] + lasts[s] + after[s];
            }
            for (int64_t s = 0; s < states_; ++s) {
                double most = kNothing<double>, sum = 0;
                for (int64_t d = 0; d < lengths; ++d) most = std::max(most, terms_[d * states_ + s]);
                for (int64_t d = 0; d < lengths && most > kNothing<double>; ++d) sum += std::exp(terms_[d * states_ + s] - most);
                cost_[s] = most > kNothing<double> ? static_cast<float>(most + std::log(sum)) : kNothing<float>;
            }
            back_.add_up(cost_.get(), 0, 0, moved_.get());
            for (int64_t s = 0; s < states_; ++s) rest[s] = moved_[s];
        }
    }

    const Laws& laws_;
    StepSums<float>& back_;
    int64_t states_, longest_, size_;  // of the rings
    Buffer<float> begun_, frames_, cost_, moved_;
    Buffer<double> offsets_, rest_, ahead_, behind_, sum_, terms_;
};

}  // namespace semihmm
