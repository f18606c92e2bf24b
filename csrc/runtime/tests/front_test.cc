// Spectra, features and networks against their definitions, written out; streams against the whole; and no memory taken while a
// stream runs.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <numbers>
#include <random>

#include "../mfcc.hpp"
#include "../network.hpp"
#include "../semihmm.h"
#include "../wav.hpp"

using namespace semihmm_runtime;

namespace {

std::size_t allocations = 0;

#define CHECK(what) ((what) ? (void)0 : (std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what), std::exit(1)))

}  // namespace

void* operator new(std::size_t size) {
    ++allocations;
    if (void* const found = std::malloc(size ? size : 1)) return found;
    throw std::bad_alloc();
}
void operator delete(void* what) noexcept { std::free(what); }
void operator delete(void* what, std::size_t) noexcept { std::free(what); }

namespace {

std::mt19937 generator(0);

std::vector<float> noise(std::size_t count, float size = 1) {
    std::normal_distribution<float> law(0, size);
    std::vector<float> found(count);
    for (float& x : found) x = law(generator);
    return found;
}

void a_spectrum_is_that_of_its_definition() {
    for (const std::size_t size : {4, 8, 64, 512})
        for (const std::size_t held : {size, size - 1, size / 2}) {
            const auto drawn = noise(held);
            const std::vector<double> x(drawn.begin(), drawn.end());
            Spectrum spectrum(size);
            std::vector<double> powers(spectrum.bins()), sizes(spectrum.bins());
            CHECK(powers.size() == size / 2 + 1);
            spectrum(x, 2, powers);
            spectrum(x, 1, sizes);
            for (std::size_t k = 0; k < powers.size(); ++k) {
                std::complex<double> sum = 0;
                for (std::size_t n = 0; n < held; ++n) sum += x[n] * std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(n * k % size) / static_cast<double>(size));
                CHECK(std::abs(powers[k] - std::norm(sum)) < 1e-9 * static_cast<double>(size));
                CHECK(std::abs(sizes[k] - std::abs(sum)) < 1e-9 * static_cast<double>(size));
            }
        }
}

std::vector<float> streamed(FrontEnd& front, std::span<const float> wave, std::size_t block) {
    std::vector<float> found, row(front.features());
    const auto drain = [&] {
        while (front.pull(row)) found.insert(found.end(), row.begin(), row.end());
    };
    for (; !wave.empty(); wave = wave.subspan(std::min(block, wave.size())))
        for (auto part = wave.first(std::min(block, wave.size())); !part.empty();) {
            part = part.subspan(front.push(part));
            drain();
        }
    front.finish();
    drain();
    front.reset();
    return found;
}

FrontEndSettings sphinx() {
    FrontEndSettings found;
    found.lower_edge = 130, found.upper_edge = 6800, found.filters = 25, found.lifter = 22;
    found.transform = FrontEndSettings::Transform::dct;
    found.noise_removal = true;
    return found;
}

void a_stream_of_features_is_the_whole() {
    for (const bool padded : {false, true})
        for (const std::size_t samples : {100, 409, 410, 411, 570, 571, 800, 1000, 5000, 5003}) {
            FrontEndSettings settings = sphinx();
            settings.padded = padded;
            settings.mean_normalisation = false;
            CHECK(settings.refusal().empty());
            FrontEndSettings sparse = settings;  // windows that lie apart
            sparse.frame_rate = 20;
            FrontEnd apart(sparse, {{}, {}, {}});
            const std::size_t known = samples < 410 ? 0 : 1 + padded + (samples - 410) / 800;
            CHECK(streamed(apart, noise(samples), 100).size() == known * 39);
            const auto wave = noise(samples, 0.1F);
            const auto whole = features_of(settings, wave);
            const std::size_t frames = samples < 410 ? 0 : 1 + padded + (samples - 410) / 160;
            CHECK(whole.size() == frames * settings.features() && settings.features() == 39);
            FrontEnd front(settings);
            for (const std::size_t block : {1, 160, 411, 10000}) CHECK(streamed(front, wave, block) == whole);
        }
}

