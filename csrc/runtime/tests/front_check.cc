// What comes before frames, for tests in Python: front_check MODEL samples|frames whole|stream COUNT < float32 > float32
// pushes COUNT inputs at a time; front_check WAV writes the samples of a file.
#include <cstdio>
#include <cstring>
#include <vector>

#include "../front.hpp"
#include "../wav.hpp"

using namespace semihmm_runtime;

namespace {

std::vector<unsigned char> all_of(std::FILE* file) {
    std::vector<unsigned char> found;
    unsigned char part[65536];
    while (const std::size_t count = std::fread(part, 1, sizeof part, file)) found.insert(found.end(), part, part + count);
    return found;
}

void put(std::span<const float> x) { std::fwrite(x.data(), sizeof(float), x.size(), stdout); }

int run(int count, char** words) {
    std::FILE* const file = std::fopen(words[1], "rb");
    if (!file) return std::fprintf(stderr, "%s cannot be read\n", words[1]), 2;
    if (count == 2) {
        FileSource source(file);
        WavReader reader(source);
        std::vector<float> part(1000);
        while (const std::size_t got = reader.read(part)) put(std::span(part).first(got));
        return 0;
    }
    const auto content = all_of(file), given = all_of(stdin);
    const Description description = Description::read(content.data(), content.size());
    Front front(description, std::strcmp(words[2], "samples") ? Front::From::frames : Front::From::samples, !std::strcmp(words[3], "whole"));
    std::vector<float> x(given.size() / sizeof(float));
    std::memcpy(x.data(), given.data(), x.size() * sizeof(float));
    const std::size_t each = static_cast<std::size_t>(std::atoi(words[4])) * front.inputs();
    for (std::span<const float> left = x; !left.empty(); left = left.subspan(std::min(each, left.size()))) put(front.push(left.first(std::min(each, left.size()))));
    put(front.finish());
    return 0;
}

}  // namespace

int main(int count, char** words) {
    try {
        return run(count, words);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
