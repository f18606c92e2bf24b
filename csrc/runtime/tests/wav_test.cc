// Sound in, the same sound out, whatever it is written as; and of files that are damaged, in every way that a random byte can
// damage them, an error that says so, and nothing read or written where it must not be.
#include "../wav.hpp"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>

using namespace semihmm_runtime;

namespace {

#define CHECK(what) \
    ((what) ? (void)0 : (std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what), std::exit(1)))

using Bytes = std::vector<std::byte>;

void put(Bytes& to, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to.push_back(static_cast<std::byte>(value >> (8 * i)));
}

void put(Bytes& to, const char* text) {
    for (; *text; ++text) to.push_back(static_cast<std::byte>(*text));
}

struct Layout {
    int coding, bits, channels;
    bool extensible = false;
    std::uint64_t data_size = 1;  // 1: what there is
    std::uint32_t rate = 8000;
};

// Sample n of channel c is (n - c) / 64.
Bytes file(const Layout& layout, int samples) {
    Bytes sound;
    for (int n = 0; n < samples; ++n)
        for (int c = 0; c < layout.channels; ++c) {
            const double value = (n - c) / 64.0;
            if (layout.coding == 3 && layout.bits == 64) put(sound, std::bit_cast<std::uint64_t>(value), 8);
            else if (layout.coding == 3) put(sound, std::bit_cast<std::uint32_t>(static_cast<float>(value)), 4);
            else if (layout.bits == 8) put(sound, static_cast<std::uint64_t>(value * 128 + 128), 1);
            else put(sound, static_cast<std::uint64_t>(static_cast<std::int64_t>(std::ldexp(value, layout.bits - 1))), layout.bits / 8);
        }
    Bytes found;
    put(found, "RIFF"), put(found, 0xFFFFFFFF, 4), put(found, "WAVE");
    put(found, "LIST"), put(found, 3, 4), put(found, 0, 4);  // three bytes and one for an even size
    put(found, "fmt "), put(found, layout.extensible ? 40 : 16, 4), put(found, layout.extensible ? 0xFFFE : layout.coding, 2);
    const int block = layout.channels * layout.bits / 8;
    put(found, layout.channels, 2), put(found, layout.rate, 4), put(found, layout.rate * block, 4), put(found, block, 2), put(found, layout.bits, 2);
    if (layout.extensible) {
        put(found, 22, 2), put(found, layout.bits, 2), put(found, 0, 4), put(found, layout.coding, 2);
        for (const int byte : {0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71}) put(found, byte, 1);
    }
    put(found, "data"), put(found, layout.data_size == 1 ? sound.size() : layout.data_size, 4);
    found.insert(found.end(), sound.begin(), sound.end());
    return found;
}

std::vector<float> read(std::span<const std::byte> bytes, std::size_t block, std::optional<std::size_t> channel = {}, bool partial = false) {
    MemorySource source(bytes);
    WavReader reader(source, channel, partial);
    std::vector<float> found, part(block);
    while (const std::size_t count = reader.read(part)) {
        CHECK(count <= block);
        found.insert(found.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(count));
        if (found.size() > 1 << 20) break;
    }
    return found;
}

// 0 where nothing fails.
int code(std::span<const std::byte> bytes, std::optional<std::size_t> channel = {}, bool partial = false) {
    try {
        read(bytes, 100, channel, partial);
        return 0;
    } catch (const WavError& error) {
        CHECK(std::strlen(error.what()) > 20);
        return static_cast<int>(error.code);
    }
}

void each_coding_is_read() {
    for (const auto& [coding, bits] : std::initializer_list<std::pair<int, int>>{{1, 8}, {1, 16}, {1, 24}, {1, 32}, {3, 32}, {3, 64}})
        for (const int channels : {1, 2, 5})
            for (const bool extensible : {false, true})
                for (const std::size_t block : {1, 7, 4000}) {
                    const auto found = read(file({coding, bits, channels, extensible}, 60), block);
                    CHECK(found.size() == 60);
                    for (int n = 0; n < 60; ++n) CHECK(std::abs(found[n] - (n - (channels - 1) / 2.0) / 64) < 1e-7);
                    const auto last = read(file({coding, bits, channels, extensible}, 60), block, channels - 1);
                    for (int n = 0; n < 60; ++n) CHECK(last[n] == static_cast<float>(n - channels + 1) / 64);
                }
}

void sizes_that_nobody_knew_are_followed_by_all_there_is() {
    for (const std::uint64_t size : {0ull, 0xFFFFFFFFull, 0x7FFFFF00ull, 0x80000000ull})
        CHECK(read(file({1, 16, 2, false, size}, 50), 7).size() == 50);
    CHECK(code(file({1, 16, 1, false, 0}, 0)) == static_cast<int>(WavCode::no_sound));
}

