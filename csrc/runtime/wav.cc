#include "wav.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>

namespace semihmm_runtime {
namespace {

constexpr std::uint64_t kUnknown = 0x7FFFFF00;     // sizes from here on are written by programs that did not know yet
constexpr std::uint64_t kLongestHeader = 1 << 26;  // with pictures and whatever else stands before the sound
constexpr std::size_t kMostChannels = 1024, kFrames = 512;
constexpr std::uint16_t kIntegers = 1, kFloats = 3, kExtensible = 0xFFFE;
// What follows the coding in an extensible format's GUID.
constexpr std::array<unsigned char, 14> kGuid = {0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71};

std::uint64_t little(const std::byte* from, std::size_t bytes) {
    std::uint64_t found = 0;
    for (std::size_t i = 0; i < bytes; ++i) found |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
    return found;
}

bool is(const std::byte* from, const char* name) { return !std::memcmp(from, name, 4); }

}  // namespace

std::size_t FileSource::read(std::span<std::byte> to) {
    const std::size_t count = std::fread(to.data(), 1, to.size(), file_);
    if (count < to.size() && std::ferror(file_)) throw WavError(WavCode::unreadable, std::string("reading fails: ") + std::strerror(errno) + ".");
    return count;
}

std::size_t MemorySource::read(std::span<std::byte> to) {
    const std::size_t count = std::min(to.size(), left_.size());
    std::copy_n(left_.begin(), count, to.begin());
    left_ = left_.subspan(count);
    return count;
}

WavReader::WavReader(ByteSource& source, std::optional<std::size_t> channel, bool partial) : source_(source), channel_(channel), partial_(partial) {
    std::array<std::byte, 28> head;
    if (source_.read(std::span(head).first(12)) < 12 || !(is(head.data(), "RIFF") || is(head.data(), "RF64")) || !is(head.data() + 8, "WAVE"))
        throw WavError(WavCode::not_wav, "this is no RIFF file of sound. Convert it to WAV, such as with 'ffmpeg -i FILE -ac 1 FILE.wav'.");
    header_ = 12;
    std::optional<std::uint64_t> long_size;
    while (true) {
        take(std::span(head).first(8), "chunk");
        const std::uint64_t size = little(head.data() + 4, 4);
        if (is(head.data(), "data")) {
            if (!channels_) throw WavError(WavCode::damaged, "the sound comes before its format. Make the file again.");
            const bool elsewhere = size == 0xFFFFFFFF && long_size;
            const std::uint64_t bytes = elsewhere ? *long_size : size;
            if (bytes && (elsewhere || bytes < kUnknown)) promised_ = bytes / (bytes_ * channels_);
            break;
        }
        if (is(head.data(), "fmt ")) {
            format(size);
        } else if (is(head.data(), "ds64") && size >= 24) {
            take(std::span(head).first(24), "ds64");
            long_size = little(head.data() + 8, 8);
            skip(size - 24 + size % 2);
        } else {
            skip(size + size % 2);
        }
    }
    if (channel_ && *channel_ >= channels_)
        throw WavError(WavCode::unsupported, "there are channels 0 to " + std::to_string(channels_ - 1) + ", and " + std::to_string(*channel_) + " is none.");
    buffer_.resize(kFrames * bytes_ * channels_);
}

void WavReader::format(std::uint64_t size) {
    std::array<std::byte, 40> chunk{};
    const std::size_t held = static_cast<std::size_t>(std::min<std::uint64_t>(size, chunk.size()));
    if (size < 16) throw WavError(WavCode::damaged, "a format needs 16 bytes, and has " + std::to_string(size) + ". Make the file again.");
    take(std::span(chunk).first(held), "format");
    skip(size - held + size % 2);
    auto coding = static_cast<std::uint16_t>(little(chunk.data(), 2));
    if (coding == kExtensible && held == chunk.size() && !std::memcmp(chunk.data() + 26, kGuid.data(), kGuid.size()))
        coding = static_cast<std::uint16_t>(little(chunk.data() + 24, 2));
    channels_ = static_cast<std::size_t>(little(chunk.data() + 2, 2));
    rate_ = static_cast<std::uint32_t>(little(chunk.data() + 4, 4));
    const auto block = static_cast<std::size_t>(little(chunk.data() + 12, 2)), bits = static_cast<std::size_t>(little(chunk.data() + 14, 2));
    floating_ = coding == kFloats;
    bytes_ = (bits + 7) / 8;
    if (coding != kIntegers && coding != kFloats)
        throw WavError(WavCode::unsupported, "coding " + std::to_string(coding) + " is not read here, only integers (1) and floats (3). Convert the file, such as with "
                                             "'ffmpeg -i FILE -c:a pcm_s16le FILE.wav'.");
    if (floating_ ? bits != 32 && bits != 64 : !bits || bits > 32)
        throw WavError(WavCode::unsupported, std::to_string(bits) + " bits a sample are not read here. Convert the file to 16.");
    if (!channels_ || !rate_ || block != bytes_ * channels_)
        throw WavError(WavCode::damaged, std::to_string(channels_) + " channels of " + std::to_string(bits) + " bits at " + std::to_string(rate_) + " Hz in blocks of " +
                                         std::to_string(block) + " bytes contradict each other. Make the file again.");
    if (channels_ > kMostChannels)
        throw WavError(WavCode::unsupported, std::to_string(channels_) + " channels are not read here, at most " + std::to_string(kMostChannels) + ".");
}

void WavReader::take(std::span<std::byte> to, const char* of) {
    if (source_.read(to) < to.size())
        throw WavError(WavCode::cut_short, "the file ends within its header, in a " + std::string(of) + ". Fetch it again.");
    header_ += to.size();
    if (header_ > kLongestHeader) throw WavError(WavCode::damaged, "there is no sound within the first 64 MiB. Make the file again.");
}

void WavReader::skip(std::uint64_t count) {
    std::array<std::byte, 4096> aside;
    while (count) {
        const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(count, aside.size()));
        take(std::span(aside).first(part), "chunk");
        count -= part;
    }
}

