// A carry moved over a few steps, in the Log or the Max semiring: what semihmm/engine/onward.py says, for maps that look one
// step back (dense or of arcs, with or without emissions), and for segments that last.
//
// Each carry is rescaled to a peak of 0, and what is best is so to the bit, as by the torch backend's sequential strategy; of
// equals, the lowest arc's. Log sums are products of numbers where those can be trusted, and else made of logarithms.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include "arc_slices.hpp"
#include "parallel.hpp"
#include "scaled.hpp"

namespace semihmm {

// What steps weigh: of one sequence or each, of one time or each, `size` numbers each time.
template <class F>
struct StepWeights {
    const F* data = nullptr;
    int64_t sets = 1, times = 1, size = 0, by_set = 0, by_time = 0;
    const F* at(int64_t b, int64_t t) const { return data + (sets == 1 ? 0 : b) * by_set + (times == 1 ? 0 : t) * by_time; }
    explicit operator bool() const { return data; }
};

// Calls block(0, 1, ... as a pack, the first of these) for vectors in blocks of at most `most`, whose numbers of vectors are known when
// this is compiled. In expressions over the pack, sums and the like stay in registers; a loop is unrolled too late for that.
template <int most, class Block>
void in_blocks(int64_t vectors, const Block& block) {
    int64_t first = 0;
    for (; vectors - first > most; first += most) block(std::make_integer_sequence<int, most>{}, first);
    [&]<int... fewer>(std::integer_sequence<int, fewer...>) {
        ((vectors - first == fewer + 1 ? block(std::make_integer_sequence<int, fewer + 1>{}, first) : void()), ...);
    }(std::make_integer_sequence<int, most>{});
}

// From each state to the next: all to all, (from, to); or by arcs in slices, as `Slices` has them, but of as many states whatever the
// vectors are: the k-th arcs into all states of a slice lie side by side, and places without an arc weigh nothing.
template <class F>
struct StepMoves {
    static constexpr int64_t kSlice = 16;

    int64_t states = 0;
    StepWeights<F> weight;
    const int32_t *begin = nullptr, *row = nullptr, *source = nullptr;  // (slices + 1), (states), (places); null for all to all

    // Calls work(its states, how many, its first place, its last one) for each slice.
    template <class Work>
    void each_slice(const Work& work) const {
        for (int64_t i = 0; i * kSlice < states; ++i) work(row + i * kSlice, std::min(kSlice, states - i * kSlice), begin[i], begin[i + 1]);
    }
};

// Sums are made of doubles, whose range holds whatever log-weights there are but for the strangest.
template <class F>
class StepSums {
  public:
    explicit StepSums(const StepMoves<F>& moves)
        : moves_(moves), states_(moves.states), ld_(padded<double>(states_)), size_(moves.source ? moves.weight.size : states_ * ld_), numbers_(size_), mass_(ld_),
          sum_(ld_) {}

    // to[j] = log of the sum of exp(x[i] + weight[i, j]).
    void add_up(const F* x, int64_t b, int64_t t, F* to) {
        const F* w = moves_.weight.at(b, t);
        if (w != filled_) fill(w);
        const F peak = max_of<F>(states_, x);
        if (peak == kNothing<F>) return void(std::fill_n(to, states_, kNothing<F>));
        numbers(states_, x, peak, mass_.get());
        moves_.source ? multiply_arcs() : multiply_all();
        log<double>(states_, sum_.get(), sum_.get());
        const double scale = static_cast<double>(peak) + scale_;
        bool trusted = true;
        for (int64_t j = 0; j < states_; ++j) trusted &= sum_[j] >= kLeastSum, to[j] = static_cast<F>(sum_[j] + scale);
        if (!trusted) moves_.source ? arcs_by_logs(x, w, to) : all_by_logs(x, w, to);
    }

  private:
    using L = Lanes<F>;
    using V = typename L::type;
    static constexpr double kLeastSum = -637.0;  // its log: kTrusted<double>, about

