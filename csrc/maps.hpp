// The maps of a chain, one step at a time, in log space: forwards, backwards, and the gradient of their weights.
#pragma once

#include "semirings.hpp"

namespace semihmm {

// What a gradient adds up: share = exp(log term + shift), times g0 plus, with a feature, g1 times its distance to the mean.
// Scores have no shares: of those the best is kept. So this is Posterior in Python, and Best.
template <class S>
struct Weighing {
    using F = typename S::F;
    using L = Lanes<F>;
    using V = typename L::type;
    F shift = 0, output_shift = 0;  // where the vector before a step is read, or the one after it
    F g0 = 1, g1 = 0, mean = 0;
    static constexpr bool best = std::is_same_v<S, Max<F>>;
    static constexpr F empty = best ? kNothing<F> : F(0);  // what nothing passes through

    static V plus(V a, V b) {
        if constexpr (best) return L::max(a, b);
        return a + b;
    }
    static F plus(F a, F b) {
        if constexpr (best) return std::max(a, b);
        return a + b;
    }
    // What terms add to the gradients of log-weights and of their features; term(c): component c of the log term.
    template <class Term>
    std::pair<V, V> shares(const Term& term) const {
        const V share = this->share(term(0));
        V through = share;
        if constexpr (S::features) through = term(1);
        return {leaf(share, through), share * g1};
    }

  private:
    V share(V term) const {
        if constexpr (best) return term + shift;
        return exp<F>(term + shift);
    }
    V leaf(V share, V through) const {
        if constexpr (best) return share;
        if constexpr (!S::features) return share * g0;
        return share == F(0) ? L::broadcast(F(0)) : share * (g0 + g1 * (through - mean));
    }
};

struct Origin {
    int64_t slot, rank, delay, choice;
};

// Sorted lists of numbers, merged as far as requested: the best first, of equal ones that of the first list.
template <class F>
class Merge {
  public:
    // value(i, c): the c-th number of list i, of so many each.
    template <class Value>
    void start(int64_t lists, int components, const Value& value) {
        components_ = components;
        order_.clear(), heads_.clear();
        for (int64_t i = 0; i < lists; ++i) heads_.push_back({value(i, 0), static_cast<int32_t>(i), 0});
        std::make_heap(heads_.begin(), heads_.end(), behind);
    }
    // The list and the place there of the number that has `rank` others in front of it. {0, 0} if there are not so many.
    template <class Value>
    std::pair<int64_t, int64_t> nth(int64_t rank, const Value& value) {
        while (static_cast<int64_t>(order_.size()) <= rank) {
            if (heads_.empty()) return {0, 0};
            std::pop_heap(heads_.begin(), heads_.end(), behind);
            Head& head = heads_.back();
            order_.emplace_back(head.list, head.place);
            if (++head.place < components_) {
                head.value = value(head.list, head.place);
                std::push_heap(heads_.begin(), heads_.end(), behind);
            } else {
                heads_.pop_back();
            }
        }
        return order_[static_cast<std::size_t>(rank)];
    }

  private:
    struct Head {
        F value;
        int32_t list, place;
    };
    static bool behind(const Head& a, const Head& b) { return a.value < b.value || (a.value == b.value && a.list > b.list); }
    int components_ = 1;
    std::vector<Head> heads_;
    std::vector<std::pair<int32_t, int32_t>> order_;
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
        if (rank == 0) {  // without a heap
            int64_t best = 0;
            for (int64_t i = 1; i < count; ++i)
                if (values_[i * components_] > values_[best * components_]) best = i;
            return {best, 0};
        }
        merge_.start(count, components_, [&](int64_t i, int c) { return values_[i * components_ + c]; });
        return merge_.nth(rank, [&](int64_t i, int c) { return values_[i * components_ + c]; });
    }

  private:
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
    Merge<F> merge_;
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
    int64_t arc_indices = 1;  // how many numbers tell which weights of a step a path has taken
    bool reads_output = false;