double WavReader::sample(const std::byte* from) const {
    const std::uint64_t bits = little(from, bytes_);
    if (floating_) return bytes_ == 4 ? std::bit_cast<float>(static_cast<std::uint32_t>(bits)) : std::bit_cast<double>(bits);
    if (bytes_ == 1) return (static_cast<double>(bits) - 128) / 128;
    // To the top of 32 bits, where the sign is.
    return static_cast<double>(static_cast<std::int32_t>(static_cast<std::uint32_t>(bits << (32 - 8 * bytes_)))) / 0x1p31;
}

std::size_t WavReader::read(std::span<float> to) {
    const std::size_t block = bytes_ * channels_;
    std::size_t count = 0;
    while (count < to.size() && !ended_) {
        std::uint64_t asked = std::min(kFrames, to.size() - count);
        if (promised_) asked = std::min(asked, *promised_ - given_);
        const std::size_t held = asked ? source_.read(std::span(buffer_).first(static_cast<std::size_t>(asked) * block)) / block : 0;
        for (std::size_t n = 0; n < held; ++n) {
            const std::byte* const frame = buffer_.data() + n * block;
            double value = 0;
            if (channel_)
                value = sample(frame + *channel_ * bytes_);
            else
                for (std::size_t c = 0; c < channels_; ++c) value += sample(frame + c * bytes_);
            if (!channel_) value /= static_cast<double>(channels_);
            const auto rounded = static_cast<float>(value);
            if (!std::isfinite(rounded))
                throw WavError(WavCode::damaged, "sample " + std::to_string(given_ + n) + " is NaN or infinite. Whatever wrote the file failed there; make it again.");
            to[count + n] = rounded;
        }
        count += held;
        given_ += held;
        ended_ = held < asked || !asked;
    }
    if (count || !ended_ || to.empty()) return count;
    if (!given_) throw WavError(WavCode::no_sound, "there are no samples: a header with no sound after it.");
    if (promised_ && !partial_ && *promised_ - given_ >= (rate_ + std::uint64_t{99}) / 100)
        throw WavError(WavCode::cut_short, "the file was cut short: its header promises " + std::to_string(*promised_) + " samples, and it holds " +
                                           std::to_string(given_) + ". Fetch it again.");
    return 0;
}

}  // namespace semihmm_runtime
