// Pairs of series under dynamic time warping, what their best paths cost and the means of what lies on them: `Tiles` in Max, whose
// costs are found when a cell is met, so that no matrix of them exists.
#pragma once

#include <algorithm>
#include <cmath>

#include "tiles.hpp"

namespace semihmm {

enum class ItemMetric : int { kSquared, kManhattan, kEuclidean };

// Series of items of some features: (count, items, features) in one piece, of `length[i]` items each.
template <class F>
struct SeriesSet {
    const F* data;
    const int64_t* length;
    int64_t count, items, features;
};

struct WarpRequest {
    ItemMetric metric = ItemMetric::kSquared;
    GridArcs arcs;
    bool open_begin = false;
    const int64_t* window = nullptr;  // of each row the first column and the last but one, (rows, 2); may be null
    bool itakura = false;             // the window is that of slopes from 1/2 to 2, of each pair its own
    int64_t threads = 1;
};

// Series laid out as tiles read them: [series][feature][item], the features of a query from its last item to its first.
template <class F>
class Rearranged {
  public:
    static constexpr int W = Lanes<F>::width;
    static constexpr int64_t kBefore = 5 * W, kBehind = 7 * W;

    Rearranged(const SeriesSet<F>& series, bool reversed, F outside)
        : by_feature_(kBefore + padded<F>(series.items) + kBehind), by_series_(series.features * by_feature_), data_(series.count * by_series_, outside),
          top_(by_feature_ - kBefore) {
        for (int64_t i = 0; i < series.count; ++i)
            for (int64_t t = 0; t < series.length[i]; ++t)
                for (int64_t f = 0; f < series.features; ++f)
                    data_[i * by_series_ + f * by_feature_ + (reversed ? top_ - t : kBefore + t)] = series.data[(i * series.items + t) * series.features + f];
    }
    // Item 0 of a series; the features lie `by_feature` apart.
    const F* of(int64_t i) const { return data_.get() + i * by_series_ + kBefore; }
    const F* reversed(int64_t i) const { return data_.get() + i * by_series_ + top_; }
    int64_t by_feature() const { return by_feature_; }

  private:
    int64_t by_feature_, by_series_;
    Buffer<F> data_;
    int64_t top_;
};

// What the items of two series cost, as `Plane` has those of a matrix.
template <class F, ItemMetric metric, bool windowed>
struct ItemCosts {
    using L = Lanes<F>;
    using V = typename L::type;
    using Int = typename Format<F>::Int;
    static constexpr int W = L::width;
    static constexpr bool kWindowed = windowed;

    const F *x, *y;  // item 0 of each; x runs backwards
    int64_t features, x_by_feature, y_by_feature;
    const int64_t* window;
    const Int *low, *high;  // of row 0; they run backwards

    void read(int64_t row, int64_t column, V* to) const {
        const F *rows = x - (row + W - 1), *columns = y + column - (W - 1);
        add<true>(L::load(rows), columns, to);
        for (int64_t f = 1; f < features; ++f) add<false>(L::load(rows + f * x_by_feature), columns + f * y_by_feature, to);
        if constexpr (metric == ItemMetric::kEuclidean)
            for (int s = 0; s < W; ++s) to[s] = root(to[s]);
        if constexpr (windowed) {
            typename L::bits first, stop;
            std::memcpy(&first, low - (row + W - 1), sizeof first);
            std::memcpy(&stop, high - (row + W - 1), sizeof stop);
            typename L::bits at = L::count() + static_cast<Int>(column - (W - 1));
            for (int s = 0; s < W; ++s, at += 1) to[s] = (at >= first) & (at < stop) ? to[s] : L::broadcast(infinity<F>);
        }
    }
    F at(int64_t row, int64_t column) const {
        F sum = 0;
        for (int64_t f = 0; f < features; ++f) {
            const F apart = x[f * x_by_feature - row] - y[f * y_by_feature + column];
            sum += metric == ItemMetric::kManhattan ? std::abs(apart) : apart * apart;
        }
        return metric == ItemMetric::kEuclidean ? std::sqrt(sum) : sum;
    }
    std::pair<int64_t, int64_t> columns_of(int64_t row, int64_t rows, int64_t columns) const {
        if constexpr (!windowed) return {0, columns};
        int64_t first = columns, stop = 0;
        for (int64_t i = row; i < row + rows; ++i)
            if (window[2 * i] < window[2 * i + 1]) first = std::min(first, window[2 * i]), stop = std::max(stop, window[2 * i + 1]);
        stop = std::min(stop, columns);
        return {std::min(first, stop), stop};
    }

