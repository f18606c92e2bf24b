// What semihmm-infer hears: frames as they are, or what a model's front makes of them or of a recording.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "semihmm.h"
#include "wav.hpp"

class Input {
  public:
    virtual ~Input() = default;
    // Appends frames that up to so many more of what comes in bring, at least one but at the end; how many.
    virtual int64_t read(int64_t count, std::vector<float>& to) = 0;
};

// Samples of a WAV file, or of one on standard input.
class Sound final : public Input {
  public:
    explicit Sound(const std::string& path) : path_(path), file_(path == "-" ? stdin : std::fopen(path.c_str(), "rb")) {
        if (!file_) throw std::runtime_error("semihmm-infer: " + path + " cannot be read: " + std::strerror(errno) + ".");
        source_ = std::make_unique<semihmm_runtime::FileSource>(file_);
        named([&] { reader_ = std::make_unique<semihmm_runtime::WavReader>(*source_); });
    }
    Sound(const Sound&) = delete;
    ~Sound() override {
        if (file_ && file_ != stdin) std::fclose(file_);
    }
    double sample_rate() const { return reader_->sample_rate(); }
    int64_t read(int64_t count, std::vector<float>& to) override {
        const std::size_t before = to.size();
        to.resize(before + static_cast<std::size_t>(count));
        named([&] { to.resize(before + reader_->read(std::span(to).subspan(before))); });
        return static_cast<int64_t>(to.size() - before);
    }

  private:
    template <class Work>
    void named(const Work& work) const {
        try {
            work();
        } catch (const semihmm_runtime::WavError& error) {
            throw std::runtime_error("semihmm-infer: " + path_ + ": " + error.what() + " (wav error " + std::to_string(static_cast<int>(error.code)) + ")");
        }
    }

    std::string path_;
    std::FILE* file_;
    std::unique_ptr<semihmm_runtime::FileSource> source_;
    std::unique_ptr<semihmm_runtime::WavReader> reader_;
};

// What comes before a model's frames, and what comes before that.
class Fronted final : public Input {
  public:
    Fronted(const semihmm_model* model, bool samples, bool whole) {
        const semihmm_front_options options{sizeof options, samples, whole};
        semihmm_front* made = nullptr;
        check(semihmm_front_open(model, &options, &made));
        front_.reset(made);
        info_.size = sizeof info_;
        check(semihmm_front_info_of(made, &info_));
    }
    const semihmm_front_info& info() const { return info_; }
    // What comes in; so many samples, or frames, for a frame.
    void hear(std::unique_ptr<Input> from, int64_t each) { from_ = std::move(from), each_ = each; }
    int64_t read(int64_t count, std::vector<float>& to) override {
        while (!ended_) {
            in_.clear();
            const int64_t got = from_->read(std::min(count, kMost / each_) * each_, in_);
            const float* out = nullptr;
            int64_t frames = 0;
            ended_ = !got;
            check(got ? semihmm_front_push(front_.get(), in_.data(), got, &out, &frames) : semihmm_front_finish(front_.get(), &out, &frames));
            to.insert(to.end(), out, out + frames * info_.outputs);
            if (frames) return frames;
        }
        return 0;
    }

  private:
    static void check(semihmm_status status) {
        if (status != SEMIHMM_OK) throw std::runtime_error(semihmm_last_error());
    }
    struct Close {
        void operator()(semihmm_front* front) const { semihmm_front_close(front); }
    };

    static constexpr int64_t kMost = int64_t{1} << 20;  // at a time

    std::unique_ptr<semihmm_front, Close> front_;
    semihmm_front_info info_{};
    std::unique_ptr<Input> from_;
    std::vector<float> in_;
    int64_t each_ = 1;
    bool ended_ = false;
};
