// Vectors of the widest kind that this translation unit is compiled for, with exp and log of our own.
//
// Portable GNU vector extensions (GCC, Clang). The only intrinsics load and store the first few elements of a vector, and
// make one number of a mask, where a loop over elements would cost more than the arithmetic. Nothing reads or writes past the n elements given.
//
// exp and log state the largest error that was found, in units in the last place (ulp) of the exact result: over all
// floats against double precision, and over 60 million doubles each against extended precision. A smaller sweep is a
// test: tests/engine/test_native_kernels.py.

#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace semihmm {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
#elif defined(__AVX__)
inline constexpr int vector_bytes = 32;
#else
inline constexpr int vector_bytes = 16;
#endif

template <class F>
inline constexpr F infinity = std::numeric_limits<F>::infinity();

// What exp and log must know about a number format.
template <class F>
struct Format;

template <>
struct Format<float> {
    using Int = std::int32_t;
    static constexpr int mantissa = 23;
    static constexpr Int bias = 127;
    static constexpr Int one = 0x3f800000;              // the bits of 1
    static constexpr Int sqrt_half = 0x3f3504f3;        // the bits of the square root of 1/2
    static constexpr float first_integer = 0x1p23f;     // from here on every number is an integer
    static constexpr float log2_e = 0x1.715476p0f;
    static constexpr float ln2_high = 0x1.63p-1f;       // so few bits that its product with any exponent is exact
    static constexpr float ln2_low = -0x1.bd0106p-13f;  // ln 2 - ln2_high
    static constexpr float exp_lowest = -0x1.5d589ep6f;   // the least x with exp(x) >= 2^-126
    static constexpr float exp_highest = 0x1.62e42ep6f;   // the greatest x with a finite exp(x)
};

template <>
struct Format<double> {
    using Int = std::int64_t;
    static constexpr int mantissa = 52;
    static constexpr Int bias = 1023;
    static constexpr Int one = 0x3ff0000000000000;
    static constexpr Int sqrt_half = 0x3fe6a09e667f3bcd;
    static constexpr double first_integer = 0x1p52;
    static constexpr double log2_e = 0x1.71547652b82fep0;
    static constexpr double ln2_high = 0x1.62e42feep-1;
    static constexpr double ln2_low = 0x1.a39ef35793c76p-33;
    static constexpr double exp_lowest = -0x1.6232bdd7abcd2p9;
    static constexpr double exp_highest = 0x1.62e42fefa39efp9;
};

// A vector of `width` elements, and what there is to do with one besides arithmetic.
template <class F>
struct Lanes {
    static constexpr int width = vector_bytes / static_cast<int>(sizeof(F));
    typedef F type __attribute__((vector_size(vector_bytes)));
    typedef typename Format<F>::Int bits __attribute__((vector_size(vector_bytes)));
    typedef std::make_unsigned_t<typename Format<F>::Int> word __attribute__((vector_size(vector_bytes)));  // which may overflow

    static type load(const F* from) {
        type x;
        std::memcpy(&x, from, sizeof x);
        return x;
    }

    static void store(F* to, type x) { std::memcpy(to, &x, sizeof x); }

    static type broadcast(F value) { return value - type{}; }

    // All ones in the first `count` lanes.
    static bits first(std::int64_t n) { return count() < static_cast<typename Format<F>::Int>(n); }

    // The `count` elements from `from` on, 0 <= count <= width, in the first lanes; `rest` in the others.
    static type load_part(const F* from, std::int64_t count, F rest) {
#if defined(__AVX512F__)
        if constexpr (sizeof(F) == 4) {
            return _mm512_mask_loadu_ps(broadcast(rest), static_cast<__mmask16>((1u << count) - 1), from);
        } else {
            return _mm512_mask_loadu_pd(broadcast(rest), static_cast<__mmask8>((1u << count) - 1), from);
        }
#elif defined(__AVX__)
        const bits mask = first(count);
        if constexpr (sizeof(F) == 4) {
            return mask ? (type)_mm256_maskload_ps(from, (__m256i)mask) : broadcast(rest);
        } else {
            return mask ? (type)_mm256_maskload_pd(from, (__m256i)mask) : broadcast(rest);
        }
#else
        type x = broadcast(rest);
        for (int i = 0; i < width; ++i) {
            if (i < count) x[i] = from[i];
        }
        return x;
#endif
    }