    virtual void start(int64_t b, int64_t length) = 0;  // a sequence, of so many steps
    virtual void load(int64_t, int64_t) {}              // the tables of steps t0 to t1, and of memory - 1 more
    virtual void load_for_trace(int64_t t0, int64_t t1) { load(t0, t1); }  // what `trace` needs of them
    virtual double log_scale(int64_t) const { return 0; }    // the peak taken out of step t
    // The vector at t + 1, relative to the offset of time t.
    virtual void step(int64_t t, const Rows<F>& rows, F* to) = 0;
    // What comes after time t: its cost, relative to the offset of time t + 1.
    virtual void step_backward(int64_t t, const Rows<F>& costs, F* to) = 0;
    virtual void close(int64_t, F*) {}  // the cost at the end, completed
    // Adds the gradient of the weights of step t; with reads_output, `output` is the vector at t + 1.
    virtual void contract(int64_t t, const Rows<F>& rows, const F* output, const Rows<F>& costs, Weighing<S> weighing) = 0;
    virtual void unload(int64_t, int64_t) {}  // gradients of a block of steps are complete
    virtual void finish() {}                  // and those of the sequence
    virtual std::vector<Sink<F>*> sinks() = 0;
    // Where a path came from, and by which weights: that goes to `arc_indices`.
    virtual Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker, int64_t* arc_indices) = 0;
    // Adds a share to the gradient of those weights. Needs neither `start` nor tables.
    virtual void add_share(int64_t b, int64_t t, const int64_t* arc_indices, double share) = 0;

    // Whether a table is still that of another sequence or step.
    template <class T>
    static bool stale(const Leaf<T>& leaf, bool first) {
        return first || !leaf.same_for_all();
    }

  protected:
    int64_t b_ = -1, length_ = 0;
};

// A leaf of log-weights, its features, and where the gradients of both go.
template <class F>
struct Part {
    Leaf<F> weight, feature;
    Out<F> out, out_feature;
};

// A map with one such leaf. Its tables hold a step, or where the leaf changes over time, those of a block and one.
template <class S>
class OneLeaf : public Map<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    // `spread`: as a Sink has it. `centre`: whether the peak of a step's weights may be taken out of it, since every path
    // takes one of them.
    OneLeaf(S semiring, const Part<F>& part, double beta, bool spread, bool centre)
        : Map<S>(semiring), weight_(part.weight), feature_(part.feature), beta_(beta), centre_(centre),
          varies_(weight_.over_time() || feature_.over_time()),
          sinks_{{part.out, part.weight, spread}, {part.out_feature, part.feature, spread}} {}

    void start(int64_t b, int64_t length) override {
        const bool first = this->b_ < 0;
        this->b_ = b, this->length_ = length;
        if (first) reserve();
        if (!varies_ && (this->stale(weight_, first) || this->stale(feature_, first))) fill(0, 0);
    }
    void load(int64_t t0, int64_t t1) override {
        t0_ = t0;
        if (varies_)
            for (int64_t t = t0; t < std::min(t1 + this->memory - 1, this->length_); ++t) fill(t, t - t0);
    }
    double log_scale(int64_t t) const override { return log_scale_[step_of(t)]; }
    void finish() override { sinks_[0].finish(this->b_), sinks_[1].finish(this->b_); }
    std::vector<Sink<F>*> sinks() override { return {&sinks_[0], &sinks_[1]}; }
    void add_share(int64_t b, int64_t t, const int64_t* arc_indices, double share) override {
        if (sinks_[0].requested()) sinks_[0].add(b, t, 1, &share, *arc_indices);
    }

  protected:
    // Memory for the tables; a map that never starts a sequence, as where scaled vectors do all of them, needs none.
    virtual void reserve() {}
    virtual void fill(int64_t, int64_t) {}  // the tables of step t, as the given one of those held
    bool requested() const { return sinks_[0].requested() || sinks_[1].requested(); }
    int64_t step_of(int64_t t) const { return varies_ ? t - t0_ : 0; }
    F peak(const F* matrix) const { return centre_ ? matrix_peak(weight_, matrix) : F(0); }
    // Memory for tables of so many numbers a step, and for sums of their gradients.
    void reserve_tables(Buffer<F>* table, int64_t size, int64_t steps) {
        for (int f = 0; f <= S::features; ++f) table[f].reset(steps * size, f ? F(0) : kNothing<F>);
        log_scale_.assign(static_cast<std::size_t>(steps), 0.0);
    }
    void reserve_sums(int64_t size) {
        for (int f = 0; f < 2; ++f)
            if (sinks_[f].requested()) sums_[f].reset(size, empty(f));
    }
    static F empty(int f) { return f ? F(0) : Weighing<S>::empty; }
    void add(int64_t at, const std::pair<V, V>& shares) {
        for (int f = 0; f < 2; ++f)
            if (sinks_[f].requested()) {
                F* sum = sums_[f].get() + at;
                L::store(sum, Weighing<S>::plus(L::load(sum), f ? shares.second : shares.first));
            }
    }

    Leaf<F> weight_, feature_;
    double beta_;
    bool centre_, varies_;
    Sink<F> sinks_[2];  // of log-weights and features
    int64_t t0_ = 0;
    std::vector<double> log_scale_;
    Buffer<F> sums_[2];
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

