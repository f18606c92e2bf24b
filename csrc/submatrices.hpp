// Where some rows and columns of a matrix meet, other ones at each of many places; and back into the matrix, added up.
#pragma once

#include <algorithm>
#include <cstdint>

#include "parallel.hpp"

namespace semihmm {

// At each place, n rows and m columns of a matrix; as many places in a row have one matrix of height by width.
struct Meetings {
    int64_t places, each, n, m, height, width;
    const int64_t *rows, *columns;

    int64_t first(int64_t place, int64_t i) const { return (place / each * height + rows[place * n + i]) * width; }
};

template <class F>
void gather(const Meetings& at, const F* whole, F* parts, int64_t threads) {
    for_each_part(at.places, std::min<int64_t>(at.places, 16), threads, [&](int64_t, int64_t begin, int64_t end, int64_t) {
        Pulse pulse;
        for (int64_t place = begin; place < end; ++place) {
            const int64_t* columns = at.columns + place * at.m;
            for (int64_t i = 0; i < at.n; ++i) {
                const F* row = whole + at.first(place, i);
                F* to = parts + (place * at.n + i) * at.m;
                for (int64_t j = 0; j < at.m; ++j) to[j] = row[columns[j]];
            }
            pulse(at.n * at.m);
        }
    });
}

// A matrix is one thread's, so that sums are in one order.
template <class F>
void scatter(const Meetings& at, const F* parts, F* whole, int64_t threads) {
    const int64_t sets = at.places / at.each;
    for_each_part(sets, sets, threads, [&](int64_t, int64_t begin, int64_t end, int64_t) {
        Pulse pulse;
        for (int64_t place = begin * at.each; place < end * at.each; ++place) {
            const int64_t* columns = at.columns + place * at.m;
            for (int64_t i = 0; i < at.n; ++i) {
                F* row = whole + at.first(place, i);
                const F* from = parts + (place * at.n + i) * at.m;
                for (int64_t j = 0; j < at.m; ++j) row[columns[j]] += from[j];
            }
            pulse(at.n * at.m);
        }
    });
}

}  // namespace semihmm