    static void numbers(int64_t n, const F* x, F peak, double* to) {
        for (int64_t i = 0; i < n; ++i) to[i] = static_cast<double>(x[i]) - static_cast<double>(peak);
        exp<double>(n, to, to);
    }
    // The numbers of log-weights less their peak.
    void fill(const F* w) {
        const int64_t rows = moves_.source ? 1 : states_, columns = moves_.weight.size / rows;
        scale_ = max_of<F>(moves_.weight.size, w);
        if (std::isinf(scale_)) scale_ = 0;
        for (int64_t i = 0; i < rows; ++i) numbers(columns, w + i * columns, scale_, numbers_.get() + (moves_.source ? 0 : i * ld_));
        filled_ = w;
    }
    void multiply_arcs() {
        using D = Lanes<double>;
        constexpr int64_t slice = StepMoves<F>::kSlice;
        moves_.each_slice([&](const int32_t* row, int64_t count, int64_t first, int64_t last) {
            typename D::type sum[slice / D::width] = {};
            for (int64_t k = first; k < last; k += slice)
#pragma GCC unroll 8
                for (int64_t v = 0; v < slice / D::width; ++v)
                    sum[v] += gather<double>(mass_.get(), moves_.source + k + v * D::width) * D::load(numbers_.get() + k + v * D::width);
            double each[slice];
            std::memcpy(each, sum, sizeof each);
            for (int64_t i = 0; i < count; ++i) sum_[row[i]] = each[i];
        });
    }
    void multiply_all() {
        using D = Lanes<double>;
        in_blocks<8>(ld_ / D::width, [&]<int... v>(std::integer_sequence<int, v...>, int64_t first) {
            typename D::type sum[sizeof...(v)] = {};
            const double* row = numbers_.get() + first * D::width;
            for (int64_t i = 0; i < states_; ++i, row += ld_) {
                const auto here = D::broadcast(mass_[i]);
                ((sum[v] += here * D::load(row + v * D::width)), ...);
            }
            (D::store(sum_.get() + (first + v) * D::width, sum[v]), ...);
        });
    }
    // Those of the sums that are not to be trusted, if only because there is no path.
    void arcs_by_logs(const F* x, const F* w, F* to) const {
        constexpr int64_t slice = StepMoves<F>::kSlice;
        moves_.each_slice([&](const int32_t* row, int64_t count, int64_t first, int64_t last) {
            if (std::all_of(row, row + count, [&](int32_t j) { return sum_[j] >= kLeastSum; })) return;
            F each[slice];
            for (int64_t v = 0; v < slice; v += L::width) {
                const auto score = [&](int64_t k) { return gather<F>(x, moves_.source + k + v) + L::load(w + k + v); };
                V most = L::broadcast(kNothing<F>), sum{};
                for (int64_t k = first; k < last; k += slice) most = L::max(score(k), most);
                const V peak = most == kNothing<F> ? V{} : most;
                for (int64_t k = first; k < last; k += slice) sum += exp<F>(score(k) - peak);
                L::store(each + v, most == kNothing<F> ? most : peak + log<F>(sum));
            }
            for (int64_t i = 0; i < count; ++i) to[row[i]] = sum_[row[i]] >= kLeastSum ? to[row[i]] : each[i];
        });
    }
    void all_by_logs(const F* x, const F* w, F* to) {
        for (int64_t j = 0; j < states_; j += L::width) {
            const int64_t count = std::min<int64_t>(states_ - j, L::width);
            if (std::all_of(sum_.get() + j, sum_.get() + j + count, [](double sum) { return sum >= kLeastSum; })) continue;
            const auto score = [&](int64_t i) { return x[i] + L::load_part(w + i * states_ + j, count, kNothing<F>); };
            V most = L::broadcast(kNothing<F>), sum{};
            for (int64_t i = 0; i < states_; ++i) most = L::max(score(i), most);
            const V peak = most == kNothing<F> ? V{} : most;
            for (int64_t i = 0; i < states_; ++i) sum += exp<F>(score(i) - peak);
            L::store_part(to + j, count, most == kNothing<F> ? most : peak + log<F>(sum));
        }
    }