// log-weights by beta, less their peak if requested; what is forbidden has no feature. Returns the peak.
template <class F, class At>
double peak_of(int64_t n, const At& at, double beta) {
    F peak = kNothing<F>;
    for (int64_t i = 0; i < n; ++i) peak = std::max(peak, at(i));
    return std::isinf(peak) ? 0.0 : peak * beta;
}

// The largest entry of a matrix of a leaf; 0 if that is infinite.
template <class F>
F matrix_peak(const Leaf<F>& leaf, const F* matrix) {
    const int along = leaf.by_event[0] == 1 ? 0 : 1;  // the axis whose entries lie side by side, if one does
    const int64_t lines = leaf.event[1 - along], size = leaf.event[along], by = leaf.by_event[along];
    F peak = kNothing<F>;
    for (int64_t i = 0; i < lines; ++i) {
        const F* line = matrix + i * leaf.by_event[1 - along];
        if (by == 1) peak = std::max(peak, max_of<F>(size, line));
        for (int64_t j = 0; by != 1 && j < size; ++j) peak = std::max(peak, line[j * by]);
    }
    return std::isinf(peak) ? F(0) : peak;
}

template <class S>
class Dense final : public OneLeaf<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    Dense(S semiring, const Part<F>& part, double beta, bool centre = true)
        : OneLeaf<S>(semiring, part, beta, part.weight.over_time(), centre) {
        this->in = {1, weight_.event[0]};
        this->out = {1, weight_.event[1]};
        ld_ = this->out.width();
        transposed_ld_ = this->in.width();
        size_ = this->in.size * ld_;
        transposed_size_ = this->out.size * transposed_ld_;
    }
    void step(int64_t t, const Rows<F>& rows, F* to) override {
        const FromOne<S> terms{rows.at(t), transposed_ld_, table(0, t), table(1, t), ld_};
        this->semiring.sum(this->in.size, ld_, terms, to, ld_);
    }
    void step_backward(int64_t t, const Rows<F>& costs, F* to) override {
        const FromOne<S> terms{costs.at(t + 1), ld_, transposed_table(0, t), transposed_table(1, t), transposed_ld_};
        this->semiring.sum(this->out.size, transposed_ld_, terms, to, transposed_ld_);
    }
    void contract(int64_t t, const Rows<F>& rows, const F*, const Rows<F>& costs, Weighing<S> weighing) override {
        if (!this->requested()) return;
        const F *from = rows.at(t), *cost = costs.at(t + 1);
        const FromOne<S> terms{from, transposed_ld_, table(0, t), table(1, t), ld_};
        for (int64_t i = 0; i < this->in.size; ++i) {
            if (from[i] == kNothing<F>) continue;
            for (int64_t j = 0; j < ld_; j += L::width)
                this->add(i * ld_ + j, weighing.shares([&](int c) { return terms.value(i, c, j) + L::load(cost + c * ld_ + j); }));
        }
        if (varies_) flush(t);
    }
    void unload(int64_t t0, int64_t) override {
        if (!varies_) flush(t0);
    }
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker, int64_t* arc_indices) override {
        if constexpr (std::is_same_v<S, TopK<F>>) if (this->semiring.components > 1) {  // paths that come through the same slot share what is merged there
            const F *from = rows.at(t), *weight = transposed_table(0, t) + slot * transposed_ld_;
            const auto value = [=, stride = this->in.width()](int64_t i, int c) { return from[c * stride + i] + weight[i]; };
            if (merged_.empty()) merged_.resize(static_cast<std::size_t>(this->out.size));
            auto& [merge, b, time] = merged_[static_cast<std::size_t>(slot)];
            if (b != this->b_ || time != t) merge.start(this->in.size, this->semiring.components, value), b = this->b_, time = t;
            const auto [source, row] = merge.nth(rank, value);
            *arc_indices = source * this->out.size + slot;
            return {source, row, 1, source};
        }
        const F *from = rows.at(t), *weight = transposed_table(0, t) + slot * transposed_ld_;
        if (std::is_same_v<S, Max<F>> || (std::is_same_v<S, TopK<F>> && this->semiring.components == 1)) {
            const int64_t source = first_best(this->in.size, from, weight);
            *arc_indices = source * this->out.size + slot;
            return {source, rank, 1, source};
        }
        picker.clear();
        for (int64_t i = 0; i < this->in.size; ++i)
            for (int c = 0; c < this->semiring.components; ++c) picker.offer(from[c * transposed_ld_ + i] + weight[i]);
        const auto [source, row] = picker.pick(rank);
        *arc_indices = source * this->out.size + slot;
        return {source, row, 1, source};
    }

  protected:
    void reserve() override {
        const int64_t steps = varies_ ? kBlock + 1 : 1;
        this->reserve_tables(table_, size_, steps);
        this->reserve_tables(transposed_, transposed_size_, steps);
        this->reserve_sums(size_);
    }
    void fill(int64_t t, int64_t to) override {
        const int64_t rows = this->in.size, columns = this->out.size;
        const F* w = weight_.at(this->b_, t);
        const F peak = this->peak(w);
        this->log_scale_[to] = static_cast<double>(peak) * beta_;
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; ++j) {
                const F x = static_cast<F>((w[i * weight_.by_event[0] + j * weight_.by_event[1]] - peak) * static_cast<F>(beta_));
                table_[0][to * size_ + i * ld_ + j] = x;
                transposed_[0][to * transposed_size_ + j * transposed_ld_ + i] = x;
                if constexpr (S::features) {
                    const F* f = feature_.at(this->b_, t);
                    const F y = x == kNothing<F> ? F(0) : f[i * feature_.by_event[0] + j * feature_.by_event[1]];
                    table_[1][to * size_ + i * ld_ + j] = y;
                    transposed_[1][to * transposed_size_ + j * transposed_ld_ + i] = y;
                }
            }
    }

  private:
    using OneLeaf<S>::weight_, OneLeaf<S>::feature_, OneLeaf<S>::beta_, OneLeaf<S>::varies_;

    const F* table(int f, int64_t t) const { return f && !S::features ? nullptr : table_[f].get() + this->step_of(t) * size_; }
    const F* transposed_table(int f, int64_t t) const { return f && !S::features ? nullptr : transposed_[f].get() + this->step_of(t) * transposed_size_; }
    void flush(int64_t t) {
        const int64_t columns = this->out.size;
        for (int f = 0; f < 2; ++f) {
            if (!this->sinks_[f].requested()) continue;
            for (int64_t i = 0; i < this->in.size; ++i) this->sinks_[f].add(this->b_, t, columns, this->sums_[f].get() + i * ld_, i * columns);
            std::fill_n(this->sums_[f].get(), size_, this->empty(f));
        }
    }

    int64_t ld_ = 0, transposed_ld_ = 0, size_ = 0, transposed_size_ = 0;
    Buffer<F> table_[2], transposed_[2];  // [step][from][to], [step][to][from]
    struct Merged {
        Merge<F> merge;
        int64_t b = -1, time = -1;
    };
    std::vector<Merged> merged_;  // of TopK, at each slot, for the latest time
};

