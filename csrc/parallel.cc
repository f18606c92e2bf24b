#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <exception>
#include <utility>
#include <mutex>
#include <stdexcept>

#include <dlfcn.h>
#include <pthread.h>
#include <sys/resource.h>

#include "lanes.hpp"

namespace semihmm {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds, std::chrono::milliseconds, std::chrono::nanoseconds;

constexpr auto kSpin = microseconds(500);       // for parts that others are about to end; to sleep and be woken takes 50
constexpr auto kAsk = milliseconds(50);         // between two questions whether the call is to end
constexpr auto kLost = microseconds(1000);      // that a thread was kept from running, if it is a quarter of its time: others
                                                // want its core
constexpr int64_t kAlone = 20;                  // times what was lost, nobody is asked to help: to ask costs a twentieth then
constexpr auto kLongest = milliseconds(200);    // but no longer than this
constexpr int64_t kMostThreads = 256;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Whether `ready` becomes true within `kSpin`.
template <class Ready>
bool soon(const Ready& ready) {
    for (const auto stop = Clock::now() + kSpin; !ready();) {
        for (int i = 0; i < 16; ++i) relax();
        if (Clock::now() >= stop) return ready();
    }
    return true;
}

// One call: its parts, and what became of them.
struct Job {
    const Work& work;
    const int64_t batch, parts, threads;
    std::atomic<int64_t> next{0};  // the first part that nobody has begun
    std::atomic<int64_t> done{0};  // parts that are over
    std::atomic<bool> stopped{false}, waited_for{false};
    std::atomic<Clock::rep> lost{0};  // for how long a thread was kept from running, if that counts
    std::mutex guard;  // of what follows
    std::condition_variable over;
    std::exception_ptr failed;

    Job(const Work& work, int64_t batch, int64_t parts, int64_t threads) : work(work), batch(batch), parts(parts), threads(threads) {}

    bool finished() const { return done == parts; }
    void stop(std::exception_ptr why) {
        const std::lock_guard lock(guard);
        if (!failed) failed = std::move(why);
        stopped = true;
    }
};

struct Ended {};  // thrown where another thread's exception ends the call

// What this thread works on, and when it asks next whether to go on.
struct Place {
    Job* job = nullptr;
    bool caller = false;
    Clock::time_point ask;
};
thread_local Place here;

void ask(Job& job) {
    const auto now = Clock::now();
    const bool first = here.ask == Clock::time_point{};  // no clock is read for a call that is over at once
    if (!first && now < here.ask) return;
    here.ask = now + kAsk;
    if (!first && interruption && !job.stopped) interruption();
}

// Whether cores are others' as well, so that nobody is to be asked to help for a while.
class Crowd {
  public:
    bool here() const { return Clock::now().time_since_epoch().count() < until_.load(std::memory_order_relaxed); }
    // A call lost so much because of them.
    void seen(nanoseconds lost) {
        if (lost > nanoseconds(0)) until_ = (Clock::now() + std::min<nanoseconds>(kAlone * lost, kLongest)).time_since_epoch().count();
    }

  private:
    std::atomic<Clock::rep> until_{0};
} crowd;

// The time lost, if it counts.
nanoseconds much(nanoseconds lost, nanoseconds taken) { return lost > kLost && lost > taken / 4 ? lost : nanoseconds(0); }

// How long this thread is kept from running by others that want its core. What a virtual machine takes to find fresh memory
// looks like that too, but nobody is given the core meanwhile.
class Watch {
  public:
    nanoseconds lost() const {
        const auto taken = Clock::now() - began_;
        const auto found = much(taken - (processor_time() - used_), taken);
        return found > nanoseconds(0) && preemptions() == preempted_ ? nanoseconds(0) : found;
    }

