// semihmm-infer: what a model says of a recording, as JSON lines.
#include <cerrno>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "semihmm.h"

namespace {

constexpr const char* kUsage =
    "Usage: semihmm-infer MODEL INPUT [--stream] [--chunk FRAMES] [--max-delay FRAMES] [--lookahead FRAMES] [--posteriors]\n\n"
    "MODEL is a file that semihmm.export.runtime wrote, INPUT a .npy file of float32 frames (T, inputs), or - for float32 numbers on\n"
    "standard input. Prints JSON lines: without --stream one, with the log-likelihood and the best path; with --stream one for each\n"
    "chunk (10 frames) with the states that are final, and one at the end.\n";

struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void check(semihmm_status status) {
    if (status != SEMIHMM_OK) throw Failure(semihmm_last_error());
}

template <class T, void (*close)(T*)>
struct Closed {
    void operator()(T* x) const { close(x); }
};
using Model = std::unique_ptr<semihmm_model, Closed<semihmm_model, semihmm_model_close>>;
using Stream = std::unique_ptr<semihmm_stream, Closed<semihmm_stream, semihmm_stream_close>>;

// Frames, a chunk at a time.
class Frames {
  public:
    Frames(const std::string& path, int64_t inputs) : path_(path), inputs_(inputs), file_(path == "-" ? stdin : std::fopen(path.c_str(), "rb")) {
        if (!file_) throw Failure("semihmm-infer: " + path + " cannot be read: " + std::strerror(errno) + ".");
        if (path != "-") read_header();
    }
    Frames(const Frames&) = delete;
    ~Frames() {
        if (file_ != stdin) std::fclose(file_);
    }
    // Up to so many more, behind what there is; how many.
    int64_t read(int64_t count, std::vector<float>& to) {
        const std::size_t before = to.size();
        if (left_ >= 0) count = std::min(count, left_);
        to.resize(before + static_cast<std::size_t>(count * inputs_));
        const std::size_t got = std::fread(to.data() + before, sizeof(float), to.size() - before, file_);
        const bool whole = got % static_cast<std::size_t>(inputs_) == 0 && (left_ < 0 || got == to.size() - before);
        if (!whole) throw Failure("semihmm-infer: " + path_ + " ends within its frames of " + std::to_string(inputs_) + " numbers.");
        to.resize(before + got);
        const auto frames = static_cast<int64_t>(got) / inputs_;
        if (left_ >= 0) left_ -= frames;
        return frames;
    }

  private:
    [[noreturn]] void refuse(const std::string& got) const {
        throw Failure("semihmm-infer: " + path_ + " must be a .npy file of float32 numbers (T, " + std::to_string(inputs_) + ") in C order, got " + got + ".");
    }
    void read_header() {
        unsigned char start[12] = {};
        if (std::fread(start, 1, 10, file_) != 10 || std::memcmp(start, "\x93NUMPY", 6) != 0) refuse("another file");
        std::size_t length = start[8] + 256u * start[9];
        if (start[6] > 1) {
            if (std::fread(start + 10, 1, 2, file_) != 2) refuse("a file that is cut short");
            length += 65536u * start[10] + 16777216u * start[11];
        }
        if (length > 65536) refuse("a header of " + std::to_string(length) + " bytes");
        std::string header(length, ' ');
        if (std::fread(header.data(), 1, length, file_) != length) refuse("a file that is cut short");
        const std::size_t shape = header.find("'shape': (");
        if (header.find("'descr': '<f4'") == std::string::npos || header.find("'fortran_order': False") == std::string::npos || shape == std::string::npos) refuse("header " + header.substr(0, header.find_last_not_of(" \n") + 1));
        const char* at = header.c_str() + shape + std::strlen("'shape': (");
        char* end = nullptr;
        const long long frames = std::strtoll(at, &end, 10);
        const long long each = *end == ',' ? std::strtoll(end + 1, &end, 10) : -1;
        const bool line = each == 0 && inputs_ == 1;  // "(T,)"
        if (*end != ')' || frames < 0 || (each != inputs_ && !line)) refuse("shape " + std::string(at - 1, header.find(')', shape) + 1 - shape - std::strlen("'shape': ") ));
        left_ = frames;
    }

    std::string path_;
    int64_t inputs_, left_ = -1;
    std::FILE* file_;
};

// As JSON has it: what is no number there is null.
void print_number(double x) { std::isfinite(x) ? std::printf("%.9g", x) : std::printf("null"); }

void print_text(const char* text) {
    std::putchar('"');
    for (; *text; ++text) {
        const auto c = static_cast<unsigned char>(*text);
        if (c == '"' || c == '\\') std::putchar('\\');
        c < 0x20 ? std::printf("\\u%04x", c) : std::putchar(c);
    }
    std::putchar('"');
}

class Printer {
  public:
    explicit Printer(const semihmm_model* model) : model_(model) {}

    void states(const char* name, const int64_t* states, int64_t count) const {
        std::printf("\"%s\": [", name);
        for (int64_t i = 0; i < count; ++i) std::printf("%s%" PRId64, i ? ", " : "", states[i]);
        std::printf("]");
        if (!semihmm_model_name(model_, 0)) return;
        std::printf(", \"names\": [");
        for (int64_t i = 0; i < count; ++i) {
            if (i) std::printf(", ");
            const char* const word = semihmm_model_name(model_, states[i]);
            word ? print_text(word) : (void)std::printf("null");
        }
        std::printf("]");
    }
    template <class T>
    static void rows(const char* name, const T* x, int64_t count, int64_t size) {
        std::printf(", \"%s\": [", name);
        for (int64_t i = 0; i < count; ++i)
            for (int64_t j = 0; j < size; ++j) {
                std::printf(j ? ", " : i ? ", [" : "[");
                print_number(x[i * size + j]);
                if (j + 1 == size) std::printf("]");
            }
        std::printf("]");
    }

