"""What a backend does for the engine. A new one, for another device say, is one file with one class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:  # chains and plans are made of what knows backends by name
    from semihmm.engine.chain import Chain
    from semihmm.engine.decode import Decoded
    from semihmm.engine.memory import Bytes, Kept
    from semihmm.engine.plan import Scan
    from semihmm.semirings import Semiring

Gradients = list[Tensor | None]  # one for each leaf of some chains; None where none was requested


class Backend(Protocol):
    """Who does the arithmetic of scans. It never changes a result beyond rounding.

    Its methods take what `supports` does not refuse, with chains as `prepared` returns them, and give totals lowered,
    in float64 (or in the semiring's own dtype). None of them is followed by autograd: `semihmm.engine.derivatives` has
    the rules. ``requested`` and gradients have an entry for each leaf of each chain of a scan.

    Attributes:
        name: what callers name it by.
        traceable: whether tracers and transforms of PyTorch may come by. The torch backend does their calls else.
        exact_scores: whether the values of `paths` are sums in float64 along each path.

    Example:
        >>> worker: Backend = registered("torch")
        >>> worker.traceable
        True
    """

    name: str
    traceable: bool
    exact_scores: bool

    def supports(self, semiring: Semiring, chain: Chain) -> str | None:
        """Why it does not do this chain; None where it does."""
        ...

    def differentiates(self, semiring: Semiring) -> bool:
        """Whether it has the derivatives of a semiring's totals: `gradient`, or `path_gradient` of a selective one.

        Autograd follows the torch backend where not.
        """
        ...

    def prepared(self, semiring: Semiring, chains: tuple[Chain, ...]) -> tuple[Chain, ...]:
        """The chains as the other methods take them, made by operations that autograd follows."""
        ...

    def total(self, scan: Scan, keep: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The total, and what `gradient` is to have of it (nothing unless ``keep``)."""
        ...

    def gradient(self, scan: Scan, kept: tuple[Tensor, ...], weight: Tensor, requested: Sequence[bool]) -> Gradients:
        """The gradient of ``(value * weight).sum()``, from what `total` kept."""
        ...

    def posteriors(
        self,
        scan: Scan,
        requested: Sequence[bool],
        weight: Tensor | None = None,
        into: Sequence[Tensor | None] = (),
    ) -> tuple[Tensor, Gradients] | None:
        """`total` and `gradient` in one pass, ``weight`` None for 1; for Max, the best score through each log-weight.

        Args:
            into: zeros to write gradients to, event axes in one piece; new tensors where None.
        Returns:
            None where it has no such pass; then the two are asked, or for Max the torch backend.
        """
        ...

    def paths(self, scan: Scan, generator: torch.Generator | None = None, arcs: bool = False) -> Decoded:
        """The paths that a selective semiring chooses, with the arc indices that `path_gradient` takes if ``arcs``."""
        ...

    def path_gradient(
        self, scan: Scan, slots: Tensor, arcs: Tensor, weight: Tensor, requested: Sequence[bool]
    ) -> Gradients:
        """The gradient of the values of paths, each times its ``weight (rows, ...)``."""
        ...

    def vectors(self, scan: Scan, only: Tensor | None) -> Tensor | None:
        """The state vector at each time, ``(..., T + 1, slots)``; of ``only`` one slot each, ``(..., T + 1)``.

        None where it has none: the torch backend's serve.
        """
        ...

    def best_in_slots(self, scan: Scan) -> Tensor | None:
        """The score of the best path through each slot at each time, ``(..., T + 1, slots)``.

        None where it has no such pass; then `posteriors` are asked.
        """
        ...

    def kept(self, semiring: Semiring, chain: Chain) -> Kept:
        """What `total` keeps for `gradient`."""
        ...

    def program(self, scan: Scan, potentials: Sequence[Tensor], places: Sequence[Any], sign: float) -> Any:
        """What answers a question of structures of one form again and again (see `semihmm.inference.program`), or None.

        Args:
            scan: of one of the form, made from ``potentials``, each in one piece.
            places: where each leaf lies, ``(number of the potential, first element, shape, stride)``; or for each entry
                ``(number, factor, rest)``, as `semihmm.engine.leaves.Source` counts them; None: a constant.
            sign: that of a potential which is a log-weight.
        """
        ...

    def workspace_bytes(self, scan: Scan) -> Bytes:
        """What a scan takes beside its log-weights, at most."""
        ...


def two_passes(
    worker: Backend, scan: Scan, requested: Sequence[bool], weight: Tensor | None, into: Sequence[Tensor | None]
) -> tuple[Tensor, Gradients]:
    """`Backend.posteriors` made of a total and its gradient."""
    value, kept = worker.total(scan, keep=True)
    weight = torch.ones_like(value) if weight is None else weight
    found = worker.gradient(scan, kept, weight, requested)
    for i, target in enumerate(into):
        gradient = found[i]
        if target is not None and gradient is not None:
            found[i] = target.copy_(gradient)
    return value, found