  private:
    static long preemptions() {
#ifdef RUSAGE_THREAD
        rusage found{};
        getrusage(RUSAGE_THREAD, &found);
        return found.ru_nivcsw;
#else
        static thread_local long calls = 0;  // not known here: each time another number
        return ++calls;
#endif
    }
    static nanoseconds processor_time() {
        timespec now{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
    }
    Clock::time_point began_ = Clock::now();
    nanoseconds used_ = processor_time();
    long preempted_ = preemptions();
};

void do_part(const Job& job, int64_t part, int64_t worker) {
    const FlushDenormals flush;
    job.work(part, part * job.batch / job.parts, (part + 1) * job.batch / job.parts, worker);
}

// Parts that nobody has begun, one after the other, until there are none.
void run(Job& job, int64_t worker) {
    const Place before = here;
    here = {&job, worker == 0, before.ask};
    for (int64_t part = job.next++; part < job.parts; part = job.next++) {
        if (!job.stopped) {
            try {
                do_part(job, part, worker);
            } catch (const Ended&) {
            } catch (...) {
                job.stop(std::current_exception());
            }
        }
        ++job.done;
        if (worker && job.waited_for) {
            const std::lock_guard lock(job.guard);
            job.over.notify_one();
        }
    }
    here = before;
}

// Waits for the parts that helpers have begun.
void wait(Job& job) {
    if (job.finished() || soon([&] { return job.finished(); })) return;
    std::unique_lock lock(job.guard);
    job.waited_for = true;
    while (!job.over.wait_for(lock, kAsk, [&] { return job.finished(); })) {
        lock.unlock();
        try {
            if (interruption && !job.stopped) interruption();
        } catch (...) {
            job.stop(std::current_exception());
        }
        lock.lock();
    }
}

// PyTorch's threads: the OpenMP library that it is linked with, by the entries that compilers call. After each of its operations
// these threads spin for some milliseconds, on the very cores that could help here: threads of our own would wait for them.
struct OpenMP {
    void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
    int (*thread)() = nullptr;

    OpenMP() {
        void* torch = nullptr;
        for (const char* name : {"libtorch_cpu.so", "@rpath/libtorch_cpu.dylib"})
            if (!torch) torch = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
        if (!torch) return;
        parallel = reinterpret_cast<decltype(parallel)>(dlsym(torch, "GOMP_parallel"));
        thread = reinterpret_cast<decltype(thread)>(dlsym(torch, "omp_get_thread_num"));
    }
    explicit operator bool() const { return parallel && thread; }
};
const OpenMP& open_mp() {
    static const OpenMP found;
    return found;
}

// A forked child has none of its parent's threads, and OpenMP does not know.
std::atomic<bool> forked{false}, helped{false};
[[maybe_unused]] const int watched = pthread_atfork(nullptr, nullptr, [] { forked = true; });

// Parts, with an eye on the clock.
void run_watched(Job& job, int64_t worker) {
    const Watch watch;
    run(job, worker);
    const Clock::rep lost = watch.lost().count();
    for (Clock::rep most = job.lost; lost > most && !job.lost.compare_exchange_weak(most, lost);) {}
}

// The job on PyTorch's threads. They come when the system lets them: what none has begun, the caller does. But it cannot go on
// until each has come and gone.
void run_together(Job& job) {
    struct Team {
        Job& job;
        Clock::time_point called, begun, ready;
    } team{job, Clock::now(), {}, {}};
    helped = true;
    open_mp().parallel(
        [](void* given) {
            Team& mine = *static_cast<Team*>(given);
            const int worker = open_mp().thread();
            if (worker == 0) mine.begun = Clock::now();
            if (worker < mine.job.threads) run_watched(mine.job, worker);
            if (worker) return;
            wait(mine.job);
            mine.ready = Clock::now();
        },
        &team, 0, 0);
    const auto over = Clock::now();
    crowd.seen(std::max(nanoseconds(job.lost), much((team.begun - team.called) + (over - team.ready), over - team.called)));
}
void run_alone(Job& job) {
    run_watched(job, 0);
    crowd.seen(nanoseconds(job.lost));
}

}  // namespace

bool have_helped() { return helped; }
bool has_helpers() { return static_cast<bool>(open_mp()); }

void Pulse::beat() {
    left_ = kBeat;
    if (!here.job) return;
    if (here.job->stopped) throw Ended();
    if (here.caller) ask(*here.job);
}

void for_each_part(int64_t batch, int64_t parts, int64_t threads, const Work& work) {
    threads = std::min({threads, parts, kMostThreads});
    const bool alone = threads > 1 && (crowd.here() || forked || !open_mp());
    Job job(work, batch, parts, alone ? 1 : threads);
    threads <= 1 ? run(job, 0) : alone ? run_alone(job) : run_together(job);
    if (job.failed) std::rethrow_exception(job.failed);
}

}  // namespace semihmm