    static void store_part(F* to, std::int64_t count, type x) {
#if defined(__AVX512F__)
        if constexpr (sizeof(F) == 4) {
            _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), x);
        } else {
            _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << count) - 1), x);
        }
#elif defined(__AVX__)
        if constexpr (sizeof(F) == 4) {
            _mm256_maskstore_ps(to, (__m256i)first(count), x);
        } else {
            _mm256_maskstore_pd(to, (__m256i)first(count), x);
        }
#else
        for (int i = 0; i < width; ++i) {
            if (i < count) to[i] = x[i];
        }
#endif
    }

    // The lowest byte of each lane, one after the other.
    static void store_bytes(std::uint8_t* to, bits x) {
#if defined(__AVX2__) && !defined(__AVX512F__)
        // GCC 12 would convert one lane after the other.
        const auto bytes = every<sizeof(F)>(x, std::make_integer_sequence<int, vector_bytes>{});
        std::memcpy(to, &bytes, width);
#else
        typedef std::uint8_t Bytes __attribute__((vector_size(width)));
        const Bytes bytes = __builtin_convertvector(x, Bytes);
        std::memcpy(to, &bytes, sizeof bytes);
#endif
    }

    // A bit for each lane of a mask, the first lane's lowest.
    static std::uint32_t bits_of(bits mask) {
#if defined(__AVX512F__)
        if constexpr (sizeof(F) == 4) {
            return _mm512_movepi32_mask((__m512i)mask);
        } else {
            return _mm512_movepi64_mask((__m512i)mask);
        }
#elif defined(__AVX__)
        if constexpr (sizeof(F) == 4) {
            return static_cast<std::uint32_t>(_mm256_movemask_ps((__m256)mask));
        } else {
            return static_cast<std::uint32_t>(_mm256_movemask_pd((__m256d)mask));
        }
#elif defined(__SSE2__)
        if constexpr (sizeof(F) == 4) {
            return static_cast<std::uint32_t>(_mm_movemask_ps((__m128)mask));
        } else {
            return static_cast<std::uint32_t>(_mm_movemask_pd((__m128d)mask));
        }
#else
        std::uint32_t found = 0;
        for (int i = 0; i < width; ++i) found |= static_cast<std::uint32_t>(mask[i] != 0) << i;
        return found;
#endif
    }

    // Lane by lane; where either is a NaN, b.
    static type max(type a, type b) { return a > b ? a : b; }
    static type min(type a, type b) { return a < b ? a : b; }

    // All lanes, added in halves: always in the same order.
    static F sum(type x) {
        return fold<width>(x, [](auto a, auto b) { return a + b; });
    }

    static F max(type x) {
        return fold<width>(x, [](auto a, auto b) { return a > b ? a : b; });
    }
    static typename Format<F>::Int min(bits x) {
        return fold<width>(x, [](auto a, auto b) { return a < b ? a : b; });
    }

    // The numbers 0, 1, 2, ...
    static bits count() {
        bits number;
        for (int i = 0; i < width; ++i) number[i] = i;
        return number;
    }

    // One lane in all of them.
    template <int lane>
    static type spread(type x) {
        return lanes<lane>(x, std::make_integer_sequence<int, width>{}, std::integral_constant<int, 0>{});
    }

  private:
    // The first `count` lanes of x folded into one. Halves of wide vectors are narrower vectors, which are quicker.
    template <int count, class V, class Both>
    static auto fold(V x, Both both) {
        if constexpr (count == 1) {
            return x[0];
        } else if constexpr (sizeof(V) > 16) {
            constexpr auto half = std::make_integer_sequence<int, count / 2>{};
            return fold<count / 2>(both(lanes<0>(x, half), lanes<count / 2>(x, half)), both);
        } else {
            constexpr auto all = std::make_integer_sequence<int, 16 / static_cast<int>(sizeof(F))>{};
            return fold<count / 2>(both(x, lanes<count / 2>(x, all)), both);
        }
    }

    // Every `step`-th byte, again and again.
    template <int step, int... byte>
    static auto every(bits x, std::integer_sequence<int, byte...>) {
        typedef std::uint8_t Bytes __attribute__((vector_size(vector_bytes)));
        return __builtin_shufflevector((Bytes)x, (Bytes)x, (byte * step % vector_bytes)...);
    }

    // The lanes from `first` on, counted round; every `step`-th.
    template <int first, class V, int... lane, int step = 1>
    static auto lanes(V x, std::integer_sequence<int, lane...>, std::integral_constant<int, step> = {}) {
        constexpr int size = static_cast<int>(sizeof(V) / sizeof(F));
        return __builtin_shufflevector(x, x, ((lane * step + first) % size)...);
    }
};

