"""What is exported: a module of tensors, from observations and lengths to answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from semihmm import inference
from semihmm.errors import SemihmmError, StructureError
from semihmm.models import HMM, HSMM
from semihmm.models.part import Driven, Part
from semihmm.models.sequences import Batch
from semihmm.structures import Structure
from semihmm.structures.authoring import until

Output = Literal["log_prob", "posteriors", "viterbi"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
Make = Callable[[Tensor, Tensor], Structure]
FEWEST = 2  # steps that PyTorch takes for a number of steps that is not known yet


class Answers(nn.Module):
    """What is asked of a model, or of a structure that a function makes, as a module from tensors to tensors.

    Args:
        model: an `HMM` or an `HSMM` of `semihmm.models`; or a function (a module, if it has parameters) from
            observations ``(B, T, ...)`` and lengths ``(B,)`` to a structure with a batch of B.
        outputs: what is asked, in this order. ``"log_prob"``: log-likelihoods in nats ``(B,)``. ``"posteriors"``: the
            marginals of what is observed, ``(B, T, S)``, 0 after the end. ``"viterbi"``: the states of the best path,
            int64 ``(B, T)``, -1 after the end, and its score ``(B,)``, as ``"states"`` and ``"score"``.
        padding: steps that are added behind all ends, at least the longest duration: so that one step will do.

    Raises:
        SemihmmError: an output that is none.
        StructureError: a part that has no export.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> answers = Answers(HMM(3, Gaussian(3, features=2)), ("log_prob", "viterbi"))
        >>> [tuple(x.shape) for x in answers(torch.zeros(4, 9, 2), torch.tensor([9, 8, 2, 1]))], answers.names
        ([(4,), (4, 9), (4,)], ('log_prob', 'states', 'score'))
    """

    def __init__(self, model: HMM | HSMM | Make, outputs: Sequence[Output] = OUTPUTS, padding: int = FEWEST) -> None:
        super().__init__()
        unknown = [x for x in outputs if x not in OUTPUTS]
        if unknown or not outputs or isinstance(outputs, str):
            raise SemihmmError(f"export: outputs must be some of {OUTPUTS}, as a tuple, got {outputs!r}.")
        laws = checked_laws(model) if isinstance(model, HMM | HSMM) else {}
        if not laws and (isinstance(model, Part) or not callable(model)):
            raise StructureError(
                f"export: {type(model).__name__} has no export. Pass an HMM or an HSMM of semihmm.models, or a "
                "function from (x, lengths) to a structure.",
                see="no-export",
            )
        self.model, self.outputs, self.padding = model, tuple(outputs), padding
        self.laws = tuple(laws)
        for name, table in laws.items():
            self.register_buffer(f"law_{name}", table)

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is returned."""
        return tuple(name for x in self.outputs for name in (("states", "score") if x == "viterbi" else (x,)))

    def structure(self, x: Tensor, lengths: Tensor) -> Structure:
        """What the questions are asked of."""
        structure = self._made(x, lengths)
        kind = next(iter(structure.potentials.values())).dtype
        if kind in (torch.float16, torch.bfloat16):
            raise StructureError(
                f"export: the recursion over time would be in {kind}, in which a step loses more than what tells paths "
                "apart. Pass model.float(), or .float() what the structure is made of; quantize makes networks "
                "smaller.",
                see="no-export",
            )
        return structure

    def _made(self, x: Tensor, lengths: Tensor) -> Structure:
        if not isinstance(self.model, HMM | HSMM):
            return self.model(x, lengths)
        emission = self.model.emission
        inside = until(lengths, x.shape[1], 1 + len(emission.event_shape))
        assert inside is not None
        x = torch.where(inside, x, torch.as_tensor(emission.filler, dtype=x.dtype))
        batch = Batch(emission.observed(x), lengths, axes=len(emission.event_shape))
        return self.model.explained(batch, {name: self.get_buffer(f"law_{name}") for name in self.laws})

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """The answers, in the order of `names`."""
        with Unrecorded():
            return self._found(x, lengths)

    def _found(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        steps, model = x.shape[1], self.model
        structure = self.structure(pad(x, (0, 0) * (x.ndim - 2) + (0, self.padding)), lengths)
        found: dict[str, Tensor] = {}
        if "posteriors" in self.outputs:
            seen = structure.observed
            found["log_prob"], counts = inference.expected_counts(structure, (seen,), backend="torch")
            found["posteriors"] = counts[seen][:, :steps]
        elif "log_prob" in self.outputs:
            found["log_prob"] = inference.log_partition(structure, backend="torch")
        if "viterbi" in self.outputs:
            best = inference.viterbi(structure, backend="torch")
            states = model.named(best.states) if isinstance(model, HMM | HSMM) else best.states
            found["states"], found["score"] = states[:, :steps], best.score
        return tuple([found[name] for name in self.names])


class Unrecorded(TorchFunctionMode):
    """Whether autograd follows is no part of a program: `torch.export` would make functions of the parts between.

    It loses operators that are nested in those.

    Example:
        >>> with Unrecorded(), torch.no_grad():
        ...     torch.is_grad_enabled()
        False
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch._C._set_grad_enabled:
            with torch._C.DisableTorchFunction():
                return function(*args)
        return function(*args, **(kwargs or {}))


def checked_laws(model: HMM | HSMM) -> dict[str, Tensor]:
    """What the laws of a model say, as tables, however they are computed; refuses by name what has no export."""
    name = type(model).__name__
    for part, law in {"emission": model.emission, **model.laws}.items():
        if isinstance(law, Driven) or (part == "emission" and model.emission.inputs):
            raise StructureError(
                f"export: {part} of this {name} is {type(law).__name__}, whose inputs have no export. Pass a function "
                "that makes the structure of (x, lengths) instead, with the inputs as columns of x.",
                see="no-export",
            )
    with torch.no_grad():
        return {part: table.detach().clone() for part, table in model.potentials().items()}
