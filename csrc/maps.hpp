// The maps of a chain, one step at a time, in log space: forwards, backwards, and the gradient of their weights.
#pragma once

#include "semirings.hpp"

namespace semihmm {

// What a gradient adds up: share = exp(log term + shift), times g0 plus, with a feature, g1 times its distance to the mean.
template <class S>
struct Weighing {
    using F = typename S::F;
    using L = Lanes<F>;
    using V = typename L::type;
    F shift = 0, output_shift = 0;  // where the vector before a step is read, or the one after it
    F g0 = 1, g1 = 0, mean = 0;

    V share(V term) const { return exp<F>(term + shift); }
    V leaf(V share, V through) const {
        if constexpr (!S::features) return share * g0;
        return share == F(0) ? L::broadcast(F(0)) : share * (g0 + g1 * (through - mean));
    }
    V feature(V share) const { return share * g1; }
};

struct Origin {
    int64_t slot, rank, delay, choice;
};

// Chooses among candidates, one after the other: the best, the rank-th best of sorted lists, or a drawn one.
template <class S>
class Picker {
  public:
    using F = typename S::F;
    explicit Picker(int components) : components_(components) {}
    void draw_from(const double* uniform) { uniform_ = uniform; }
    void clear() { values_.clear(); }
    void offer(F value) { values_.push_back(value); }  // all components of a candidate, then those of the next
    // Returns candidate and rank.
    std::pair<int64_t, int64_t> pick(int64_t rank) {
        const int64_t count = static_cast<int64_t>(values_.size()) / components_;
        if (uniform_) return {draw(count), rank};
        heads_.assign(static_cast<std::size_t>(count), 0);
        int64_t best = 0;
        for (int64_t round = 0; round <= rank; ++round) {
            best = -1;
            for (int64_t i = 0; i < count; ++i) {
                if (heads_[i] >= components_) continue;
                if (best < 0 || at(i) > at(best)) best = i;
            }
            if (best < 0) return {0, 0};
            ++heads_[best];
        }
        return {best, heads_[best] - 1};
    }

  private:
    F at(int64_t i) const { return values_[i * components_ + heads_[i]]; }
    int64_t draw(int64_t count) {
        F peak = kNothing<F>;
        for (F x : values_) peak = std::max(peak, x);
        const double u = *uniform_++;
        if (peak == kNothing<F>) return 0;
        double total = 0;
        for (F x : values_) total += std::exp(static_cast<double>(x) - peak);
        double point = u * total, sum = 0;
        int64_t last = 0;
        for (int64_t i = 0; i < count; ++i) {
            const double share = std::exp(static_cast<double>(values_[i]) - peak);
            if (share == 0) continue;
            last = i;
            sum += share;
            if (sum > point) return i;
        }
        return last;  // rounding put the point at the top end
    }
    int components_;
    const double* uniform_ = nullptr;
    std::vector<F> values_;
    std::vector<int64_t> heads_;
};

// A sequence of maps, acting on the state vectors at the times before. Step t leads from time t to time t + 1.
template <class S>
class Map {
  public:
    using F = typename S::F;
    using L = Lanes<F>;
    using V = typename L::type;

    explicit Map(S semiring) : semiring(semiring) {}
    virtual ~Map() = default;

    S semiring;
    int64_t memory = 1;
    Layout<F> in, out;  // of state vectors
    bool reads_output = false;

    virtual void start(int64_t b, int64_t length) = 0;  // a sequence, of so many steps
    virtual void load(int64_t, int64_t) {}              // the tables of steps t0 to t1, and of memory - 1 more
    virtual void look(int64_t t0, int64_t t1) { load(t0, t1); }  // what `trace` needs of them
    virtual double lost(int64_t) const { return 0; }    // the peak taken out of step t
    // The vector at t + 1, relative to the offset of time t.
    virtual void step(int64_t t, const Rows<F>& rows, F* to) = 0;
    // What comes after time t: its cost, relative to the offset of time t + 1.
    virtual void back(int64_t t, const Rows<F>& costs, F* to) = 0;
    virtual void close(int64_t, F*) {}  // the cost at the end, completed
    // Adds the gradient of the weights of step t; with reads_output, `output` is the vector at t + 1.
    virtual void contract(int64_t t, const Rows<F>& rows, const F* output, const Rows<F>& costs, Weighing<S> weighing) = 0;
    virtual void unload(int64_t, int64_t) {}  // gradients of a block of steps are complete
    virtual void finish() {}                  // and those of the sequence
    virtual std::vector<Sink<F>*> sinks() = 0;
    virtual Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker) = 0;

