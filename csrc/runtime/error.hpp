// What goes wrong, on its way to whoever called: it ends at the C interface.
#pragma once

#include <stdexcept>
#include <string>

#include "semihmm.h"

namespace semihmm_runtime {

class Error : public std::runtime_error {
  public:
    Error(semihmm_status status, const std::string& message) : std::runtime_error(message), status(status) {}
    ~Error() override;
    semihmm_status status;
};

[[noreturn]] void bad_file(const std::string& message);
[[noreturn]] void bad_data(const std::string& message);
[[noreturn]] void bad_argument(const std::string& message);

}  // namespace semihmm_runtime
