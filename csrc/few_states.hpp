// Steps of scaled vectors between few states: a state vector stays in its registers, one to four of them, from the first step
// of a block to the last, and no step waits for what is found out about it.
//
// A step waits for the one before it for some thirty cycles, and has work for half of them: what does not need the vector, above
// all exponentials, is done for a block at a time before its first step; and two blocks, of the forward and the backward pass, may
// take their steps in turn.
//
// Each product is divided by the power of two that its vector has added up to: vectors stay near 1, and nothing is rounded.
#pragma once

#include "scaled.hpp"

namespace semihmm {

// Whether they are done so: not in the runtime, which is to be small.
#if SEMIHMM_SMALL
constexpr bool kInRegisters = false;
#else
constexpr bool kInRegisters = true;
#endif

// The most states that are few.
template <class F>
constexpr int64_t kFewStates = 4 * Lanes<F>::width;

// Calls work<rows, parts>() with the fewest of the rows that there is code for, no less than `states`, and as many
// registers as those fill. A register's rows are halved until they are 2; of more registers, the last one's are halved once.
template <class F, int rows = 2, class Work>
auto with_rows(int64_t states, const Work& work) {
    constexpr int width = Lanes<F>::width, parts = (rows + width - 1) / width;
    if constexpr (rows < kFewStates<F>)
        if (states > rows) return with_rows<F, rows < width ? 2 * rows : rows + std::max(width / 2, 2)>(states, work);
    return work.template operator()<rows, parts>();
}

template <class F>
class FewStates {
  public:
    using L = Lanes<F>;
    using V = typename L::type;
    using B = typename L::bits;

    // Matrices of whole vectors, as many rows as columns: those behind the last state are 0.
    FewStates(const F* weight, const F* transposed, int64_t states, F beta)
        : weight_(weight), transposed_(transposed), states_(states), ld_(padded<F>(states)), beta_(beta) {}

    // A block of the forward pass: the vectors at times t0 + 1 to t1, from one in log space; the last in log space again.
    template <class Emission>
    struct Forward {
        Emission emission;  // (t): log-weights, or null
        Rows<F> rows;
        int64_t t0, t1;
        F* numbers;            // takes the emissions of each step less their peak, as numbers
        double peaks = 0;      // added up
        bool trusted = false;  // every sum
    };
    // A block of the backward pass, from the cost at time t1 down to that at t0, which takes its place: the costs after each step in
    // `costs`, from there on times the emissions in `after`.
    template <class Emission>
    struct Backward {
        Emission emission;
        int64_t t0, t1;
        F *cost, *costs, *after;
        bool trusted = false;
    };
    // One block; or two, of which each step is taken while the other's waits for its registers. The same bits.
    template <class... Block>
    void run(Block&... block) const {
        with_rows<F>(states_, [&]<int inner, int parts>() { run_in<inner, parts>(block...); });
    }
    // From the emissions of each step of a block as numbers, to the costs after it times those.
    void weigh(int64_t steps, const F* costs, F* numbers) const {
        for (int64_t i = 0; i < steps * ld_; i += L::width) L::store(numbers + i, weighed(L::load(costs + i), L::load(numbers + i), L::broadcast(F(1))));
    }

  private:
    template <int parts>
    struct Vector {
        V part[parts];
    };
    static V least() { return L::broadcast(std::numeric_limits<F>::min()); }
    // exp, but nothing that is more than 0 comes out as less than the least.
    [[gnu::always_inline]] static V number(V log) {
        const V y = L::max(least(), exp<F>(log));
        return log == kNothing<F> ? V{} : y;
    }

