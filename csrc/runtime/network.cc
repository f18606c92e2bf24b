#include "network.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

// The instruction set is chosen when the program is loaded.
#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && __GNUC__ >= 12
#define SEMIHMM_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SEMIHMM_EACH_CPU
#endif

namespace semihmm_runtime {
namespace {

constexpr std::size_t kMostNumbers = std::size_t{1} << 27;  // of one layer's weights
constexpr std::size_t kMostKept = std::size_t{1} << 26;     // of the rows that all layers keep
constexpr std::size_t kMostLayers = 1000;
constexpr std::size_t kLanes = 16, kGroup = 4;  // numbers in a vector; vectors summed at once

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));

std::size_t vectors(std::size_t outputs) { return (outputs + kLanes - 1) / kLanes; }

// `weight` (outputs, inputs, taps) in the order in which `multiply` reads it: groups of vectors of outputs, and within them taps,
// inputs, outputs. What is beyond the outputs is 0.
std::vector<float> packed(const Convolution& layer) {
    std::vector<float> found;
    found.reserve(vectors(layer.outputs) * kLanes * layer.inputs * layer.taps);
    for (std::size_t first = 0; first < vectors(layer.outputs); first += kGroup) {
        const std::size_t count = std::min(kGroup, vectors(layer.outputs) - first) * kLanes;
        for (std::size_t tap = 0; tap < layer.taps; ++tap)
            for (std::size_t i = 0; i < layer.inputs; ++i)
                for (std::size_t o = first * kLanes; o < first * kLanes + count; ++o)
                    found.push_back(o < layer.outputs ? layer.weight[(o * layer.inputs + i) * layer.taps + tap] : 0.0F);
    }
    return found;
}

// One group of `count` vectors of outputs.
template <std::size_t count>
[[gnu::always_inline]] inline void multiply_group(const float* const* rows, std::size_t taps, std::size_t inputs, const float* weight, float* out) {
    Vector sums[count] = {};
    for (std::size_t tap = 0; tap < taps; ++tap)
        for (std::size_t i = 0; i < inputs; ++i, weight += count * kLanes)
            for (std::size_t v = 0; v < count; ++v) {
                Vector column;
                std::memcpy(&column, weight + v * kLanes, sizeof column);
                sums[v] += rows[tap][i] * column;
            }
    std::memcpy(out, sums, sizeof sums);
}

SEMIHMM_EACH_CPU
void multiply(const float* const* rows, std::size_t taps, std::size_t inputs, std::size_t outputs, const float* weight, const float* bias, float* out) {
    for (std::size_t first = 0; first < outputs; first += kGroup * kLanes) {
        float sums[kGroup * kLanes];
        const std::size_t left = std::min(kGroup * kLanes, outputs - first), count = (left + kLanes - 1) / kLanes;
        if (count == 1) multiply_group<1>(rows, taps, inputs, weight, sums);
        if (count == 2) multiply_group<2>(rows, taps, inputs, weight, sums);
        if (count == 3) multiply_group<3>(rows, taps, inputs, weight, sums);
        if (count == 4) multiply_group<4>(rows, taps, inputs, weight, sums);
        weight += count * kLanes * taps * inputs;
        for (std::size_t o = 0; o < left; ++o) out[first + o] = sums[o] + (bias ? bias[first + o] : 0.0F);
    }
}

void activate(const Activation& layer, std::span<float> row) {
    using enum Activation::Function;
    const auto each = [&](auto function) { std::ranges::transform(row, row.begin(), function); };
    switch (layer.function) {
        case relu: return each([](float x) { return x < 0 ? 0.0F : x; });
        case leaky_relu: return each([&](float x) { return x < 0 ? x * layer.slope : x; });
        case gelu: return each([](float x) { return 0.5F * x * (1 + std::erf(x * static_cast<float>(std::numbers::sqrt2 / 2))); });
        case gelu_tanh:
            return each([](float x) {
                return 0.5F * x * (1 + std::tanh(static_cast<float>(std::numbers::sqrt2 * std::numbers::inv_sqrtpi) * (x + 0.044715F * x * x * x)));
            });
        case silu: return each([](float x) { return x / (1 + std::exp(-x)); });
        case tanh: return each([](float x) { return std::tanh(x); });
        case sigmoid: return each([](float x) { return 1 / (1 + std::exp(-x)); });
    }
}