    // Whether a table is still that of another sequence or step.
    template <class T>
    static bool stale(const Leaf<T>& leaf, bool first) {
        return first || !leaf.same_for_all();
    }

  protected:
    int64_t b_ = -1, length_ = 0;
};

// Terms of which each predecessor is one number: row k of a matrix.
template <class S>
struct FromOne {
    using F = typename S::F;
    const F* in;
    int64_t in_stride;
    const F *weight, *feature;
    int64_t ld;
    auto value(int64_t k, int c, int64_t j) const {
        const F* table = S::features && c ? feature : weight;
        return Lanes<F>::broadcast(in[c * in_stride + k]) + Lanes<F>::load(table + k * ld + j);
    }
};

// Terms that lie ready, weights and all: [k][component][ld].
template <class S>
struct Ready {
    using F = typename S::F;
    const F* terms;
    int components;
    int64_t ld;
    auto value(int64_t k, int c, int64_t j) const { return Lanes<F>::load(terms + (k * components + c) * ld + j); }
};

// log-weights by beta, less their peak if that is asked for; what is forbidden has no feature. Returns the peak.
template <class F, class At>
double peak_of(int64_t n, const At& at, double beta) {
    F peak = kNothing<F>;
    for (int64_t i = 0; i < n; ++i) peak = std::max(peak, at(i));
    return std::isinf(peak) ? 0.0 : peak * beta;
}

// The largest entry of a matrix of a leaf; 0 if that is infinite.
template <class F>
F matrix_peak(const Leaf<F>& leaf, const F* matrix) {
    F peak = kNothing<F>;
    for (int64_t i = 0; i < leaf.event[0]; ++i) {
        const F* row = matrix + i * leaf.by_event[0];
        if (leaf.by_event[1] == 1) {
            peak = std::max(peak, max_of<F>(leaf.event[1], row));
        } else {
            for (int64_t j = 0; j < leaf.event[1]; ++j) peak = std::max(peak, row[j * leaf.by_event[1]]);
        }
    }
    return std::isinf(peak) ? F(0) : peak;
}

