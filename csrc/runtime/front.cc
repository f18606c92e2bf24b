#include "front.hpp"

#include <cmath>

namespace semihmm_runtime {

Front::Front(const Description& description, From from, bool whole)
    : features_(from == From::samples ? description.features.get() : nullptr), network_(description.emission.network.get()), whole_(whole) {
    if (from == From::samples && !features_) bad_argument("the model file has no features: it takes frames, no samples.");
    if (!features_ && !network_) bad_argument("the model file has no network: ask the model about frames themselves.");
    if (features_) {
        if (!whole_) front_end_.emplace(features_->settings, features_->means);
        row_.resize(features_->settings.features());
    }
    if (network_) stream_.emplace(*network_);
    outputs_ = network_ ? network_->outputs() : row_.size();
}

std::span<const float> Front::push(std::span<const float> x) {
    out_.clear();
    for (std::size_t n = 0; n < x.size(); ++n)
        if (!std::isfinite(x[n])) bad_data("number " + std::to_string(n) + " of what comes in is NaN or infinite.");
    if (!features_) {
        for (; !x.empty(); x = x.subspan(network_->inputs())) frame(x.first(network_->inputs()));
    } else if (whole_) {
        samples_.insert(samples_.end(), x.begin(), x.end());
    } else {
        while (!x.empty()) {
            x = x.subspan(front_end_->push(x));
            drain();
        }
    }
    return out_;
}

std::span<const float> Front::finish() {
    out_.clear();
    if (front_end_) {
        front_end_->finish();
        drain();
    } else if (features_) {
        const std::vector<float> all = features_of(features_->settings, samples_);
        for (std::size_t at = 0; at < all.size(); at += row_.size()) frame(std::span(all).subspan(at, row_.size()));
    }
    if (stream_) {
        stream_->finish();
        pull();
    }
    restart();
    return out_;
}

void Front::restart() {
    if (front_end_) front_end_->reset();
    if (stream_) stream_->reset();
    samples_.clear();
}

void Front::drain() {
    while (front_end_->pull(row_)) frame(row_);
}

// What a frame of features brings.
void Front::frame(std::span<const float> row) {
    if (!stream_) return void(out_.insert(out_.end(), row.begin(), row.end()));
    stream_->push(row);
    pull();
}

// What the network knows by now.
void Front::pull() {
    do out_.resize(out_.size() + outputs_);
    while (stream_->pull(std::span(out_).last(outputs_)));
    out_.resize(out_.size() - outputs_);
}

}  // namespace semihmm_runtime
