// Memory that is about to be filled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace semihmm {

// Asks for huge pages under memory that nobody has touched: the first touch of 2 MiB is then one fault, not 512, and those
// take longer than the arithmetic of a small model. Where the system has none, nothing happens.
inline void in_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
    constexpr std::uintptr_t page = 4096;
    const auto from = (reinterpret_cast<std::uintptr_t>(data) + page - 1) / page * page;
    const auto to = (reinterpret_cast<std::uintptr_t>(data) + bytes) / page * page;
    if (to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#endif
}

struct Cleared {
    void *memory, *data;  // what is to be freed, and where it begins on a huge page
};

// Zeros. So large a piece comes from the system, which clears pages when they are touched first: nobody else needs to.
inline Cleared cleared(std::size_t bytes) {
    constexpr std::size_t page = std::size_t(2) << 20;
    void* memory = std::calloc(bytes + page, 1);
    if (!memory) throw std::bad_alloc();
    void* data = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(memory) + page - 1) / page * page);
    in_huge_pages(data, bytes);
    return {memory, data};
}

}  // namespace semihmm
