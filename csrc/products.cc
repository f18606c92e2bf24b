// The products of matrices, for both types.
#include "product.hpp"

namespace semihmm {

SEMIHMM_PRODUCTS(, float)
SEMIHMM_PRODUCTS(, double)

}  // namespace semihmm
