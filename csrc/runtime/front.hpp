// What comes before the frames that a model is asked about: samples of sound become features, and features, or frames of the
// caller's, log-likelihoods of a network.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "description.hpp"
#include "settings.hpp"

namespace semihmm_runtime {

class Front {
  public:
    enum class From { samples, frames };

    // `whole`: a recording loses the mean of its own cepstra, so that all frames come at the end; else they come as soon as they
    // can be known. The description, which must have what makes frames of what comes, must outlive this.
    Front(const Description& description, From from, bool whole);

    std::size_t inputs() const { return features_ ? 1 : network_->inputs(); }
    std::size_t outputs() const { return outputs_; }

    // The frames (n, outputs) that these (count, inputs) bring, valid until the next call. As many numbers as in the largest push
    // before take no memory.
    std::span<const float> push(std::span<const float> x);
    std::span<const float> finish();
    void restart();

  private:
    void frame(std::span<const float> row);
    void drain();
    void pull();

    const Features* features_;
    const Network* network_;
    std::size_t outputs_;
    bool whole_;
    std::optional<FrontEnd> front_end_;
    std::optional<NetworkStream> stream_;
    std::vector<float> samples_, row_, out_;
};

}  // namespace semihmm_runtime
