// The parts of a batch, on several threads.
//
// They are PyTorch's, which spin for some milliseconds after each of its operations: others would find the cores taken. A region
// of OpenMP ends when each of them has come, which another process may keep them from: where that takes long, the caller works
// alone for a while.
#pragma once

#include <cstdint>

namespace semihmm {

// A function work(part, first, last, worker) that lives as long as the call.
class Work {
  public:
    template <class F>
    Work(const F& work)  // NOLINT: any such function may stand for one
        : object_(&work), call_([](const void* object, int64_t part, int64_t first, int64_t last, int64_t worker) {
              (*static_cast<const F*>(object))(part, first, last, worker);
          }) {}
    void operator()(int64_t part, int64_t first, int64_t last, int64_t worker) const { call_(object_, part, first, last, worker); }

  private:
    const void* object_;
    void (*call_)(const void*, int64_t, int64_t, int64_t, int64_t);
};

// Calls work(part, first, last, worker) for each part of the batch, on at most so many threads; each of them is a worker, the
// caller is number 0. What a part throws ends the call, the other parts too as soon as they notice (`Pulse`).
void for_each_part(int64_t batch, int64_t parts, int64_t threads, const Work& work);

// Whether there are threads to help: PyTorch was found, and the OpenMP that it is linked with.
bool has_helpers();
// Whether they have helped, so that there are threads of OpenMP that a forked child will not have.
bool have_helped();

// Asked now and then by the thread that called, while it works or waits: throws if the call is to end, as after Ctrl-C.
inline void (*interruption)() = nullptr;

// Long loops tell it how many products they have done, about. Every millisecond or so it looks whether the call is to end,
// and then throws.
class Pulse {
  public:
    void operator()(int64_t products) {
        if ((left_ -= products) < 0) beat();
    }

  private:
    static constexpr int64_t kBeat = 1 << 18;
    void beat();
    int64_t left_ = kBeat;
};

}  // namespace semihmm
