#include "description.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace semihmm_runtime {

Error::~Error() = default;
void bad_file(const std::string& message) { throw Error(SEMIHMM_BAD_FILE, "semihmm: " + message); }
void bad_data(const std::string& message) { throw Error(SEMIHMM_BAD_DATA, "semihmm: " + message); }
void bad_argument(const std::string& message) { throw Error(SEMIHMM_BAD_ARGUMENT, "semihmm: " + message); }

namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();
constexpr int64_t kMostStates = int64_t(1) << 22, kMostExtent = int64_t(1) << 24;

// Refuses what would take so much more memory than the file.
void check_size(const char* what, int64_t a, int64_t b, int64_t c = 1) {
    int64_t all = 0;
    if (__builtin_mul_overflow(a, b, &all) || __builtin_mul_overflow(all, c, &all) || all > kMostNumbers)
        bad_file(std::string("the model file: ") + what + " would take more than " + std::to_string(kMostNumbers) + " numbers.");
}

// A band: each state from those so many places before it. What is outside is no arc.
Transition banded(int64_t states, const std::vector<int64_t>& offsets, std::vector<float> weight) {
    const auto arcs = static_cast<int64_t>(offsets.size());
    Transition found{std::move(weight), std::vector<int64_t>(static_cast<std::size_t>(states * arcs)), arcs};
    for (int64_t to = 0; to < states; ++to)
        for (int64_t k = 0; k < arcs; ++k) {
            const int64_t from = to - offsets[k], at = to * arcs + k;
            const bool inside = 0 <= from && from < states;
            found.source[at] = inside ? from : -1;
            if (!inside) found.weight[at] = kNothing;
        }
    return found;
}

// Arcs by the state that they lead to, in their order; as a matrix where that is faster (semihmm/structures/transitions.py).
Transition by_target(int64_t states, const std::vector<int64_t>& ends, const std::vector<float>& weight) {
    const auto count = static_cast<int64_t>(weight.size());
    const int64_t *source = ends.data(), *target = ends.data() + count;
    Transition found;
    if (states <= 32 || states * states <= (states <= 64 ? 8 : 4) * count) {
        found.weight.assign(static_cast<std::size_t>(states * states), kNothing);
        for (int64_t a = 0; a < count; ++a) found.weight[source[a] * states + target[a]] = weight[a];
        return found;
    }
    std::vector<int64_t> into(static_cast<std::size_t>(states));
    for (int64_t a = 0; a < count; ++a) ++into[target[a]];
    found.arcs = *std::max_element(into.begin(), into.end());
    check_size("its arcs, as many into each state as into the one with most,", states, found.arcs);
    found.weight.assign(static_cast<std::size_t>(states * found.arcs), kNothing);
    found.source.assign(found.weight.size(), -1);
    std::fill(into.begin(), into.end(), 0);
    for (int64_t a = 0; a < count; ++a) {
        const int64_t at = target[a] * found.arcs + into[target[a]]++;
        found.weight[at] = weight[a], found.source[at] = source[a];
    }
    return found;
}

Transition read_transition(Members members, Safetensors& file, int64_t states) {
    const std::string kind = members.text("kind");
    Transition found;
    if (kind == "dense") {
        found.weight = file.numbers("transition", {states, states}, false);
    } else if (kind == "banded") {
        const std::vector<int64_t> offsets = members.integers("offsets", 1 - states, states - 1);
        std::vector<int64_t> each = offsets;
        std::sort(each.begin(), each.end());
        if (each.empty() || std::adjacent_find(each.begin(), each.end()) != each.end()) members.refuse("offsets", "at least one, none of them twice");
        found = banded(states, offsets, file.numbers("transition", {states, static_cast<int64_t>(offsets.size())}, false));
    } else if (kind == "arcs") {
        const int64_t count = file.shape("transition", 1, kMostExtent)[0];
        const std::vector<int64_t> ends = file.indices("arcs", {2, count}, 0, states - 1);
        std::vector<int64_t> each;
        for (int64_t a = 0; a < count; ++a) each.push_back(ends[a] * states + ends[count + a]);
        std::sort(each.begin(), each.end());
        if (std::adjacent_find(each.begin(), each.end()) != each.end()) bad_file("the model file: tensor arcs has one of them twice.");
        found = by_target(states, ends, file.numbers("transition", {count}, false));
    } else {
        members.refuse("kind", "\"dense\", \"banded\" or \"arcs\"");
    }
    members.finish();
    return found;
}

