// State vectors as the numbers themselves: what is to be known of their exponents.
#pragma once

#include "chain.hpp"

namespace semihmm {

// Sums of terms no less than this are not touched by what becomes the smallest normal number.
template <class F>
constexpr F kTrusted = sizeof(F) == 4 ? F(0x1p-86) : F(0x1p-920);

constexpr double kLogTwo = 0.693147180559945309417;

// The exponent of a positive normal number, and 2 to the power of minus that.
template <class F>
double exponent(F x) {
    typename Format<F>::Int bits;
    std::memcpy(&bits, &x, sizeof bits);
    return static_cast<double>((bits >> Format<F>::mantissa) - Format<F>::bias);
}
template <class F>
typename Lanes<F>::type one_over_power(typename Lanes<F>::type x) {
    using B = typename Lanes<F>::word;  // of a number that is not positive it is anything
    using C = Format<F>;
    using Word = std::make_unsigned_t<typename C::Int>;
    const B power = (B)x & static_cast<Word>(~((Word(1) << C::mantissa) - 1));
    return (typename Lanes<F>::type)(2 * static_cast<Word>(C::one) - power);
}

}  // namespace semihmm
