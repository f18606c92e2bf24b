// Whatever the bytes of a file are, loading them gives a model or an error; and a model answers whatever it is asked.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "semihmm.h"

namespace {

constexpr int64_t kFrames = 12, kMostWork = 1 << 20;

[[noreturn]] void wrong(const char* what) {
    std::fprintf(stderr, "fuzz: %s: %s\n", what, semihmm_last_error());
    std::abort();
}

// An answer is given, or refused for what the observations are.
bool answered(semihmm_status status) {
    if (status == SEMIHMM_INTERNAL) wrong("an error without a name");
    return status == SEMIHMM_OK;
}

// What comes before frames, if the file has it: as many frames at once as sample by sample.
void hear(const semihmm_model* model, const uint8_t* data, std::size_t size) {
    for (const int32_t samples : {0, 1}) {
        const semihmm_front_options options{sizeof options, samples, 0};
        semihmm_front* front = nullptr;
        if (!answered(semihmm_front_open(model, &options, &front))) continue;
        semihmm_front_info info{};
        info.size = sizeof info;
        if (!answered(semihmm_front_info_of(front, &info))) wrong("a front without info");
        const int64_t count = samples ? 3000 : kFrames;
        if (info.inputs * count + info.outputs * kFrames < kMostWork && static_cast<double>(count) * info.frame_rate <= 200 * info.sample_rate) {
            std::vector<float> x(static_cast<std::size_t>(count * info.inputs));
            for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(data[i % size] - 128) / 128;
            int64_t frames = 0, one = 0, all[2] = {};
            const float* out = nullptr;
            for (const int64_t step : {count, int64_t{1}}) {
                int64_t& sum = all[step == 1];
                for (int64_t at = 0; at < count; at += step, sum += frames)
                    if (!answered(semihmm_front_push(front, x.data() + at * info.inputs, step, &out, &frames))) wrong("numbers that are refused");
                if (!answered(semihmm_front_finish(front, &out, &one))) wrong("an end that is refused");
                sum += one;
            }
            if (all[0] != all[1]) wrong("frames that depend on how they come");
        }
        semihmm_front_close(front);
    }
}

void ask(const semihmm_model* model, const uint8_t* data, std::size_t size) {
    semihmm_info info{};
    info.size = sizeof info;
    if (!answered(semihmm_model_info(model, &info))) wrong("a model without info");
    const int64_t columns = info.columns, states = info.states;
    if ((states + columns + info.inputs) * info.max_duration * kFrames > kMostWork) return;
    std::vector<float> x(static_cast<std::size_t>(kFrames * info.inputs)), out(static_cast<std::size_t>(kFrames * columns));
    std::vector<int64_t> path(static_cast<std::size_t>(std::max(kFrames, states)));
    std::vector<uint8_t> begins(kFrames);
    for (std::size_t i = 0; i < x.size(); ++i) {
        const int byte = data[i * 131 % size];
        x[i] = byte > 252 ? std::numeric_limits<float>::quiet_NaN() : byte > 249 ? -std::numeric_limits<float>::infinity() : info.inputs == 1 ? static_cast<float>(byte % 4) : static_cast<float>(byte - 128) / 16;
    }
    double value = 0, score = 0;
    if (!answered(semihmm_model_columns(model, path.data()))) wrong("a model without columns");
    for (int64_t s = 0; s < states; ++s)
        if (path[s] < 0 || path[s] >= columns) wrong("a column that is none");
    answered(semihmm_log_prob(model, x.data(), kFrames, &value));
    answered(semihmm_posteriors(model, x.data(), kFrames, out.data(), &value));
    if (answered(semihmm_viterbi(model, x.data(), kFrames, path.data(), begins.data(), &score)))
        for (int64_t t = 0; t < kFrames; ++t)
            if (path[t] < -1 || path[t] >= states) wrong("a state that is none");
    const bool delayed = data[size / 2] % 2;
    const semihmm_stream_options options{sizeof options, data[size / 3] % 4, delayed ? info.max_duration : 0};
    semihmm_stream* stream = nullptr;
    if (!answered(semihmm_stream_open(model, &options, &stream))) return;
    semihmm_update update{};
    update.size = sizeof update;
    int64_t told = 0, seen = 0;
    for (int64_t t = 0; t < kFrames; t += 3)
        if (answered(semihmm_stream_push(stream, x.data() + t * info.inputs, 3, &update))) {
            if (update.first != told) wrong("states that are told twice");
            told += update.committed, seen += update.frames;
        }
    semihmm_ending ending{};
    ending.size = sizeof ending;
    if (answered(semihmm_stream_finish(stream, &ending)) && told + ending.committed != seen) wrong("frames without a state");
    semihmm_stream_close(stream);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
    semihmm_model* model = nullptr;
    if (answered(semihmm_model_read(data, size, &model))) hear(model, data, size), ask(model, data, size);
    semihmm_model_close(model);
    return 0;
}

#if SEMIHMM_OWN_FUZZER

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

namespace {

using Bytes = std::vector<uint8_t>;

class Mutator {
  public:
    Mutator(uint64_t seed, const std::vector<Bytes>& corpus) : random_(seed), corpus_(corpus) {}