// A vector of which each lane in turn is to be in all lanes. With AVX a shuffle of single floats stays within half a
// register: there each half is first put into both, once for all of its lanes.
template <class F>
struct Spread {
    using L = Lanes<F>;
    using V = typename L::type;
    static constexpr int halves = vector_bytes == 32 && sizeof(F) == 4 ? 2 : 1, size = L::width / halves;
    V half[halves];

    [[gnu::always_inline]] explicit Spread(V x) {
        for (int h = 0; h < halves; ++h) half[h] = x;
        if constexpr (halves == 2) half[0] = shuffled(x, [](int i) { return i % size; }, all), half[1] = shuffled(x, [](int i) { return i % size + size; }, all);
    }
    template <int which>
    [[gnu::always_inline]] V lane() const {
        return shuffled(half[which / size], [](int i) { return i / size * size + which % size; }, all);
    }

  private:
    static constexpr std::make_integer_sequence<int, L::width> all{};
    template <class From, int... i>
    [[gnu::always_inline]] static V shuffled(V x, From, std::integer_sequence<int, i...>) {
        return __builtin_shufflevector(x, x, (From{}(i))...);
    }
};

// ---- exp ------------------------------------------------------------------------------------------------------------

// exp of each lane. exp(0) is 1 exactly; -inf gives 0, NaN gives NaN, and what would be less than the smallest normal
// number is 0. Error: 1.105 ulp in single precision, 1.104 in double (1.083 and 1.075 without fused multiply-add).
//
// x = n ln 2 + r with |r| <= ln(2) / 2; exp(r) = 1 + r + r^2 q(r), where q interpolates at Chebyshev nodes; 2^n enters
// by adding n to the exponent bits, which is exact over the whole range that the two last lines leave.
template <class F>
[[gnu::always_inline]] inline typename Lanes<F>::type exp(typename Lanes<F>::type x) {
    using V = typename Lanes<F>::type;
    using W = typename Lanes<F>::word;
    using C = Format<F>;
    constexpr F round = F(1.5) * C::first_integer;  // once added, the lowest bits hold the nearest integer
    const V shifted = x * C::log2_e + round;
    const V n = shifted - round;
    const V r = (x - n * C::ln2_high) - n * C::ln2_low;
    const V r2 = r * r;
    V q;
    if constexpr (sizeof(F) == 4) {
        q = (0.5f + r * 0.16666576f) + r2 * ((0.041666556f + r * 0.008363203f) + r2 * 0.0013926213f);
    } else {
        const V r4 = r2 * r2;
        const V a = (0.5000000000000001 + r * 0.16666666666666669) +
                    r2 * (0.04166666666662399 + r * 0.008333333333330051);
        const V b = (0.0013888888917281794 + r * 0.00019841269863105968) +
                    r2 * (2.480152119021773e-05 + r * 2.7557268378684192e-06);
        q = a + r4 * (b + r4 * (2.7620138719733994e-07 + r * 2.5100424157005067e-08));
    }
    const V mantissa = F(1) + (r + r2 * q);
    const V y = (V)((W)mantissa + ((W)shifted << C::mantissa));
    const V above = x <= C::exp_highest ? y : x + infinity<F>;  // inf, or the NaN that x is
    return x < C::exp_lowest ? V{} : above;
}

// ---- log ------------------------------------------------------------------------------------------------------------

