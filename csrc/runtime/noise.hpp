// Removing stationary noise from mel energies: the twin of semihmm/speech/acoustics/noise.py, which cites the papers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace semihmm_runtime {

class NoiseRemover {
public:
    explicit NoiseRemover(std::size_t filters) : power_(filters), noise_(filters), floor_(filters), peak_(filters), gain_(filters) {}

    void reset() { begun_ = false; }

    // The next frame, in place. It depends on it and those before it.
    void operator()(std::span<double> energies) {
        if (!begun_) {
            std::ranges::copy(energies, power_.begin());
            std::ranges::transform(power_, noise_.begin(), [](double power) { return power / kMostGain; });
            floor_ = noise_;
            std::ranges::fill(peak_, 0.0);
            begun_ = true;
        }
        const std::size_t filters = energies.size();
        for (std::size_t i = 0; i < filters; ++i) {
            power_[i] = (1 - kPowerMemory) * energies[i] + kPowerMemory * power_[i];
            noise_[i] = minimum(power_[i], noise_[i]);
            double signal = std::max(power_[i] - noise_[i], 1.0);
            floor_[i] = minimum(signal, floor_[i]);
            const double decayed = kPeakMemory * peak_[i];
            peak_[i] = std::max(signal, decayed);
            if (signal < kPeakMemory * decayed) signal = kMaskedLevel * decayed;
            // A silent band is 0 / 0 here; it has no noise to remove, and any gain leaves it at 0.
            const double ratio = std::max(signal, floor_[i]) / std::max(power_[i], kTiny);
            gain_[i] = std::clamp(ratio, 1 / kMostGain, kMostGain);
        }
        for (std::size_t i = 0; i < filters; ++i) {
            const std::size_t first = i < kNeighbours ? 0 : i - kNeighbours, last = std::min(filters, i + kNeighbours + 1);
            double sum = 0;
            for (std::size_t j = first; j < last; ++j) sum += gain_[j];
            energies[i] *= sum / static_cast<double>(last - first);
        }
    }

private:
    static constexpr double kPowerMemory = 0.7;                   // of the smoothed power
    static constexpr double kRiseMemory = 0.995, kFallMemory = 0.5;  // a minimum is left slowly and found quickly
    static constexpr double kPeakMemory = 0.85, kMaskedLevel = 0.2;  // a sound is masked after a louder one, down to this share of it
    static constexpr double kMostGain = 20.0;
    static constexpr double kTiny = std::numeric_limits<float>::min();
    static constexpr std::size_t kNeighbours = 4;  // filters on either side over which the gain is smoothed

    static double minimum(double value, double before) {
        const double memory = value > before ? kRiseMemory : kFallMemory;
        return (1 - memory) * value + memory * before;
    }

    std::vector<double> power_, noise_, floor_, peak_, gain_;
    bool begun_ = false;
};

}  // namespace semihmm_runtime
