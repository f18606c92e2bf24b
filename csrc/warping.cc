// Distances of pairs of series, for both types.
#include "warping.hpp"

namespace semihmm {

SEMIHMM_WARPING(, float)
SEMIHMM_WARPING(, double)

}  // namespace semihmm
