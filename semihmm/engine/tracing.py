"""Whether the numbers of tensors can be looked at now, or are part of a transform or a traced program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

FEW = 64  # numbers that Python looks at faster than PyTorch


def plain(tensors: Sequence[Tensor]) -> bool:
    """Whether tensors hold numbers that may be read now: no transform, no tracing, no subclass.

    Example:
        >>> plain([torch.zeros(2)])
        True
    """
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    if torch._C._len_torch_dispatch_stack():  # somebody takes down what is called, such as make_fx
        return False
    return all(type(x) is Tensor or type(x) is torch.nn.Parameter for x in tensors)


def mapped() -> bool:
    """Whether values are part of a transform of torch.func: vmap, grad, jvp and what they are made of.

    Example:
        >>> mapped()
        False
    """
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None


def transformed() -> bool:
    """Whether values are part of a transform of torch.func, or duals of forward mode."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def traced() -> bool:
    """Whether values cannot be looked at now: in torch.compile, torch.export, make_fx, or a transform of torch.func.

    Example:
        >>> traced()
        False
    """
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    modes = torch._C._TorchDispatchModeKey
    return any(torch._C._get_dispatch_mode(m) is not None for m in (modes.PROXY, modes.FAKE))


def followed(tensors: Iterable[Tensor]) -> bool:
    """Whether autograd follows what becomes of some tensors.

    Example:
        >>> followed([torch.zeros(2)]), followed([torch.zeros(2, requires_grad=True)])
        (False, True)
    """
    return torch.is_grad_enabled() and any([x.requires_grad for x in tensors])  # noqa: C419 (quicker than a generator)


def twice_forward() -> bool:
    """Whether forward mode goes over forward mode: the outer one does not look into the `jvp` of a Function."""
    if torch.compiler.is_compiling():
        return False
    stack = torch._C._functorch.get_interpreter_stack() or ()
    return sum(layer.key() == torch._C._functorch.TransformType.Jvp for layer in stack) > 1


def batched(gradient: Tensor) -> bool:
    """Whether this is several gradients at once, as autograd has them for its `is_grads_batched`."""
    return torch._C._functorch.is_legacy_batchedtensor(gradient)


def numbers(x: Tensor) -> Tensor | None:
    """The numbers beneath a tensor, under every transform of torch.func; None where they are not known: it is traced.

    Example:
        >>> seen = []
        >>> _ = torch.func.vmap(lambda x: seen.append(numbers(x)) or x)(torch.tensor([1, 2]))
        >>> seen[0].tolist()
        [1, 2]
    """
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return None
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x if type(x) is Tensor or type(x) is torch.nn.Parameter else None


def extremes(x: Tensor) -> tuple[int, int] | None:
    """The least and the largest of some integers; None where there are none, or they are not known (see `numbers`).

    Example:
        >>> extremes(torch.tensor([3, 1, 2]))
        (1, 3)
    """
    known = numbers(x)
    if known is None or not known.numel():
        return None
    if known.numel() > FEW:
        least, most = torch.aminmax(known)
        return int(least), int(most)
    values = known.flatten().tolist()
    return min(values), max(values)