  private:
    template <bool first>
    static void add(V a, const F* columns, V* to) {
#pragma GCC unroll 16
        for (int s = 0; s < W; ++s) {
            const V apart = L::load(columns + s) - a;
            const V cost = metric == ItemMetric::kManhattan ? L::max(apart, -apart) : apart * apart;
            to[s] = first ? cost : to[s] + cost;
        }
    }
    static V root(V x) {
        F lane[W];
        L::store(lane, x);
        for (int i = 0; i < W; ++i) lane[i] = std::sqrt(lane[i]);
        return L::load(lane);
    }
};

// Pairs of series, one after the other.
template <class F, ItemMetric metric, bool windowed>
class Warper : Tiles<Max<F>, ItemCosts<F, metric, windowed>> {
    using Base = Tiles<Max<F>, ItemCosts<F, metric, windowed>>;

  public:
    Warper(const WarpRequest& request, const SeriesSet<F>& x, const SeriesSet<F>& y, const Rearranged<F>& rows, const Rearranged<F>& columns)
        : Base(request.arcs, 1.0), request_(request), x_(x), y_(y), rows_(rows), columns_of_(columns) {
        if constexpr (windowed) {
            const int64_t size = padded<F>(x.items) + 8 * Base::W;
            low_.assign(static_cast<std::size_t>(size), 0), high_.assign(static_cast<std::size_t>(size), 0);
            top_ = size - Base::W, window_.assign(static_cast<std::size_t>(2 * x.items), 0);
            if (request.window)
                for (int64_t i = 0; i < x.items; ++i) allow(i, request.window[2 * i], request.window[2 * i + 1]);
        }
    }
    // What the best path costs; infinity if there is none, or none that costs no more than `most`. `ends`, if given, get the cost
    // of the best path to each column of the last row.
    double operator()(int64_t i, int64_t j, double most, double* ends, bool with_arcs = false) {
        constexpr double none = std::numeric_limits<double>::infinity();
        this->last_ = x_.length[i] - 1, this->columns_ = y_.length[j];
        this->costs_ = {rows_.reversed(i), columns_of_.of(j), x_.features, rows_.by_feature(), columns_of_.by_feature(), window_.data(),
                        low_.data() + top_, high_.data() + top_};
        if constexpr (windowed)
            if (request_.itakura) itakura(this->last_, this->columns_ - 1);
        const bool found = this->forward(with_arcs, -most);
        if (ends) {
            std::fill_n(ends, y_.items, none);
            for (int64_t c = this->alive_.first; found && c < this->alive_.second; ++c) ends[c] = -(this->row()[c] + this->offset_);
        }
        if (!found) return none;
        const double cost = -(this->row()[this->columns_ - 1] + this->offset_);
        return cost <= most ? cost : none;
    }
    // The pairs of the best path of a call with arcs that found one, from the last on: visit(row, column, how often it counts).
    template <class Visit>
    void pairs(const Visit& visit) const {
        const GridArcs& arcs = request_.arcs;
        this->trace(this->last_, this->columns_ - 1, [&](int64_t row, int64_t column, GridArcs::Arc arc) {
            visit(row, column, arc == GridArcs::kArcs ? -arcs.begin_factor : -arcs.factor[arc]);
        });
    }

