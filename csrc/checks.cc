#include "checks.hpp"

#include <algorithm>

#include "usable.hpp"

namespace semihmm {

void refuse(const std::string& message) { throw std::invalid_argument("semihmm: " + message); }

namespace {

std::string number(int64_t x) { return std::to_string(x); }

template <class Numbers>
std::string listed(const Numbers& numbers) {
    std::string text = "(";
    for (int64_t x : numbers) text += (text.size() > 1 ? ", " : "") + number(x);
    return text + ")";
}

const char* name_of(Type type) {
    constexpr const char* names[] = {"None", "float32", "float64", "int64", "int32", "another type"};
    return names[static_cast<int>(type)];
}

// What a message calls a tensor; put into words only where there is a message.
struct Name {
    const char* name;
    int64_t at = -1;
    const char *map = nullptr, *what = nullptr;
    Name(const char* name) : name(name) {}  // NOLINT: a name may stand for one
    Name(const char* list, std::size_t at, const char* map = nullptr, const char* what = nullptr)
        : name(list), at(static_cast<int64_t>(at)), map(map), what(what) {}
    std::string text() const {
        if (at < 0) return name;
        const std::string place = std::string(name) + "[" + number(at) + "]";
        return map ? place + ", the " + what + " of " + map + "," : place;
    }
};
std::string operator+(const Name& name, const char* rest) { return name.text() + rest; }

[[noreturn]] void out_of_range(const std::string& what, int64_t least, int64_t greatest, int64_t got) {
    throw std::out_of_range("semihmm: " + what + " must be from " + number(least) + " to " + number(greatest) + ", got " + number(got) + ".");
}

void check_type(const Given& tensor, const Name& name, Type type) {
    if (tensor.type == type) return;
    throw WrongType("semihmm: " + name.text() + " must be " + name_of(type) + ", got " + name_of(tensor.type) + ".");
}

int64_t elements(const Given& tensor) {
    int64_t count = 1;
    for (int64_t size : tensor.shape) count = size == 0 || count == 0 ? 0 : product({count, size}, "a tensor's elements");
    return count;
}

// A tensor of nothing may have no memory; all others do. A tensor that stands for one, as a tracer's, has none.
void check_memory(const Given& tensor, const Name& name) {
    if (!tensor.data && elements(tensor) > 0) refuse(name + " has no memory to read: it is not a tensor of numbers.");
}

// The least and the greatest of the numbers that a tensor of indices holds; those of stride 0 are looked at once.
Range range_of(const int64_t* data, const Extent& extent, std::size_t axis = 0) {
    Range found{std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()};
    if (extent.empty) return found;
    if (axis == extent.axes.size()) return {*data, *data};
    const auto [size, stride] = extent.axes[axis];
    if (axis + 1 < extent.axes.size()) {
        for (int64_t i = 0; i < size; ++i) {
            const Range part = range_of(data + i * stride, extent, axis + 1);
            found = {std::min(found.least, part.least), std::max(found.greatest, part.greatest)};
        }
        return found;
    }
    int64_t least = found.least, greatest = found.greatest;
    if (stride == 1) {
        for (int64_t i = 0; i < size; ++i) least = std::min(least, data[i]), greatest = std::max(greatest, data[i]);
    } else {
        for (int64_t i = 0; i < size; ++i) least = std::min(least, data[i * stride]), greatest = std::max(greatest, data[i * stride]);
    }
    return {least, greatest};
}

void check_range(const Given& tensor, const Name& name, int64_t least, int64_t greatest) {
    const Range found = range_of(tensor.as<int64_t>(), Extent(static_cast<int>(tensor.shape.size()), tensor.shape.begin(), tensor.strides.begin()));
    if (found.least > found.greatest) return;  // there is nothing
    if (found.least < least) out_of_range(name.text(), least, greatest, found.least);
    if (found.greatest > greatest) out_of_range(name.text(), least, greatest, found.greatest);
}

// The state vector between two maps.
struct Between {
    int64_t parts, size;
    bool operator==(const Between&) const = default;
};

// Reads a chain's tensors in their order, as `build` (call.hpp) does.
class Reader {
  public:
    explicit Reader(const Request& request) : request_(request), real_(request.wide ? Type::kDouble : Type::kFloat) {}