void what_was_lost_is_nan_and_nothing_else() {
    FrontEndSettings settings = sphinx();
    settings.mean_normalisation = false;
    settings.noise_removal = false;
    settings.differences.clear();
    auto wave = noise(8000, 0.1F);
    FrontEnd front(settings);
    const auto whole = streamed(front, wave, 160);
    wave[3000] = std::nanf("");
    const auto found = streamed(front, wave, 160);
    for (std::size_t i = 0; i < found.size(); ++i) {
        const std::size_t first = i / 13 * 160;
        const bool hit = first <= 3001 && 3000 < first + 410;  // the first sample of a window hears the one before it
        CHECK(hit ? std::isnan(found[i]) : found[i] == whole[i]);
    }
}

// (rows, outputs), by the definition.
std::vector<float> convolved(const Convolution& layer, const std::vector<float>& x) {
    const auto steps = static_cast<std::ptrdiff_t>(x.size() / layer.inputs);
    std::vector<float> found;
    for (std::ptrdiff_t first = -static_cast<std::ptrdiff_t>(layer.before);
         first + static_cast<std::ptrdiff_t>(layer.span()) <= steps + static_cast<std::ptrdiff_t>(layer.after); first += static_cast<std::ptrdiff_t>(layer.stride))
        for (std::size_t o = 0; o < layer.outputs; ++o) {
            double sum = layer.bias.empty() ? 0 : layer.bias[o];
            for (std::size_t tap = 0; tap < layer.taps; ++tap) {
                auto t = first + static_cast<std::ptrdiff_t>(tap * layer.dilation);
                if ((t < 0 || t >= steps) && !layer.replicate) continue;
                t = std::clamp<std::ptrdiff_t>(t, 0, steps - 1);
                for (std::size_t i = 0; i < layer.inputs; ++i)
                    sum += static_cast<double>(layer.weight[(o * layer.inputs + i) * layer.taps + tap]) * x[static_cast<std::size_t>(t) * layer.inputs + i];
            }
            found.push_back(static_cast<float>(sum));
        }
    return found;
}

std::vector<float> streamed(NetworkStream& stream, const Network& network, const std::vector<float>& x) {
    std::vector<float> found, row(network.outputs());
    const auto drain = [&] {
        while (stream.pull(row)) found.insert(found.end(), row.begin(), row.end());
    };
    for (std::size_t at = 0; at < x.size(); at += network.inputs()) {
        stream.push(std::span(x).subspan(at, network.inputs()));
        drain();
    }
    stream.finish();
    drain();
    stream.reset();
    return found;
}

Convolution drawn(std::size_t inputs, std::size_t outputs, std::size_t taps, std::size_t stride, std::size_t dilation, std::size_t before, std::size_t after) {
    Convolution found;
    found.inputs = inputs, found.outputs = outputs, found.taps = taps, found.stride = stride, found.dilation = dilation, found.before = before, found.after = after;
    found.weight = noise(outputs * inputs * taps), found.bias = noise(outputs);
    return found;
}

void convolutions_are_those_of_their_definition() {
    std::uniform_int_distribution<std::size_t> few(1, 4), pads(0, 9), widths(1, 90), lengths(1, 40);
    for (int round = 0; round < 200; ++round) {
        const std::size_t middle = widths(generator);
        Convolution one = drawn(few(generator), middle, few(generator), few(generator), few(generator), pads(generator), pads(generator));
        Convolution two = drawn(middle, few(generator), few(generator), few(generator), few(generator), pads(generator), pads(generator));
        one.replicate = round % 2, two.replicate = round % 3;
        if (round % 5 == 0) one.bias.clear();
        const auto x = noise(one.inputs * lengths(generator));
        const auto hidden = convolved(one, x);
        const auto expected = hidden.empty() ? hidden : convolved(two, hidden);
        Network network(one.inputs);
        CHECK(network.add(one).empty() && network.add(two).empty() && network.refusal().empty());
        CHECK(network.rows(x.size() / one.inputs) * two.outputs == expected.size());
        NetworkStream stream(network);
        for (int again = 0; again < 2; ++again) {
            const auto found = streamed(stream, network, x);
            CHECK(found.size() == expected.size());
            for (std::size_t i = 0; i < found.size(); ++i) CHECK(std::abs(found[i] - expected[i]) < 1e-3F);
        }
    }
}