// A weight for each state. With an index, state j has that of column index[j] of a row of weights: states may share one.
template <class S>
class Diagonal final : public OneLeaf<S> {
  public:
    using typename Map<S>::F;
    using typename Map<S>::L;
    using typename Map<S>::V;
    Diagonal(S semiring, const Part<F>& part, double beta, Leaf<int64_t> index = {})
        : OneLeaf<S>(semiring, part, beta, part.weight.over_time(), true), index_(index), tied_(index.data != nullptr) {
        this->in = this->out = {1, tied_ ? index.event[0] : weight_.event[0]};
        this->reads_output = true;
        ld_ = this->in.width();
        if (tied_ && this->requested()) columns_.reset(weight_.event[0], Weighing<S>::empty);
    }
    void start(int64_t b, int64_t length) override {
        const bool first = this->b_ < 0;
        this->b_ = b, this->length_ = length;
        if (first) this->reserve_tables(table_, ld_, kBlock), this->reserve_sums(ld_);
        if (tied_ && this->stale(index_, first)) read_index();
    }
    void load(int64_t t0, int64_t t1) override {
        t0_ = t0;
        for (int64_t t = t0; t < std::min(t1, this->length_); ++t) {
            F* to = table_[0].get() + (t - t0) * ld_;
            log_scale_[t - t0] = static_cast<double>(read_centred(t, to)) * beta_;
            if constexpr (S::features) {
                F* also = table_[1].get() + (t - t0) * ld_;
                read(feature_, t, also);
                for (int64_t j = 0; j < this->in.size; ++j)
                    if (to[j] == kNothing<F>) also[j] = 0;
            }
        }
    }
    void load_for_trace(int64_t, int64_t) override {}
    double log_scale(int64_t t) const override { return log_scale_[t - t0_]; }
    void step(int64_t t, const Rows<F>& rows, F* to) override { weigh(t, rows.at(t), to); }
    void step_backward(int64_t t, const Rows<F>& costs, F* to) override { weigh(t, costs.at(t + 1), to); }
    void contract(int64_t t, const Rows<F>& rows, const F* output, const Rows<F>& costs, Weighing<S> weighing) override {
        if (!this->requested()) return;
        const F* cost = costs.at(t + 1);
        if (output) {
            weighing.shift = weighing.output_shift;
        } else {
            if (!scratch_) scratch_.reset(ld_ * this->semiring.components, kNothing<F>);
            weigh(t, rows.at(t), scratch_.get());
            output = scratch_.get();
        }
        for (int64_t j = 0; j < ld_; j += L::width) {
            const auto [leaf, feature] = weighing.shares([&](int c) { return L::load(output + c * ld_ + j) + L::load(cost + c * ld_ + j); });
            if (this->sinks_[0].requested()) L::store(this->sums_[0].get() + j, leaf);
            if (this->sinks_[1].requested()) L::store(this->sums_[1].get() + j, feature);
        }
        for (int f = 0; f < 2; ++f)
            if (this->sinks_[f].requested()) collect(this->sinks_[f], t, this->sums_[f].get());
    }
    Origin trace(int64_t, int64_t slot, int64_t rank, const Rows<F>&, Picker<S>&, int64_t* arc_indices) override {
        *arc_indices = tied_ ? column_[slot] : slot;
        return {slot, rank, 1, slot};
    }