  private:
    const semihmm_model* model_;
};

struct Options {
    std::string model, input;
    bool stream = false, posteriors = false;
    int64_t chunk = 10, max_delay = 0, lookahead = 0;
};

int64_t number_of(const char* option, const char* text) {
    char* end = nullptr;
    errno = 0;
    const long long found = text ? std::strtoll(text, &end, 10) : -1;
    if (!text || end == text || *end || errno || found < 0) throw Failure(std::string("semihmm-infer: ") + option + " takes a number of frames.");
    return found;
}

Options options_of(int count, char** words) {
    Options found;
    std::vector<std::string> places;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        const auto number = [&] {
            const char* const next = i + 1 < count ? words[i + 1] : nullptr;
            return number_of(words[i++], next);
        };
        if (word == "--stream") found.stream = true;
        else if (word == "--posteriors") found.posteriors = true;
        else if (word == "--chunk") found.chunk = number();
        else if (word == "--max-delay") found.max_delay = number();
        else if (word == "--lookahead") found.lookahead = number();
        else if (word.size() > 1 && word[0] == '-') throw Failure("semihmm-infer: there is no option " + word + ".\n\n" + kUsage);
        else places.push_back(word);
    }
    if (places.size() != 2) throw Failure(std::string("semihmm-infer: takes a model and an input.\n\n") + kUsage);
    if (found.chunk < 1) throw Failure("semihmm-infer: --chunk takes at least 1 frame.");
    found.model = places[0], found.input = places[1];
    return found;
}

void whole(const semihmm_model* model, const semihmm_info& info, const Options& options) {
    Frames frames(options.input, info.inputs);
    std::vector<float> x;
    while (frames.read(4096, x)) {}
    const auto count = static_cast<int64_t>(x.size()) / info.inputs;
    double log_prob = 0, score = 0;
    std::vector<int64_t> states(static_cast<std::size_t>(count));
    std::vector<float> posteriors(options.posteriors ? static_cast<std::size_t>(count * info.columns) : 0);
    check(semihmm_viterbi(model, x.data(), count, states.data(), nullptr, &score));
    check(options.posteriors ? semihmm_posteriors(model, x.data(), count, posteriors.data(), &log_prob) : semihmm_log_prob(model, x.data(), count, &log_prob));
    std::printf("{\"frames\": %" PRId64 ", \"log_likelihood\": ", count);
    print_number(log_prob);
    std::printf(", \"score\": ");
    print_number(score);
    std::printf(", ");
    const Printer printer(model);
    printer.states("states", states.data(), count);
    if (options.posteriors) printer.rows("posteriors", posteriors.data(), count, info.columns);
    std::puts("}");
}

void streamed(const semihmm_model* model, const semihmm_info& info, const Options& options) {
    Frames frames(options.input, info.inputs);
    const semihmm_stream_options chosen{sizeof chosen, options.lookahead, options.max_delay};
    semihmm_stream* made = nullptr;
    check(semihmm_stream_open(model, &chosen, &made));
    const Stream stream(made);
    const Printer printer(model);
    std::vector<float> x;
    int64_t seen = 0;
    for (; frames.read(options.chunk, x); x.clear()) {
        semihmm_update update{};
        update.size = sizeof update;
        check(semihmm_stream_push(stream.get(), x.data(), static_cast<int64_t>(x.size()) / info.inputs, &update));
        seen += update.frames;
        std::printf("{\"frames\": %" PRId64 ", \"log_likelihood\": ", seen);
        print_number(update.log_likelihood[update.frames - 1]);
        std::printf(", \"first\": %" PRId64 ", ", update.first);
        printer.states("states", update.states, update.committed);
        if (options.posteriors) printer.rows("filtered", update.filtered, update.frames, info.states);
        if (options.posteriors && update.smoothed) printer.rows("smoothed", update.smoothed, update.frames, info.states);
        std::puts("}");
        std::fflush(stdout);
    }
    if (!seen) return;
    semihmm_ending ending{};
    ending.size = sizeof ending;
    check(semihmm_stream_finish(stream.get(), &ending));
    std::printf("{\"frames\": %" PRId64 ", \"end\": true, \"log_likelihood\": ", seen);
    print_number(ending.log_likelihood);
    std::printf(", \"score\": ");
    print_number(ending.score);
    std::printf(", \"first\": %" PRId64 ", ", ending.first);
    printer.states("states", ending.states, ending.committed);
    if (options.posteriors && ending.smoothed) printer.rows("smoothed", ending.smoothed, ending.smoothed_frames, info.states);
    std::puts("}");
}

}  // namespace

int main(int count, char** words) {
    try {
        if (count == 2 && (!std::strcmp(words[1], "--help") || !std::strcmp(words[1], "-h"))) return std::fputs(kUsage, stdout), 0;
        const Options options = options_of(count, words);
        semihmm_model* made = nullptr;
        check(semihmm_model_open(options.model.c_str(), &made));
        const Model model(made);
        semihmm_info info{};
        info.size = sizeof info;
        check(semihmm_model_info(model.get(), &info));
        options.stream ? streamed(model.get(), info, options) : whole(model.get(), info, options);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