void long_files_say_their_size_elsewhere() {
    Bytes bytes = file({1, 16, 1, false, 0xFFFFFFFF}, 50), ds64;
    std::memcpy(bytes.data(), "RF64", 4);
    put(ds64, "ds64"), put(ds64, 28, 4), put(ds64, 0, 8), put(ds64, 60, 8), put(ds64, 30, 8), put(ds64, 0, 4);
    bytes.insert(bytes.begin() + 12, ds64.begin(), ds64.end());
    CHECK(read(bytes, 7).size() == 30);
}

void each_fault_has_its_code() {
    using enum WavCode;
    const auto is = [](const Bytes& bytes, WavCode expected) { return code(bytes) == static_cast<int>(expected); };
    const Bytes whole = file({1, 16, 1}, 200);
    CHECK(code(whole) == 0);
    CHECK(is({}, not_wav));
    CHECK(is(Bytes(100), not_wav));
    const auto changed = [&](std::size_t at, std::initializer_list<int> bytes) {
        Bytes found = whole;
        for (const int byte : bytes) found[at++] = static_cast<std::byte>(byte);
        return found;
    };
    CHECK(is(changed(0, {'R', 'I', 'F', 'X'}), not_wav));
    const std::size_t format = 12 + 12 + 8;
    CHECK(is(changed(format, {6}), unsupported));             // A-law
    CHECK(code(changed(format + 14, {12})) == 0);  // 12 bits lie in two bytes
    CHECK(is(changed(format + 14, {40}), unsupported));
    CHECK(is(changed(format + 14, {0}), unsupported));
    CHECK(is(changed(format + 2, {0, 0}), damaged));
    CHECK(is(changed(format + 4, {0, 0, 0, 0}), damaged));
    CHECK(is(changed(format + 12, {7}), damaged));
    CHECK(is(changed(format - 4, {15}), damaged));
    CHECK(is(changed(format - 8, {'f', 'm', 't', 'x'}), damaged));  // the sound comes before its format
    CHECK(is(file({1, 8, 1025}, 3), unsupported));
    CHECK(code(whole, 1) == static_cast<int>(unsupported));

    Bytes bad = file({3, 32, 1}, 0);
    put(bad, std::bit_cast<std::uint32_t>(std::numeric_limits<float>::quiet_NaN()), 4);
    bad[bad.size() - 8] = std::byte{4};
    CHECK(is(bad, damaged));

    for (std::size_t length = 0; length < whole.size(); ++length) {
        const std::span<const std::byte> part(whole.data(), length);
        const int found = code(part), expected = static_cast<int>(length < 12 ? not_wav : length < 56 ? cut_short : length < 58 ? no_sound : cut_short);
        const bool slight = length >= 56 + 2 * (200 - 79);  // less than 10 ms of 8 kHz are missing
        CHECK(found == (slight ? 0 : expected));
        if (length >= 58) CHECK(read(part, 9, {}, true).size() == (length - 56) / 2);
    }
}

// Mutated headers, and bytes that were never a header.
void damage_is_an_error_or_sound(int rounds) {
    std::uint64_t state = 88172645463325252;
    const auto draw = [&](std::uint64_t below) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        return state % below;
    };
    int failed = 0;
    for (int round = 0; round < rounds; ++round) {
        const Layout layout{draw(2) ? 1 : 3, 32, 1 + static_cast<int>(draw(3)), draw(2) == 1};
        Bytes bytes = file(layout, static_cast<int>(draw(20)));
        const auto header = std::min<std::size_t>(bytes.size(), 100);
        for (auto left = 1 + draw(4); left; --left) {
            const std::uint64_t edges[] = {0, 1, 0x7F, 0x80, 0xFF, draw(256)};
            bytes[draw(header)] = static_cast<std::byte>(edges[draw(6)]);
        }
        if (!draw(4)) bytes.resize(draw(bytes.size() + 1));
        if (!draw(8)) bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(draw(bytes.size() + 1)), draw(40), static_cast<std::byte>(draw(256)));
        failed += code(bytes, {}, draw(2)) != 0;
    }
    CHECK(failed > rounds / 4 && failed < rounds);
}

}  // namespace

int main(int count, char** arguments) {
    each_coding_is_read();
    sizes_that_nobody_knew_are_followed_by_all_there_is();
    long_files_say_their_size_elsewhere();
    each_fault_has_its_code();
    damage_is_an_error_or_sound(count > 1 ? std::atoi(arguments[1]) : 20000);
}