  private:
    using OneLeaf<S>::weight_, OneLeaf<S>::feature_, OneLeaf<S>::beta_, OneLeaf<S>::log_scale_, OneLeaf<S>::t0_;

    // Which column each state has.
    void read_index() {
        const int64_t states = this->in.size, columns = weight_.event[0];
        const int64_t* index = index_.at(this->b_, 0);
        column_.assign(static_cast<std::size_t>(ld_), -1);
        unused_.reset(std::max<int64_t>(padded<F>(columns), Table<F, 8>::size), kNothing<F>);
        std::vector<int64_t> count(static_cast<std::size_t>(columns), 0);
        for (int64_t j = 0; j < states; ++j) {
            const int64_t c = index[j * index_.by_event[0]];
            if (c < 0 || c >= columns) throw std::out_of_range("Diagonal: an index outside the columns of its weights.");
            column_[j] = static_cast<typename Format<F>::Int>(c);
            unused_[c] = 0;
            ++count[c];
        }
        if (!this->requested()) return;
        common_column_ = std::max_element(count.begin(), count.end()) - count.begin();
        common_.reset(ld_);
        others_.clear();
        for (int64_t j = 0; j < states; ++j) {
            if (column_[j] == common_column_) common_[j] = 1;
            else others_.emplace_back(static_cast<int32_t>(j), static_cast<int32_t>(column_[j]));
        }
    }
    // By beta, less their peak: the weights of all states at step t. Returns the peak.
    F read_centred(int64_t t, F* to) const {
#if defined(__AVX512F__)  // where two vectors are looked up at once
        if (tied_ && weight_.by_event[0] == 1) {
            const int64_t columns = weight_.event[0];
            if (columns <= Table<F, 2>::size) return look_up<2>(t, to);
            if (columns <= Table<F, 4>::size) return look_up<4>(t, to);
            if (columns <= Table<F, 8>::size) return look_up<8>(t, to);
        }
#endif
        read(weight_, t, to);
        const F peak = usual(max_of<F>(ld_, to)), beta = static_cast<F>(beta_);
        for (int64_t j = 0; j < ld_; j += L::width) L::store(to + j, (L::load(to + j) - peak) * beta);
        return peak;
    }
    template <int vectors>
    F look_up(int64_t t, F* to) const {
        Table<F, vectors> row(weight_.event[0], weight_.at(this->b_, t), kNothing<F>);
        V best = L::broadcast(kNothing<F>);
        for (int i = 0; i < vectors; ++i) best = L::max(row.part[i] + L::load(unused_.get() + i * L::width), best);
        const F peak = usual(L::max(best)), beta = static_cast<F>(beta_);
        for (int i = 0; i < vectors; ++i) row.part[i] = (row.part[i] - peak) * beta;
        for (int64_t j = 0; j < ld_; j += L::width) {
            typename L::bits index;
            std::memcpy(&index, column_.data() + j, sizeof index);
            L::store(to + j, index >= 0 ? row[index] : L::broadcast(kNothing<F>));
        }
        return peak;
    }
    static F usual(F peak) { return std::abs(peak) < infinity<F> ? peak : F(0); }
    // What each state has at step t, less its padding.
    void read(const Leaf<F>& leaf, int64_t t, F* to) const {
        const F* from = leaf.at(this->b_, t);
        const int64_t states = this->in.size, by = leaf.by_event[0];
        if (tied_) {
            for (int64_t j = 0; j < states; ++j) to[j] = from[column_[j] * by];
        } else if (by == 1) {
            std::copy_n(from, states, to);
        } else {
            for (int64_t j = 0; j < states; ++j) to[j] = from[j * by];
        }
    }
    // Adds what each state has at step t, to the column that it has.
    void collect(Sink<F>& sink, int64_t t, const F* shares) {
        if (!tied_) return sink.add(this->b_, t, this->in.size, shares);
        F* own = sink.row(this->b_, t);
        F* to = own ? own : columns_.get();
        if constexpr (Weighing<S>::best) {
            for (int64_t j = 0; j < this->in.size; ++j) to[column_[j]] = std::max(to[column_[j]], shares[j]);
        } else {
            V common = L::broadcast(F(0));
            for (int64_t j = 0; j < ld_; j += L::width) common += L::load(shares + j) * L::load(common_.get() + j);
            to[common_column_] += L::sum(common);
            for (const auto& [state, column] : others_) to[column] += shares[state];
        }
        if (own) return;
        sink.add(this->b_, t, columns_.size(), to);
        std::fill_n(to, columns_.size(), Weighing<S>::empty);
    }
    void weigh(int64_t t, const F* from, F* to) {
        for (int c = 0; c < this->semiring.components; ++c) {
            const F* table = table_[S::features && c].get() + (t - t0_) * ld_;
            for (int64_t j = 0; j < ld_; j += L::width) L::store(to + c * ld_ + j, L::load(from + c * ld_ + j) + L::load(table + j));
        }
    }

