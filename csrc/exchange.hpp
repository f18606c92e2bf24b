// Tensors as they lie in memory, borrowed from Python for the length of a call. No copy, no reference.
//
// PyTorch's Tensor has DLPack's table of C functions (`__dlpack_c_exchange_api__`, DLPack 1.2), which nanobind does not
// use: reading a tensor through it takes a hundredth of the time that a call of `__dlpack__` takes, and a total of a tiny
// chain reads ten of them. Where an older PyTorch has no such table, `__dlpack__` it is.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace semihmm {

namespace nb = nanobind;

using View = nb::dlpack::dltensor;

// A tensor that somebody owns, as DLPack lays it out.
struct Managed {
    struct {
        uint32_t major, minor;
    } version;
    void* context;
    void (*deleter)(Managed*);
    uint64_t flags;
    View tensor;
};

// The table, as DLPack lays it out.
struct Exchange {
    struct Header {
        uint32_t major, minor;
        const Header* older;
    } header;
    int (*allocate)(View* prototype, struct Managed** made, void* context, void (*fail)(void* context, const char* kind, const char* message));
    void* own;
    int (*give)(struct Managed* tensor, void** object);
    int (*view)(void* tensor, View* found);  // may be missing; 0, or -1 and a Python error
    void* stream;
};

struct Borrowing {
    PyTypeObject* type = nullptr;  // the table is this type's and its subclasses'
    const Exchange* table = nullptr;
};

inline Borrowing known;  // set when the module is loaded

inline Borrowing find_borrowing() {
    Borrowing found;
    const nb::object type = nb::module_::import_("torch").attr("Tensor");
    const nb::object capsule = nb::getattr(type, "__dlpack_c_exchange_api__", nb::none());
    if (!PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api")) return found;
    const auto* header = static_cast<const Exchange::Header*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    while (header && header->major > 1) header = header->older;
    const auto* table = reinterpret_cast<const Exchange*>(header);
    if (!table || table->header.major != 1 || !table->view) return found;
    found.type = reinterpret_cast<PyTypeObject*>(type.ptr());  // torch.Tensor lives as long as Python does
    found.table = table;
    return found;
}

// Calls use(data, type, axes, sizes, strides), the latter two arrays, in elements.
template <class Use>
void borrow(nb::handle x, const Use& use) {
    if (known.table && PyObject_TypeCheck(x.ptr(), known.type)) {
        View view;
        if (known.table->view(x.ptr(), &view)) throw nb::python_error();
        if (view.device.device_type != nb::device::cpu::value) throw nb::type_error("a tensor on the CPU is needed");
        use(static_cast<char*>(view.data) + view.byte_offset, view.dtype, view.ndim, view.shape, view.strides);
        return;
    }
    const auto tensor = nb::cast<nb::ndarray<nb::device::cpu>>(x);
    use(tensor.data(), tensor.dtype(), static_cast<int>(tensor.ndim()), tensor.shape_ptr(), tensor.stride_ptr());
}

struct Made {
    nb::object tensor;
    void* data;
};

// A tensor of PyTorch's own, not filled yet.
inline Made make_tensor(nb::dlpack::dtype type, std::span<const int64_t> shape) {
    if (!known.table || !known.table->allocate || !known.table->give) throw std::runtime_error("semihmm: this PyTorch makes no tensors for others.");
    std::vector<int64_t> sizes(shape.begin(), shape.end());
    View like{nullptr, {nb::device::cpu::value, 0}, static_cast<int32_t>(sizes.size()), type, sizes.data(), nullptr, 0};
    Managed* made = nullptr;
    std::string why;
    const auto fail = [](void* to, const char*, const char* message) { *static_cast<std::string*>(to) = message; };
    if (known.table->allocate(&like, &made, &why, fail)) throw std::runtime_error("semihmm: no tensor could be made: " + why);
    void* const data = static_cast<char*>(made->tensor.data) + made->tensor.byte_offset;
    void* object = nullptr;
    if (known.table->give(made, &object)) throw nb::python_error();
    return {nb::steal(static_cast<PyObject*>(object)), data};
}

}  // namespace semihmm
