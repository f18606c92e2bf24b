"""How many states: models of several sizes, fitted and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.models.arguments import checks_arguments
from semihmm.models.base import Model

if TYPE_CHECKING:
    from semihmm.models.sequences import Data

M = TypeVar("M", bound="Model[Any]")
_CRITERIA = ("bic", "aic", "icl", "heldout")


@dataclass(frozen=True)
class Selection(Generic[M]):
    """Models of several sizes, and which of them was chosen.

    Attributes:
        criterion: by which; of ``"heldout"`` the greatest value is the best, of the others the least.
        values: of each size.
        models: of each size, fitted.
        chosen: the size.
        why: the choice in words, with the numbers.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> g = torch.Generator().manual_seed(0)
        >>> x = torch.cat([torch.randn(50, 1, generator=g), torch.randn(50, 1, generator=g) + 9])
        >>> found = select(range(1, 4), lambda n: HMM(n, Gaussian(n, features=1)), x, generator=g)
        >>> found.chosen, found.best.states, found.why.split(":")[0]
        (2, 2, '2 states have the least BIC')
    """

    criterion: str
    values: dict[int, float]
    models: dict[int, M]
    chosen: int
    why: str

    @property
    def best(self) -> M:
        """The model of the chosen size."""
        return self.models[self.chosen]


@checks_arguments
def select(
    sizes: Iterable[int],
    make: Callable[[int], M],
    x: Data,
    lengths: Tensor | None = None,
    *,
    criterion: Literal["bic", "aic", "icl", "heldout"] = "bic",
    validation: Any = None,
    restarts: int = 5,
    **options: Any,
) -> Selection[M]:
    """Fit a model of each size, and choose the best by a criterion.

    Args:
        sizes: numbers of states.
        make: the model with so many states.
        criterion: ``"bic"``, ``"aic"`` or ``"icl"`` of the data (see `Model.bic`), or ``"heldout"``: the log-likelihood
            of data that were not fitted.
        validation: held-out data, as ``x``, ``(x, lengths)`` or a dict; for ``"heldout"``, where they end each fit.
        restarts: fits of each size, of which the best counts.
        options: what else `fit` takes.
    Raises:
        ShapeError: no size; another criterion; no held-out data, or some that are not asked for.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> x = torch.cat([torch.randn(50, 1, generator=g), torch.randn(50, 1, generator=g) + 9])
        >>> select([1, 2], lambda n: HMM(n, Gaussian(n, features=1)), x, criterion="aic", generator=g).chosen
        2
    """
    if criterion not in _CRITERIA or (criterion == "heldout") != (validation is not None):
        raise ShapeError(
            f"select: criterion must be one of {', '.join(map(repr, _CRITERIA))}, and validation is given for "
            f"'heldout' alone; got {criterion!r} with validation {'given' if validation is not None else 'None'}."
        )
    values, models = {}, {}
    for size in sizes:
        model = make(size)
        fit = model.fit(x, lengths, restarts=restarts, validation=validation, **options)
        known = {n: options[n] for n in ("inputs", "labels", "starts") if n in options}
        models[size] = model
        measured = getattr(model, "bic" if criterion == "heldout" else criterion)
        values[size] = max(fit.validation) if criterion == "heldout" else measured(x, lengths, **known)
    if not values:
        raise ShapeError("select: sizes must hold at least one number of states.")
    ranked = sorted(values, key=lambda size: -values[size] if criterion == "heldout" else values[size])
    return Selection(criterion, values, models, ranked[0], _why(criterion, values, models, ranked))


def _why(criterion: str, values: dict[int, float], models: dict[int, M], ranked: list[int]) -> str:
    name = "held-out log-likelihood" if criterion == "heldout" else criterion.upper()
    most = "greatest" if criterion == "heldout" else "least"
    first = ranked[0]
    text = (
        f"{first} states have the {most} {name}: {values[first]:.6g}, with {models[first].free_parameters} parameters"
    )
    if len(ranked) > 1:
        second = ranked[1]
        text += f"; next {second} states: {values[second]:.6g}, with {models[second].free_parameters}"
    at_end = first in (min(values), max(values)) and len(values) > 1
    return text + (". It is at the end of the range: try sizes beyond it." if at_end and first == max(values) else ".")