    StepMoves<F> moves_;
    int64_t states_, ld_, size_;
    Buffer<double> numbers_, mass_, sum_;
    const F* filled_ = nullptr;
    F scale_ = 0;
};

// Of each column the greatest number, and the lowest row that has it: `score(row, load)` is made of what `load` takes at the
// columns in turn from where a row begins.
template <class F, class Score>
void best_rows(int64_t rows, int64_t columns, const Score& score, F* to, int32_t* from) {
    using L = Lanes<F>;
    in_blocks<4>((columns + L::width - 1) / L::width, [&]<int... v>(std::integer_sequence<int, v...>, int64_t first) {
        constexpr int vectors = sizeof...(v);
        const int64_t last = std::min<int64_t>(columns - (first + vectors - 1) * L::width, L::width);
        typename L::type best[vectors];
        typename L::bits row[vectors] = {};
        ((best[v] = L::broadcast(kNothing<F>)), ...);
        for (int64_t i = 0; i < rows; ++i) {
            const auto here = typename L::bits{} + static_cast<typename Format<F>::Int>(i);
            const auto compare = [&](auto& most, auto& where, int64_t j, int64_t count) {
                const auto found = score(i, [=](const F* x) { return count == L::width ? L::load(x + j) : L::load_part(x + j, count, kNothing<F>); });
                const auto better = found > most;
                where = better ? here : where;
                most = better ? found : most;
            };
            (compare(best[v], row[v], (first + v) * L::width, v + 1 < vectors ? L::width : last), ...);
        }
        const auto store = [&](auto most, auto where, int64_t j, int64_t count) {
            L::store_part(to + j, count, most);
            for (int64_t n = 0; n < count; ++n) from[j + n] = static_cast<int32_t>(where[n]);
        };
        (store(best[v], row[v], (first + v) * L::width, v + 1 < vectors ? L::width : last), ...);
    });
}

// The best predecessor of each state, and where it is.
template <class F>
class StepChoices {
  public:
    explicit StepChoices(const StepMoves<F>& moves) : moves_(moves) {}

    void choose(const F* x, int64_t b, int64_t t, F* to, int32_t* came) const {
        moves_.source ? by_arcs(x, moves_.weight.at(b, t), to, came) : from_all(x, moves_.weight.at(b, t), to, came);
    }

  private:
    void from_all(const F* x, const F* w, F* to, int32_t* came) const {
        const int64_t states = moves_.states;
        best_rows<F>(states, states, [=](int64_t i, const auto& load) { return Lanes<F>::broadcast(x[i]) + load(w + i * states); }, to, came);
    }
    void by_arcs(const F* x, const F* w, F* to, int32_t* came) const {
        using L = Lanes<F>;
        using Int = typename Format<F>::Int;
        typedef int32_t Sources __attribute__((vector_size(L::width * sizeof(int32_t))));
        constexpr int64_t slice = StepMoves<F>::kSlice, vectors = slice / L::width;
        moves_.each_slice([&](const int32_t* row, int64_t count, int64_t first, int64_t last) {
            typename L::type best[vectors];
            typename L::bits from[vectors] = {};
            std::fill_n(best, vectors, L::broadcast(kNothing<F>));
            for (int64_t k = first; k < last; k += slice)
#pragma GCC unroll 8
                for (int64_t v = 0; v < vectors; ++v) {
                    const int32_t* source = moves_.source + k + v * L::width;
                    Sources here;
                    std::memcpy(&here, source, sizeof here);
                    const auto score = gather<F>(x, source) + L::load(w + k + v * L::width);
                    const auto better = score > best[v];
                    from[v] = better ? __builtin_convertvector(here, typename L::bits) : from[v];
                    best[v] = better ? score : best[v];
                }
            F most[slice];
            Int where[slice];
            std::memcpy(most, best, sizeof most), std::memcpy(where, from, sizeof where);
            for (int64_t i = 0; i < count; ++i) to[row[i]] = most[i], came[row[i]] = static_cast<int32_t>(where[i]);
        });
    }
    StepMoves<F> moves_;
};

// Each row of log-weights less the log of its sum, which is kept; -inf where there is none.
template <class F>
void normalise_rows(int64_t rows, int64_t size, const F* x, F* to, F* mass) {
    using L = Lanes<F>;
    using V = typename L::type;
    for (int64_t i = 0; i < rows; ++i, x += size, to += size) {
        const F peak = max_of<F>(size, x);
        V sum{};
        if (peak > kNothing<F>)
            for (int64_t j = 0; j < size; j += L::width) sum += exp<F>(L::load_part(x + j, std::min<int64_t>(size - j, L::width), kNothing<F>) - peak);
        mass[i] = peak > kNothing<F> ? peak + log_scalar<F>(L::sum(sum)) : kNothing<F>;
        const F less = peak > kNothing<F> ? mass[i] : F(0);
        for (int64_t j = 0; j < size; ++j) to[j] = x[j] - less;
    }
}

// The steps of some sequences, whose carry is the `memory` latest vectors, newest first.
template <class F>
struct Onward {
    int64_t batch, length, memory;
    StepMoves<F> moves;
    StepWeights<double> peak;    // what was taken out of the moves, on one
    StepWeights<F> emission;     // (states): of memory - 1 frames before the steps, and theirs; null for none
    StepWeights<F> duration;     // (memory, states) of segments, null where a step is just a move
    StepWeights<F> segment;      // the same, may be null
    StepWeights<F> going;        // the duration of segments that have not ended, for `told`
    const int64_t* taken;        // how many steps each takes (batch); null for all
    F* carry;                    // (batch, memory, slots): moved on
    double* offset;              // (batch)
    int64_t before;              // how many of the latest vectors are known as they were kept: `memory`, where pointers need them
    F* vectors;                  // (batch, before + length, slots): those, oldest first, and the ones after each step
    double* offsets;             // (batch, before + length)
    double* scales;              // (batch, length): the log scale of the steps so far
    int32_t* came;               // (batch, length, slots): (delay - 1) * slots + slot, -1 for nowhere; null: sums
    F* told;                     // (batch, length, states): by `going`; null for none

