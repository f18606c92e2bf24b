#include "safetensors.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace semihmm_runtime {

static_assert(std::endian::native == std::endian::little, "semihmm: safetensors files are little-endian");

namespace {

constexpr std::size_t kLongestHeader = 1 << 20;
constexpr std::size_t kMostTensors = 4096, kMostAxes = 8;

int64_t size_of(const std::string& type) {
    constexpr std::pair<const char*, int64_t> sizes[] = {{"F32", 4}, {"I32", 4}, {"I64", 8}, {"U8", 1}};
    for (const auto& [name, size] : sizes)
        if (type == name) return size;
    return 0;
}

template <class T>
T read(const unsigned char* from) {
    T x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

}  // namespace

std::string shown(const std::vector<int64_t>& shape) {
    std::string text = "(";
    for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + (shape.size() == 1 ? ",)" : ")");
}

Safetensors::Safetensors(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    if (size < 8) bad_file("the model file: it has " + std::to_string(size) + " bytes, fewer than the length of a header.");
    const auto length = read<uint64_t>(bytes);
    if (length > kLongestHeader) bad_file("the model file: its header would have " + std::to_string(length) + " bytes, more than any model's. Is it a safetensors file?");
    if (length > size - 8) bad_file("the model file: its header would have " + std::to_string(length) + " bytes, and the file has " + std::to_string(size) + ". It is cut short.");
    const Json header = Json::parse({reinterpret_cast<const char*>(bytes) + 8, static_cast<std::size_t>(length)}, "the model file: the header");
    if (!header.object()) bad_file("the model file: the header must be an object.");
    const auto numbers = static_cast<int64_t>(std::min<uint64_t>(size - 8 - length, uint64_t(1) << 50));
    std::vector<std::pair<int64_t, int64_t>> pieces;
    if (header.object()->size() > kMostTensors) bad_file("the model file: it has " + std::to_string(header.object()->size()) + " tensors, more than any model.");
    for (const auto& [name, json] : *header.object()) {
        if (name == "__metadata__") {
            if (!json.object()) bad_file("the model file: __metadata__ must be an object.");
            for (const auto& [key, value] : *json.object()) {
                if (!value.text()) bad_file("the model file: __metadata__." + key + " must be a string.");
                metadata_[key] = *value.text();
            }
            continue;
        }
        Members members(json, name);
        Tensor tensor;
        tensor.type = members.text("dtype");
        tensor.shape = members.integers("shape", 0, int64_t(1) << 50);
        const std::vector<int64_t> place = members.integers("data_offsets", 0, int64_t(1) << 50);
        members.finish();
        const int64_t each = size_of(tensor.type);
        if (!each) members.refuse("dtype", "F32, I32, I64 or U8");
        if (tensor.shape.size() > kMostAxes) members.refuse("shape", "of no more than 8 axes");
        int64_t bytes_needed = each;
        for (int64_t extent : tensor.shape)
            if (__builtin_mul_overflow(bytes_needed, extent, &bytes_needed)) members.refuse("shape", "of numbers that the file can hold");
        tensor.count = bytes_needed / each;
        if (place.size() != 2 || place[0] > place[1] || place[1] > numbers || place[1] - place[0] != bytes_needed)
            members.refuse("data_offsets", "where " + std::to_string(bytes_needed) + " of the " + std::to_string(numbers) + " bytes behind the header begin and end");
        tensor.data = bytes + 8 + length + place[0];
        pieces.emplace_back(place[0], place[1]);
        tensors_.emplace(name, std::move(tensor));
    }
    std::sort(pieces.begin(), pieces.end());
    int64_t end = 0;
    for (const auto& [from, to] : pieces) {
        if (from != end) bad_file("the model file: tensors must lie one behind the other, but byte " + std::to_string(std::min(from, end)) + " is of none or of two.");
        end = to;
    }
    if (end != numbers) bad_file("the model file: " + std::to_string(numbers - end) + " bytes at its end are of no tensor.");
}

const std::string& Safetensors::metadata(const std::string& name) const {
    const auto found = metadata_.find(name);
    if (found == metadata_.end())
        bad_file("the model file: it is a safetensors file without " + name + " in its __metadata__. Write one with semihmm.export.runtime.");
    return found->second;
}

std::vector<int64_t> Safetensors::shape(const std::string& name, std::size_t rank, int64_t most) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) bad_file("the model file: tensor " + name + " is missing.");
    const std::vector<int64_t>& shape = found->second.shape;
    const bool fits = shape.size() == rank && std::all_of(shape.begin(), shape.end(), [&](int64_t n) { return 1 <= n && n <= most; });
    if (!fits)
        bad_file("the model file: tensor " + name + " must have " + std::to_string(rank) + " axes, each of 1 to " + std::to_string(most) + ", got " + shown(shape) + ".");
    return shape;
}

const Tensor& Safetensors::take(const std::string& name, const std::vector<int64_t>& shape, const char* types) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) bad_file("the model file: tensor " + name + " " + shown(shape) + " is missing.");
    const Tensor& tensor = found->second;
    if (std::string_view(types).find(tensor.type) == std::string_view::npos) bad_file("the model file: tensor " + name + " must be " + types + ", got " + tensor.type + ".");
    if (tensor.shape != shape) bad_file("the model file: tensor " + name + " must be " + shown(shape) + ", got " + shown(tensor.shape) + ".");
    taken_.push_back(name);
    return tensor;
}

std::vector<float> Safetensors::numbers(const std::string& name, const std::vector<int64_t>& shape, bool finite) {
    const Tensor& tensor = take(name, shape, "F32");
    std::vector<float> found(static_cast<std::size_t>(tensor.count));
    if (!found.empty()) std::memcpy(found.data(), tensor.data, found.size() * sizeof(float));
    for (std::size_t i = 0; i < found.size(); ++i)
        if (!(found[i] < std::numeric_limits<float>::infinity()) || (finite && std::isinf(found[i])))
            bad_file("the model file: number " + std::to_string(i) + " of tensor " + name + " is " + std::to_string(found[i]) + ", and must be finite" + (finite ? "." : " or -inf."));
    return found;
}

std::vector<int64_t> Safetensors::indices(const std::string& name, const std::vector<int64_t>& shape, int64_t least, int64_t most) {
    const Tensor& tensor = take(name, shape, "I32, I64 or U8");
    std::vector<int64_t> found(static_cast<std::size_t>(tensor.count));
    for (std::size_t i = 0; i < found.size(); ++i) {
        found[i] = tensor.type == "I32" ? read<int32_t>(tensor.data + i * 4) : tensor.type == "I64" ? read<int64_t>(tensor.data + i * 8) : tensor.data[i];
        if (found[i] < least || found[i] > most)
            bad_file("the model file: number " + std::to_string(i) + " of tensor " + name + " must be from " + std::to_string(least) + " to " + std::to_string(most) + ", got " + std::to_string(found[i]) + ".");
    }
    return found;
}

void Safetensors::finish() const {
    for (const auto& [name, tensor] : tensors_)
        if (std::find(taken_.begin(), taken_.end(), name) == taken_.end()) bad_file("the model file: tensor " + name + " is nothing that this version knows.");
}

}  // namespace semihmm_runtime