void normalise(const LayerNorm& layer, std::span<float> row) {
    double sum = 0, squares = 0;
    for (const float x : row) sum += x;
    const double mean = sum / static_cast<double>(row.size());
    for (const float x : row) squares += (x - mean) * (x - mean);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(row.size()) + layer.epsilon);
    for (std::size_t i = 0; i < row.size(); ++i) {
        row[i] = static_cast<float>((row[i] - mean) * scale);
        if (!layer.scale.empty()) row[i] *= layer.scale[i];
        if (!layer.shift.empty()) row[i] += layer.shift[i];
    }
}

void log_softmax(std::span<float> row) {
    const float peak = *std::ranges::max_element(row);
    double sum = 0;
    for (const float x : row) sum += std::exp(x - peak);
    const auto total = peak + static_cast<float>(std::log(sum));
    for (float& x : row) x -= total;
}

std::string wrong(std::size_t layer, const std::string& what) {
    return "network: layer " + std::to_string(layer) + " " + what + ". Write the model again.";
}

}  // namespace

std::string Network::add(Layer layer) {
    const std::size_t number = layers_.size(), width = outputs();
    std::size_t next = width;
    const auto fits = [&](const std::vector<float>& values) { return values.empty() || values.size() == width; };
    if (number == kMostLayers) return wrong(number, "is one too many: there may be 1000");
    if (const auto* const found = std::get_if<Convolution>(&layer)) {
        const auto& c = *found;
        if (c.inputs != width) return wrong(number, "takes " + std::to_string(c.inputs) + " numbers, and gets " + std::to_string(width));
        const auto least = {c.outputs, c.taps, c.stride, c.dilation};
        if (std::ranges::min(least) < 1 || std::ranges::max(least) > kMostNumbers || std::max(c.before, c.after) > kMostNumbers)
            return wrong(number, "has a size that is 0, or too large");
        if (c.taps > kMostKept / c.dilation || vectors(c.outputs) * kLanes > kMostNumbers / width / c.taps) return wrong(number, "is too large");
        if (c.weight.size() != c.outputs * c.inputs * c.taps || !(c.bias.empty() || c.bias.size() == c.outputs))
            return wrong(number, "has weights that do not fit its sizes");
        for (Residual& residual : open_) {
            if (c.stride != 1 || c.before + c.after != c.span() - 1) return wrong(number, "changes the number of rows between the two ends of a sum");
            residual.pending += c.after;
        }
        if (c.stride > kMostNumbers / stride_) return wrong(number, "has too large a stride");
        if (!keep(c.span(), width)) return wrong(number, "keeps too many rows");
        if (c.span() > c.before + 1) look_ahead_ += (c.span() - 1 - c.before) * stride_;
        stride_ *= c.stride;
        next = c.outputs;
        Convolution& changed = std::get<Convolution>(layer);
        changed.weight = packed(changed);
    } else if (const auto* const norm = std::get_if<LayerNorm>(&layer)) {
        if (!fits(norm->scale) || !fits(norm->shift)) return wrong(number, "has weights that do not fit " + std::to_string(width) + " numbers");
    } else if (const auto* const affine = std::get_if<Affine>(&layer)) {
        if (!fits(affine->scale) || !fits(affine->shift)) return wrong(number, "has weights that do not fit " + std::to_string(width) + " numbers");
    } else if (std::holds_alternative<ResidualBegin>(layer)) {
        open_.push_back({width, queues_.size()});
        queues_.push_back(0);
    } else if (std::holds_alternative<ResidualEnd>(layer)) {
        if (open_.empty() || open_.back().width != width) return wrong(number, "ends a sum that did not begin, or of another width");
        if (!keep(open_.back().pending, width)) return wrong(number, "keeps too many rows");
        queues_[open_.back().queue] = open_.back().pending;
        open_.pop_back();
    }
    layers_.push_back(std::move(layer));
    widths_.push_back(next);
    return {};
}

// Whether so many rows may be kept besides those of other layers.
bool Network::keep(std::size_t rows, std::size_t width) {
    if (rows > (kMostKept - kept_) / width) return false;
    kept_ += rows * width;
    return true;
}

std::string Network::refusal() const { return open_.empty() ? "" : "network: a sum does not end. Write the model again."; }

std::size_t Network::rows(std::size_t count) const {
    for (const Layer& layer : layers_)
        if (const auto* const c = std::get_if<Convolution>(&layer); c && count) {
            const std::size_t padded = count + c->before + c->after;
            count = padded < c->span() ? 0 : (padded - c->span()) / c->stride + 1;
        }
    return count;
}