    int64_t slots() const { return moves.states * (duration ? 2 : 1); }

    void run(int64_t threads) const {
        for_each_part(batch, threads > 1 ? std::min<int64_t>(batch, 16) : 1, threads, [&](int64_t, int64_t begin, int64_t end, int64_t) {
            std::optional<FlushDenormals> flush;
            if (!came) flush.emplace();
            Worker worker(*this);
            Pulse pulse;
            for (int64_t b = begin; b < end; ++b) worker.sequence(b, pulse);
        });
    }

    // Moves on one sequence after the other. It holds all memory that a step takes, and `all` must live as long.
    class Worker {
      public:
        explicit Worker(const Onward& all)
            : all_(all), memory_(all.memory), states_(all.moves.states), slots_(all.slots()), ld_(padded<F>(states_)),
              sums_(all.came ? StepMoves<F>{} : all.moves), choices_(all.moves), frames_((memory_ - 1 + all.length) * states_),
              peaks_(memory_ - 1 + all.length), terms_(all.duration ? memory_ * ld_ : 0, kNothing<F>), lasting_(all.duration ? memory_ * states_ : 0),
              ended_(states_), begun_(states_), length_(states_), move_(states_), frame_sum_(states_) {}

        void sequence(int64_t b, Pulse& pulse) {
            if (all_.emission) centre(b);
            const int64_t steps = all_.taken ? all_.taken[b] : all_.length;
            F *carry = all_.carry + b * memory_ * slots_, *rows = all_.vectors + b * (all_.before + all_.length) * slots_;
            double *offsets = all_.offsets + b * (all_.before + all_.length), *scales = all_.scales + b * all_.length, scale = 0;
            for (int64_t t = 0; t < all_.length; ++t) {
                F* to = rows + (all_.before + t) * slots_;
                int32_t* came = all_.came ? all_.came + (b * all_.length + t) * slots_ : nullptr;
                if (t >= steps) {
                    std::copy_n(carry, slots_, to);
                    if (came) std::fill_n(came, slots_, -1);
                } else {
                    all_.duration ? segments(b, t, carry, rows + t * slots_, offsets + t, to, came) : move(b, t, carry, to, came);
                    const F peak = push(carry, to);
                    all_.offset[b] += static_cast<double>(peak);
                    scale += (all_.peak ? all_.peak.at(b, t)[0] : 0.0) + (all_.emission ? static_cast<double>(peaks_[all_.emission.times == 1 ? 0 : memory_ - 1 + t]) : 0.0);
                    if (all_.told)
                        for (int64_t j = 0; j < states_; ++j) all_.told[(b * all_.length + t) * states_ + j] -= peak;
                    if (came)
                        for (int64_t j = 0; j < slots_; ++j) came[j] = to[j] == kNothing<F> ? -1 : came[j];
                }
                offsets[all_.before + t] = all_.offset[b], scales[t] = scale;
                pulse(slots_ * memory_ + all_.moves.weight.size);
            }
        }

      private:
        using L = Lanes<F>;
        using V = typename L::type;

        // Frames less their peaks.
        void centre(int64_t b) {
            const int64_t count = all_.emission.times == 1 ? 1 : memory_ - 1 + all_.length;
            for (int64_t i = 0; i < count; ++i) {
                const F* x = all_.emission.at(b, i);
                F peak = max_of<F>(states_, x);
                peaks_[i] = peak = std::isfinite(peak) ? peak : F(0);
                for (int64_t j = 0; j < states_; ++j) frames_[i * states_ + j] = x[j] - peak;
            }
        }
        const F* frame(int64_t i) const { return frames_.get() + (all_.emission.times == 1 ? 0 : i) * states_; }