// Natural logarithm of each lane. log(1) is 0 exactly; +inf gives +inf, negative numbers and NaN give NaN; 0 and what
// is less than the smallest normal number give -inf. Error: 0.962 ulp in single precision, 0.835 in double
// (1.088 and 0.923 without fused multiply-add).
//
// x = 2^e (1 + f) with 1 + f between the square roots of 1/2 and 2. In single precision log(1 + f) = f - f^2/2 +
// f^3 q(f); in double, with s = f / (2 + f), log(1 + f) = f - f^2/2 + s (f^2/2 + s^2 q(s^2)): q interpolates at
// Chebyshev nodes.
template <class F>
[[gnu::always_inline]] inline typename Lanes<F>::type log(typename Lanes<F>::type x) {
    using V = typename Lanes<F>::type;
    using B = typename Lanes<F>::bits;
    using W = typename Lanes<F>::word;
    using C = Format<F>;
    constexpr typename C::Int mantissa_bits = (typename C::Int(1) << C::mantissa) - 1;
    const B bits = (B)((W)x + static_cast<std::make_unsigned_t<typename C::Int>>(C::one - C::sqrt_half));
    const V f = (V)((bits & mantissa_bits) + C::sqrt_half) - F(1);
    // An integer in the mantissa of `first_integer` is that number plus the integer: a conversion on any hardware.
    const V e = (V)((bits >> C::mantissa) | (B)Lanes<F>::broadcast(C::first_integer)) - (C::first_integer + F(C::bias));
    const V half = F(0.5) * f * f;
    V tail;  // log(1 + f) - f
    if constexpr (sizeof(F) == 4) {
        const V f2 = f * f;
        const V f4 = f2 * f2;
        const V low = (0.3333333f + f * -0.25000307f) + f2 * (0.20001045f + f * -0.16641282f);
        const V high = (0.14214496f + f * -0.12998183f) + f2 * (0.12622319f + f * -0.07902744f);
        tail = (f2 * f) * (low + f4 * high) - half;
    } else {
        const V s = f / (F(2) + f);
        const V z = s * s;
        const V z2 = z * z;
        const V low = 0.666666666666667 + z * 0.399999999998992;
        const V middle = 0.2857142862611452 + z * 0.22222211112104948;
        const V high = (0.1818289077802613 + z * 0.15331666676597175) + z2 * 0.146171283998073;
        tail = s * (half + z * (low + z2 * (middle + z2 * high))) - half;
    }
    const V y = e * C::ln2_high + (f + (tail + e * C::ln2_low));
    const V normal = x < std::numeric_limits<F>::min() ? Lanes<F>::broadcast(-infinity<F>) : y;
    const V real = x < F(0) ? Lanes<F>::broadcast(std::numeric_limits<F>::quiet_NaN()) : normal;
    return x <= std::numeric_limits<F>::max() ? real : x;  // x is +inf or a NaN
}

template <class F>
inline F exp_scalar(F x) {
    return exp<F>(Lanes<F>::broadcast(x))[0];
}

template <class F>
inline F log_scalar(F x) {
    return log<F>(Lanes<F>::broadcast(x))[0];
}

// ---- spans: `out` may be `x` itself ---------------------------------------------------------------------------------

template <class F, class Function>
inline void map_span(std::int64_t n, const F* x, F* out, Function function) {
    constexpr int width = Lanes<F>::width;
    std::int64_t i = 0;
    for (; i + width <= n; i += width) Lanes<F>::store(out + i, function(Lanes<F>::load(x + i)));
    if (i < n) Lanes<F>::store_part(out + i, n - i, function(Lanes<F>::load_part(x + i, n - i, F(1))));
}

template <class F>
inline void exp(std::int64_t n, const F* x, F* out) {
    map_span(n, x, out, [](auto v) { return exp<F>(v); });
}

template <class F>
inline void log(std::int64_t n, const F* x, F* out) {
    map_span(n, x, out, [](auto v) { return log<F>(v); });
}

// out = exp(x - shift), and returns the sum of out. `shift` must be finite where x has infinities of its sign.
template <class F>
inline F exp_shifted_sum(std::int64_t n, const F* x, F shift, F* out) {
    constexpr int width = Lanes<F>::width;
    typename Lanes<F>::type sum{};
    std::int64_t i = 0;
    for (; i + width <= n; i += width) {
        const auto y = exp<F>(Lanes<F>::load(x + i) - shift);
        Lanes<F>::store(out + i, y);
        sum += y;
    }
    if (i < n) {
        const auto y = exp<F>(Lanes<F>::load_part(x + i, n - i, -infinity<F>) - shift);
        Lanes<F>::store_part(out + i, n - i, y);
        sum += y;
    }
    return Lanes<F>::sum(sum);
}