template <class S>
class Dense final : public Map<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    Dense(S semiring, Leaf<F> weight, Leaf<F> feature, F* out, F* out_feature, double beta, bool centre = true)
        : Map<S>(semiring), weight_(weight), feature_(feature), beta_(beta), centre_(centre),
          sink_(out, weight, weight.over_time()), sink_feature_(out_feature, feature, weight.over_time()) {
        this->in = {1, weight.event[0]};
        this->out = {1, weight.event[1]};
        ld_ = this->out.width();
        back_ld_ = this->in.width();
        const int64_t steps = weight.over_time() || feature.over_time() ? kBlock + 1 : 1;
        size_ = this->in.size * ld_;
        back_size_ = this->out.size * back_ld_;
        lost_.assign(static_cast<std::size_t>(steps), 0.0);
        varies_ = steps != 1;
    }
    void start(int64_t b, int64_t length) override {
        const bool first = this->b_ < 0;
        this->b_ = b, this->length_ = length;
        if (first) allocate(static_cast<int64_t>(lost_.size()));
        if (!varies_ && (this->stale(weight_, first) || this->stale(feature_, first))) fill(0, 0);
    }
    void load(int64_t t0, int64_t t1) override {
        t0_ = t0;
        if (varies_)
            for (int64_t t = t0; t < std::min(t1, this->length_); ++t) fill(t, t - t0);
    }
    double lost(int64_t t) const override { return lost_[at(t)]; }
    void step(int64_t t, const Rows<F>& rows, F* to) override { forward(t, rows.at(t), this->in.width(), to, this->out.width()); }
    void forward(int64_t t, const F* from, int64_t from_stride, F* to, int64_t to_stride) {
        const FromOne<S> terms{from, from_stride, table(0, t), table(1, t), ld_};
        this->semiring.sum(this->in.size, this->out.width(), terms, to, to_stride);
    }
    void back(int64_t t, const Rows<F>& costs, F* to) override {
        backward(t, costs.at(t + 1), this->out.width(), to, this->in.width());
    }
    void backward(int64_t t, const F* cost, int64_t cost_stride, F* to, int64_t to_stride) {
        const FromOne<S> terms{cost, cost_stride, back_table(0, t), back_table(1, t), back_ld_};
        this->semiring.sum(this->out.size, this->in.width(), terms, to, to_stride);
    }
    void contract(int64_t t, const Rows<F>& rows, const F*, const Rows<F>& costs, Weighing<S> weighing) override {
        through(t, rows.at(t), this->in.width(), costs.at(t + 1), this->out.width(), weighing);
    }
    void through(int64_t t, const F* from, int64_t from_stride, const F* cost, int64_t cost_stride, Weighing<S> weighing) {
        if (!sink_.wanted() && !sink_feature_.wanted()) return;
        const FromOne<S> terms{from, from_stride, table(0, t), table(1, t), ld_};
        for (int64_t i = 0; i < this->in.size; ++i) {
            if (from[i] == kNothing<F>) continue;
            for (int64_t j = 0; j < ld_; j += L::width) {
                const V share = weighing.share(terms.value(i, 0, j) + L::load(cost + j));
                V mean = share;
                if constexpr (S::features) mean = terms.value(i, 1, j) + L::load(cost + cost_stride + j);
                if (sink_.wanted()) add(sum_, i * ld_ + j, weighing.leaf(share, mean));
                if (sink_feature_.wanted()) add(sum_feature_, i * ld_ + j, weighing.feature(share));
            }
        }
        if (varies_) flush(t);
    }
    void unload(int64_t t0, int64_t) override {
        if (!varies_) flush(t0);
    }
    void finish() override { sink_.finish(this->b_), sink_feature_.finish(this->b_); }
    std::vector<Sink<F>*> sinks() override { return {&sink_, &sink_feature_}; }
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker) override {
        return choose(t, slot, rank, rows.at(t), this->in.width(), picker);
    }
    Origin choose(int64_t t, int64_t slot, int64_t rank, const F* from, int64_t from_stride, Picker<S>& picker) {
        const F* weight = back_table(0, t) + slot * back_ld_;
        if constexpr (std::is_same_v<S, Max<F>>) {
            const int64_t source = first_best(this->in.size, from, weight);
            return {source, rank, 1, source};
        }
        picker.clear();
        for (int64_t i = 0; i < this->in.size; ++i)
            for (int c = 0; c < this->semiring.components; ++c) picker.offer(from[c * from_stride + i] + weight[i]);
        const auto [source, row] = picker.pick(rank);
        return {source, row, 1, source};
    }

  private:
    // Not before it is needed: a fast path may do all there is.
    void allocate(int64_t steps) {
        for (int f = 0; f <= S::features; ++f) {
            table_[f].reset(steps * size_, f ? F(0) : kNothing<F>);
            back_[f].reset(steps * back_size_, f ? F(0) : kNothing<F>);
        }
        if (sink_.wanted()) sum_.reset(size_);
        if (sink_feature_.wanted()) sum_feature_.reset(size_);
    }
    // The lowest i with the largest a[i] + b[i]; 0 if all are -inf. Both are padded with what is not larger.
    static int64_t first_best(int64_t size, const F* a, const F* b) {
        V best = L::broadcast(kNothing<F>);
        for (int64_t i = 0; i < size; i += L::width) best = L::max(L::load(a + i) + L::load(b + i), best);
        const F largest = L::max(best);
        for (int64_t i = 0; i < size; i += L::width) {
            const auto found = L::load(a + i) + L::load(b + i) == largest;
            for (int lane = 0; lane < L::width; ++lane)
                if (found[lane]) return i + lane < size ? i + lane : 0;
        }
        return 0;
    }
    static void add(Buffer<F>& sum, int64_t at, V x) { L::store(sum.get() + at, L::load(sum.get() + at) + x); }
    int64_t at(int64_t t) const { return varies_ ? t - t0_ : 0; }
    const F* table(int f, int64_t t) const { return f && !S::features ? nullptr : table_[f].get() + at(t) * size_; }
    const F* back_table(int f, int64_t t) const { return f && !S::features ? nullptr : back_[f].get() + at(t) * back_size_; }
    void fill(int64_t t, int64_t to) {
        const int64_t rows = this->in.size, columns = this->out.size;
        const F* w = weight_.at(this->b_, t);
        double peak = 0;
        if (centre_) peak = matrix_peak(weight_, w);
        lost_[to] = peak * beta_;
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; ++j) {
                const F x = static_cast<F>((w[i * weight_.by_event[0] + j * weight_.by_event[1]] - static_cast<F>(peak)) * static_cast<F>(beta_));
                table_[0][to * size_ + i * ld_ + j] = x;
                back_[0][to * back_size_ + j * back_ld_ + i] = x;
                if constexpr (S::features) {
                    const F* f = feature_.at(this->b_, t);
                    const F y = x == kNothing<F> ? F(0) : f[i * feature_.by_event[0] + j * feature_.by_event[1]];
                    table_[1][to * size_ + i * ld_ + j] = y;
                    back_[1][to * back_size_ + j * back_ld_ + i] = y;
                }
            }
    }
    void flush(int64_t t) {
        const int64_t columns = this->out.size;
        for (int64_t i = 0; i < this->in.size; ++i) {
            if (sink_.wanted()) sink_.add(this->b_, t, columns, sum_.get() + i * ld_, i * columns);
            if (sink_feature_.wanted()) sink_feature_.add(this->b_, t, columns, sum_feature_.get() + i * ld_, i * columns);
        }
        if (sink_.wanted()) std::fill_n(sum_.get(), size_, F(0));
        if (sink_feature_.wanted()) std::fill_n(sum_feature_.get(), size_, F(0));
    }

    Leaf<F> weight_, feature_;
    double beta_;
    bool centre_, varies_ = false;
    Sink<F> sink_, sink_feature_;
    int64_t ld_ = 0, back_ld_ = 0, size_ = 0, back_size_ = 0, t0_ = 0;
    Buffer<F> table_[2], back_[2], sum_, sum_feature_;  // [step][from][to], [step][to][from]
    std::vector<double> lost_;
};