    // The product of a vector and a matrix, and in each lane the sum of the vector.
    template <int first, int count>
    [[gnu::always_inline]] static void multiply(const Spread<F>& from, const V* row, V& product, V& mass) {
        const V here = from.template lane<first>();
        if constexpr (count == 1) {
            product = here * row[first], mass = here;
        } else if constexpr (count == 2) {
            const V next = from.template lane<first + 1>();
            product = here * row[first] + next * row[first + 1], mass = here + next;
        } else {
            V more, other;
            multiply<first, count / 2>(from, row, product, mass);
            multiply<first + count / 2, count / 2>(from, row, more, other);
            product += more, mass += other;
        }
    }
    // The rows of a matrix: of one register each in registers, of several where they lie.
    template <int inner, int parts>
    struct Matrix {
        static constexpr int chains = parts == 2 ? 4 : 2;  // sums of some rows each, which do not wait for one another
        V row[parts == 1 ? inner : 1];
        const F* from;
        explicit Matrix(const F* matrix) : from(matrix) {
            if constexpr (parts == 1)
#pragma GCC unroll 16
                for (int i = 0; i < inner; ++i) row[i] = L::load(matrix + i * L::width);
        }
        // Where there is an arc, 1.
        Matrix arcs(Buffer<F>& workspace) const {
            workspace.reset(inner * parts * L::width);
            for (int64_t i = 0; i < inner * parts; ++i) {
                const V x = L::load(from + i * L::width);
                L::store(workspace.get() + i * L::width, x > F(0) ? L::broadcast(F(1)) : V{});
            }
            return Matrix(workspace.get());
        }
        [[gnu::always_inline]] void multiply(const Vector<parts>& vector, Vector<parts>& product, V& mass) const {
            if constexpr (parts == 1) {
                FewStates::multiply<0, inner>(Spread<F>(vector.part[0]), row, product.part[0], mass);
            } else {
                V sum[chains][parts] = {};
                add_rows(vector, sum, std::make_integer_sequence<int, inner>{}, std::make_integer_sequence<int, parts>{});
                V all = vector.part[0];
#pragma GCC unroll 16
                for (int p = 1; p < parts; ++p) all += vector.part[p];
                mass = L::broadcast(L::sum(all));
#pragma GCC unroll 16
                for (int p = 0; p < parts; ++p) {
                    if constexpr (chains == 4) sum[0][p] += sum[2][p], sum[1][p] += sum[3][p];
                    product.part[p] = sum[0][p] + sum[1][p];
                }
            }
        }