// The greatest element, -inf if there is none; which one is undefined where an element is a NaN.
template <class F>
inline F max_of(std::int64_t n, const F* x) {
    constexpr int width = Lanes<F>::width;
    auto a = Lanes<F>::broadcast(-infinity<F>);
    auto b = a;
    std::int64_t i = 0;
    for (; i + 2 * width <= n; i += 2 * width) {
        a = Lanes<F>::max(a, Lanes<F>::load(x + i));
        b = Lanes<F>::max(b, Lanes<F>::load(x + i + width));
    }
    if (i + width <= n) {
        a = Lanes<F>::max(a, Lanes<F>::load(x + i));
        i += width;
    }
    if (i < n) b = Lanes<F>::max(b, Lanes<F>::load_part(x + i, n - i, -infinity<F>));
    return Lanes<F>::max(Lanes<F>::max(a, b));
}

// The lowest i < n with the largest a[i] + b[i], of those that are numbers; 0 if all are -inf or NaN. Both are padded to whole vectors with what is not larger.
template <class F>
inline std::int64_t first_best(std::int64_t n, const F* a, const F* b) {
    using L = Lanes<F>;
    auto most = L::broadcast(-infinity<F>);
    for (std::int64_t i = 0; i < n; i += L::width) most = L::max(L::load(a + i) + L::load(b + i), most);
    const F best = L::max(most);
    if (best == -infinity<F>) return 0;
    for (std::int64_t i = 0;; i += L::width)
        if (const auto found = L::bits_of(L::load(a + i) + L::load(b + i) == L::broadcast(best))) return i + std::countr_zero(found);
}

// ---- tables ---------------------------------------------------------------------------------------------------------

// A few numbers in registers, to be looked up a vector at a time.
template <class F, int vectors>
struct Table {
    using V = typename Lanes<F>::type;
    using B = typename Lanes<F>::bits;
    static constexpr int size = vectors * Lanes<F>::width;
    V part[vectors];

    Table(std::int64_t n, const F* from, F rest) {
        for (int i = 0; i < vectors; ++i) {
            const std::int64_t left = n - i * Lanes<F>::width;
            part[i] = left >= Lanes<F>::width ? Lanes<F>::load(from + i * Lanes<F>::width)
                      : left > 0              ? Lanes<F>::load_part(from + i * Lanes<F>::width, left, rest)
                                              : Lanes<F>::broadcast(rest);
        }
    }
    // In each lane, the number that `index` says.
    V operator[](B index) const {
#if defined(__clang__)
        V x;
        for (int i = 0; i < Lanes<F>::width; ++i) x[i] = part[index[i] / Lanes<F>::width][index[i] % Lanes<F>::width];
        return x;
#else
        V x = __builtin_shuffle(part[0], part[1], index);  // an index counts from the beginning again after two vectors
        for (int i = 2; i < vectors; i += 2) x = index >= i * Lanes<F>::width ? __builtin_shuffle(part[i], part[i + 1], index) : x;
        return x;
#endif
    }
};

// ---- denormals ------------------------------------------------------------------------------------------------------

// While it lives, this thread reads and writes denormal numbers as 0: arithmetic on them may be a hundred times slower.
struct FlushDenormals {
#if defined(__SSE2__)
    unsigned int before = __builtin_ia32_stmxcsr();
    FlushDenormals() { __builtin_ia32_ldmxcsr(before | 0x8040u); }  // flush to zero, denormals are zero
    ~FlushDenormals() { __builtin_ia32_ldmxcsr(before); }
#elif defined(__aarch64__)
    std::uint64_t before = [] {
        std::uint64_t state;
        asm volatile("mrs %0, fpcr" : "=r"(state));
        return state;
    }();
    FlushDenormals() { set(before | (std::uint64_t(1) << 24)); }
    ~FlushDenormals() { set(before); }
    static void set(std::uint64_t state) { asm volatile("msr fpcr, %0" : : "r"(state)); }
#else
    FlushDenormals() {}
    ~FlushDenormals() {}
#endif
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace semihmm