        void move(int64_t b, int64_t t, const F* x, F* to, int32_t* came) {
            came ? choices_.choose(x, b, t, to, came) : sums_.add_up(x, b, t, to);
            if (!all_.emission) return;
            const F* more = frame(t);
            for (int64_t j = 0; j < states_; ++j) to[j] += more[j];
        }
        // A new vector into the carry, the oldest out, and all less their peak, which is returned.
        F push(F* carry, F* to) const {
            std::copy_backward(carry, carry + (memory_ - 1) * slots_, carry + memory_ * slots_);
            F peak = std::max(max_of<F>(slots_, to), max_of<F>((memory_ - 1) * slots_, carry + slots_));
            if (!std::isfinite(peak)) peak = 0;
            for (int64_t j = 0; j < slots_; ++j) carry[j] = to[j] -= peak;
            for (int64_t j = slots_; j < memory_ * slots_; ++j) carry[j] -= peak;
            return peak;
        }

        // ---- segments: what ended, by how long it lasted, and what begins behind it
        void segments(int64_t b, int64_t t, const F* carry, const F* before, const double* offsets, F* to, int32_t* came) {
            if (all_.told) {
                weigh(b, t, all_.going, StepWeights<F>{});
                fill(carry), total(all_.told + (b * all_.length + t) * states_);
            }
            weigh(b, t, all_.duration, all_.segment);
            fill(carry);
            if (!came) {
                total(to);
                sums_.add_up(to, b, t, to + states_);
                return;
            }
            longest(to, length_.get());
            choices_.choose(to, b, t, to + states_, move_.get());
            // Pointers are made from vectors as they were kept, as in decoding.
            const double base = offsets[memory_ - 1];
            for (int64_t d = 0; d < memory_; ++d) {
                const F older = static_cast<F>(offsets[memory_ - 1 - d] - base), *row = before + (memory_ - 1 - d) * slots_ + states_, *lasting = lasting_.get() + d * states_;
                for (int64_t j = 0; j < states_; ++j) terms_[d * ld_ + j] = (row[j] + older) + lasting[j];
            }
            longest(ended_.get(), length_.get());
            choices_.choose(ended_.get(), b, t, begun_.get(), move_.get());
            const auto code = [&](int32_t state) { return static_cast<int32_t>(length_[state] * slots_ + states_ + state); };
            for (int64_t j = 0; j < states_; ++j) came[j] = code(static_cast<int32_t>(j)), came[states_ + j] = code(move_[j]);
        }
        // What segments of each length weigh that end with this step.
        void weigh(int64_t b, int64_t t, const StepWeights<F>& duration, const StepWeights<F>& segment) {
            const F *last = duration.at(b, t), *more = segment ? segment.at(b, t) : nullptr;
            std::fill_n(frame_sum_.get(), states_, 0.0);
            for (int64_t d = 0; d < memory_; ++d) {
                const F* x = all_.emission ? frame(memory_ - 1 + t - d) : nullptr;
                for (int64_t j = 0; j < states_; ++j) {
                    if (x) frame_sum_[j] += static_cast<double>(x[j]);
                    lasting_[d * states_ + j] = static_cast<F>(frame_sum_[j]) + last[d * states_ + j];
                }
                if (more)
                    for (int64_t j = 0; j < states_; ++j) lasting_[d * states_ + j] += more[d * states_ + j];
            }
        }
        void fill(const F* carry) {
            for (int64_t d = 0; d < memory_; ++d)
                for (int64_t j = 0; j < states_; ++j) terms_[d * ld_ + j] = carry[d * slots_ + states_ + j] + lasting_[d * states_ + j];
        }
        void longest(F* to, int32_t* length) const {
            best_rows<F>(memory_, states_, [this](int64_t d, const auto& load) { return load(terms_.get() + d * ld_); }, to, length);
        }
        void total(F* to) const {
            for (int64_t j = 0; j < states_; j += L::width) {
                V most = L::broadcast(kNothing<F>), sum{};
                for (int64_t d = 0; d < memory_; ++d) most = L::max(L::load(terms_.get() + d * ld_ + j), most);
                const V peak = most == kNothing<F> ? V{} : most;
                for (int64_t d = 0; d < memory_; ++d) sum += exp<F>(L::load(terms_.get() + d * ld_ + j) - peak);
                L::store_part(to + j, std::min<int64_t>(states_ - j, L::width), most == kNothing<F> ? most : peak + log<F>(sum));
            }
        }

        const Onward& all_;
        int64_t memory_, states_, slots_, ld_;
        StepSums<F> sums_;
        StepChoices<F> choices_;
        Buffer<F> frames_, peaks_, terms_, lasting_, ended_, begun_;
        Buffer<int32_t> length_, move_;
        Buffer<double> frame_sum_;
    };
};

}  // namespace semihmm
