// Log-likelihoods of frames, by the kernels that the models of Python use.
#pragma once

#include <cmath>
#include <memory>
#include <numbers>
#include <optional>
#include <string>

#include "../distances.hpp"
#include "../gaussians.hpp"
#include "description.hpp"

namespace semihmm {

class Observations {
  public:
    // What a caller works with, of its own.
    struct Work {
        Buffer<float> density;
        Buffer<double> joint, apart;
    };

    explicit Observations(const semihmm_runtime::Description& model) : law_(model.emission), columns_(model.columns), gaussians_(law_.sets * law_.components) {
        if (!gaussians_) return;
        if (law_.matrices) {
            white_.emplace(gaussians_, law_.inputs, law_.mean.data(), law_.spread.data());
            return;
        }
        const int64_t ld = padded<float>(gaussians_), features = law_.inputs;
        mean_.reset(features * ld), weight_.reset(features * ld), bias_.reset(ld);
        Buffer<float> weight(gaussians_ * features);
        transpose<float>(gaussians_, features, law_.mean.data(), features, mean_.get(), ld);
        densities<float>(gaussians_, features, law_.spread.data(), weight.get(), bias_.get());
        transpose<float>(gaussians_, features, weight.get(), features, weight_.get(), ld);
    }
    Work work() const {
        Work made;
        if (gaussians_) made.density.reset(kRows * gaussians_), made.apart.reset(law_.inputs * kRows * Lanes<double>::width);
        if (!law_.log_weight.empty()) made.joint.reset(padded<double>(law_.components));
        return made;
    }
    // (frames, columns) of x (frames, inputs). Throws an Error of bad data.
    void operator()(const float* x, int64_t frames, float* out, const Work& work) const {
        if (gaussians_) return gaussians(x, frames, out, work);
        for (int64_t t = 0; t < frames; ++t, x += law_.inputs, out += columns_) law_.symbols ? symbol(t, *x, out) : weights(t, x, out);
    }

  private:
    static constexpr int kRows = 4;
    static constexpr float kInfinity = std::numeric_limits<float>::infinity();

    [[noreturn]] static void bad(int64_t t, const std::string& what) { semihmm_runtime::bad_data("frame " + std::to_string(t) + " " + what); }

    void weights(int64_t t, const float* x, float* out) const {
        for (int64_t c = 0; c < columns_; ++c) {
            if (!(x[c] < kInfinity)) bad(t, "has the log-likelihood " + std::to_string(x[c]) + " in column " + std::to_string(c) + ": they must be finite, or -inf for what cannot be.");
            out[c] = x[c];
        }
    }
    void symbol(int64_t t, float x, float* out) const {
        if (std::isnan(x) || x == -1.0f) return void(std::fill_n(out, columns_, 0.0f));
        if (!(x >= 0.0f && x < static_cast<float>(law_.symbols)) || std::floor(x) != x)
            bad(t, "is the symbol " + std::to_string(x) + ": they must be whole numbers from 0 to " + std::to_string(law_.symbols - 1) + ", or -1 or NaN where one is missing.");
        std::copy_n(law_.table.data() + static_cast<int64_t>(x) * columns_, columns_, out);
    }
    void gaussians(const float* x, int64_t frames, float* out, const Work& work) const {
        for (int64_t t = 0; t < frames; t += kRows) {
            const int64_t rows = std::min<int64_t>(kRows, frames - t);
            const float* const from = x + t * law_.inputs;
            int64_t missing[kRows], gaps = 0;
            for (int64_t r = 0; r < rows; ++r) gaps += missing[r] = check(t + r, from + r * law_.inputs);
            const bool plain = law_.log_weight.empty();
            float* const density = plain ? out + t * columns_ : work.density.get();
            if (rows == kRows && !gaps) {
                density_of<kRows>(from, density, work);
            } else {
                for (int64_t r = 0; r < rows; ++r) {
                    const float* one = from + r * law_.inputs;
                    float* to = density + r * gaussians_;
                    missing[r] ? density_of_rest(t + r, one, missing[r], to) : density_of<1>(one, to, work);
                }
            }
            if (!plain)
                for (int64_t r = 0; r < rows; ++r) mix(density + r * gaussians_, out + (t + r) * columns_, work);
        }
    }
    // How many features are missing.
    int64_t check(int64_t t, const float* x) const {
        int64_t missing = 0;
        for (int64_t f = 0; f < law_.inputs; ++f) {
            missing += std::isnan(x[f]);
            if (std::isinf(x[f])) bad(t, "is infinite in feature " + std::to_string(f) + ": pass NaN where one is missing.");
        }
        return missing;
    }
    template <int rows>
    void density_of(const float* x, float* out, const Work& work) const {
        if (white_) return density_rows<float, rows>(*white_, x, gaussians_, out, work.apart.get());
        distance_rows<float, true, rows>(law_.inputs, x, {mean_.get(), weight_.get(), bias_.get(), padded<float>(gaussians_)}, gaussians_, out);
    }
    // What is missing is left out.
    void density_of_rest(int64_t t, const float* x, int64_t missing, float* out) const {
        if (missing == law_.inputs) return void(std::fill_n(out, gaussians_, 0.0f));
        if (white_) bad(t, "has some of its features, and others are missing: Gaussians with matrices take all or none.");
        for (int64_t g = 0; g < gaussians_; ++g) {
            const float *mean = law_.mean.data() + g * law_.inputs, *log_variance = law_.spread.data() + g * law_.inputs;
            double sum = 0;
            for (int64_t f = 0; f < law_.inputs; ++f) {
                if (std::isnan(x[f])) continue;
                const double apart = static_cast<double>(x[f]) - mean[f];
                sum += apart * apart * std::exp(-static_cast<double>(log_variance[f])) + log_variance[f] + std::log(2 * std::numbers::pi);
            }
            out[g] = static_cast<float>(sum / -2);
        }
    }
    void mix(const float* density, float* out, const Work& work) const {
        const int64_t components = law_.components;
        double* const joint = work.joint.get();
        for (int64_t c = 0; c < columns_; ++c) {
            const float *from = density + law_.codebook[c] * components, *weight = law_.log_weight.data() + c * components;
            for (int64_t k = 0; k < components; ++k) joint[k] = static_cast<double>(from[k]) + weight[k];
            const double peak = *std::max_element(joint, joint + components);
            double sum = 0;
            for (int64_t k = 0; k < components; ++k) joint[k] -= peak;
            exp<double>(components, joint, joint);
            for (int64_t k = 0; k < components; ++k) sum += joint[k];
            out[c] = std::isinf(peak) ? kNothing<float> : static_cast<float>(peak + std::log(sum));
        }
    }

    const semihmm_runtime::Emission& law_;
    int64_t columns_, gaussians_;
    std::optional<Whitening> white_;
    Buffer<float> mean_, weight_, bias_;
};

}  // namespace semihmm