    // A log-weight: (batch or 1, time or 1, event...) with `steps` of time, without time where that is -1. With a feature of
    // the same event, if there are features.
    const Given& weight(const char* map, const char* what, int64_t steps, std::size_t rank) {
        const Name name = called("weights", map, what);
        const Given& found = next("weights", request_.weights, map, what);
        check_leaf(found, name, real_, steps, rank);
        for (std::size_t i = 0; i < rank; ++i)
            if (found.shape.back(i) < 1) refuse(name + " must not be empty, got " + shown(found.shape) + ".");
        if (request_.semiring == kExpectation) {
            const Given& feature = request_.features[at_];
            const Name its = called("features", map, what);
            check_leaf(feature, its, real_, steps, rank);
            for (std::size_t i = 0; i < rank; ++i)
                if (feature.shape.back(i) != found.shape.back(i))
                    refuse(its + " must have the event axes of the weights, " + shown(found.shape) + ", got " + shown(feature.shape) + ".");
        }
        ++at_;
        events_.push_back(1 + (steps >= 0));
        return found;
    }
    // Indices, with the same axes.
    const Given& index(const char* map, const char* what, int64_t steps, std::size_t rank) {
        const Given& found = next("weights", request_.weights, map, what);
        check_leaf(found, called("weights", map, what), Type::kInt64, steps, rank);
        ++at_;
        events_.push_back(0);
        return found;
    }
    // A table of a grid, in one piece, with these axes last.
    const Given& table(const char* what, Type type, std::initializer_list<int64_t> sizes) {
        const Given& found = next("weights", request_.weights, "Grid", what);
        const Name name = called("weights", "Grid", what);
        check_type(found, name, type);
        check_memory(found, name);
        bool fits = found.shape.size() >= sizes.size() && found.shape.size() <= sizes.size() + 1 && in_one_piece(found);
        for (std::size_t i = 0; fits && i < sizes.size(); ++i) fits = found.shape.back(i) == sizes.end()[-1 - static_cast<std::ptrdiff_t>(i)];
        if (fits && found.shape.size() > sizes.size()) fits = found.shape[0] == 1;
        if (!fits) refuse(name + " must be " + listed(sizes) + " in one piece, got " + shown(found.shape) + ".");
        ++at_;
        events_.push_back(0);
        return found;
    }
    Name called(const char* list, const char* map, const char* what) const { return {list, at_, map, what}; }
    const Given& peek(const char* map, const char* what) const { return next("weights", request_.weights, map, what); }
    std::size_t at() const { return at_; }
    std::vector<uint8_t> events() { return std::move(events_); }

  private:
    const Given& next(const char* list, const std::vector<Given>& all, const char* map, const char* what) const {
        if (at_ >= all.size())
            refuse(std::string(list).append(" end before the ").append(what).append(" of ").append(map).append(": there are ").append(number(static_cast<int64_t>(all.size()))) + ".");
        return all[at_];
    }
    void check_leaf(const Given& tensor, const Name& name, Type type, int64_t steps, std::size_t rank) const {
        check_type(tensor, name, type);
        check_memory(tensor, name);
        const bool timed = steps >= 0;
        const std::size_t axes = 1 + timed + rank;
        if (tensor.shape.size() != axes)
            refuse(name + " must have " + number(static_cast<int64_t>(axes)) + " axes, of which the first is the batch's, got " + shown(tensor.shape) + ".");
        elements(tensor);  // that they can be counted
        if (tensor.shape[0] != 1 && tensor.shape[0] != request_.batch)
            refuse(name + " must be of 1 sequence or " + number(request_.batch) + ", got " + shown(tensor.shape) + ".");
        if (timed && tensor.shape[1] != 1 && tensor.shape[1] < steps)
            refuse(name + " must be of 1 step or " + number(steps) + ", got " + shown(tensor.shape) + ".");
    }

