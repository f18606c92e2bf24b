// A question asked again and again of structures of one form: what follows from shapes and types alone is found out once, so
// that a call checks its tensors, runs, and makes its outputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <nanobind/nanobind.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "entry.hpp"

namespace semihmm {
using namespace nb::literals;
inline namespace SEMIHMM_MODULE {  // a type for each module: a process may load several, and types are known by their names

class Program {
  public:
    using Numbers = std::vector<int64_t>;

    // `potentials`: tensors in one piece, or one sequence's that stand for all, as every call's are. `places`: for each
    // tensor of the chain either (the number of its potential, its first element there, sizes, strides, as of a potential in
    // one piece); or (numbers, factors, rest) of its shape, for entries that are those of the potentials, counted through all of
    // them, times a factor, and of number -1 the rest alone; or a tensor that is the same in all calls. `sign`: that of a
    // potential which is a log-weight.
    Program(int semiring, double beta, bool wide, Numbers spec, bool batched, int64_t batch, int64_t length, double sign,
            const nb::list& potentials, const nb::list& places)
        : sign_(sign), batched_(batched) {
        request_.semiring = semiring;
        request_.beta = beta;
        request_.wide = wide;
        request_.spec = std::move(spec);
        request_.batch = batch;
        request_.length = length;
        if (semiring != kLog && semiring != kMax) refuse("a program is of Log or Max.");
        if (batch < 1 || length < 0) refuse("a program needs a sequence, and as many steps as there are.");
        if (!batched && batch != 1) refuse("without a batch axis there is one sequence.");
        for (nb::handle x : potentials) forms_.push_back(checked_form(x));
        for (nb::handle place : places) places_.push_back(read(place));
    }

    // The totals; None where a potential is no log-weight, or where a total is neither finite nor -inf.
    nb::object total(const nb::list& potentials, nb::handle lengths, bool validate, int64_t threads) {
        Call call;
        if (!begin(potentials, lengths, validate, threads, call)) return nb::none();
        std::vector<double> values(static_cast<std::size_t>(request_.batch));
        {
            const nb::gil_scoped_release release;
            with_type(request_.wide, [&]<class F>(F) { run_total<F>(call.description, {}, values.data()); });
        }
        return value_of(values);
    }

    // [totals, the gradient of their sum by each potential that is requested]; None as above.
    nb::object posteriors(const nb::list& potentials, const std::vector<bool>& requested, nb::handle lengths, bool validate, int64_t threads) {
        if (requested.size() != forms_.size()) refuse("it must be said of each potential whether its gradient is requested.");
        if (request_.semiring != kLog) refuse("posteriors are those of Log.");
        Call call;
        if (!begin(potentials, lengths, validate, threads, call)) return nb::none();
        nb::list found;
        std::vector<char*> grads(forms_.size(), nullptr);
        found.append(nb::none());
        for (std::size_t i = 0; i < forms_.size(); ++i) {
            if (!requested[i]) continue;
            const Made made = make_tensor(real(), {forms_[i].shape.begin(), forms_[i].shape.size()});
            grads[i] = static_cast<char*>(made.data);
            std::fill_n(grads[i], forms_[i].bytes, char(0));
            found.append(made.tensor);
        }
        std::vector<std::vector<double>> laid_out;
        const std::vector<Given> out = placed(grads, requested, laid_out), nothing(places_.size());
        check_out(call.description.request, call.description.form, out, call.description.request.weights, "out");
        std::vector<double> values(static_cast<std::size_t>(request_.batch)), ones(values.size(), 1.0);
        const int64_t rows = request_.length + 1, stride = call.description.form.stride;
        {
            const nb::gil_scoped_release release;
            with_type(request_.wide, [&]<class F>(F) {
                run_gradient<F>(call.description, {nullptr, nullptr, rows, std::max<int64_t>(request_.length, 1), kept_blocks(request_.length, request_.length)}, ones.data(), nullptr, out, nothing, values.data(), stride);
            });
        }
        with_type(request_.wide, [&]<class F>(F) { give_back<F>(out, grads); });
        found[0] = value_of(values);
        if (found[0].is_none()) return nb::none();
        return found;
    }

    // (slots, choices, totals, whether there is a path) of the best path of each sequence; None as above.
    nb::object best_path(const nb::list& potentials, nb::handle lengths, bool validate, int64_t threads) {
        if (request_.semiring != kMax) refuse("a best path is that of Max.");
        Call call;
        if (!begin(potentials, lengths, validate, threads, call)) return nb::none();
        const nb::dlpack::dtype integer = nb::dtype<int64_t>();
        const Made slots = make_tensor(integer, shape_of(request_.length + 1)), choices = make_tensor(integer, shape_of(request_.length));
        const Made valid = make_tensor({static_cast<uint8_t>(nb::dlpack::dtype_code::Bool), 8, 1}, shape_of());
        std::vector<double> values(static_cast<std::size_t>(request_.batch));
        PathsOut out;
        out.slots = static_cast<int64_t*>(slots.data), out.choices = static_cast<int64_t*>(choices.data), out.values = values.data();
        {
            const nb::gil_scoped_release release;
            with_type(request_.wide, [&]<class F>(F) { run_paths<F>(call.description, request_.length + 1, std::max<int64_t>(request_.length, 1), out); });
        }
        for (int64_t b = 0; b < request_.batch; ++b) static_cast<bool*>(valid.data)[b] = values[b] > -std::numeric_limits<double>::infinity();
        const nb::object score = value_of(values);
        if (score.is_none()) return score;
        return nb::make_tuple(slots.tensor, choices.tensor, score, valid.tensor);
    }

  private:
    struct FormOf {
        Sizes shape;
        std::size_t bytes = 0;  // of a gradient
        bool shared = false;    // all sequences have the numbers of one
    };
    // An entry that lies elsewhere than in its potential: potential -1 for none, then `rest` is all of it.
    struct Entry {
        int64_t potential, at;
        double factor, rest;
    };
    struct Place {
        int64_t potential = -1, first = 0;
        Given tensor;     // sizes and strides; and of a constant where it is
        nb::object held;  // that
        std::vector<Entry> entries;  // of one that is laid out for each call
    };
    struct Call {
        Description description;
        std::vector<std::vector<double>> laid_out;
    };

    nb::dlpack::dtype real() const { return request_.wide ? nb::dtype<double>() : nb::dtype<float>(); }
    Type type() const { return request_.wide ? Type::kDouble : Type::kFloat; }

    FormOf checked_form(nb::handle x) const {
        const Given tensor = given(x);
        FormOf form{tensor.shape, request_.wide ? std::size_t(8) : std::size_t(4), !in_one_piece(tensor)};
        if (tensor.type != type() || (form.shared && !in_one_piece(of_one(tensor)))) refuse("a program's potentials must lie in one piece and be of its type.");
        for (int64_t size : tensor.shape) form.bytes *= static_cast<std::size_t>(size);
        return form;
    }
    Place read(nb::handle place) const {
        Place found;
        if (!nb::isinstance<nb::tuple>(place)) {
            found.tensor = given(place, batched_);
            found.held = nb::borrow(place);
            return found;
        }
        if (nb::len(place) == 3) return laid_out(place);
        const auto [potential, first, shape, strides] = nb::cast<std::tuple<int64_t, int64_t, Numbers, Numbers>>(place);
        if (potential < 0 || potential >= static_cast<int64_t>(forms_.size()) || shape.size() != strides.size() || shape.size() + 1 > Sizes::most)
            refuse("a place must name a potential, and have as many strides as sizes.");
        const FormOf& form = forms_[static_cast<std::size_t>(potential)];
        found.potential = potential, found.first = first;
        found.tensor.type = type();
        if (!batched_) found.tensor.shape.push_back(1), found.tensor.strides.push_back(0);
        int64_t last = first, elements = static_cast<int64_t>(form.bytes / (request_.wide ? 8 : 4));
        bool empty = false;
        for (std::size_t i = 0; i < shape.size(); ++i) {
            if (shape[i] < 0 || shape[i] > kMost || strides[i] < 0 || strides[i] > kMost) refuse("a place has sizes and strides from 0 on.");
            empty |= shape[i] == 0;
            const bool once = form.shared && i == 0;  // there is memory for one sequence
            if (shape[i] > 1 && strides[i] > 0 && !once) last += product({shape[i] - 1, strides[i]}, "a place");
            found.tensor.shape.push_back(shape[i]), found.tensor.strides.push_back(strides[i]);
        }
        if (form.shared) {
            if (shape.empty() || shape[0] != request_.batch || form.shape[0] != request_.batch) refuse("a place in what all sequences share must be of all of them.");
            elements /= std::max<int64_t>(form.shape[0], 1);
            if (strides[0] != elements) refuse("a place must go from one sequence to the next.");
        }
        if (first < 0 || (!empty && last >= elements)) refuse("a place must lie within its potential.");
        return found;
    }
    Place laid_out(nb::handle place) const {
        Place found;
        const nb::object parts[] = {place[0], place[1], place[2]};
        const Given numbers = given(parts[0], batched_), factors = given(parts[1], batched_), rest = given(parts[2], batched_);
        const auto same = [&](const Given& x) { return std::equal(x.shape.begin(), x.shape.end(), numbers.shape.begin(), numbers.shape.end()) && in_one_piece(x); };
        if (numbers.type != Type::kInt64 || factors.type != Type::kDouble || rest.type != Type::kDouble || !same(numbers) || !same(factors) || !same(rest))
            refuse("a place that is laid out must be int64 numbers, float64 factors and a float64 rest, alike and in one piece.");
        found.tensor = numbers;
        found.tensor.type = type();
        int64_t count = 1;
        for (int64_t size : numbers.shape) count *= size;
        for (int64_t i = 0; i < count; ++i) {
            Entry entry{-1, numbers.as<int64_t>()[i], factors.as<double>()[i], rest.as<double>()[i]};
            for (std::size_t p = 0; p < forms_.size() && entry.at >= 0 && entry.potential < 0; ++p) {
                const int64_t elements = static_cast<int64_t>(forms_[p].bytes / (request_.wide ? 8 : 4));
                entry.at < elements ? void(entry.potential = static_cast<int64_t>(p)) : void(entry.at -= elements);
            }
            if (entry.at >= 0 && entry.potential < 0) refuse("a place that is laid out must have entries of the potentials.");
            found.entries.push_back(entry);
        }
        return found;
    }
    // The part of one sequence, which stands for all.
    Given of_one(Given tensor) const {
        if (!batched_ || tensor.shape.empty() || tensor.strides[0]) refuse("a program's potentials must lie in one piece, or repeat what one sequence has.");
        tensor.shape[0] = 1;
        return tensor;
    }
    // The gradients of the chain's tensors, in those of the potentials that are requested, which begin at `grads`; or laid out.
    std::vector<Given> placed(const std::vector<char*>& grads, const std::vector<bool>& requested, std::vector<std::vector<double>>& laid_out) const {
        std::vector<Given> found;
        found.reserve(places_.size());
        for (const Place& place : places_) {
            found.emplace_back();
            if (std::any_of(place.entries.begin(), place.entries.end(), [&](const Entry& e) { return e.potential >= 0 && requested[static_cast<std::size_t>(e.potential)]; })) {
                found.back() = place.tensor;
                found.back().data = laid_out.emplace_back(place.entries.size(), 0.0).data();
            } else if (place.potential >= 0 && requested[static_cast<std::size_t>(place.potential)]) {
                found.back() = place.tensor;
                found.back().data = grads[static_cast<std::size_t>(place.potential)] + place.first * (request_.wide ? 8 : 4);
            }
        }
        return found;
    }
    // Adds what was laid out to the gradients of potentials.
    template <class F>
    void give_back(const std::vector<Given>& out, const std::vector<char*>& grads) const {
        for (std::size_t i = 0; i < places_.size(); ++i)
            for (std::size_t j = 0; j < places_[i].entries.size() && out[i].data; ++j) {
                const Entry& entry = places_[i].entries[j];
                if (entry.potential < 0 || !grads[static_cast<std::size_t>(entry.potential)]) continue;
                reinterpret_cast<F*>(grads[static_cast<std::size_t>(entry.potential)])[entry.at] += static_cast<F>(entry.factor) * out[i].as<F>()[j];
            }
    }
    // The tensors of the chain, where the potentials lie at `from`.
    template <class F>
    std::vector<Given> placed(const std::vector<char*>& from, std::vector<std::vector<double>>& laid_out) const {
        std::vector<Given> found;
        found.reserve(places_.size());
        for (const Place& place : places_) {
            found.push_back(place.tensor);
            if (!place.entries.empty()) {
                F* to = reinterpret_cast<F*>(laid_out.emplace_back(place.entries.size()).data());
                found.back().data = to;
                for (const Entry& entry : place.entries) {
                    *to++ = static_cast<F>(entry.rest);
                    if (entry.potential < 0) continue;
                    const auto potential = static_cast<std::size_t>(entry.potential);
                    const int64_t one = static_cast<int64_t>(forms_[potential].bytes / sizeof(F)) / (forms_[potential].shared ? forms_[potential].shape[0] : 1);
                    const F factor = static_cast<F>(entry.factor), value = reinterpret_cast<const F*>(from[potential])[forms_[potential].shared ? entry.at % one : entry.at];
                    to[-1] = factor == F(1) && entry.rest == 0 ? value : factor * value + static_cast<F>(entry.rest);
                }
            } else if (place.potential >= 0) {
                const auto potential = static_cast<std::size_t>(place.potential);
                if (from[potential]) found.back().data = from[potential] + place.first * static_cast<int64_t>(sizeof(F));
                if (forms_[potential].shared) found.back().strides[0] = 0;
            }
        }
        return found;
    }
    // Whether the potentials are log-weights, if that is to be seen.
    bool begin(const nb::list& potentials, nb::handle lengths, bool validate, int64_t threads, Call& call) const {
        if (potentials.size() != forms_.size()) refuse("a program must be given as many potentials as it was made with.");
        std::vector<char*> from;
        for (std::size_t i = 0; i < forms_.size(); ++i) {
            Given tensor = given(potentials[i]);
            const bool same = std::equal(tensor.shape.begin(), tensor.shape.end(), forms_[i].shape.begin(), forms_[i].shape.end());
            if (forms_[i].shared) tensor = of_one(tensor);
            if (tensor.type != type() || !same || !in_one_piece(tensor)) refuse("a program's potentials must have the form that it was made with.");
            from.push_back(tensor.to<char>());
            if (!validate) continue;
            const Extent extent(static_cast<int>(tensor.shape.size()), tensor.shape.begin(), tensor.strides.begin());
            const bool fine = request_.wide ? usable_by_all<double>(tensor.data, extent, sign_, threads) : usable_by_all<float>(tensor.data, extent, sign_, threads);
            if (!fine) return false;
        }
        call.description.request = request_;
        call.description.request.threads = std::clamp<int64_t>(threads, 1, 256);
        with_type(request_.wide, [&]<class F>(F) { call.description.request.weights = placed<F>(from, call.laid_out); });
        call.description.form = check_chain(call.description.request);
        call.description.request.lengths = check_lengths(call.description.request, given(lengths));
        return true;
    }
    Numbers shape_of(int64_t last = -1) const {
        Numbers shape;
        if (batched_) shape.push_back(request_.batch);
        if (last >= 0) shape.push_back(last);
        return shape;
    }
    nb::object value_of(const std::vector<double>& values) const {
        const Made made = make_tensor(real(), shape_of());
        for (std::size_t b = 0; b < values.size(); ++b) {
            const double value = values[b] / request_.beta;
            if (!(value < std::numeric_limits<double>::infinity())) return nb::none();
            request_.wide ? static_cast<double*>(made.data)[b] = value : static_cast<float*>(made.data)[b] = static_cast<float>(value);
        }
        return made.tensor;
    }

    Request request_;
    double sign_;
    bool batched_;
    std::vector<FormOf> forms_;
    std::vector<Place> places_;
};

inline void bind_programs(nb::module_& m) {
    if (const nb::handle made = nb::type<Program>(); made.is_valid()) {  // the same module, imported once more
        m.attr("Program") = made;
        return;
    }
    nb::class_<Program>(m, "Program", "A question of structures of one form; see semihmm/inference/program.py.")
        .def(nb::init<int, double, bool, Program::Numbers, bool, int64_t, int64_t, double, const nb::list&, const nb::list&>())
        .def("total", &Program::total, "potentials"_a, "lengths"_a.none(), "validate"_a, "threads"_a)
        .def("posteriors", &Program::posteriors, "potentials"_a, "requested"_a, "lengths"_a.none(), "validate"_a, "threads"_a)
        .def("best_path", &Program::best_path, "potentials"_a, "lengths"_a.none(), "validate"_a, "threads"_a);
}

}  // namespace SEMIHMM_MODULE
}  // namespace semihmm
