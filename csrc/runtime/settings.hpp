// What a model file says of its front end and of its network.
#pragma once

#include "json.hpp"
#include "mfcc.hpp"
#include "network.hpp"
#include "safetensors.hpp"

namespace semihmm_runtime {

struct Features {
    FrontEndSettings settings;
    StreamMeans means;  // of streams
};

// Each throws an Error of a bad file that names what is wrong.
Features read_features(const Json& features);
// `emission`, of the kind "network".
Network read_network(const Json& emission, Safetensors& file);

}  // namespace semihmm_runtime
