// A model ready to compute, as the kernels of one instruction set have it. The rest of the runtime knows no more of them.
#pragma once

#include <cstdint>
#include <memory>

#include "description.hpp"
#include "semihmm.h"

namespace semihmm_runtime {

class Streaming {
  public:
    virtual ~Streaming();
    virtual void push(const float* x, int64_t frames, semihmm_update& update) = 0;
    virtual void finish(semihmm_ending& ending) = 0;
    virtual void restart() = 0;
    virtual int64_t seen() const = 0;
};

class Machine {
  public:
    virtual ~Machine();
    // Log-likelihoods (frames, columns) of observations (frames, inputs).
    virtual void log_likelihoods(const float* x, int64_t frames, float* out) const = 0;
    // Of log-likelihoods.
    virtual double log_prob(const float* scores, int64_t frames) const = 0;
    virtual double posteriors(const float* scores, int64_t frames, float* out) const = 0;
    virtual double viterbi(const float* scores, int64_t frames, int64_t* states, uint8_t* begins) const = 0;
    virtual std::unique_ptr<Streaming> stream(int64_t lookahead, int64_t max_delay) const = 0;
};

// One for each instruction set that the library is built for; `description` must outlive what is made.
using MakeMachine = std::unique_ptr<Machine> (*)(const Description& description);
std::unique_ptr<Machine> machine_baseline(const Description&);
std::unique_ptr<Machine> machine_avx2(const Description&);
std::unique_ptr<Machine> machine_avx512(const Description&);

// The one that was chosen when the library was loaded, and its name.
struct InstructionSet {
    const char* name;
    MakeMachine make;
};
const InstructionSet& instruction_set();

}  // namespace semihmm_runtime