      private:
        template <int... i, int... p>
        [[gnu::always_inline]] void add_rows(const Vector<parts>& vector, V (&sum)[chains][parts], std::integer_sequence<int, i...>, std::integer_sequence<int, p...>) const {
            const Spread<F> lanes[parts] = {Spread<F>(vector.part[p])...};
            (add_row<i>(lanes, sum[i % chains]), ...);
        }
        template <int i>
        [[gnu::always_inline]] void add_row(const Spread<F> (&lanes)[parts], V (&sum)[parts]) const {
            const V here = lanes[i / L::width].template lane<i % L::width>();
#pragma GCC unroll 4
            for (int p = 0; p < parts; ++p) sum[p] += here * L::load(from + (i * parts + p) * L::width);
        }
    };
    // sum * by, where neither is 0 at least the least.
    static V weighed(V sum, V by, V scale) {
        constexpr F large = 1 / std::numeric_limits<F>::min();  // any sum but 0, times that, is more than the least
        const V low = by == F(0) ? V{} : least();
        return L::max(L::min(sum * large, low), sum * (by * scale));
    }
    template <int parts>
    [[gnu::always_inline]] static Vector<parts> weighed(const Vector<parts>& sum, const Vector<parts>& by, V scale) {
        Vector<parts> to;
#pragma GCC unroll 16
        for (int p = 0; p < parts; ++p) to.part[p] = weighed(sum.part[p], by.part[p], scale);
        return to;
    }
    template <int parts>
    [[gnu::always_inline]] static Vector<parts> numbers(const Vector<parts>& log) {
        Vector<parts> to;
#pragma GCC unroll 16
        for (int p = 0; p < parts; ++p) to.part[p] = number(log.part[p]);
        return to;
    }
    // 0 for states, -inf for the padding.
    template <int parts>
    Vector<parts> none() const {
        Vector<parts> none;
#pragma GCC unroll 16
        for (int p = 0; p < parts; ++p) none.part[p] = L::first(states_ - p * L::width) ? V{} : L::broadcast(kNothing<F>);
        return none;
    }
    // The log of the emissions less their peak, which is returned.
    template <int parts, class Emission>
    [[gnu::always_inline]] F log_emissions(const Emission& emission, int64_t t, const Vector<parts>& none, Vector<parts>& log) const {
        const F* e = emission(t);
        if (!e) {
            log = none;
            return 0;
        }
#pragma GCC unroll 16
        for (int p = 0; p < parts - 1; ++p) log.part[p] = L::load(e + p * L::width);
        log.part[parts - 1] = L::load_part(e + (parts - 1) * L::width, states_ - (parts - 1) * L::width, kNothing<F>);
        V most = log.part[0];
#pragma GCC unroll 16
        for (int p = 1; p < parts; ++p) most = L::max(log.part[p], most);
        F peak = L::max(most);
        if (std::isinf(peak)) peak = 0;
#pragma GCC unroll 16
        for (int p = 0; p < parts; ++p) log.part[p] = (log.part[p] - peak) * beta_;
        return peak;
    }
    // The emissions of a block less their peaks, as numbers, before its first step: no step waits for them, nor an exp for a peak.
    // Returns the sum of the peaks.
    template <int parts, class Emission>
    double numbers_of(const Emission& emission, int64_t t0, int64_t t1, const Vector<parts>& none, F* to) const {
        double peaks = 0;
        for (int64_t t = t0; t < t1; ++t) {
            Vector<parts> log;
            peaks += static_cast<double>(log_emissions(emission, t, none, log));
            store(to + (t - t0) * ld_, log);
        }
        const int64_t size = (t1 - t0) * ld_;
        for (int64_t i = 0; i < size; i += L::width) L::store(to + i, number(L::load(to + i)));
        return peaks;
    }
    template <int parts>
    [[gnu::always_inline]] static Vector<parts> load(const F* from) {
        Vector<parts> x;
#pragma GCC unroll 16
        for (int p = 0; p < parts; ++p) x.part[p] = L::load(from + p * L::width);
        return x;
    }
    template <int parts>
    [[gnu::always_inline]] static void store(F* to, const Vector<parts>& x) {
#pragma GCC unroll 16
        for (int p = 0; p < parts; ++p) L::store(to + p * L::width, x.part[p]);
    }
    // Whether small sums are 0 because no path leads there, in each product of the vectors of a block.
    template <int inner, int parts, class From>
    [[gnu::noinline]] static bool no_path(const F* weights, int64_t count, const From from) {
        const Matrix<inner, parts> matrix(weights);
        Buffer<F> workspace;
        const Matrix<inner, parts> arcs = matrix.arcs(workspace);
        B flushed{};
        for (int64_t k = 0; k < count; ++k) {
            const Vector<parts> vector = from(k);
            Vector<parts> sum, paths, weights = vector;
#pragma GCC unroll 16
            for (V& x : weights.part) x = x > F(0) ? L::broadcast(F(1)) : V{};
            V mass;
            matrix.multiply(vector, sum, mass);
            arcs.multiply(weights, paths, mass);
#pragma GCC unroll 16
            for (int p = 0; p < parts; ++p) flushed |= (sum.part[p] < kTrusted<F>) & (paths.part[p] > F(0));
        }
        return L::min(flushed) == 0;
    }

    // A block that is being worked on: its state in registers.
    template <int inner, int parts, class Block>
    struct Pass;

    template <int inner, int parts, class Emission>
    struct Pass<inner, parts, Forward<Emission>> {
        Pass(const FewStates& few, const Forward<Emission>& block)
            : few(few), block(block), count(block.t1 - block.t0), matrix(few.weight_), none(few.none<parts>()), vector(numbers(load<parts>(block.rows.at(block.t0)))),
              offset(block.rows.off(block.t0)), peaks(few.numbers_of(block.emission, block.t0, block.t1, none, block.numbers)) {}
        int64_t steps() const { return count - 1; }  // and one more, whose vector is in log space
        [[gnu::always_inline]] Vector<parts> product(V& mass) {
            Vector<parts> sum;
            matrix.multiply(vector, sum, mass);
#pragma GCC unroll 16
            for (const V& x : sum.part) small |= x < kTrusted<F>;
            least_mass = L::min(mass, least_mass);
            return sum;
        }
        [[gnu::always_inline]] void step(int64_t k) {
            V mass;
            const Vector<parts> sum = product(mass);
            vector = weighed(sum, load<parts>(block.numbers + k * few.ld_), one_over_power<F>(mass));
            offset += exponent<F>(mass[0]) * kLogTwo;
            store(block.rows.at(block.t0 + k + 1), vector);
            block.rows.off(block.t0 + k + 1) = offset;
        }
        // What it found out.
        [[gnu::always_inline]] void finish(Forward<Emission>& found) {
            Vector<parts> log;
            V mass, most = L::broadcast(kNothing<F>);
            const Vector<parts> sum = product(mass);
            few.log_emissions(block.emission, block.t1 - 1, none, log);
#pragma GCC unroll 16
            for (int p = 0; p < parts; ++p) {
                log.part[p] += semihmm::log<F>(sum.part[p]);
                most = L::max(log.part[p], most);
            }
            const F peak = L::max(most);
            found.peaks = peaks;
            if (!(std::abs(peak) < infinity<F>)) return;
#pragma GCC unroll 16
            for (V& x : log.part) x -= peak;
            store(block.rows.at(block.t1), log);
            block.rows.off(block.t1) = offset + static_cast<double>(peak);
            const auto from = [at = block.rows.at(block.t0), by = block.rows.stride](int64_t k) { return k ? load<parts>(at + k * by) : numbers(load<parts>(at)); };
            found.trusted = least_mass[0] > F(0) && (L::min(small) == 0 || no_path<inner, parts>(few.weight_, count, from));
        }

