#include <cstdlib>
#include <cstring>

#include "machine.hpp"

namespace semihmm_runtime {

Streaming::~Streaming() = default;
Machine::~Machine() = default;

namespace {

// The best one that was compiled and that the processor has, or the one that SEMIHMM_ISA names, if it has that.
InstructionSet choose() {
    struct Candidate {
        InstructionSet set;
        bool runs;
    };
    const Candidate candidates[] = {
#if SEMIHMM_WITH_AVX512
        {{"avx512", machine_avx512}, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")},
#endif
#if SEMIHMM_WITH_AVX2
        {{"avx2", machine_avx2}, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
#if SEMIHMM_WITH_BASELINE
        {{"baseline", machine_baseline}, true},
#endif
    };
    const char* const named = std::getenv("SEMIHMM_ISA");
    for (const Candidate& one : candidates)
        if (named && one.runs && std::strcmp(named, one.set.name) == 0) return one.set;
    for (const Candidate& one : candidates)
        if (one.runs) return one.set;
    return {"none", nullptr};
}

}  // namespace

const InstructionSet& instruction_set() {
    static const InstructionSet chosen = choose();
    return chosen;
}

}  // namespace semihmm_runtime
