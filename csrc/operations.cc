// One semiring and one type: CMake makes a file for each, which says SEMIHMM_SEMIRING, SEMIHMM_REAL and what is asked of them,
// and includes this one.
#include "best_in_slots.hpp"
#include "path_gradient.hpp"
#include "vectors.hpp"

namespace semihmm {

using Semiring = SEMIHMM_SEMIRING<SEMIHMM_REAL>;
using Vectors = std::vector<Given>;

template void total<Semiring>(const Request&, const Kept<SEMIHMM_REAL>&, double*);
#if SEMIHMM_HAS_GRADIENT
template void gradient<Semiring>(const Request&, const Kept<SEMIHMM_REAL>&, const double*, const double*, const Vectors&, const Vectors&, double*, int64_t);
#endif
#if SEMIHMM_HAS_PATHS
template void paths<Semiring>(const Request&, const Kept<SEMIHMM_REAL>&, int64_t, const PathsOut&);
#endif
#if SEMIHMM_HAS_BEST_IN_SLOTS
template bool best_in_slots<Semiring>(const Request&, int64_t, SEMIHMM_REAL*);
#endif
#if SEMIHMM_HAS_VECTORS
template void vectors<Semiring>(const Request&, const int64_t*, double*);
#endif
#if SEMIHMM_HAS_PATH_GRADIENT
template void gradient_of_paths<SEMIHMM_REAL>(const Request&, const TracedPaths&, const Vectors&);
#endif

}  // namespace semihmm