  private:
    using Int = typename Format<F>::Int;
    void allow(int64_t i, int64_t first, int64_t stop) {
        window_[2 * i] = first, window_[2 * i + 1] = stop;
        low_[top_ - i] = static_cast<Int>(first), high_[top_ - i] = static_cast<Int>(stop);
    }
    // The parallelogram between two cells (0, 0) and (n, m).
    void itakura(int64_t n, int64_t m) {
        for (int64_t i = 0; i <= n; ++i) allow(i, std::max<int64_t>({(i + 1) / 2, m - 2 * (n - i), 0}), std::min(2 * i, m - (n - i + 1) / 2) + 1);
    }
    const WarpRequest& request_;
    const SeriesSet<F>&x_, &y_;
    const Rearranged<F>&rows_, &columns_of_;
    std::vector<Int> low_, high_;
    std::vector<int64_t> window_;
    int64_t top_ = 0;
};

// Calls work(warper, part, first, last) for parts of `count` pieces of work, each with a `Warper` of its own.
template <class F, class Work>
void with_warpers(const WarpRequest& request, const SeriesSet<F>& x, const SeriesSet<F>& y, int64_t count, int64_t parts, const Work& work) {
    const Rearranged<F> rows(x, true, F(0)), columns(y, false, infinity<F>);
    const auto run = [&]<ItemMetric metric, bool windowed>() {
        for_each_part(count, parts, request.threads, [&](int64_t part, int64_t first, int64_t last, int64_t) {
            Warper<F, metric, windowed> warper(request, x, y, rows, columns);
            work(warper, part, first, last);
        });
    };
    const auto with = [&]<ItemMetric metric>() { request.window || request.itakura ? run.template operator()<metric, true>() : run.template operator()<metric, false>(); };
    switch (request.metric) {
        case ItemMetric::kSquared: return with.template operator()<ItemMetric::kSquared>();
        case ItemMetric::kManhattan: return with.template operator()<ItemMetric::kManhattan>();
        case ItemMetric::kEuclidean: return with.template operator()<ItemMetric::kEuclidean>();
    }
}

// What the best path of each pair (count, 2) costs. `most` (count) may be null: see `Warper`. So may `ends`, (count, y.items).
template <class F>
void warp(const WarpRequest& request, const SeriesSet<F>& x, const SeriesSet<F>& y, const int64_t* pairs, int64_t count, const double* most, double* out, double* ends) {
    with_warpers<F>(request, x, y, count, std::min<int64_t>(count, 64), [&](auto& warper, int64_t, int64_t first, int64_t last) {
        for (int64_t p = first; p < last; ++p)
            out[p] = warper(pairs[2 * p], pairs[2 * p + 1], most ? most[p] : std::numeric_limits<double>::infinity(), ends ? ends + p * y.items : nullptr);
    });
}

// The k series of y nearest to each of x, the nearest first, of equal ones the one of the lowest number: (x.count, k); -1 where
// there are fewer. `order` (x.count, y.count) holds them by what they cost at least, which is in `least`, from the least on.
template <class F>
void nearest(const WarpRequest& request, const SeriesSet<F>& x, const SeriesSet<F>& y, const int64_t* order, const double* least, int64_t k, int64_t* index,
             double* cost) {
    with_warpers<F>(request, x, y, x.count, std::min<int64_t>(x.count, 64), [&](auto& warper, int64_t, int64_t first, int64_t last) {
        std::vector<std::pair<double, int64_t>> best;
        for (int64_t i = first; i < last; ++i) {
            best.assign(static_cast<std::size_t>(k), {std::numeric_limits<double>::infinity(), -1});
            for (int64_t c = 0; c < y.count && least[i * y.count + c] <= best.back().first; ++c) {
                const int64_t j = order[i * y.count + c];
                const double found = warper(i, j, best.back().first, nullptr);
                if (found == std::numeric_limits<double>::infinity()) continue;
                const std::pair<double, int64_t> one(found, j);
                const auto before = [](const auto& a, const auto& b) { return a.second >= 0 && (b.second < 0 || a < b); };
                if (!before(one, best.back())) continue;
                best.pop_back();
                best.insert(std::lower_bound(best.begin(), best.end(), one, before), one);
            }
            for (int64_t n = 0; n < k; ++n) cost[i * k + n] = best[n].first, index[i * k + n] = best[n].second;
        }
    });
}

// What the best path of each series of x to the only one of y costs (x.count); and of what lies on each item of y the sum
// (y.items, features) and how much there is (y.items), each path times the weight of its series.
template <class F>
void gather_on(const WarpRequest& request, const SeriesSet<F>& x, const SeriesSet<F>& y, const double* weight, double* cost, double* sum, double* mass) {
    const int64_t parts = std::min<int64_t>(x.count, 16), features = x.features, size = y.items * (features + 1);
    std::vector<double> sums(static_cast<std::size_t>(parts * size), 0.0);
    with_warpers<F>(request, x, y, x.count, parts, [&](auto& warper, int64_t part, int64_t first, int64_t last) {
        double *items = sums.data() + part * size, *masses = items + y.items * features;
        for (int64_t i = first; i < last; ++i) {
            cost[i] = warper(i, 0, std::numeric_limits<double>::infinity(), nullptr, true);
            if (cost[i] == std::numeric_limits<double>::infinity()) continue;
            const F* from = x.data + i * x.items * features;
            warper.pairs([&](int64_t row, int64_t column, double times) {
                const double share = times * weight[i];
                masses[column] += share;
                for (int64_t f = 0; f < features; ++f) items[column * features + f] += share * from[row * features + f];
            });
        }
    });
    std::fill_n(sum, y.items * features, 0.0), std::fill_n(mass, y.items, 0.0);
    for (int64_t part = 0; part < parts; ++part) {
        const double* its = sums.data() + part * size;
        for (int64_t n = 0; n < y.items * features; ++n) sum[n] += its[n];
        for (int64_t n = 0; n < y.items; ++n) mass[n] += its[y.items * features + n];
    }
}

// Compiled in warping.cc.
#define SEMIHMM_WARPING(external, F)                                                                                                              \
    external template void warp<F>(const WarpRequest&, const SeriesSet<F>&, const SeriesSet<F>&, const int64_t*, int64_t, const double*, double*, \
                                   double*);                                                                                                      \
    external template void nearest<F>(const WarpRequest&, const SeriesSet<F>&, const SeriesSet<F>&, const int64_t*, const double*, int64_t,       \
                                      int64_t*, double*);                                                                                        \
    external template void gather_on<F>(const WarpRequest&, const SeriesSet<F>&, const SeriesSet<F>&, const double*, double*, double*, double*);
SEMIHMM_WARPING(extern, float)
SEMIHMM_WARPING(extern, double)

}  // namespace semihmm
