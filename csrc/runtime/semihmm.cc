// The C interface: what it is given is checked here, and no exception leaves.
#include "semihmm.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include "front.hpp"
#include "machine.hpp"

using namespace semihmm_runtime;

struct semihmm_model {
    Description description;
    std::unique_ptr<Machine> machine;
    int64_t inputs = 0;
};

struct semihmm_stream {
    const semihmm_model* model;
    std::unique_ptr<Streaming> stream;
};

struct semihmm_front {
    Front front;
    double sample_rate, frame_rate;
};

namespace {

constexpr int64_t kMostFrames = int64_t(1) << 40, kMostLookahead = 100'000;

// Kept without memory of its own, so that nothing fails where something has failed.
thread_local char last_error[1024] = "";

semihmm_status say(semihmm_status status, const char* message) {
    std::snprintf(last_error, sizeof last_error, "%s", message);
    return status;
}

template <class Work>
semihmm_status guarded(const Work& work) noexcept {
    try {
        work();
        return SEMIHMM_OK;
    } catch (const Error& error) {
        return say(error.status, error.what());
    } catch (const std::bad_alloc&) {
        return say(SEMIHMM_NO_MEMORY, "semihmm: there is not enough memory.");
    } catch (const std::length_error&) {
        return say(SEMIHMM_NO_MEMORY, "semihmm: there is not enough memory.");
    } catch (const std::exception& error) {
        return say(SEMIHMM_INTERNAL, error.what());
    } catch (...) {
        return say(SEMIHMM_INTERNAL, "semihmm: something went wrong that has no name.");
    }
}

void must(bool holds, const char* what) {
    if (!holds) bad_argument(what);
}

// A structure of the caller's, of which it knows the first `size` bytes.
template <class T>
void check_sized(const T* given, std::size_t least) {
    must(given != nullptr, "a structure must not be null.");
    must(given->size >= least, "a structure's size must be set to sizeof before the call.");
}

void check_frames(const semihmm_model* model, const float* x, int64_t frames, int64_t least) {
    must(model != nullptr, "the model must not be null.");
    must(frames >= least, least ? "frames must be at least 1." : "frames must not be negative.");
    must(frames <= kMostFrames / std::max<int64_t>({model->inputs, model->description.columns, model->description.states}), "there are more frames than memory can hold.");
    must(x != nullptr || frames == 0, "x must not be null.");
}

void load(const void* data, std::size_t size, semihmm_model** model) {
    auto made = std::make_unique<semihmm_model>();
    made->description = Description::read(data, size);
    must(instruction_set().make != nullptr, "this processor has none of the instruction sets that the library was compiled for.");
    made->machine = instruction_set().make(made->description);
    made->inputs = made->description.emission.inputs;
    *model = made.release();
}

template <class Ask>
semihmm_status ask(const semihmm_model* model, const float* x, int64_t frames, const void* out, const Ask& question) {
    return guarded([&] {
        check_frames(model, x, frames, 1);
        must(out != nullptr, "where the answer goes must not be null.");
        std::vector<float> scores(static_cast<std::size_t>(frames * model->description.columns));
        model->machine->log_likelihoods(x, frames, scores.data());
        question(*model->machine, scores.data());
    });
}

}  // namespace

extern "C" {

int32_t semihmm_version(void) { return SEMIHMM_VERSION; }
const char* semihmm_isa(void) { return instruction_set().name; }
const char* semihmm_last_error(void) { return last_error; }

semihmm_status semihmm_model_open(const char* path, semihmm_model** model) {
    return guarded([&] {
        must(path != nullptr && model != nullptr, "path and model must not be null.");
        const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "rb"), std::fclose);
        std::vector<unsigned char> content;
        long size = -1;
        if (file && std::fseek(file.get(), 0, SEEK_END) == 0) size = std::ftell(file.get());
        if (size < 0 || size == std::numeric_limits<long>::max() || std::fseek(file.get(), 0, SEEK_SET) != 0) throw Error(SEMIHMM_NO_FILE, std::string("semihmm: ") + path + " cannot be read.");
        content.resize(static_cast<std::size_t>(size));
        if (std::fread(content.data(), 1, content.size(), file.get()) != content.size()) throw Error(SEMIHMM_NO_FILE, std::string("semihmm: ") + path + " cannot be read.");
        load(content.data(), content.size(), model);
    });
}
semihmm_status semihmm_model_read(const void* data, size_t size, semihmm_model** model) {
    return guarded([&] {
        must((data != nullptr || size == 0) && model != nullptr, "data and model must not be null.");
        load(data, size, model);
    });
}
void semihmm_model_close(semihmm_model* model) { delete model; }

semihmm_status semihmm_model_info(const semihmm_model* model, semihmm_info* info) {
    return guarded([&] {
        must(model != nullptr, "the model must not be null.");
        check_sized(info, sizeof *info);
        const Description& of = model->description;
        *info = {info->size, of.kind.c_str(), of.emission.kind.c_str(), model->inputs, of.states, of.columns, of.max_duration};
    });
}
semihmm_status semihmm_model_columns(const semihmm_model* model, int64_t* columns) {
    return guarded([&] {
        must(model != nullptr && columns != nullptr, "model and columns must not be null.");
        const Description& of = model->description;
        for (int64_t s = 0; s < of.states; ++s) columns[s] = of.column.empty() ? s : of.column[s];
    });
}
const char* semihmm_model_name(const semihmm_model* model, int64_t state) {
    if (!model || state < 0 || state >= static_cast<int64_t>(model->description.names.size())) return nullptr;
    return model->description.names[state].c_str();
}