// Gaussians of one set of features for each state, or of components of sets that states share.
void read_gaussians(Members& members, Safetensors& file, int64_t columns, Emission& to) {
    const bool mixture = to.kind == "mixture";
    const std::string covariance = members.text("covariance");
    to.matrices = covariance == "full" || covariance == "tied";
    if (!to.matrices && covariance != "diag" && covariance != "spherical") members.refuse("covariance", "\"diag\", \"spherical\", \"full\" or \"tied\"");
    const std::vector<int64_t> sizes = file.shape("emission.mean", mixture ? 3 : 2, kMostExtent);
    to.inputs = sizes.back(), to.sets = sizes[0], to.components = mixture ? sizes[1] : 1;
    if (!mixture && to.sets != columns) bad_file("the model file: tensor emission.mean must be of " + std::to_string(columns) + " states, got " + shown(sizes) + ".");
    to.mean = file.numbers("emission.mean", sizes, true);
    check_size("its Gaussians", to.sets * to.components, to.inputs, to.matrices ? to.inputs : 1);
    // What Gaussians or features share, each gets of its own.
    const bool tied = covariance == "tied", spherical = covariance == "spherical";
    std::vector<int64_t> shape = sizes;
    if (tied) shape[shape.size() - 2] = 1;
    if (spherical) shape.back() = 1;
    if (to.matrices) shape.push_back(to.inputs);
    const std::vector<float> given = file.numbers(to.matrices ? "emission.factor" : "emission.log_variance", shape, true);
    const int64_t block = to.matrices ? to.inputs * to.inputs : to.inputs, shared = !tied ? 1 : mixture ? to.components : to.sets;
    to.spread.reserve(static_cast<std::size_t>(to.sets * to.components * block));
    for (int64_t g = 0; g < to.sets * to.components; ++g)
        for (int64_t i = 0; i < block; ++i) to.spread.push_back(spherical ? given[g] : given[g / shared * block + i]);
    to.codebook.resize(static_cast<std::size_t>(columns));
    std::iota(to.codebook.begin(), to.codebook.end(), 0);
    if (!mixture) return;
    to.log_weight = file.numbers("emission.log_weight", {columns, to.components}, false);
    if (file.has("emission.codebook")) {
        to.codebook = file.indices("emission.codebook", {columns}, 0, to.sets - 1);
    } else if (to.sets != columns) {
        bad_file("the model file: tensor emission.mean must be of " + std::to_string(columns) + " sets without an emission.codebook, got " + shown(sizes) + ".");
    }
}

Emission read_emission(Members members, const Json& json, Safetensors& file, int64_t columns) {
    Emission found;
    found.kind = members.text("kind");
    found.inputs = columns;
    if (found.kind == "gaussian" || found.kind == "mixture") {
        read_gaussians(members, file, columns, found);
    } else if (found.kind == "categorical") {
        found.inputs = 1;
        found.symbols = file.shape("emission.log_prob", 2, kMostExtent)[1];
        const std::vector<float> log_prob = file.numbers("emission.log_prob", {columns, found.symbols}, false);
        found.table.resize(log_prob.size());
        for (int64_t s = 0; s < columns; ++s)
            for (int64_t v = 0; v < found.symbols; ++v) found.table[v * columns + s] = log_prob[s * found.symbols + v];
    } else if (found.kind != "log_likelihoods") {
        (void)json;
        members.refuse("kind", "\"log_likelihoods\", \"gaussian\", \"mixture\" or \"categorical\"");
    }
    members.finish();
    return found;
}

// A CTC as an HMM over the places blank, token 0, blank, ..., blank (semihmm.CTC.hmm): its moves are those of `CTC._moves`.
void spell(const std::vector<int64_t>& targets, const std::vector<int64_t>& optional, int64_t blank, Description& to) {
    const auto tokens = static_cast<int64_t>(targets.size()), places = 2 * tokens + 1, far = optional.empty() ? int64_t{3} : int64_t{5};
    const auto token = [](int64_t place) { return (place - 1) / 2; };
    const auto left_out = [&](int64_t u) { return !optional.empty() && u >= 0 && u < tokens && optional[u] != 0; };
    const auto may = [&](int64_t place, int64_t distance) {
        const bool said = place % 2 == 1;
        const int64_t u = token(place);
        switch (distance) {
            case 2: return said && u >= 1 && targets[u] != targets[u - 1];
            case 3: return said && left_out(u - 1);
            case 4: return said && left_out(u - 1) && u >= 2 && targets[u] != targets[u - 2];
            default: return true;
        }
    };
    to.states = places;
    check_size("its text", places, far);
    to.column.assign(static_cast<std::size_t>(places), blank);
    for (int64_t u = 0; u < tokens; ++u) to.column[2 * u + 1] = targets[u];
    std::vector<int64_t> offsets(static_cast<std::size_t>(far));
    std::iota(offsets.begin(), offsets.end(), 0);
    std::vector<float> weight(static_cast<std::size_t>(places * far), kNothing);
    to.initial.assign(static_cast<std::size_t>(places), kNothing), to.final_ = to.initial;
    for (int64_t place = 0; place < places; ++place)
        for (int64_t d = 0; d < far; ++d)
            if (may(place, d)) weight[place * far + d] = 0;
    // All stand in the first blank before the first frame.
    for (int64_t place = 0; place < std::min(far, places); ++place)
        if (may(place, place)) to.initial[place] = 0;
    const int64_t last = left_out(tokens - 1) ? 4 : 2;
    for (int64_t place = std::max<int64_t>(places - last, 0); place < places; ++place) to.final_[place] = 0;
    to.transition = banded(places, offsets, std::move(weight));
}

}  // namespace

