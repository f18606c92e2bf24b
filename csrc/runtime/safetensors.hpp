// Safetensors files in memory: a length, a JSON header, numbers. Each offset is checked before anything is read.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"

namespace semihmm_runtime {

// Its numbers need not be aligned.
struct Tensor {
    std::string type;
    std::vector<int64_t> shape;
    const unsigned char* data = nullptr;
    int64_t count = 1;
};

class Safetensors {
  public:
    // Reads the header of a file, which must outlive this.
    Safetensors(const void* data, std::size_t size);

    const std::string& metadata(const std::string& name) const;
    bool has(const std::string& name) const { return tensors_.count(name) != 0; }
    // Log-weights or parameters, F32, of this shape: neither NaN nor, unless `finite` is false, infinite; -inf at most.
    std::vector<float> numbers(const std::string& name, const std::vector<int64_t>& shape, bool finite);
    // I32, I64 or U8.
    std::vector<int64_t> indices(const std::string& name, const std::vector<int64_t>& shape, int64_t least, int64_t most);
    // As long as the header says; `rank` axes, each of 1 to `most`.
    std::vector<int64_t> shape(const std::string& name, std::size_t rank, int64_t most) const;
    // Refuses tensors that nobody has asked for.
    void finish() const;

  private:
    const Tensor& take(const std::string& name, const std::vector<int64_t>& shape, const char* types);
    std::map<std::string, Tensor> tensors_;
    std::map<std::string, std::string> metadata_;
    std::vector<std::string> taken_;
};

// "(3, 4)"
std::string shown(const std::vector<int64_t>& shape);

}  // namespace semihmm_runtime