    Leaf<int64_t> index_;
    bool tied_;
    int64_t ld_ = 0;
    Buffer<F> table_[2], scratch_, columns_;
    Buffer<F> unused_;                              // 0 for a column that a state has, else -inf
    std::vector<typename Format<F>::Int> column_;  // of each state; then -1, up to whole vectors
    int64_t common_column_ = 0;                     // the one that most states have, such as a blank's
    Buffer<F> common_;                              // 1 for those states
    std::vector<std::pair<int32_t, int32_t>> others_;  // and all others, with their columns
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
        this->arc_indices = 0;
        for (auto& map : maps_) this->arc_indices += map->arc_indices;
        traced_ = maps_.size() - 1;
        while (traced_ > 0 && maps_[traced_]->reads_output) --traced_;
    }
    void start(int64_t b, int64_t length) override {
        for (auto& map : maps_) map->start(b, length);
    }
    void load(int64_t t0, int64_t t1) override {
        for (auto& map : maps_) map->load(t0, t1);
    }
    void load_for_trace(int64_t t0, int64_t t1) override {
        for (std::size_t i = 0; i < maps_.size(); ++i) i < traced_ ? maps_[i]->load(t0, t1) : maps_[i]->load_for_trace(t0, t1);
    }
    double log_scale(int64_t t) const override {
        double sum = 0;
        for (auto& map : maps_) sum += map->log_scale(t);
        return sum;
    }
    void step(int64_t t, const Rows<F>& rows, F* to) override {
        for (std::size_t i = 0; i < maps_.size(); ++i)
            maps_[i]->step(t, i ? alone(forward_[i - 1], t) : rows, i + 1 < maps_.size() ? forward_[i].get() : to);
    }
    void step_backward(int64_t t, const Rows<F>& costs, F* to) override {
        for (std::size_t i = maps_.size(); i-- > 0;)
            maps_[i]->step_backward(t, i + 1 < maps_.size() ? alone(backward_[i + 1], t + 1) : costs, i ? backward_[i].get() : to);
    }
    void contract(int64_t t, const Rows<F>& rows, const F* output, const Rows<F>& costs, Weighing<S> weighing) override {
        inputs(t, rows, maps_.size() - 1 - (output && maps_.back()->reads_output));
        for (std::size_t i = maps_.size(); i-- > 0;) {
            const bool last = i + 1 == maps_.size();
            const Rows<F> after = last ? costs : alone(backward_[i + 1], t + 1);
            const Rows<F> before = i ? alone(forward_[i - 1], t) : rows;
            maps_[i]->contract(t, before, last ? output : nullptr, after, weighing);
            if (i) maps_[i]->step_backward(t, after, backward_[i].get());
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
    Origin trace(int64_t t, int64_t slot, int64_t rank, const Rows<F>& rows, Picker<S>& picker, int64_t* arc_indices) override {
        inputs(t, rows, traced_);
        Origin at{slot, rank, 1, slot};
        arc_indices += this->arc_indices;
        for (std::size_t i = maps_.size(); i-- > 0;)
            at = maps_[i]->trace(t, at.slot, at.rank, i ? alone(forward_[i - 1], t) : rows, picker, arc_indices -= maps_[i]->arc_indices);
        return at;
    }
    void add_share(int64_t b, int64_t t, const int64_t* arc_indices, double share) override {
        for (auto& map : maps_) map->add_share(b, t, arc_indices, share), arc_indices += map->arc_indices;
    }

  private:
    Rows<F> alone(const Buffer<F>& vector, int64_t time) const { return {vector.get(), &zero_, 0, time}; }
    // The outputs of the first `count` maps, which the ones behind them are given.
    void inputs(int64_t t, const Rows<F>& rows, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) maps_[i]->step(t, i ? alone(forward_[i - 1], t) : rows, forward_[i].get());
    }

    std::vector<std::unique_ptr<Map<S>>> maps_;
    std::vector<Buffer<F>> forward_, backward_;
    std::size_t traced_ = 0;  // of so many maps a trace needs the outputs: those behind them keep a path where it is
    mutable double zero_ = 0;
};

}  // namespace semihmm