Description Description::read(const void* data, std::size_t size) {
    Safetensors file(data, size);
    const Json json = Json::parse(file.metadata("semihmm.runtime"), "the model file: semihmm.runtime");
    Members members(json, "");
    const double version = members.number("version");
    if (version != SEMIHMM_FORMAT_VERSION)
        throw Error(SEMIHMM_BAD_VERSION, "semihmm: the model file is of version " + std::to_string(version).substr(0, 8) + " of the format; this library reads version " + std::to_string(SEMIHMM_FORMAT_VERSION) + ".");
    Description found;
    found.kind = members.text("kind");
    if (found.kind == "ctc") {
        found.columns = members.integer("columns", 1, kMostStates);
        const int64_t blank = members.integer("blank", 0, found.columns - 1);
        const int64_t tokens = file.shape("targets", 1, kMostStates)[0];
        const std::vector<int64_t> targets = file.indices("targets", {tokens}, 0, found.columns - 1);
        if (std::find(targets.begin(), targets.end(), blank) != targets.end()) bad_file("the model file: tensor targets has the blank in it.");
        std::vector<int64_t> optional;
        if (file.has("optional")) optional = file.indices("optional", {tokens}, 0, 1);
        for (std::size_t u = 1; u < optional.size(); ++u)
            if (optional[u] && optional[u - 1]) bad_file("the model file: tensor optional has two of them side by side.");
        members.integer("states", 2 * tokens + 1, 2 * tokens + 1);
        spell(targets, optional, blank, found);
    } else if (found.kind == "alignment") {
        found.states = found.columns = members.integer("states", 1, kMostStates);
        const auto states = static_cast<std::size_t>(found.states);
        found.initial.assign(states, kNothing), found.final_ = found.initial;
        found.initial.front() = found.final_.back() = 0;
        found.transition = banded(found.states, {0, 1}, std::vector<float>(2 * states));
    } else if (found.kind == "hmm" || found.kind == "hsmm") {
        found.states = found.columns = members.integer("states", 1, kMostStates);
        found.initial = file.numbers("initial", {found.states}, false);
        if (file.has("final")) found.final_ = file.numbers("final", {found.states}, false);
        found.transition = read_transition(members.object("transition"), file, found.states);
        if (found.kind == "hsmm") {
            found.max_duration = file.shape("duration", 2, kMostExtent)[1];
            found.duration = file.numbers("duration", {found.states, found.max_duration}, false);
            check_size("its durations", 4 * found.states, found.max_duration);
            const std::string& censored = members.text("censored");
            if (censored != "none" && censored != "right") members.refuse("censored", "\"none\" or \"right\"");
            found.cut = censored == "right";
        } else if (members.has("columns")) {
            found.columns = members.integer("columns", 1, kMostStates);
            found.column = file.indices("columns", {found.states}, 0, found.columns - 1);
        }
    } else {
        members.refuse("kind", "\"hmm\", \"hsmm\", \"ctc\" or \"alignment\"");
    }
    const Members emission = members.object("emission");
    found.emission = read_emission(emission, json.object()->find("emission")->second, file, found.columns);
    if (members.has("features")) found.features = members.take("features");
    if (members.has("names")) found.names = members.texts("names");
    if (!found.names.empty() && static_cast<int64_t>(found.names.size()) != found.states) members.refuse("names", "as many as there are states, " + std::to_string(found.states));
    members.finish(), file.finish();
    return found;
}

}  // namespace semihmm_runtime