Network listener() {
    Network network(39);
    CHECK(network.add(drawn(39, 96, 5, 2, 1, 2, 2)).empty());
    CHECK(network.add(Activation{Activation::Function::gelu}).empty());
    CHECK(network.add(ResidualBegin{}).empty());
    CHECK(network.add(drawn(96, 96, 3, 1, 4, 4, 4)).empty());
    CHECK(network.add(LayerNorm{1e-5F, noise(96), {}}).empty());
    CHECK(network.add(ResidualEnd{}).empty());
    CHECK(network.add(drawn(96, 20, 1, 1, 1, 0, 0)).empty());
    CHECK(network.add(LogSoftmax{}).empty());
    return network;
}

void a_sum_that_changes_its_rows_is_refused() {
    Network network(3);
    CHECK(network.add(ResidualBegin{}).empty());
    CHECK(!network.add(drawn(3, 3, 3, 1, 1, 0, 0)).empty());
    CHECK(!network.add(drawn(3, 3, 3, 2, 1, 1, 1)).empty());
    CHECK(network.add(drawn(3, 4, 3, 1, 1, 1, 1)).empty());
    CHECK(!network.add(ResidualEnd{}).empty());
    CHECK(!network.refusal().empty());
}

void streams_take_no_memory() {
    const Network network = listener();
    NetworkStream stream(network);
    FrontEnd front(sphinx(), {{}, {}, {}});
    std::vector<std::byte> file;
    for (const char letter : std::string("RIFF\xFF\xFF\xFF\xFFWAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\0\0\0", 44)) file.push_back(static_cast<std::byte>(letter));
    std::uniform_int_distribution<int> bytes(0, 255);
    file.resize(44 + 2 * 16000);
    for (std::size_t n = 44; n < file.size(); ++n) file[n] = static_cast<std::byte>(bytes(generator));
    MemorySource source(file);
    WavReader reader(source);
    std::vector<float> samples(160), features(39), out(20);
    std::size_t frames = 0;
    const std::size_t before = allocations;
    const auto drain = [&] {
        while (front.pull(features)) {
            stream.push(features);
            while (stream.pull(out)) ++frames;
        }
    };
    while (const std::size_t count = reader.read(samples))
        for (auto part = std::span<const float>(samples).first(count); !part.empty();) {
            part = part.subspan(front.push(part));
            drain();
        }
    front.finish();
    drain();
    stream.finish();
    while (stream.pull(out)) ++frames;
    CHECK(before > 0 && allocations == before);
    CHECK(frames == 50);
}

void the_c_interface_takes_no_memory(const std::string& corpus) {
    semihmm_model* model = nullptr;
    CHECK(semihmm_model_open((corpus + "/good-sound.safetensors").c_str(), &model) == SEMIHMM_OK);
    const semihmm_front_options options{sizeof options, 1, 0};
    semihmm_front* front = nullptr;
    CHECK(semihmm_front_open(model, &options, &front) == SEMIHMM_OK);
    const auto x = noise(400, 0.1F);
    const float* out = nullptr;
    int64_t frames = 0, all = 0;
    std::size_t before = 0;
    for (int push = 0; push < 200; ++push, all += frames) {
        if (push == 10) before = allocations;
        CHECK(semihmm_front_push(front, x.data(), 400, &out, &frames) == SEMIHMM_OK);
    }
    CHECK(allocations == before);
    CHECK(all > 980);
    semihmm_front_close(front);
    semihmm_model_close(model);
}

}  // namespace

int main(int count, char** words) {
    CHECK(count == 2);
    the_c_interface_takes_no_memory(words[1]);
    a_spectrum_is_that_of_its_definition();
    a_stream_of_features_is_the_whole();
    what_was_lost_is_nan_and_nothing_else();
    convolutions_are_those_of_their_definition();
    a_sum_that_changes_its_rows_is_refused();
    streams_take_no_memory();
}
