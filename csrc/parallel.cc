#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <ctime>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include <pthread.h>

#include "lanes.hpp"

namespace semihmm {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration_cast, std::chrono::microseconds, std::chrono::milliseconds, std::chrono::nanoseconds;

constexpr auto kSpin = microseconds(50);      // for what comes at once; to be woken takes as long
constexpr auto kAsk = milliseconds(50);       // between two questions whether the call is to end
constexpr auto kLost = microseconds(1000);    // that a thread was kept from running: others want its core
constexpr auto kCrowded = milliseconds(25);   // for so long nobody is asked to help then
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

nanoseconds processor_time() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

// One call: its parts, and who works on them. A helper that comes too late may hold it when the call is over: then no part is
// left, and `work` is gone.
struct Job {
    const Work& work;
    const int64_t batch, parts, threads;
    std::atomic<int64_t> next{0};     // the first part that nobody has begun
    std::atomic<int64_t> workers{1};  // who has come; the caller is number 0
    std::atomic<int64_t> done{0};     // parts that are over
    std::atomic<bool> stopped{false}, waited_for{false};
    std::mutex guard;  // of what follows
    std::condition_variable over;
    std::exception_ptr failed;

    Job(const Work& work, int64_t batch, int64_t parts, int64_t threads) : work(work), batch(batch), parts(parts), threads(threads) {}

    bool open() const { return next < parts && workers < threads; }
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

// Until when nobody is asked to help, on the steady clock: the cores are others' as well.
std::atomic<Clock::rep> crowded_until{0};
bool crowded() { return Clock::now().time_since_epoch().count() < crowded_until.load(std::memory_order_relaxed); }

// How long a thread was kept from running since; whoever is, notes that cores are others' as well.
class Watch {
  public:
    void note() const {
        const auto now = Clock::now();
        if (now - began_ - (processor_time() - used_) > kLost) crowded_until = (now + kCrowded).time_since_epoch().count();
    }

  private:
    Clock::time_point began_ = Clock::now();
    nanoseconds used_ = processor_time();
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
                if (job.threads == 1) {
                    do_part(job, part, worker);
                } else {
                    const Watch watch;
                    do_part(job, part, worker);
                    watch.note();
                }
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

// Threads that help with the calls of all threads. It is never taken down: its threads sleep until the process ends.
class Pool {
  public:
    // Asks for help with a job. Who holds the lock may be kept from running: then there is none.
    void offer(const std::shared_ptr<Job>& job) {
        const int64_t helpers = std::min(job->threads - 1, job->parts - 1);
        std::unique_lock lock(guard_, std::try_to_lock);
        for (int i = 0; i < 64 && !lock; ++i) relax(), static_cast<void>(lock.try_lock());
        if (!lock) return;
        while (helpers_ < std::min(helpers, kMostThreads)) {
            if (!hire()) break;
        }
        open_.push_back(job);
        ++calls_;
        lock.unlock();
        for (int64_t i = 0; i < std::min(helpers, helpers_.load()); ++i) called_.notify_one();
    }
    // It is over. Where this does not come to pass, the next helper that looks drops the job.
    void close(const std::shared_ptr<Job>& job) {
        const std::unique_lock lock(guard_, std::try_to_lock);
        if (lock) std::erase(open_, job);
    }

  private:
    // A thread more, which leaves signals to the others. False where the system has none.
    bool hire() {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        bool made = true;
        try {
            std::thread([this] { help(); }).detach();
            ++helpers_;
        } catch (const std::system_error&) {
            made = false;
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return made;
    }
    [[noreturn]] void help() {
        std::unique_lock lock(guard_);
        while (true) {
            std::erase_if(open_, [](const auto& job) { return !job->open(); });
            if (!open_.empty()) {
                std::shared_ptr<Job> job = open_.front();
                lock.unlock();
                if (const int64_t worker = job->workers++; worker < job->threads) run(*job, worker);
                job.reset();
                lock.lock();
                continue;
            }
            const uint64_t seen = calls_;
            lock.unlock();
            soon([&] { return calls_ != seen; });
            lock.lock();
            called_.wait(lock, [&] { return calls_ != seen; });
        }
    }

    std::mutex guard_;
    std::condition_variable called_;
    std::vector<std::shared_ptr<Job>> open_;  // that have parts which nobody has begun
    std::atomic<uint64_t> calls_{0};
    std::atomic<int64_t> helpers_{0};
};

// The pool of this process. A child has none of its parent's threads, and may find its locks taken: it makes its own.
std::atomic<Pool*> the_pool{nullptr};
Pool& pool() {
    static const int forgotten = pthread_atfork(nullptr, nullptr, [] { the_pool = nullptr; });
    static_cast<void>(forgotten);
    Pool* found = the_pool;
    if (found) return *found;
    auto made = std::make_unique<Pool>();
    if (the_pool.compare_exchange_strong(found, made.get())) found = made.release();
    return *found;
}

}  // namespace

void Pulse::beat() {
    left_ = kBeat;
    if (!here.job) return;
    if (here.job->stopped) throw Ended();
    if (here.caller) ask(*here.job);
}

void for_each_part(int64_t batch, int64_t parts, int64_t threads, const Work& work) {
    threads = std::min({threads, parts, kMostThreads});
    if (threads > 1 && crowded()) threads = 1;
    if (threads <= 1) {
        Job alone(work, batch, parts, 1);
        run(alone, 0);
        if (alone.failed) std::rethrow_exception(alone.failed);
        return;
    }
    const auto job = std::make_shared<Job>(work, batch, parts, threads);
    pool().offer(job);
    run(*job, 0);
    wait(*job);
    pool().close(job);
    if (job->failed) std::rethrow_exception(job->failed);
}

}  // namespace semihmm
