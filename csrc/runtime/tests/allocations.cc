// While a stream goes on, nothing is allocated: every way to memory is counted.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "semihmm.h"

static long allocations = 0;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kCounts = false;  // these functions are the sanitizer's
#else
constexpr bool kCounts = true;
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* malloc(size_t size) { return ++allocations, __libc_malloc(size); }
void* calloc(size_t count, size_t size) { return ++allocations, __libc_calloc(count, size); }
void* realloc(void* old, size_t size) { return ++allocations, __libc_realloc(old, size); }
}
void* operator new(std::size_t size) {
    ++allocations;
    if (void* const memory = __libc_malloc(size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace {

int failures = 0;

void check(semihmm_status status) {
    if (status == SEMIHMM_OK) return;
    std::fprintf(stderr, "%s\n", semihmm_last_error());
    std::exit(1);
}

void stream(const std::string& path, int64_t lookahead, int64_t max_delay) {
    semihmm_model* model = nullptr;
    check(semihmm_model_open(path.c_str(), &model));
    semihmm_info info{};
    info.size = sizeof info;
    check(semihmm_model_info(model, &info));
    const semihmm_stream_options options{sizeof options, lookahead, max_delay};
    semihmm_stream* stream = nullptr;
    check(semihmm_stream_open(model, &options, &stream));
    constexpr int64_t frames = 10;
    std::vector<float> x(static_cast<std::size_t>(frames * info.inputs));
    semihmm_update update{};
    update.size = sizeof update;
    int64_t committed = 0;
    for (int64_t chunk = 0; chunk < 400; ++chunk) {
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double wave = std::sin(0.37 * static_cast<double>(chunk * frames) + static_cast<double>(i));
            x[i] = info.inputs == 1 ? static_cast<float>(std::floor(2.0 + 2 * wave)) : static_cast<float>(wave);
        }
        const long before = allocations;
        check(semihmm_stream_push(stream, x.data(), frames, &update));
        committed += update.committed;
        if (chunk > 0 && allocations != before) ++failures, std::fprintf(stderr, "%s: %ld allocations in chunk %ld\n", path.c_str(), allocations - before, static_cast<long>(chunk));
    }
    if (committed < 400 * frames - max_delay) ++failures, std::fprintf(stderr, "%s: %ld frames committed\n", path.c_str(), static_cast<long>(committed));
    semihmm_stream_close(stream);
    semihmm_model_close(model);
}

}  // namespace

int main(int count, char** words) {
    if (count != 2) return 2;
    const long before = allocations;
    delete new int;
    std::free(std::malloc(1));
    if (kCounts && allocations == before) return std::fprintf(stderr, "allocations are not counted\n"), 1;
    for (const char* name : {"dense", "mixture", "full", "symbols", "banded", "arcs", "segments", "ctc"})
        for (const int64_t lookahead : {0, 5}) stream(std::string(words[1]) + "/good-" + name + ".safetensors", lookahead, 20);
    return failures != 0;
}