    // All of a file changed, or its header alone, whose length is put right, or its numbers alone: so that what is behind is reached.
    Bytes next() {
        const Bytes& file = corpus_[below(corpus_.size())];
        uint64_t length = 0;
        if (file.size() >= 8) std::memcpy(&length, file.data(), 8);
        const std::size_t way = length > 0 && length <= file.size() - 8 ? below(5) : 0;
        const auto border = file.begin() + (way ? 8 + static_cast<std::ptrdiff_t>(length) : 0);
        Bytes header(file.begin() + (way ? 8 : 0), border), numbers(border, file.end());
        if (way > 2) {
            for (std::size_t i = 1 + below(4); i-- > 0 && !numbers.empty();) set(numbers);
        } else {
            Bytes& part = way ? header : numbers;
            for (std::size_t i = 1 + below(way ? 3 : 6); i-- > 0 && !part.empty();) mutate(part, way != 0);
        }
        if (!way) return numbers;
        Bytes made(8);
        length = header.size();
        std::memcpy(made.data(), &length, 8);
        made.insert(made.end(), header.begin(), header.end());
        made.insert(made.end(), numbers.begin(), numbers.end());
        return made;
    }

  private:
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
    // Some bytes in place.
    void set(Bytes& file) {
        static const float numbers[] = {0.0f, -0.0f, 1e38f, -1e38f, 1e-45f, 90.0f, -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
        const std::size_t at = below(file.size());
        switch (below(3)) {
            case 0: file[at] ^= static_cast<uint8_t>(1u << below(8)); break;
            case 1: file[at] = static_cast<uint8_t>(below(256)); break;
            default:
                if (file.size() - at / 4 * 4 >= 4) std::memcpy(file.data() + at / 4 * 4, &numbers[below(std::size(numbers))], 4);
        }
    }
    void mutate(Bytes& file, bool text) {
        static const char* const words[] = {"-1", "0", "1", "2", "3", "1e308", "9223372036854775807", "4294967296", "1.5", "null", "[]", "{}", "true", "\"\"", "\"F32\"", "\"I64\"", "\"arcs\"", "\"banded\"",
                                            "\"hsmm\"", "\"ctc\"", "[[[[[[[[", "\\\"mixture\\\"", "\\\"full\\\"", "\\ud800", "\"shape\":[0]", ","};
        const std::size_t at = below(file.size()), span = std::min<std::size_t>(1 + below(16), file.size() - at);
        const auto place = file.begin() + static_cast<std::ptrdiff_t>(at);
        switch (below(text ? 8 : 7)) {
            case 0:
            case 1: set(file); break;
            case 2: file.erase(place, place + static_cast<std::ptrdiff_t>(span)); break;
            case 3: {
                const Bytes copy(place, place + static_cast<std::ptrdiff_t>(span));
                file.insert(file.begin() + static_cast<std::ptrdiff_t>(below(file.size())), copy.begin(), copy.end());
                break;
            }
            case 4: file.resize(at); break;
            case 5: {
                const Bytes& other = corpus_[below(corpus_.size())];
                if (other.empty()) break;
                const std::size_t from = below(other.size()), count = std::min<std::size_t>(1 + below(64), other.size() - from);
                file.insert(place, other.begin() + static_cast<std::ptrdiff_t>(from), other.begin() + static_cast<std::ptrdiff_t>(from + count));
                break;
            }
            default: {  // in place of a word, where there is one
                const char* const word = words[below(std::size(words))];
                auto end = place;
                while (end != file.end() && (*end >= '0' && *end <= '9')) ++end;
                const auto there = file.erase(place, end);
                file.insert(there, word, word + std::strlen(word));
            }
        }
    }

    std::mt19937_64 random_;
    const std::vector<Bytes>& corpus_;
};

}  // namespace

// fuzz [--count N] [--seconds S] [--seed K] FOLDER...: each file as it is, then N mutations, or as many as take S seconds. The same seed
// makes the same files.
int main(int count, char** words) {
    uint64_t mutations = 0, seed = 1;
    double seconds = 0;
    std::vector<Bytes> corpus;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        if (word == "--count" && i + 1 < count) mutations = std::strtoull(words[++i], nullptr, 10);
        else if (word == "--seed" && i + 1 < count) seed = std::strtoull(words[++i], nullptr, 10);
        else if (word == "--seconds" && i + 1 < count) seconds = std::strtod(words[++i], nullptr);
        else
            for (const auto& entry : std::filesystem::directory_iterator(word)) {
                std::ifstream file(entry.path(), std::ios::binary);
                corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
                const std::string name = entry.path().filename().string();
                semihmm_model* model = nullptr;
                const bool good = semihmm_model_read(corpus.back().data(), corpus.back().size(), &model) == SEMIHMM_OK;
                semihmm_model_close(model);
                if (good != (name.rfind("good-", 0) == 0)) return std::fprintf(stderr, "fuzz: %s is %s: %s\n", name.c_str(), good ? "a model" : "none", semihmm_last_error()), 1;
                LLVMFuzzerTestOneInput(corpus.back().data(), corpus.back().size());
            }
    }
    if (corpus.empty()) return std::fprintf(stderr, "fuzz: takes a folder of files\n"), 2;
    Mutator mutator(seed, corpus);
    const auto begin = std::chrono::steady_clock::now();
    const auto passed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
    uint64_t done = 0, models = 0;
    for (; done < mutations || (seconds > 0 && passed() < seconds); ++done) {
        const Bytes file = mutator.next();
        semihmm_model* model = nullptr;
        if (semihmm_model_read(file.data(), file.size(), &model) == SEMIHMM_OK) ++models;
        semihmm_model_close(model);
        LLVMFuzzerTestOneInput(file.data(), file.size());
    }
    std::printf("%llu files, %llu of them models\n", static_cast<unsigned long long>(done), static_cast<unsigned long long>(models));
    return 0;
}

#endif
