// The power spectrum of a window: a real Fourier transform of a power of two, in double.
#pragma once

#include <bit>
#include <cmath>
#include <complex>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

namespace semihmm_runtime {

// Even samples are the real parts, odd ones the imaginary parts, of a complex transform of half the size, whose first half and
// mirrored second half tell the two apart again.
class Spectrum {
public:
    // `size` is a power of two, and at least 4.
    explicit Spectrum(std::size_t size) : half_(size / 2), turns_(half_), place_(half_), values_(half_) {
        for (std::size_t k = 0; k < half_; ++k) turns_[k] = std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(size));
        for (std::size_t i = 1; i < half_; ++i) place_[i] = place_[i / 2] / 2 + (i % 2 ? half_ / 2 : 0);
    }

    std::size_t bins() const { return half_ + 1; }

    // The magnitudes, or with `exponent` 2 the powers, of `window`, as if zeros followed it up to the transform's size.
    void operator()(std::span<const double> window, double exponent, std::span<double> out) {
        for (std::size_t i = 0; i < half_; ++i) {
            const auto sample = [&](std::size_t n) { return n < window.size() ? window[n] : 0.0; };
            values_[place_[i]] = {sample(2 * i), sample(2 * i + 1)};
        }
        for (std::size_t width = 1; width < half_; width *= 2)
            for (std::size_t first = 0; first < half_; first += 2 * width)
                for (std::size_t k = 0; k < width; ++k) {
                    auto &a = values_[first + k], &b = values_[first + k + width];
                    const auto turned = product(b, turns_[k * (half_ / width)]);
                    b = a - turned;
                    a += turned;
                }
        for (std::size_t k = 0; k <= half_; ++k) {
            const auto one = values_[k % half_], mirrored = std::conj(values_[(half_ - k) % half_]);
            const std::complex<double> even = 0.5 * (one + mirrored), odd = product(one - mirrored, {0.0, -0.5});
            const auto value = k < half_ ? even + product(odd, turns_[k]) : even - odd;
            const double power = value.real() * value.real() + value.imag() * value.imag();
            out[k] = exponent == 2 ? power : std::pow(power, exponent / 2);
        }
    }

private:
    // std::complex's own looks for infinities, which costs more than the product.
    static std::complex<double> product(std::complex<double> a, std::complex<double> b) {
        return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
    }

    std::size_t half_;
    std::vector<std::complex<double>> turns_;
    std::vector<std::size_t> place_;  // bits in reverse
    std::vector<std::complex<double>> values_;
};

}  // namespace semihmm_runtime
