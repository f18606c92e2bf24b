// Mel-frequency cepstra and their differences: the twin of semihmm/speech/acoustics/mfcc.py, and, for sound that comes in
// blocks, of semihmm/speech/live/features.py. Computed in double; a feature is that of Python in float64, rounded to float.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "noise.hpp"
#include "spectrum.hpp"

namespace semihmm_runtime {

// What `FrontEnd` of Python has, by the same names and with the same defaults, which are Sphinx's.
struct FrontEndSettings {
    double sample_rate = 16000, window = 0.025625, frame_rate = 100, pre_emphasis = 0.97;
    double lower_edge = 133.33334, upper_edge = 6855.4976;
    int filters = 40, cepstra = 13;
    enum class Transform { dct, htk, legacy } transform = Transform::legacy;
    int lifter = 0;
    bool noise_removal = false, mean_normalisation = true, padded = true, emphasis_within = false;
    double exponent = 2;
    enum class Corners { hertz, mel } corners = Corners::hertz;
    double offset = 1e-4, floor = 0;
    std::vector<std::vector<double>> differences = {{-1, 0, 0, 0, 1}, {1, 0, -1, 0, -1, 0, 1}};
    std::optional<std::vector<int>> columns;

    // What is wrong with them, and what to do; empty if nothing.
    std::string refusal() const;

    std::size_t window_samples() const;
    std::size_t shift_samples() const;
    std::size_t reach() const;     // how many frames before and after its own a feature looks at
    std::size_t features() const;  // how many numbers a frame has
};

// What a stream subtracts, where a whole recording subtracts its own means.
struct StreamMeans {
    std::optional<std::vector<double>> cepstra;  // the recording's, if it is known; else a running mean
    std::optional<double> offset = 0.0;          // of the samples, likewise
    std::vector<double> prior;                   // what the running mean of cepstra begins with; empty: the first frame
};

// Samples in, cepstra out, before means and differences.
class Cepstra {
public:
    // `offset` is subtracted from all samples; none: a running mean of them.
    Cepstra(const FrontEndSettings& settings, std::optional<double> offset);

    void reset();
    std::size_t size() const { return static_cast<std::size_t>(settings_.cepstra); }

    // Takes samples up to the end of the next window, and says how many; `ready` says whether that end was reached.
    std::size_t push(std::span<const float> samples);
    bool ready() const { return filled_ == wave_.size(); }
    // Whether there is a last window, of what is left and zeros.
    bool left() const { return settings_.padded && frames_; }
    // The cepstra of the window that is ready, or left.
    void pull(std::span<double> out);

private:
    void energies();

    FrontEndSettings settings_;
    std::size_t size_, shift_;
    std::vector<double> wave_;  // one shift before the window, and the window
    std::size_t filled_ = 0, frames_ = 0;
    bool running_offset_;
    double given_offset_, offset_;
    std::vector<double> shape_, window_, power_, energies_;
    Spectrum spectrum_;
    struct Filter {
        std::size_t bin;
        std::vector<double> weights;  // of the bins from `bin` on
    };
    std::vector<Filter> filters_;
    std::vector<double> cosines_;  // (filters, cepstra): the cosine transform and the lifter
    NoiseRemover remover_;
};

// Samples in, features out, each as soon as it can be known; nothing is allocated after construction. Samples that are NaN were
// lost: every frame that depends on one is NaN, and no other.
//
//     while (!samples.empty()) {
//         samples = samples.subspan(front_end.push(samples));
//         while (front_end.pull(row)) use(row);
//     }
//     front_end.finish();
//     while (front_end.pull(row)) use(row);
class FrontEnd {
public:
    // The settings must not be refused.
    explicit FrontEnd(const FrontEndSettings& settings, StreamMeans means = {});

    // As it was at first: for another recording.
    void reset();

    const FrontEndSettings& settings() const { return settings_; }
    std::size_t features() const { return settings_.features(); }

    // Takes samples in [-1, 1], no more than make one frame ready, and says how many.
    std::size_t push(std::span<const float> samples);
    // There are no more samples: what is left is padded, as settings have it, and the last frame repeated.
    void finish() { ended_ = true; }
    // Writes the next frame, if it is known.
    bool pull(std::span<float> out);

private:
    void count(std::span<const double> row);

    FrontEndSettings settings_;
    StreamMeans means_;
    Cepstra cepstra_;
    std::size_t reach_, rows_ = 0;  // rows_: kept in around_
    std::vector<double> around_;    // the cepstra of 2 reach + 1 frames
    std::vector<double> mean_, features_;
    bool running_, known_mean_ = false, ended_ = false, padding_done_ = false;
    std::size_t told_ = 0, quiet_ = 0, repeated_ = 0;
};

// The features (T, features) of a whole recording, whose cepstra's mean is subtracted if settings say so; empty if it is shorter
// than one window.
std::vector<float> features_of(const FrontEndSettings& settings, std::span<const float> wave);

}  // namespace semihmm_runtime
