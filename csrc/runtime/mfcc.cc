#include "mfcc.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <numeric>

namespace semihmm_runtime {
namespace {

constexpr double kFullScale = 32768;  // the models were trained on 16-bit integers

// As semihmm/speech/live/features.py has them.
constexpr std::size_t kMemory = 1500;       // frames over which the mean of cepstra is taken
constexpr std::size_t kPrior = 100;         // frames that the mean to begin with counts for
constexpr std::size_t kNear = 50;           // frames that count after a loud one
constexpr double kLeak = 0.005;             // of c0 a frame, by which "loud" falls while there is nothing loud
constexpr std::size_t kOffsetMemory = 300;  // frames over which the mean of samples is taken

double mel(double frequency) { return 2595 * std::log10(1 + frequency / 700); }

std::size_t fft_size(const FrontEndSettings& settings) { return std::bit_ceil(std::max<std::size_t>(settings.window_samples(), 4)); }

// Where the mel filters begin, peak and end, on the scale on which they are triangles.
std::vector<double> corners(const FrontEndSettings& settings) {
    const auto edge = [](double hertz) { return mel(static_cast<float>(hertz)); };  // Python's are float32 at first
    const double lowest = edge(settings.lower_edge), step = (edge(settings.upper_edge) - lowest) / (settings.filters + 1);
    const double spacing = settings.sample_rate / static_cast<double>(fft_size(settings));
    std::vector<double> found(static_cast<std::size_t>(settings.filters) + 2);
    for (std::size_t i = 0; i < found.size(); ++i) {
        found[i] = lowest + static_cast<double>(i) * step;
        if (settings.corners == FrontEndSettings::Corners::hertz)
            found[i] = std::floor(700 * (std::pow(10.0, found[i] / 2595) - 1) / spacing + 0.5) * spacing;
    }
    return found;
}

// (filters, cepstra)
std::vector<double> cosines(const FrontEndSettings& settings) {
    using enum FrontEndSettings::Transform;
    std::vector<double> found;
    for (int band = 0; band < settings.filters; ++band)
        for (int order = 0; order < settings.cepstra; ++order) {
            double value = std::cos(std::numbers::pi / settings.filters * (band + 0.5) * order);
            if (settings.transform == legacy)
                value /= settings.filters * (band ? 1 : 2);
            else
                value *= std::sqrt((settings.transform == dct && !order ? 1.0 : 2.0) / settings.filters);
            if (settings.lifter) value *= 1 + settings.lifter / 2.0 * std::sin(std::numbers::pi * order / settings.lifter);
            found.push_back(value);
        }
    return found;
}

// The frame in the middle of `around` (2 reach + 1, cepstra), less `mean`, and its differences.
void with_differences(const FrontEndSettings& settings, std::span<const double> around, std::span<const double> mean, std::span<double> all,
                      std::span<float> out) {
    const auto size = static_cast<std::size_t>(settings.cepstra), middle = settings.reach();
    const auto row = [&](std::size_t t, std::size_t c) { return around[t * size + c] - mean[c]; };
    for (std::size_t c = 0; c < size; ++c) all[c] = row(middle, c);
    for (std::size_t block = 1; block <= settings.differences.size(); ++block) {
        const auto& weights = settings.differences[block - 1];
        const std::size_t begin = middle - weights.size() / 2;
        for (std::size_t c = 0; c < size; ++c) {
            double sum = 0;
            for (std::size_t i = 0; i < weights.size(); ++i)
                if (weights[i] != 0) sum += weights[i] * row(begin + i, c);
            all[block * size + c] = sum;
        }
    }
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<float>(all[settings.columns ? static_cast<std::size_t>((*settings.columns)[i]) : i]);
}

}  // namespace

std::size_t FrontEndSettings::window_samples() const { return static_cast<std::size_t>(std::nearbyint(window * sample_rate)); }

std::size_t FrontEndSettings::shift_samples() const { return static_cast<std::size_t>(std::nearbyint(sample_rate / frame_rate)); }

std::size_t FrontEndSettings::reach() const {
    std::size_t found = 0;
    for (const auto& weights : differences) found = std::max(found, weights.size() / 2);
    return found;
}

std::size_t FrontEndSettings::features() const {
    return columns ? columns->size() : static_cast<std::size_t>(cepstra) * (1 + differences.size());
}

std::string FrontEndSettings::refusal() const {
    const auto within = [](const char* name, double value, double least, double most) -> std::string {
        if (value >= least && value <= most) return {};
        char text[160];
        std::snprintf(text, sizeof text, "features: %s should be from %g to %g, got %g. Write the model again.", name, least, most, value);
        return text;
    };
    std::string found;
    const auto check = [&](const char* name, double value, double least, double most) {
        if (found.empty()) found = within(name, value, least, most);
    };
    check("sample_rate", sample_rate, 100, 1e6);
    check("frame_rate", frame_rate, 1, 1e4);
    if (!found.empty()) return found;
    check("the window's number of samples", window * sample_rate, 2, 65536);
    check("the number of samples from one frame to the next", sample_rate / frame_rate, 1, 65536);
    check("pre_emphasis", pre_emphasis, -1, 1);
    check("filters", filters, 1, 1000);
    check("cepstra", cepstra, 1, 1000);
    check("lifter", lifter, 0, 1e6);
    check("lower_edge", lower_edge, 0, 1e6);
    check("upper_edge", upper_edge, 0, 1e6);
    check("exponent", exponent, 0.1, 10);
    check("offset", offset, 0, 1e9);
    check("floor", floor, 0, 1e9);
    check("the number of differences", static_cast<double>(differences.size()), 0, 8);
    for (const auto& weights : differences) {
        check("the number of a difference's weights", static_cast<double>(weights.size()), 1, 201);
        if (found.empty() && weights.size() % 2 == 0) return "features: a difference needs an odd number of weights. Write the model again.";
        for (const double weight : weights) check("a difference's weight", weight, -1e6, 1e6);
    }
    if (!found.empty()) return found;
    if (columns) {
        check("the number of columns", static_cast<double>(columns->size()), 1, 1e5);
        for (const int column : *columns) check("a column", column, 0, static_cast<double>(cepstra * (1 + static_cast<int>(differences.size())) - 1));
    }
    if (!found.empty()) return found;
    const auto places = semihmm_runtime::corners(*this);
    for (std::size_t i = 1; i < places.size(); ++i)
        if (!(places[i - 1] < places[i]))
            return "features: the mel filters lie closer together than the spectrum's bins, or their edges in the wrong order. Use fewer "
                   "filters, or a longer window.";
    return {};
}

Cepstra::Cepstra(const FrontEndSettings& settings, std::optional<double> offset)
    : settings_(settings), size_(settings.window_samples()), shift_(settings.shift_samples()), wave_(shift_ + size_),
      running_offset_(!offset), given_offset_(offset.value_or(0.0)), shape_(size_), window_(size_), energies_(static_cast<std::size_t>(settings.filters)),
      spectrum_(fft_size(settings)), cosines_(cosines(settings)), remover_(energies_.size()) {
    for (std::size_t n = 0; n < size_; ++n)
        shape_[n] = 0.54 - 0.46 * std::cos(2 * std::numbers::pi * static_cast<double>(n) / static_cast<double>(size_ - 1));
    power_.resize(spectrum_.bins());
    const double spacing = settings.sample_rate / static_cast<double>(fft_size(settings));
    const auto places = corners(settings);
    const bool by_mel = settings.corners == FrontEndSettings::Corners::mel;
    for (std::size_t i = 0; i < energies_.size(); ++i) {
        const double left = places[i], peak = places[i + 1], right = places[i + 2];
        Filter filter{0, {}};
        for (std::size_t bin = 0; bin < power_.size(); ++bin) {
            const double place = by_mel ? mel(static_cast<double>(bin) * spacing) : static_cast<double>(bin) * spacing;
            const double slope = std::min((place - left) / (peak - left), (right - place) / (right - peak));
            if (!(slope > 0)) continue;
            if (filter.weights.empty()) filter.bin = bin;
            filter.weights.push_back(by_mel ? slope : slope * 2 / (right - left));
        }
        filters_.push_back(std::move(filter));
    }
    reset();
}

void Cepstra::reset() {
    filled_ = shift_;
    frames_ = 0;
    offset_ = given_offset_;
    remover_.reset();
}

std::size_t Cepstra::push(std::span<const float> samples) {
    const std::size_t count = std::min(samples.size(), wave_.size() - filled_);
    std::copy_n(samples.begin(), count, wave_.begin() + static_cast<std::ptrdiff_t>(filled_));
    filled_ += count;
    return count;
}

void Cepstra::pull(std::span<double> out) {
    energies();
    if (settings_.noise_removal && !std::isnan(energies_[0])) remover_(energies_);
    std::ranges::fill(out, 0.0);
    for (std::size_t i = 0; i < energies_.size(); ++i) {
        const double level = std::log(std::max(energies_[i] + settings_.offset, settings_.floor));
        for (std::size_t c = 0; c < out.size(); ++c) out[c] += level * cosines_[i * out.size() + c];
    }
    std::copy(wave_.begin() + static_cast<std::ptrdiff_t>(shift_), wave_.end(), wave_.begin());
    filled_ = size_;
    ++frames_;
}

// What the mel filters let through of the window in `wave_`, which is filled to its end or padded.
void Cepstra::energies() {
    const double* const window = wave_.data() + shift_;
    const std::size_t held = filled_ > shift_ ? filled_ - shift_ : 0;  // none, where windows lie apart
    if (running_offset_) {
        const std::size_t count = frames_ ? std::min(shift_, filled_) : size_;
        const double* const latest = wave_.data() + filled_ - count;
        const double level = std::accumulate(latest, latest + count, 0.0) / static_cast<double>(count);
        if (!std::isnan(level)) offset_ += (level - offset_) / static_cast<double>(std::min(frames_ + 1, kOffsetMemory));
    }
    const auto heard = [&](std::size_t n) { return kFullScale * (window[n] - offset_); };
    double before = frames_ ? kFullScale * (window[-1] - offset_) : 0.0;
    if (settings_.emphasis_within && held) before = heard(0);
    for (std::size_t n = 0; n < size_; ++n) {
        if (n >= held) {
            window_[n] = 0;
            continue;
        }
        const double now = heard(n);
        window_[n] = (now - settings_.pre_emphasis * before) * shape_[n];
        before = now;
    }
    spectrum_(window_, settings_.exponent, power_);
    for (std::size_t i = 0; i < filters_.size(); ++i) {
        const auto& [bin, weights] = filters_[i];
        energies_[i] = std::inner_product(weights.begin(), weights.end(), power_.begin() + static_cast<std::ptrdiff_t>(bin), 0.0);
    }
}

FrontEnd::FrontEnd(const FrontEndSettings& settings, StreamMeans means)
    : settings_(settings), means_(std::move(means)), cepstra_(settings, means_.offset), reach_(settings.reach()),
      around_((2 * reach_ + 1) * cepstra_.size()), mean_(cepstra_.size()), features_(cepstra_.size() * (1 + settings.differences.size())),
      running_(settings.mean_normalisation && !means_.cepstra) {
    reset();
}

void FrontEnd::reset() {
    cepstra_.reset();
    rows_ = repeated_ = told_ = 0;
    quiet_ = kNear;
    ended_ = padding_done_ = false;
    std::ranges::fill(mean_, 0.0);
    known_mean_ = !running_;
    if (!settings_.mean_normalisation) return;
    if (means_.cepstra) std::ranges::copy(*means_.cepstra, mean_.begin());
    if (running_ && !means_.prior.empty()) {
        std::ranges::copy(means_.prior, mean_.begin());
        known_mean_ = true;
        told_ = kPrior;
    }
}

std::size_t FrontEnd::push(std::span<const float> samples) { return ended_ ? samples.size() : cepstra_.push(samples); }

bool FrontEnd::pull(std::span<float> out) {
    const std::size_t size = cepstra_.size();
    while (true) {
        const auto row = std::span(around_).subspan(rows_ * size, size);
        if (cepstra_.ready() || (ended_ && !padding_done_ && cepstra_.left())) {
            padding_done_ = !cepstra_.ready();  // the window is what was left
            cepstra_.pull(row);
            if (running_ && row[0] >= 0) count(row);
            if (!rows_)
                while (rows_ < reach_) std::copy_n(around_.begin(), size, around_.begin() + static_cast<std::ptrdiff_t>(++rows_ * size));
        } else if (ended_ && rows_ && repeated_ < reach_) {
            ++repeated_;
            std::copy_n(row.data() - size, size, row.data());
        } else {
            return false;
        }
        if (++rows_ <= 2 * reach_) continue;
        with_differences(settings_, around_, mean_, features_, out);
        std::copy(around_.begin() + static_cast<std::ptrdiff_t>(size), around_.end(), around_.begin());
        --rows_;
        return true;
    }
}

// Lets a frame count for the mean, if it is loud or near one that is.
void FrontEnd::count(std::span<const double> row) {
    const double level = known_mean_ ? mean_[0] : row[0];
    quiet_ = row[0] >= level - kLeak * static_cast<double>(quiet_) ? 0 : quiet_ + 1;
    if (quiet_ >= kNear) return;
    const auto share = static_cast<double>(std::min(++told_, kMemory));
    for (std::size_t c = 0; c < row.size(); ++c) {
        if (!known_mean_) mean_[c] = row[c];
        mean_[c] += (row[c] - mean_[c]) / share;
    }
    known_mean_ = true;
}

std::vector<float> features_of(const FrontEndSettings& settings, std::span<const float> wave) {
    Cepstra cepstra(settings, 0.0);
    const std::size_t size = cepstra.size(), reach = settings.reach();
    std::vector<double> rows(reach * size), row(size);
    while (!wave.empty() || cepstra.ready()) {
        wave = wave.subspan(cepstra.push(wave));
        if (!cepstra.ready()) break;
        cepstra.pull(row);
        rows.insert(rows.end(), row.begin(), row.end());
    }
    if (cepstra.left()) cepstra.pull(row), rows.insert(rows.end(), row.begin(), row.end());
    const std::size_t frames = rows.size() / size - reach;
    if (!frames) return {};
    const auto at = [&](std::size_t t) { return std::span<const double>(rows).subspan((reach + t) * size, size); };

    std::vector<double> mean(size), all(size);
    if (settings.mean_normalisation) {
        std::size_t loud = 0;  // c0 is negative only where the recording is digitally silent
        for (std::size_t t = 0; t < frames; ++t) {
            std::ranges::transform(all, at(t), all.begin(), std::plus());
            if (!(at(t)[0] >= 0)) continue;
            ++loud;
            std::ranges::transform(mean, at(t), mean.begin(), std::plus());
        }
        if (!loud) mean = all;
        for (double& value : mean) value /= static_cast<double>(loud ? loud : frames);
    }
    for (std::size_t t = 0; t < reach; ++t) std::ranges::copy(at(0), rows.begin() + static_cast<std::ptrdiff_t>(t * size));
    row.assign(at(frames - 1).begin(), at(frames - 1).end());
    for (std::size_t t = 0; t < reach; ++t) rows.insert(rows.end(), row.begin(), row.end());

    std::vector<float> found(frames * settings.features());
    std::vector<double> scratch(size * (1 + settings.differences.size()));
    for (std::size_t t = 0; t < frames; ++t)
        with_differences(settings, std::span(rows).subspan(t * size, (2 * reach + 1) * size), mean, scratch,
                         std::span(found).subspan(t * settings.features(), settings.features()));
    return found;
}

}  // namespace semihmm_runtime