template <class S>
class Diagonal final : public Map<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    Diagonal(S semiring, Leaf<F> weight, Leaf<F> feature, F* out, F* out_feature, double beta)
        : Map<S>(semiring), weight_(weight), feature_(feature), beta_(beta),
          sink_(out, weight, weight.over_time()), sink_feature_(out_feature, feature, weight.over_time()) {
        this->in = this->out = {1, weight.event[0]};
        this->reads_output = true;
        ld_ = this->in.width();
        for (int f = 0; f <= S::features; ++f) table_[f].reset(kBlock * ld_, f ? F(0) : kNothing<F>);
        lost_.assign(kBlock, 0.0);
        if (sink_.wanted()) sum_.reset(ld_);
        if (sink_feature_.wanted()) sum_feature_.reset(ld_);
    }
    void start(int64_t b, int64_t length) override { this->b_ = b, this->length_ = length; }
    void load(int64_t t0, int64_t t1) override {
        t0_ = t0;
        const int64_t by = weight_.by_event[0];
        for (int64_t t = t0; t < std::min(t1, this->length_); ++t) {
            const F* w = weight_.at(this->b_, t);
            F* to = table_[0].get() + (t - t0) * ld_;
            lost_[t - t0] = peak_of<F>(this->in.size, [&](int64_t j) { return w[j * by]; }, 1.0);
            const F peak = static_cast<F>(lost_[t - t0]), beta = static_cast<F>(beta_);
            lost_[t - t0] *= beta_;
            for (int64_t j = 0; j < this->in.size; ++j) to[j] = (w[j * by] - peak) * beta;
            if constexpr (S::features) {
                const F* f = feature_.at(this->b_, t);
                for (int64_t j = 0; j < this->in.size; ++j)
                    table_[1][(t - t0) * ld_ + j] = to[j] == kNothing<F> ? F(0) : f[j * feature_.by_event[0]];
            }
        }
    }
    double lost(int64_t t) const override { return lost_[t - t0_]; }
    void step(int64_t t, const Rows<F>& rows, F* to) override { weigh(t, rows.at(t), to); }
    void back(int64_t t, const Rows<F>& costs, F* to) override { weigh(t, costs.at(t + 1), to); }
    void contract(int64_t t, const Rows<F>& rows, const F* output, const Rows<F>& costs, Weighing<S> weighing) override {
        if (!sink_.wanted() && !sink_feature_.wanted()) return;
        const F* cost = costs.at(t + 1);
        if (output) {
            weighing.shift = weighing.output_shift;
        } else {
            if (!scratch_) scratch_.reset(ld_ * this->semiring.components, kNothing<F>);
            weigh(t, rows.at(t), scratch_.get());
            output = scratch_.get();
        }
        for (int64_t j = 0; j < ld_; j += L::width) {
            const V share = weighing.share(L::load(output + j) + L::load(cost + j));
            V mean = share;
            if constexpr (S::features) mean = L::load(output + ld_ + j) + L::load(cost + ld_ + j);
            if (sink_.wanted()) L::store(sum_.get() + j, weighing.leaf(share, mean));
            if (sink_feature_.wanted()) L::store(sum_feature_.get() + j, weighing.feature(share));
        }
        if (sink_.wanted()) sink_.add(this->b_, t, this->in.size, sum_.get());
        if (sink_feature_.wanted()) sink_feature_.add(this->b_, t, this->in.size, sum_feature_.get());
    }
    void finish() override { sink_.finish(this->b_), sink_feature_.finish(this->b_); }
    std::vector<Sink<F>*> sinks() override { return {&sink_, &sink_feature_}; }
    Origin trace(int64_t, int64_t slot, int64_t rank, const Rows<F>&, Picker<S>&) override { return {slot, rank, 1, slot}; }

  private:
    void weigh(int64_t t, const F* from, F* to) {
        for (int c = 0; c < this->semiring.components; ++c) {
            const F* table = table_[S::features && c].get() + (t - t0_) * ld_;
            for (int64_t j = 0; j < ld_; j += L::width) L::store(to + c * ld_ + j, L::load(from + c * ld_ + j) + L::load(table + j));
        }
    }

    Leaf<F> weight_, feature_;
    double beta_;
    Sink<F> sink_, sink_feature_;
    int64_t ld_ = 0, t0_ = 0;
    Buffer<F> table_[2], sum_, sum_feature_, scratch_;
    std::vector<double> lost_;
};

