// The kernels for one instruction set, as one translation unit: the build defines SEMIHMM_MACHINE, and `semihmm` as a name of its own.
#include "../call.hpp"
#include "../checks.cc"
#include "questions.hpp"
#include "streaming.hpp"

namespace semihmm {

SEMIHMM_PRODUCTS(, float)

// A caller that wants several threads asks on several.
void for_each_part(int64_t batch, int64_t parts, int64_t, const Work& work) {
    const FlushDenormals flush;
    for (int64_t part = 0; part < parts; ++part) work(part, part * batch / parts, (part + 1) * batch / parts, 0);
}
void Pulse::beat() { left_ = kBeat; }

namespace {

class OfKernels final : public semihmm_runtime::Machine {
  public:
    explicit OfKernels(const semihmm_runtime::Description& model) : laws_(model), observations_(model) {}

    void log_likelihoods(const float* x, int64_t frames, float* out) const override { observations_(x, frames, out, observations_.work()); }
    double log_prob(const float* scores, int64_t frames) const override { return Questions(laws_, scores, frames).log_prob(); }
    double posteriors(const float* scores, int64_t frames, float* out) const override { return Questions(laws_, scores, frames).posteriors(out); }
    double viterbi(const float* scores, int64_t frames, int64_t* states, uint8_t* begins) const override { return Questions(laws_, scores, frames).viterbi(states, begins); }
    std::unique_ptr<semihmm_runtime::Streaming> stream(int64_t lookahead, int64_t max_delay) const override {
        return std::make_unique<Stream>(laws_, observations_, lookahead, max_delay);
    }

  private:
    Laws laws_;
    Observations observations_;
};

}  // namespace
}  // namespace semihmm

namespace semihmm_runtime {

std::unique_ptr<Machine> SEMIHMM_MACHINE(const Description& description) { return std::make_unique<semihmm::OfKernels>(description); }

}  // namespace semihmm_runtime