        const FewStates few;
        const Forward<Emission> block;
        const int64_t count;
        const Matrix<inner, parts> matrix;
        const Vector<parts> none;
        Vector<parts> vector;
        V least_mass = L::broadcast(infinity<F>);
        B small{};
        double offset, peaks;
    };

    template <int inner, int parts, class Emission>
    struct Pass<inner, parts, Backward<Emission>> {
        Pass(const FewStates& few, const Backward<Emission>& block)
            : few(few), block(block), count(block.t1 - block.t0), matrix(few.transposed_), none(few.none<parts>()), states(numbers(none)), vector(load<parts>(block.cost)) {
            few.numbers_of(block.emission, block.t0, block.t1, none, block.after);
        }
        int64_t steps() const { return count; }
        [[gnu::always_inline]] void step(int64_t k) {
            const int64_t at = count - 1 - k;
            Vector<parts> sum;
            V mass;
            store(block.costs + at * few.ld_, vector);
            const Vector<parts> from = weighed(vector, load<parts>(block.after + at * few.ld_), L::broadcast(F(1)));
            store(block.after + at * few.ld_, from);
            matrix.multiply(from, sum, mass);
#pragma GCC unroll 16
            for (const V& x : sum.part) small |= x < kTrusted<F>;
            least_mass = L::min(mass, least_mass);
            vector = weighed(sum, states, one_over_power<F>(mass));
        }
        [[gnu::always_inline]] void finish(Backward<Emission>& found) {
            store(block.cost, vector);
            V most = vector.part[0];
#pragma GCC unroll 16
            for (const V& x : vector.part) most = L::max(x, most);
            const auto from = [at = block.after, by = few.ld_](int64_t k) { return load<parts>(at + k * by); };
            found.trusted = least_mass[0] > F(0) && L::max(most) > F(0) && (L::min(small) == 0 || no_path<inner, parts>(few.transposed_, count, from));
        }

        const FewStates few;
        const Backward<Emission> block;
        const int64_t count;
        const Matrix<inner, parts> matrix;
        const Vector<parts> none, states;  // 1 for states, 0 for the padding
        Vector<parts> vector;
        V least_mass = L::broadcast(infinity<F>);
        B small{};
    };

    template <class One, class Found>
    [[gnu::always_inline]] static void finish(One& pass, int64_t from, Found& found) {
        for (int64_t k = from; k < pass.steps(); ++k) pass.step(k);
        pass.finish(found);
    }
    template <int inner, int parts, class Block>
    void run_in(Block& block) const {
        Pass<inner, parts, Block> pass(*this, block);
        finish(pass, 0, block);
    }
    template <int inner, int parts, class Block, class Other>
    void run_in(Block& block, Other& other) const {
        Pass<inner, parts, Block> one(*this, block);
        Pass<inner, parts, Other> two(*this, other);
        const int64_t common = std::min(one.steps(), two.steps());
        for (int64_t k = 0; k < common; ++k) one.step(k), two.step(k);
        finish(one, common, block), finish(two, common, other);
    }

    const F *weight_, *transposed_;
    int64_t states_, ld_;
    F beta_;
};

}  // namespace semihmm
