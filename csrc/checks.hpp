// What every compiled entry point finds out before it reads or writes anything: that each tensor is there and of the type,
// the sizes and the layout that the request says, and that each index points at something. Nothing behind the boundary
// checks again, so whatever passes here must be safe, right or wrong.
//
// Everything costs a few comparisons, but for tables of indices, lengths and backpointers, which are read once.
#pragma once

#include <span>
#include <stdexcept>
#include <string>

#include "request.hpp"

namespace semihmm {

// Sizes that do not fit are `std::invalid_argument` (ValueError), indices out of range `std::out_of_range` (IndexError),
// and a tensor of another type is this (TypeError).
struct WrongType : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

// The least and the greatest value of a column of backpointers, both allowed.
struct Range {
    int64_t least, greatest;
};

// What a request says of its chain.
struct Form {
    int64_t slots = 0, memory = 1;
    int64_t stride = 0;                 // numbers in a state vector: all components, padding included
    int64_t draws = 1;                  // how many uniform numbers the drawing of one path takes at most
    std::vector<Range> arc_indices;           // of the numbers that tell which weights of a step a path took
    std::vector<uint8_t> events;        // where the event axes of each tensor begin; 0 for indices
    const Given* grid = nullptr;        // the weight of a Grid, and behind it its tables
};

// The largest extent, number of elements or count that is taken for one: products of a few of them do not overflow.
constexpr int64_t kMost = int64_t(1) << 40;

// a * b * ..., none of them negative; refused where it is more than `kMost`.
int64_t product(std::initializer_list<int64_t> factors, const char* of);

// The chain itself: `spec`, `weights`, `features`, numbers.
Form check_chain(const Request& request);
// Step counts of sequences, int64 (batch); null where there are none.
const int64_t* check_lengths(const Request& request, const Given& lengths);
// One array of so many elements, which may be None only if it is `optional`.
template <class T>
T* check_array(const Given& array, const char* name, int64_t size, bool optional = false);
// Workspace for the state vectors of all sequences: `rows` of each.
void check_kept(const Request& request, const Form& form, const Given& vectors, const Given& offsets, int64_t rows, int64_t segment);
// That `rows` and `segment` are what they must be of each other.
void check_rows(const Request& request, const Form& form, int64_t rows, int64_t segment);
// Where gradients go: for each of the chain's tensors one like it, or None.
void check_out(const Request& request, const Form& form, const std::vector<Given>& out, const std::vector<Given>& like, const char* list);
// Slots and arc_indices of paths, as `paths` makes them.
void check_paths(const Request& request, const Form& form, int64_t rows, const int64_t* slots, const int64_t* arc_indices);

// After the call: a total that is NaN although no log-weight is has overflowed. Then it is infinite, and says so.
void settle(const Request& request, double* values);

// That a tensor is of this type, lies in one piece and has these sizes.
void check_whole(const Given& tensor, const char* name, Type type, std::initializer_list<int64_t> sizes);

[[noreturn]] void refuse(const std::string& message);
std::string shown(const Sizes& sizes);
bool in_one_piece(const Given& tensor, std::size_t from = 0);

}  // namespace semihmm