    const Request& request_;
    Type real_;
    std::size_t at_ = 0;
    std::vector<uint8_t> events_;
};

int64_t word_of(const Request& request, std::size_t at, const char* what) {
    if (at >= request.spec.size()) refuse(std::string("spec ends before ") + what + ".");
    return request.spec[at];
}

void check_grid(const Given& weight, const Given* tables, int64_t slots, int64_t width, int64_t memory, int64_t first) {
    const int64_t planes = weight.shape[1], height = weight.shape[2], columns = weight.shape[3];
    check_range(tables[0], "Grid: a row", 0, height - 1);
    check_range(tables[1], "Grid: a source", -1, slots * memory - 1);
    check_range(tables[2], "Grid: a plane", -1, planes - 1);
    check_range(tables[4], "Grid: a first column", -kMost, kMost);
    check_range(tables[5], "Grid: a column behind the last", -kMost, kMost);
    if (first < -kMost || first > kMost) out_of_range("Grid: the first anti-diagonal", -kMost, kMost, first);
    const auto *source = tables[1].as<int64_t>(), *plane = tables[2].as<int64_t>(), *low = tables[4].as<int64_t>(), *high = tables[5].as<int64_t>();
    for (int64_t arc = 0; arc < slots * width; ++arc) {
        const bool reads = source[arc] >= 0 && plane[arc] >= 0 && low[arc] < high[arc];
        if (reads && (low[arc] < 0 || high[arc] > columns))
            refuse("Grid: an arc that reads a plane is there in columns " + number(low[arc]) + " to " + number(high[arc]) + ", but planes have " +
                   number(columns) + ".");
    }
}

}  // namespace

std::string shown(const Sizes& sizes) { return listed(sizes); }

int64_t product(std::initializer_list<int64_t> factors, const char* of) {
    int64_t all = 1;
    for (int64_t factor : factors)
        if (factor < 0 || __builtin_mul_overflow(all, factor, &all) || all > kMost) refuse(std::string(of) + ": too many.");
    return all;
}

// Whether the axes from `from` on follow on one another.
bool in_one_piece(const Given& tensor, std::size_t from) {
    int64_t step = 1;
    for (std::size_t i = tensor.shape.size(); i-- > from;) {
        if (tensor.shape[i] == 0) return true;
        if (tensor.shape[i] != 1 && tensor.strides[i] != step) return false;
        step *= tensor.shape[i];
    }
    return true;
}

void check_whole(const Given& tensor, const char* name, Type type, std::initializer_list<int64_t> sizes) {
    check_type(tensor, name, type);
    check_memory(tensor, name);
    if (!std::equal(sizes.begin(), sizes.end(), tensor.shape.begin(), tensor.shape.end()) || !in_one_piece(tensor))
        refuse(std::string(name) + " must be " + listed(sizes) + " in one piece, got " + shown(tensor.shape) + ".");
}

template <class T>
T* check_array(const Given& array, const char* name, int64_t size, bool optional) {
    if (!array.present() && optional) return nullptr;
    check_type(array, name, kTypeOf<std::remove_const_t<T>>);
    check_memory(array, name);
    if (elements(array) != size || !in_one_piece(array))
        refuse(std::string(name) + " must be " + number(size) + " numbers in one piece, got " + shown(array.shape) + (in_one_piece(array) ? "." : " with gaps."));
    return array.to<T>();
}
template float* check_array<float>(const Given&, const char*, int64_t, bool);
template double* check_array<double>(const Given&, const char*, int64_t, bool);
template int64_t* check_array<int64_t>(const Given&, const char*, int64_t, bool);

Form check_chain(const Request& request) {
    if (request.semiring < kLog || request.semiring > kExpectation) out_of_range("semiring", kLog, kExpectation, request.semiring);
    if (request.batch < 1 || request.batch > kMost) out_of_range("batch", 1, kMost, request.batch);
    if (request.length < 0 || request.length > kMost) out_of_range("length", 0, kMost, request.length);
    if (request.threads < 1 || request.threads > kMost) out_of_range("threads", 1, kMost, request.threads);
    const bool single = request.semiring == kLog || request.semiring == kMax;
    const int least = request.semiring == kExpectation ? 2 : 1, most = request.semiring == kTopK ? std::numeric_limits<int>::max() : single ? 1 : 2;
    if (request.components < least || request.components > most) out_of_range("components", least, most, request.components);
    if (request.spec.size() < 3) refuse("spec must name at least one map behind the numbers of start and end factors.");
    const auto tensors = static_cast<int64_t>(request.weights.size());
    for (int side = 0; side < 2; ++side)
        if (request.spec[side] < 0 || request.spec[side] > tensors) out_of_range(side ? "the number of end factors" : "the number of start factors", 0, tensors, request.spec[side]);
    if (request.semiring == kExpectation ? request.features.size() != request.weights.size() : !request.features.empty())
        refuse("there must be " + number(request.semiring == kExpectation ? tensors : 0) + " features, got " + number(static_cast<int64_t>(request.features.size())) + ".");

    Form form;
    Reader reader(request);
    std::vector<const Given*> borders[2];
    for (int side = 0; side < 2; ++side)
        for (int64_t i = 0; i < request.spec[side]; ++i) borders[side].push_back(&reader.weight(side ? "the end" : "the start", "factor", -1, 1));
    Between first{0, 0}, last{0, 0};
    int64_t maps = 0;
    bool alone = false;  // a map that does not compose
    form.draws = 0;
    const auto join = [&](const char* map, Between in, Between out) {
        if (maps++ && in != last)
            refuse(std::string(map) + " acts on " + number(in.parts * in.size) + " slots, but the map before it leads to " + number(last.parts * last.size) + ".");
        if (maps == 1) first = in;
        last = out;
    };
    // A Dense or a Sparse: between how many slots it leads, by how many arcs, over how many steps.
    struct Moves {
        const char* name;
        int64_t from, to, arcs, memory;
    };
    const auto check_moves = [&](int64_t kind, std::size_t& word) -> Moves {
        ++form.draws;
        if (kind == kDense) {
            const Given& w = reader.weight("Dense", "transition", request.length, 2);
            return {"Dense", w.shape[2], w.shape[3], product({w.shape[2], w.shape[3]}, "Dense: transitions"), 1};
        }
        const int64_t memory = word_of(request, word++, "the memory of a Sparse");
        if (memory < 1 || memory > kMost) out_of_range("Sparse: memory", 1, kMost, memory);
        const Given& w = reader.weight("Sparse", "weight", request.length, 2);
        const Name name = reader.called("weights", "Sparse", "source");
        const Given& source = reader.index("Sparse", "source", request.length, 2);
        if (source.shape[2] != w.shape[2] || source.shape[3] != w.shape[3])
            refuse(name + " must have the event axes of the weights, " + shown(w.shape) + ", got " + shown(source.shape) + ".");
        if (source.shape[0] != 1 && source.strides[0] != 0) refuse(name + " must be the same for all sequences, got " + shown(source.shape) + ".");
        check_range(source, name, -1, product({w.shape[2], memory}, "Sparse: sources") - 1);
        return {"Sparse", w.shape[2], w.shape[2], product({w.shape[2], w.shape[3]}, "Sparse: arcs"), memory};
    };
    for (std::size_t word = 2; word < request.spec.size();) {
        const int64_t kind = request.spec[word++];
        switch (kind) {
            case kDense:
            case kSparse: {
                const Moves moves = check_moves(kind, word);
                form.memory = moves.memory;
                alone |= moves.memory > 1;
                join(moves.name, {1, moves.from}, {1, moves.to});
                form.arc_indices.push_back({0, moves.arcs - 1});
                break;
            }
            case kDiagonal: {
                const Given& w = reader.weight("Diagonal", "weight", request.length, 1);
                join("Diagonal", {1, w.shape[2]}, {1, w.shape[2]});
                form.arc_indices.push_back({0, w.shape[2] - 1});
                break;
            }
            case kTied: {
                const Given& w = reader.weight("Diagonal", "weight", request.length, 1);
                const Name name = reader.called("weights", "Diagonal", "index");
                const Given& index = reader.index("Diagonal", "index", 1, 1);
                if (index.shape[1] != 1) refuse(name + " must be the same at all steps, got " + shown(index.shape) + ".");
                if (index.shape[2] < 1) refuse(name + " must not be empty, got " + shown(index.shape) + ".");
                check_range(index, name, 0, w.shape[2] - 1);
                join("Diagonal", {1, index.shape[2]}, {1, index.shape[2]});
                form.arc_indices.push_back({0, w.shape[2] - 1});
                break;
            }
            case kAxes: {
                const int64_t count = word_of(request, word++, "how many axes there are");
                if (count < 1 || count > tensors) out_of_range("Axes: how many there are", 1, tensors, count);
                std::vector<const Given*> weights;
                int64_t slots = 1;
                for (int64_t i = 0; i < count; ++i) {
                    weights.push_back(&reader.weight("Axes", "weight", request.length, 2));
                    slots = product({slots, weights.back()->shape[3]}, "Axes: joint states");
                }
                for (const Given* w : weights) {
                    if (w->shape[2] != w->shape[3] && w->shape[2] != slots)
                        refuse("Axes: a weight must lead from " + number(w->shape[3]) + " states or " + number(slots) + " joint states, got " + shown(w->shape) + ".");
                    form.arc_indices.push_back({0, product({w->shape[2], w->shape[3]}, "Axes: transitions") - 1});
                    ++form.draws;
                }
                join("Axes", {1, slots}, {1, slots});
                break;
            }
            case kSegmental: {
                const int64_t whole = word_of(request, word++, "whether a Segmental has weights of whole segments");
                if (whole < 0 || whole > 1) out_of_range("Segmental: whether there are weights of whole segments", 0, 1, whole);
                alone = true;
                const int64_t inner = word_of(request, word++, "the transition of a Segmental");
                if (inner != kDense && inner != kSparse) refuse("Segmental: its transition must be a Dense or a Sparse, got a map of kind " + number(inner) + ".");
                const Moves moves = check_moves(inner, word);
                const int64_t states = moves.to;
                if (moves.from != states || moves.memory != 1)
                    refuse("Segmental: its transition must lead from " + number(states) + " states to as many, with a memory of 1, got from " +
                           number(moves.from) + " and a memory of " + number(moves.memory) + ".");
                const Given& duration = reader.weight("Segmental", "duration", request.length, 2);
                form.memory = duration.shape[2];
                const int64_t frames = request.length + form.memory - 1;
                const Given& emission = reader.weight("Segmental", "emission", frames, 1);
                if (duration.shape[3] != states || emission.shape[2] != states)
                    refuse("Segmental: duration and emission must be of " + number(states) + " states, got " + shown(duration.shape) + " and " + shown(emission.shape) + ".");
                if (emission.shape[1] < frames) refuse("Segmental: its emission must be of " + number(frames) + " frames, padding included, got " + shown(emission.shape) + ".");
                if (whole) {
                    const Given& segment = reader.weight("Segmental", "segment", request.length, 2);
                    if (segment.shape[2] != form.memory || segment.shape[3] != states)
                        refuse("Segmental: segment must be of " + listed(std::initializer_list<int64_t>{form.memory, states}) + ", got " + shown(segment.shape) + ".");
                }
                join("Segmental", {2, states}, {2, states});
                form.arc_indices.push_back({-1, moves.arcs - 1});
                form.arc_indices.push_back({0, product({form.memory, states}, "Segmental: durations") - 1});
                ++form.draws;
                break;
            }
            case kGrid: {
                form.memory = word_of(request, word++, "the memory of a Grid");
                const int64_t diagonal = word_of(request, word++, "the first anti-diagonal of a Grid");
                if (form.memory < 1 || form.memory > kMost) out_of_range("Grid: memory", 1, kMost, form.memory);
                alone = true;
                const Given& w = reader.weight("Grid", "weight", -1, 3);
                form.grid = &w;
                const Given& row = reader.peek("Grid", "row");
                if (row.shape.empty() || row.shape.back() < 1) refuse("Grid: its rows must not be empty, got " + shown(row.shape) + ".");
                const int64_t slots = row.shape.back();
                reader.table("row", Type::kInt64, {slots});
                const Given& source = reader.peek("Grid", "source");
                if (source.shape.empty() || source.shape.back() < 1) refuse("Grid: its sources must not be empty, got " + shown(source.shape) + ".");
                const int64_t width = source.shape.back();
                product({slots, width, form.memory}, "Grid: sources");
                for (const char* what : {"source", "plane"}) reader.table(what, Type::kInt64, {slots, width});
                reader.table("factor", Type::kDouble, {slots, width});
                for (const char* what : {"low", "high"}) reader.table(what, Type::kInt64, {slots, width});
                check_grid(w, &w + 1, slots, width, form.memory, diagonal);
                join("Grid", {1, slots}, {1, slots});
                form.arc_indices.push_back({0, slots * width - 1});
                ++form.draws;
                break;
            }
            default: out_of_range("the kind of a map", kDense, kAxes, kind);
        }
    }
    if (reader.at() != request.weights.size()) refuse("spec reads " + number(static_cast<int64_t>(reader.at())) + " weights, got " + number(tensors) + ".");
    if (alone && maps > 1) refuse("a map that looks further back than one step, a Segmental and a Grid are not composed with others.");
    if (first != last)
        refuse("the maps of a step lead from " + number(first.parts * first.size) + " slots to " + number(last.parts * last.size) + ": those must be the same.");
    form.slots = first.parts * first.size;
    for (int side = 0; side < 2; ++side)
        for (const Given* border : borders[side])
            if (border->shape[1] != form.slots)
                refuse(std::string(side ? "an end" : "a start") + " factor must be of " + number(form.slots) + " slots, got " + shown(border->shape) + ".");
    const int64_t part = request.wide ? padded<double>(first.size) : padded<float>(first.size);
    form.stride = product({request.components, first.parts, part}, "the numbers in a state vector");
    product({form.stride, form.memory + 2 * kBlock}, "the numbers in the state vectors of a block of steps");
    form.events = reader.events();
    form.draws = 1 + product({request.length, form.draws}, "the numbers to draw with");
    return form;
}

const int64_t* check_lengths(const Request& request, const Given& lengths) {
    const int64_t* found = check_array<int64_t>(lengths, "lengths", request.batch, true);
    if (found) check_range(lengths, "a length", 0, request.length);
    return found;
}

void check_rows(const Request& request, const Form& form, int64_t rows, int64_t segment) {
    if (segment < 1 || segment > kMost) out_of_range("segment", 1, kMost, segment);
    const int64_t exact = segment >= request.length ? request.length + 1 : product({request.length / segment + 1, form.memory}, "kept state vectors");
    if (rows != exact) out_of_range("the number of kept state vectors", exact, exact, rows);
    product({request.batch, rows, form.stride}, "the numbers in the kept state vectors");
}

void check_kept(const Request& request, const Form& form, const Given& vectors, const Given& offsets, int64_t rows, int64_t segment) {
    if (segment == 0 && rows == 0) return;  // nothing is kept
    check_rows(request, form, rows, segment);
    check_type(vectors, "vectors", request.wide ? Type::kDouble : Type::kFloat);
    check_type(offsets, "offsets", Type::kDouble);
    check_memory(vectors, "vectors"), check_memory(offsets, "offsets");
    const int64_t count = product({request.batch, rows}, "kept state vectors");
    if (elements(vectors) < product({count, form.stride}, "the numbers in the kept state vectors") || !in_one_piece(vectors))
        refuse("vectors must be in one piece and of " + number(count) + " times " + number(form.stride) + " numbers, got " + shown(vectors.shape) + ".");
    const int64_t scales = product({request.batch, rows + kept_blocks(request.length, segment)}, "the offsets of kept state vectors");
    if (elements(offsets) < scales || !in_one_piece(offsets))
        refuse("offsets must be in one piece and of " + number(scales) + " numbers, got " + shown(offsets.shape) + ".");
}

void check_out(const Request& request, const Form& form, const std::vector<Given>& out, const std::vector<Given>& like, const char* list) {
    if (out.size() != request.weights.size())
        refuse(std::string(list) + " must be as many as the weights, " + number(static_cast<int64_t>(request.weights.size())) + ", got " + number(static_cast<int64_t>(out.size())) + ".");
    for (std::size_t i = 0; i < out.size(); ++i) {
        if (!out[i].present()) continue;
        const Name name(list, i);
        if (like.empty() || form.events[i] == 0) refuse(name + " must be None: nothing has a gradient there.");
        check_type(out[i], name, request.wide ? Type::kDouble : Type::kFloat);
        check_memory(out[i], name);
        if (!std::equal(out[i].shape.begin(), out[i].shape.end(), like[i].shape.begin(), like[i].shape.end()))
            refuse(name + " must be of the sizes of its tensor, " + shown(like[i].shape) + ", got " + shown(out[i].shape) + ".");
        bool repeats = false;
        for (std::size_t axis = 0; axis < out[i].shape.size(); ++axis) repeats |= out[i].shape[axis] > 1 && out[i].strides[axis] == 0;
        if (repeats || !in_one_piece(out[i], form.events[i])) refuse(name + " must have its event axes in one piece, and no entry twice.");
    }
}

void settle(const Request& request, double* values) {
    const int64_t count = request.batch * (request.semiring == kExpectation ? 1 : request.components);  // a mean may be one
    bool any = false;
    for (int64_t i = 0; i < count; ++i) any |= std::isnan(values[i]);
    if (!any) return;
    for (const Given& tensor : request.weights) {
        const Extent extent(static_cast<int>(tensor.shape.size()), tensor.shape.begin(), tensor.strides.begin());
        if (tensor.type == Type::kFloat && has_nan(tensor.as<float>(), extent)) return;
        if (tensor.type == Type::kDouble && has_nan(tensor.as<double>(), extent)) return;
    }
    for (int64_t i = 0; i < count; ++i)
        if (std::isnan(values[i])) values[i] = std::numeric_limits<double>::infinity();
}

void check_paths(const Request& request, const Form& form, int64_t rows, const int64_t* slots, const int64_t* arc_indices) {
    const int64_t length = request.length, columns = static_cast<int64_t>(form.arc_indices.size());
    for (int64_t path = 0; path < rows * request.batch; ++path) {
        const int64_t* at = slots + path * (length + 1);
        const int64_t* traced = arc_indices + path * length * columns;
        if (at[0] < 0) continue;  // there is no such path
        const int64_t steps = request.lengths ? request.lengths[path % request.batch] : length;
        for (int64_t t : {int64_t{0}, steps})
            if (at[t] < 0 || at[t] >= form.slots) out_of_range("the slot in which a path begins or ends", 0, form.slots - 1, at[t]);
        for (int64_t t = 0; t < steps; ++t) {
            if (at[t + 1] < 0) continue;
            for (int64_t c = 0; c < columns; ++c) {
                const int64_t index = traced[t * columns + c];
                const auto [least, greatest] = form.arc_indices[static_cast<std::size_t>(c)];
                if (index < least || index > greatest) out_of_range("an arc index of a path", least, greatest, index);
                if (!form.grid) continue;
                const Given* tables = form.grid + 1;
                const int64_t width = tables[1].shape.back(), row = tables[0].as<int64_t>()[index / width];
                const int64_t column = t + request.spec.back() - row;
                if (tables[2].as<int64_t>()[index] >= 0 && (column < 0 || column >= form.grid->shape[3]))
                    out_of_range("the column of a cell that a path took", 0, form.grid->shape[3] - 1, column);
            }
        }
    }
}

}  // namespace semihmm