NetworkStream::NetworkStream(const Network& network) : network_(network), stages_(network.layers_.size()), row_(network.inputs_) {
    std::vector<std::size_t> open;
    std::size_t taps = 0, residual = 0;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        Stage& stage = stages_[i];
        const std::size_t width = network_.widths_[i];
        if (const auto* const c = std::get_if<Convolution>(&network_.layers_[i])) {
            stage.ring.resize(c->span() * width);
            stage.held.resize(width);
            taps = std::max(taps, c->taps);
        } else if (std::holds_alternative<ResidualBegin>(network_.layers_[i])) {
            stage.ring.resize(network_.queues_[residual++] * width);
            open.push_back(i);
        } else if (std::holds_alternative<ResidualEnd>(network_.layers_[i])) {
            stage.partner = open.back();
            open.pop_back();
        }
    }
    taps_.resize(taps);
    reset();
}

void NetworkStream::reset() {
    full_ = ended_ = false;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        Stage& stage = stages_[i];
        stage.added = stage.next = 0;
        stage.begun = stage.waiting = false;
        if (const auto* const c = std::get_if<Convolution>(&network_.layers_[i])) stage.before = c->before, stage.after = c->after;
    }
}

void NetworkStream::push(std::span<const float> row) {
    std::ranges::copy(row, row_.begin());
    full_ = true;
}

bool NetworkStream::pull(std::span<float> out) { return pull(stages_.size(), out.data()); }

// The next row that comes out of the first `layers` layers.
bool NetworkStream::pull(std::size_t layers, float* out) {
    if (!layers) {
        if (!full_) return false;
        std::ranges::copy(row_, out);
        full_ = false;
        return true;
    }
    const std::size_t i = layers - 1, width = network_.widths_[i];
    const Layer& layer = network_.layers_[i];
    Stage& stage = stages_[i];
    if (const auto* const c = std::get_if<Convolution>(&layer)) {
        while (stage.added < stage.next + c->span())
            if (!feed(i, *c, stage)) return false;
        for (std::size_t tap = 0; tap < c->taps; ++tap)
            taps_[tap] = stage.ring.data() + (stage.next + tap * c->dilation) % c->span() * width;
        multiply(taps_.data(), c->taps, c->inputs, c->outputs, c->weight.data(), c->bias.empty() ? nullptr : c->bias.data(), out);
        stage.next += c->stride;
        return true;
    }
    if (!pull(i, out)) return false;
    const std::span row(out, width);
    if (const auto* const activation = std::get_if<Activation>(&layer)) {
        activate(*activation, row);
    } else if (const auto* const norm = std::get_if<LayerNorm>(&layer)) {
        normalise(*norm, row);
    } else if (const auto* const affine = std::get_if<Affine>(&layer)) {
        for (std::size_t n = 0; n < width; ++n) {
            if (!affine->scale.empty()) row[n] *= affine->scale[n];
            if (!affine->shift.empty()) row[n] += affine->shift[n];
        }
    } else if (std::holds_alternative<LogSoftmax>(layer)) {
        log_softmax(row);
    } else if (std::holds_alternative<ResidualBegin>(layer)) {
        const std::size_t capacity = stage.ring.size() / width;
        std::ranges::copy(row, stage.ring.begin() + static_cast<std::ptrdiff_t>(stage.added++ % capacity * width));
    } else {
        Stage& begin = stages_[stage.partner];
        const float* const before = begin.ring.data() + begin.next++ % (begin.ring.size() / width) * width;
        for (std::size_t n = 0; n < width; ++n) row[n] += before[n];
    }
    return true;
}

// One row more for a convolution: padding, or what the layers before it make.
bool NetworkStream::feed(std::size_t layer, const Convolution& convolution, Stage& stage) {
    const std::size_t width = convolution.inputs;
    float* const slot = stage.ring.data() + stage.added % convolution.span() * width;
    const auto pad = [&] {
        if (convolution.replicate) std::ranges::copy(stage.held, slot);
        else std::fill_n(slot, width, 0.0F);
    };
    if (!stage.begun) {
        if (!pull(layer, stage.held.data())) return false;
        stage.begun = stage.waiting = true;
    }
    if (stage.before) {
        --stage.before;
        pad();
    } else if (stage.waiting) {
        stage.waiting = false;
        std::ranges::copy(stage.held, slot);
    } else if (pull(layer, slot)) {
        std::copy_n(slot, width, stage.held.begin());
    } else if (ended_ && stage.after) {
        --stage.after;
        pad();
    } else {
        return false;
    }
    ++stage.added;
    return true;
}

}  // namespace semihmm_runtime
