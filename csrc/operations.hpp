// What the module asks of a chain: declared here, compiled in operations.cc once for each semiring and type.
#pragma once

#include "request.hpp"
#include "semirings.hpp"

namespace semihmm {

// A batch is cut into no more parts than kParts, each with sums of its own; scaled vectors are those of up to kGroup sequences at
// a time.
constexpr int64_t kParts = 16;
constexpr int kGroup = 8;

// What a scan keeps: the vectors at all times (segment >= length), or those in front of each segment.
template <class F>
struct Kept {
    F* vectors = nullptr;       // [sequence][row][component][width]
    double* offsets = nullptr;  // [sequence][row], and behind the rows of a sequence [block]: see `ScaledRows`
    int64_t rows = 0, segment = 0;
    int64_t blocks = 0;     // of kBlock steps, where the vectors at all times are kept
    int64_t first = 0;      // the sequence that is kept first

    int64_t row(int64_t b) const { return (b - first) * rows; }
    double* offsets_of(int64_t b) const { return offsets + (b - first) * (rows + blocks); }
    double* scaled_of(int64_t b) const { return offsets_of(b) + rows; }
};
inline int64_t kept_blocks(int64_t length, int64_t segment) { return segment >= length ? (length + kBlock - 1) / kBlock : 0; }

struct PathsOut {
    int64_t rows = 1;
    int64_t *slots = nullptr, *choices = nullptr;  // (rows, batch, length + 1), (rows, batch, length)
    int64_t* arc_indices = nullptr;                      // (rows, batch, length, arc_indices of the map); may be null
    const double* uniforms = nullptr;              // (rows, batch, draws)
    int64_t draws = 0;
    double* values = nullptr;  // (components, batch)
};

// Paths as `paths` left them.
struct TracedPaths {
    int64_t rows = 1;
    const int64_t *slots = nullptr, *arc_indices = nullptr;  // (rows, batch, length + 1), (rows, batch, length, arc_indices of the map)
    const double* shares = nullptr;                    // (rows, batch)
};

// The total of each sequence; see semihmm/engine/backends/kernels.py for all of these.
template <class S>
void total(const Request& request, const Kept<typename S::F>& kept, double* values);
template <class S>
void gradient(const Request& request, const Kept<typename S::F>& kept, const double* g0, const double* g1,
              const std::vector<Given>& out, const std::vector<Given>& out_features, double* values, int64_t stride);
template <class S>
void paths(const Request& request, const Kept<typename S::F>& like, int64_t stride, const PathsOut& out);
// False where it is not done for this chain.
template <class S>
bool best_in_slots(const Request& request, int64_t stride, typename S::F* to);
template <class S>
void vectors(const Request& request, const int64_t* only, double* to);
template <class F>
void gradient_of_paths(const Request& request, const TracedPaths& traced, const std::vector<Given>& out);

}  // namespace semihmm
