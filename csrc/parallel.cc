#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "lanes.hpp"

namespace semihmm {

void for_each_part(int64_t batch, int64_t parts, int64_t threads, const Work& work) {
    const auto one = [&](int64_t part, int64_t worker) {
        const FlushDenormals flush;
        work(part, part * batch / parts, (part + 1) * batch / parts, worker);
    };
    threads = std::min(threads, parts);
    if (threads <= 1) {
        for (int64_t part = 0; part < parts; ++part) one(part, 0);
        return;
    }
    std::atomic<int64_t> next{0}, workers{0};
    std::exception_ptr failed;
    std::mutex guard;
    const auto run = [&] {
        const int64_t worker = workers++;
        try {
            for (int64_t part = next++; part < parts; part = next++) one(part, worker);
        } catch (...) {
            const std::lock_guard lock(guard);
            failed = std::current_exception();
        }
    };
#ifdef _OPENMP
    // PyTorch's own threads, where it brings the same runtime: threads of ours would wait for those, which spin.
#pragma omp parallel num_threads(static_cast<int>(threads))
    run();
#else
    std::vector<std::thread> others;
    for (int64_t i = 1; i < threads; ++i) others.emplace_back(run);
    run();
    for (std::thread& other : others) other.join();
#endif
    if (failed) std::rethrow_exception(failed);
}

}  // namespace semihmm
