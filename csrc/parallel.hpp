// The parts of a batch, on several threads.
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

// Calls work(part, first, last, worker) for each part of the batch, on so many threads; each of them is a worker.
void for_each_part(int64_t batch, int64_t parts, int64_t threads, const Work& work);

}  // namespace semihmm
