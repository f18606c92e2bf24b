#include "settings.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace semihmm_runtime {
namespace {

constexpr int64_t kMostWidth = int64_t{1} << 24;

// Which of the names `name` has.
template <std::size_t count>
std::size_t one_of(Members& members, const std::string& name, const std::array<const char*, count>& names) {
    const auto found = std::ranges::find(names, members.text(name));
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
    std::string expected;
    for (const char* const one : names) expected += std::string(expected.empty() ? "\"" : ", \"") + one + '"';
    members.refuse(name, expected);
}

std::vector<double> numbers(Members& members, const std::string& name, const Json& json) {
    std::vector<double> found;
    if (!json.list()) members.refuse(name, "a list of numbers");
    for (const Json& one : *json.list()) {
        if (!one.number()) members.refuse(name, "a list of numbers");
        found.push_back(*one.number());
    }
    return found;
}

std::vector<double> cepstra(Members& members, const std::string& name, const FrontEndSettings& settings) {
    std::vector<double> found = numbers(members, name, members.take(name));
    if (found.size() != static_cast<std::size_t>(settings.cepstra)) members.refuse(name, "one number for each of the cepstra");
    return found;
}

// A tensor (width), if the layer names one.
std::vector<float> each(Members& layer, const std::string& name, Safetensors& file, std::size_t width) {
    return layer.has(name) ? file.numbers("emission." + layer.text(name), {static_cast<int64_t>(width)}, true) : std::vector<float>();
}

Convolution convolution(Members& layer, Safetensors& file) {
    const auto option = [&](const char* name, std::size_t least, std::size_t without) {
        return layer.has(name) ? static_cast<std::size_t>(layer.integer(name, static_cast<int64_t>(least), kMostWidth)) : without;
    };
    const std::string weight = "emission." + layer.text("weight");
    const auto shape = file.shape(weight, 3, kMostWidth);
    Convolution found;
    found.outputs = static_cast<std::size_t>(shape[0]), found.inputs = static_cast<std::size_t>(shape[1]), found.taps = static_cast<std::size_t>(shape[2]);
    found.stride = option("stride", 1, 1), found.dilation = option("dilation", 1, 1);
    found.before = option("before", 0, 0), found.after = option("after", 0, 0);
    found.replicate = layer.has("padding") && one_of<2>(layer, "padding", {"zeros", "replicate"});
    found.weight = file.numbers(weight, shape, true);
    found.bias = each(layer, "bias", file, found.outputs);
    return found;
}

void add(Network& network, Layer layer) {
    if (const std::string refusal = network.add(std::move(layer)); !refusal.empty()) bad_file("the model file: " + refusal);
}

constexpr std::array<const char*, 11> kKinds = {"relu", "leaky_relu", "gelu",   "gelu_tanh",   "silu",    "tanh",
                                                "sigmoid", "convolution", "layer_norm", "affine", "log_softmax"};

void read_layers(Members& members, Safetensors& file, Network& network, int depth) {
    const Json::List* const layers = members.has("layers") ? members.take("layers").list() : nullptr;
    if (!layers) members.refuse("layers", "a list of objects");
    for (std::size_t i = 0; i < layers->size(); ++i) {
        Members layer((*layers)[i], members.where() + "layers[" + std::to_string(i) + "]");
        const std::size_t width = network.outputs();
        if (layer.text("kind") == "residual") {
            if (depth == 16) layer.refuse("kind", "of fewer sums within sums");
            add(network, ResidualBegin{});
            read_layers(layer, file, network, depth + 1);
            add(network, ResidualEnd{});
        } else if (const std::size_t kind = one_of(layer, "kind", kKinds); kind < 7) {
            const auto slope = kind == 1 ? static_cast<float>(layer.number("slope")) : 0.0F;
            add(network, Activation{static_cast<Activation::Function>(kind), slope});
        } else if (kind == 7) {
            add(network, convolution(layer, file));
        } else if (kind == 8) {
            const double epsilon = layer.number("epsilon");
            if (!(epsilon >= 0 && epsilon < 1)) layer.refuse("epsilon", "from 0 to 1");
            add(network, LayerNorm{static_cast<float>(epsilon), each(layer, "scale", file, width), each(layer, "shift", file, width)});
        } else if (kind == 9) {
            add(network, Affine{each(layer, "scale", file, width), each(layer, "shift", file, width)});
        } else {
            add(network, LogSoftmax{});
        }
        layer.finish();
    }
}

}  // namespace

Features read_features(const Json& features) {
    Members members(features, "features");
    Features found;
    FrontEndSettings& settings = found.settings;
    one_of<1>(members, "kind", {"mfcc"});
    for (const auto& [name, to] : std::initializer_list<std::pair<const char*, double*>>{
             {"sample_rate", &settings.sample_rate}, {"window", &settings.window}, {"frame_rate", &settings.frame_rate},
             {"pre_emphasis", &settings.pre_emphasis}, {"lower_edge", &settings.lower_edge}, {"upper_edge", &settings.upper_edge},
             {"exponent", &settings.exponent}, {"offset", &settings.offset}, {"floor", &settings.floor}})
        *to = members.number(name);
    for (const auto& [name, to] : std::initializer_list<std::pair<const char*, int*>>{
             {"filters", &settings.filters}, {"cepstra", &settings.cepstra}, {"lifter", &settings.lifter}})
        *to = static_cast<int>(members.integer(name, 0, 1000000));
    for (const auto& [name, to] : std::initializer_list<std::pair<const char*, bool*>>{
             {"noise_removal", &settings.noise_removal}, {"mean_normalisation", &settings.mean_normalisation}, {"padded", &settings.padded},
             {"emphasis_within", &settings.emphasis_within}})
        *to = members.boolean(name);
    settings.transform = static_cast<FrontEndSettings::Transform>(one_of<3>(members, "transform", {"dct", "htk", "legacy"}));
    settings.corners = static_cast<FrontEndSettings::Corners>(one_of<2>(members, "corners", {"hertz", "mel"}));
    const Json::List* const differences = members.take("differences").list();
    if (!differences) members.refuse("differences", "a list of lists of numbers");
    settings.differences.clear();
    for (const Json& one : *differences) settings.differences.push_back(numbers(members, "differences", one));
    if (members.has("columns")) {
        settings.columns.emplace();
        for (const int64_t column : members.integers("columns", 0, 1000000)) settings.columns->push_back(static_cast<int>(column));
    }
    if (const std::string refusal = settings.refusal(); !refusal.empty()) bad_file("the model file: " + refusal);
    if (members.has("stream")) {
        Members stream = members.object("stream");
        if (stream.has("mean")) found.means.cepstra = cepstra(stream, "mean", settings);
        if (stream.has("prior")) found.means.prior = cepstra(stream, "prior", settings);
        if (stream.has("offset")) found.means.offset = stream.number("offset");
        else found.means.offset.reset();
        stream.finish();
    }
    members.finish();
    return found;
}

Network read_network(const Json& emission, Safetensors& file) {
    Members members(emission, "emission");
    one_of<1>(members, "kind", {"network"});
    Network found(static_cast<std::size_t>(members.integer("inputs", 1, kMostWidth)));
    read_layers(members, file, found, 0);
    if (const std::string refusal = found.refusal(); !refusal.empty()) bad_file("the model file: " + refusal);
    members.finish();
    return found;
}

}  // namespace semihmm_runtime