semihmm_status semihmm_log_likelihoods(const semihmm_model* model, const float* x, int64_t frames, float* out) {
    return ask(model, x, frames, out, [&](const Machine&, const float* scores) { std::copy_n(scores, frames * model->description.columns, out); });
}
semihmm_status semihmm_log_prob(const semihmm_model* model, const float* x, int64_t frames, double* log_prob) {
    return ask(model, x, frames, log_prob, [&](const Machine& machine, const float* scores) { *log_prob = machine.log_prob(scores, frames); });
}
semihmm_status semihmm_posteriors(const semihmm_model* model, const float* x, int64_t frames, float* posteriors, double* log_prob) {
    return ask(model, x, frames, posteriors, [&](const Machine& machine, const float* scores) {
        const double value = machine.posteriors(scores, frames, posteriors);
        if (log_prob) *log_prob = value;
    });
}
semihmm_status semihmm_viterbi(const semihmm_model* model, const float* x, int64_t frames, int64_t* states, uint8_t* begins, double* score) {
    return ask(model, x, frames, states, [&](const Machine& machine, const float* scores) {
        const double value = machine.viterbi(scores, frames, states, begins);
        if (score) *score = value;
    });
}

semihmm_status semihmm_stream_open(const semihmm_model* model, const semihmm_stream_options* options, semihmm_stream** stream) {
    return guarded([&] {
        must(model != nullptr && stream != nullptr, "model and stream must not be null.");
        semihmm_stream_options chosen{sizeof chosen, 0, 0};
        if (options) check_sized(options, sizeof *options), chosen = *options;
        const Description& of = model->description;
        must(chosen.lookahead >= 0 && chosen.lookahead <= kMostLookahead, "lookahead must be from 0 to 100000.");
        must(chosen.max_delay >= 0 && chosen.max_delay <= kMostFrames, "max_delay must not be negative.");
        must(chosen.max_delay == 0 || chosen.max_delay >= of.max_duration, "max_delay must be at least as many frames as a state lasts.");
        auto made = std::make_unique<semihmm_stream>(semihmm_stream{model, model->machine->stream(chosen.lookahead, chosen.max_delay)});
        *stream = made.release();
    });
}
void semihmm_stream_close(semihmm_stream* stream) { delete stream; }

semihmm_status semihmm_stream_push(semihmm_stream* stream, const float* x, int64_t frames, semihmm_update* update) {
    return guarded([&] {
        must(stream != nullptr, "the stream must not be null.");
        check_frames(stream->model, x, frames, 0);
        semihmm_update own{};
        if (update) check_sized(update, sizeof *update);
        stream->stream->push(x, frames, update ? *update : own);
    });
}
semihmm_status semihmm_stream_finish(semihmm_stream* stream, semihmm_ending* ending) {
    return guarded([&] {
        must(stream != nullptr, "the stream must not be null.");
        check_sized(ending, sizeof *ending);
        must(stream->stream->seen() > 0, "there is nothing to finish before the first frame.");
        stream->stream->finish(*ending);
    });
}
void semihmm_stream_restart(semihmm_stream* stream) {
    if (stream) stream->stream->restart();
}

semihmm_status semihmm_front_open(const semihmm_model* model, const semihmm_front_options* options, semihmm_front** front) {
    return guarded([&] {
        must(model != nullptr && front != nullptr, "model and front must not be null.");
        check_sized(options, sizeof *options);
        const Description& of = model->description;
        auto made = std::make_unique<semihmm_front>(semihmm_front{Front(of, options->samples ? Front::From::samples : Front::From::frames, options->whole != 0), 0, 0});
        if (options->samples) {
            const FrontEndSettings& settings = of.features->settings;
            made->sample_rate = settings.sample_rate;
            made->frame_rate = settings.frame_rate / static_cast<double>(of.emission.network ? of.emission.network->stride() : 1);
        }
        *front = made.release();
    });
}
void semihmm_front_close(semihmm_front* front) { delete front; }

semihmm_status semihmm_front_info_of(const semihmm_front* front, semihmm_front_info* info) {
    return guarded([&] {
        must(front != nullptr, "the front must not be null.");
        check_sized(info, sizeof *info);
        *info = {info->size, static_cast<int64_t>(front->front.inputs()), static_cast<int64_t>(front->front.outputs()), front->sample_rate, front->frame_rate};
    });
}
semihmm_status semihmm_front_push(semihmm_front* front, const float* x, int64_t count, const float** out, int64_t* frames) {
    return guarded([&] {
        must(front != nullptr && out != nullptr && frames != nullptr, "front, out and frames must not be null.");
        must(count >= 0 && count <= kMostFrames / static_cast<int64_t>(front->front.inputs()), "count must not be negative, nor more than memory can hold.");
        must(x != nullptr || count == 0, "x must not be null.");
        const auto found = front->front.push({x, static_cast<std::size_t>(count) * front->front.inputs()});
        *out = found.data(), *frames = static_cast<int64_t>(found.size() / front->front.outputs());
    });
}
semihmm_status semihmm_front_finish(semihmm_front* front, const float** out, int64_t* frames) {
    return guarded([&] {
        must(front != nullptr && out != nullptr && frames != nullptr, "front, out and frames must not be null.");
        const auto found = front->front.finish();
        *out = found.data(), *frames = static_cast<int64_t>(found.size() / front->front.outputs());
    });
}
void semihmm_front_restart(semihmm_front* front) {
    if (front) front->front.restart();
}

}  // extern "C"
