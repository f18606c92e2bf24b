// Row vectors times a sparse matrix, in the (+, *) and the (max, +) semiring: product.hpp is the same for a dense one.
//
// Several vectors go together: side by side for each slot, an arc is one number times a vector over the sequences, and
// nothing is gathered. A single one is gathered, a slice of rows at a time. Both add up the arcs of a row one after the
// other, so that a sequence gets the same bits in any company.
#pragma once

#include "arc_slices.hpp"
#include "product.hpp"

namespace semihmm {

// The workspace of such products; S is PlusTimes or MaxPlus.
template <class S, class F>
class ArcProduct {
  public:
    using L = Lanes<F>;
    using V = typename L::type;

    // The padding of results holds `rest`.
    ArcProduct(int64_t slots, F rest) : slots_(slots), ld_(padded<F>(slots)), rest_(rest) {}

    // `weight` as the places of `arcs`: S::zero where there is no arc.
    void operator()(int count, const F* const* from, const Slices<F>& arcs, const F* weight, F* const* to) const {
        for (; count > 1; count -= kTogether, from += kTogether, to += kTogether) side_by_side(std::min(count, kTogether), from, arcs, weight, to);
        if (count == 1) gathered(*from, arcs, weight, *to);
    }

  private:
    static constexpr int kTogether = 8;  // vectors that lie side by side
    // As many of those as a register holds.
    static constexpr int kRegister = std::min<int>(vector_bytes, kTogether * sizeof(F));
    typedef F Register __attribute__((vector_size(kRegister)));
    static constexpr int kAcross = kRegister / static_cast<int>(sizeof(F));

    void gathered(const F* from, const Slices<F>& arcs, const F* weight, F* to) const {
        for (int64_t slice = 0; slice < arcs.count(); ++slice) {
            V sum = L::broadcast(S::zero);
            for (int64_t at = arcs.begin[slice]; at < arcs.begin[slice + 1]; at += L::width)
                sum = S::step(sum, L::load(weight + at), gather<F>(from, arcs.from.data() + at));
            const int32_t* row = arcs.row.data() + slice * L::width;
            for (int lane = 0; lane < L::width; ++lane)
                if (row[lane] >= 0) to[row[lane]] = sum[lane];
        }
        std::fill(to + slots_, to + ld_, rest_);
    }
    void side_by_side(int count, const F* const* from, const Slices<F>& arcs, const F* weight, F* const* to) const {
        if (!together_) together_.reset(ld_ * kTogether), sums_.reset(ld_ * kTogether, rest_);
        const F* rows[kTogether];
        for (int r = 0; r < kTogether; ++r) rows[r] = from[r < count ? r : 0];
        interleave(kTogether, rows, ld_, together_.get());
        constexpr int all = kTogether / kAcross;
        if (all > 2 && count <= kAcross) {
            multiply_together<1>(arcs, weight);
        } else if (all > 1 && count <= all / 2 * kAcross) {
            multiply_together<(all > 1 ? all / 2 : 1)>(arcs, weight);
        } else {
            multiply_together<all>(arcs, weight);
        }
        constexpr int size = 16 / static_cast<int>(sizeof(F));
        F unused[size];
        for (int r = 0; r < count; r += size)
            for (int64_t i = 0; i < ld_; i += size)
                transpose_square<F>([&](int u) { return sums_.get() + (i + u) * kTogether + r; },
                                    [&](int u) { return r + u < count ? to[r + u] + i : unused; });
    }
    template <int registers>
    void multiply_together(const Slices<F>& arcs, const F* weight) const {
        constexpr int rows = std::min(L::width, std::max(1, (vector_registers == 32 ? 16 : 8) / registers));
        const F* from = together_.get();
        for (int64_t slice = 0; slice < arcs.count(); ++slice)
            for (int lane = 0; lane < L::width; lane += rows) {
                Register sum[rows][registers];
                for (auto& row : sum)
                    for (Register& x : row) x = S::zero - Register{};
                for (int64_t at = arcs.begin[slice] + lane; at < arcs.begin[slice + 1]; at += L::width)
#pragma GCC unroll 16
                    for (int r = 0; r < rows; ++r) {
                        const F a = weight[at + r];
                        const F* x = from + static_cast<int64_t>(arcs.from[at + r]) * kTogether;
#pragma GCC unroll 4
                        for (int c = 0; c < registers; ++c) {
                            Register b;
                            std::memcpy(&b, x + c * kAcross, sizeof b);
                            sum[r][c] = S::step(sum[r][c], a, b);
                        }
                    }
                const int32_t* row = arcs.row.data() + slice * L::width + lane;
                for (int r = 0; r < rows; ++r)
                    if (row[r] >= 0) std::memcpy(sums_.get() + row[r] * kTogether, sum[r], sizeof sum[r]);
            }
    }

    int64_t slots_, ld_;
    F rest_;
    mutable Buffer<F> together_, sums_;  // [slot][vector], once there are several
};

}  // namespace semihmm
