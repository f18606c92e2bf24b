// Sound in RIFF files, as they come: from a file, a pipe that has no end yet, or memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace semihmm_runtime {

enum class WavCode {
    not_wav = 1,      // no RIFF file of sound
    damaged = 2,      // a header that contradicts itself, or samples that are no numbers
    unsupported = 3,  // a coding that is not read here
    cut_short = 4,    // 10 ms or more of what the header promises are missing
    no_sound = 5,     // a header, and no samples after it
    unreadable = 6,   // the system says why
};

struct WavError : std::runtime_error {
    WavError(WavCode code, const std::string& message) : std::runtime_error("wav: " + message), code(code) {}
    WavCode code;
};

class ByteSource {
public:
    virtual ~ByteSource() = default;
    // Fills `to`; says how many bytes there were, which are fewer only at the end.
    virtual std::size_t read(std::span<std::byte> to) = 0;
};

class FileSource final : public ByteSource {
public:
    explicit FileSource(std::FILE* file) : file_(file) {}  // which the caller closes
    std::size_t read(std::span<std::byte> to) override;

private:
    std::FILE* file_;
};

class MemorySource final : public ByteSource {
public:
    explicit MemorySource(std::span<const std::byte> bytes) : left_(bytes) {}
    std::size_t read(std::span<std::byte> to) override;

private:
    std::span<const std::byte> left_;
};

// Integers of 8, 16, 24 and 32 bits and floats of 32 and 64, of any number of channels, in RIFF and RF64. A size of 0, or one of
// 2 GiB less 256 bytes or more, is of a program that did not know yet: all that follows is sound.
class WavReader {
public:
    // Reads the header. `channel` is the one to hear; none: the mean of all. `partial`: take what there is of a file that was cut
    // short. `source` is used until the reader is gone.
    explicit WavReader(ByteSource& source, std::optional<std::size_t> channel = {}, bool partial = false);

    std::uint32_t sample_rate() const { return rate_; }
    std::size_t channels() const { return channels_; }
    // How many samples the header promises; none if it does not know.
    std::optional<std::uint64_t> promised() const { return promised_; }

    // The next samples, full scale = 1; fewer than `to` holds only at the end. A file that was cut short fails when all that it
    // has were given. Nothing is allocated, unless it fails.
    std::size_t read(std::span<float> to);

private:
    void format(std::uint64_t size);
    void take(std::span<std::byte> to, const char* of);
    void skip(std::uint64_t count);
    double sample(const std::byte* from) const;

    ByteSource& source_;
    std::optional<std::size_t> channel_;
    bool partial_, floating_ = false, ended_ = false;
    std::uint32_t rate_ = 0;
    std::size_t channels_ = 0, bytes_ = 0;  // bytes_: of a sample
    std::uint64_t header_ = 0, given_ = 0;
    std::optional<std::uint64_t> promised_;
    std::vector<std::byte> buffer_;
};

}  // namespace semihmm_runtime