// One after the other within a step; all of them look one step back.
template <class S>
class Compose final : public Map<S> {
  public:
    using typename Map<S>::F;
    Compose(S semiring, std::vector<std::unique_ptr<Map<S>>> maps) : Map<S>(semiring), maps_(std::move(maps)) {
        this->in = maps_.front()->in;
        this->out = maps_.back()->out;
        for (auto& map : maps_) {
            forward_.emplace_back(map->out.width() * semiring.components, kNothing<F>);
            backward_.emplace_back(map->in.width() * semiring.components, kNothing<F>);
        }
    }
    void start(int64_t b, int64_t length) override {
        for (auto& map : maps_) map->start(b, length);
    }
    void load(int64_t t0, int64_t t1) override {
        for (auto& map : maps_) map->load(t0, t1);
    }
    double lost(int64_t t) const override {
        double sum = 0;
        for (auto& map : maps_) sum += map->lost(t);
        return sum;
    }
    void step(int64_t t, const Rows<F>& rows, F* to) override {
        for (std::size_t i = 0; i < maps_.size(); ++i)
            maps_[i]->step(t, i ? alone(forward_[i - 1], t) : rows, i + 1 < maps_.size() ? forward_[i].get() : to);
    }
    void back(int64_t t, const Rows<F>& costs, F* to) override {
        for (std::size_t i = maps_.size(); i-- > 0;)
            maps_[i]->back(t, i + 1 < maps_.size() ? alone(backward_[i + 1], t + 1) : costs, i ? backward_[i].get() : to);
    }
    void contract(int64_t t, const Rows<F>& rows, const F* output, const Rows<F>& costs, Weighing<S> weighing) override {
        inputs(t, rows);
        for (std::size_t i = maps_.size(); i-- > 0;) {
            const bool last = i + 1 == maps_.size();
            const Rows<F> after = last ? costs : alone(backward_[i + 1], t + 1);
            const Rows<F> before = i ? alone(forward_[i - 1], t) : rows;
            maps_[i]->contract(t, before, last ? output : nullptr, after, weighing);
            if (i) maps_[i]->back(t, after, backward_[i].get());
        }
    }
    void unload(int64_t t0, int64_t t1) override {
        for (auto& map : maps_) map->unload(t0, t1);
    }
    void finish() override {
        for (auto& map : maps_) map->finish();
    }
    std::vector<Sink<F>*> sinks() override {
        std::vector<Sink<F>*> all;
        for (auto& map : maps_)
            for (Sink<F>* sink : map->sinks()) all.push_back(sink);
        return all;
    }
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker) override {
        inputs(t, rows);
        Origin at{slot, rank, 1, slot};
        for (std::size_t i = maps_.size(); i-- > 0;)
            at = maps_[i]->trace(t, at.slot, at.rank, i ? alone(forward_[i - 1], t) : rows, picker);
        return at;
    }

  private:
    Rows<F> alone(const Buffer<F>& vector, int64_t time) const { return {vector.get(), &zero_, 0, time}; }
    // What each map but the first is given; the last one may do with its output.
    void inputs(int64_t t, const Rows<F>& rows) {
        std::size_t needed = maps_.size() - 1;
        while (needed > 0 && maps_[needed]->reads_output) --needed;
        for (std::size_t i = 0; i < needed; ++i) maps_[i]->step(t, i ? alone(forward_[i - 1], t) : rows, forward_[i].get());
    }

    std::vector<std::unique_ptr<Map<S>>> maps_;
    std::vector<Buffer<F>> forward_, backward_;
    mutable double zero_ = 0;
};

}  // namespace semihmm
