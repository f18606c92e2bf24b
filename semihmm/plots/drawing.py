"""What pictures have in common: axes, colours and names of states, bands over time, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.errors import DataError, ShapeError
from semihmm.structures.authoring import tensor_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008), "Color Universal Design", with indigo in place of black; for more states along the rainbow of Tol
# (2021), "Colour Schemes". Who does not see red, green or blue tells all of the few apart, and of the many those that
# are not neighbours.
_FEW = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#332288")
_MANY = ("#882e72", "#1965b0", "#7bafde", "#4eb265", "#cae0ab", "#f7f056", "#ee8026", "#dc050c", "#72190e")
_SEEN = 1000  # entries along an axis, more than which would not be seen
BEST, OTHERS = _FEW[3], "#8c96a3"  # one thing among others of its kind


def part(name: str) -> Any:
    """A module of matplotlib."""
    return require(f"matplotlib.{name}", extra="plots", purpose="Drawing a picture")


def axes_for(ax: Axes | None, width: float = 7.2, height: float = 2.6) -> Axes:
    """The axes that were given, or those of a new figure of so many inches, which is not pyplot's."""
    if ax is not None:
        return ax
    new: Axes = part("figure").Figure(figsize=(width, height), layout="constrained").add_subplot()
    return new


def ink(ax: Axes) -> Any:
    """The colour that is written in."""
    return ax.xaxis.label.get_color()


def casing(ax: Axes) -> list[Any]:
    """What sets letters off from what lies behind them."""
    return [part("patheffects").withStroke(linewidth=2.5, foreground=ax.get_facecolor())]


def colours(states: int) -> Any:
    """A colour for each state, ``(S, 4)``; the same first ones for any number up to eight."""
    module = part("colors")
    if states <= len(_FEW):
        return module.to_rgba_array(_FEW[:states])
    return module.LinearSegmentedColormap.from_list("states", _MANY)(torch.linspace(0, 1, states).numpy())


def numbers(owner: str, name: str, x: Tensor | Sequence[float], *axes: str) -> Tensor:
    """What is drawn, apart from any graph and device.

    Args:
        axes: the axes that it must have, none of them empty.
    Raises:
        ShapeError: it has others, a batch for example.
    """
    found = tensor_of(owner, name, x).detach().cpu()
    if found.ndim != len(axes) or not found.numel():
        shape = f"({', '.join(axes)}{',' * (len(axes) == 1)})"
        batch = f" One picture shows one sequence: {name}[0]?" if found.ndim > len(axes) else ""
        raise ShapeError(f"{owner}: {name} must be {shape} and not empty, got {tuple(found.shape)}.{batch}")
    return found


def check_states(owner: str, states: Tensor) -> Tensor:
    """States of any shape.

    Raises:
        ShapeError: no integers, or none of them a state.
    """
    states = tensor_of(owner, "states", states).detach().cpu()
    if states.is_floating_point() or states.dtype == torch.bool or not (states >= 0).any() or (states < -1).any():
        raise ShapeError(
            f"{owner}: states must be integers, at least one of them a state and -1 where there is none, got "
            f"{tuple(states.shape)} of {states.dtype}."
        )
    return states.long()


def one_sequence(owner: str, states: Tensor) -> Tensor:
    """States ``(T,)`` of one sequence, up to its end."""
    states = check_states(owner, numbers(owner, "states", states, "T"))
    return states[: int((states >= 0).nonzero().max()) + 1]


def check_probabilities(owner: str, name: str, x: Tensor) -> None:
    """Refuse rows that do not sum to 1, or to 0 where there is nothing.

    Raises:
        DataError: there is one.
    """
    total = x.double().sum(-1)
    fits = (x >= 0).all(-1) & (((total - 1).abs() < 1e-3) | (total == 0))
    if not fits.all():
        row = int((~fits).nonzero()[0])
        raise DataError(
            f"{owner}: {name} must hold probabilities, so that each row sums to 1 (or 0, where there is nothing); row "
            f"{row} sums to {float(total[row]):g}. Log-probabilities? Pass {name}.exp()."
        )


def names_for(owner: str, names: Sequence[str] | None, count: int, what: str = "states") -> list[str]:
    """The names of states, or their numbers; there may be more names than states met."""
    if names is None:
        return [str(number) for number in range(count)]
    if len(names) < count:
        raise ShapeError(f"{owner}: names must name all {count} {what}, got {len(names)}.")
    return [str(name) for name in names]


def bands(ax: Axes, labels: Tensor, shades: Any, bottom: float = 0.0, height: float = 1.0, **look: Any) -> None:
    """A rectangle for each run of equal labels ``(T,)``, in the shade of its label; none for -1."""
    label, steps = labels.unique_consecutive(return_counts=True)
    end = steps.cumsum(0) - 0.5
    start, top = end - steps, torch.full_like(end, bottom + height)
    low = top - height
    corners = torch.stack([start, low, start, top, end, top, end, low], -1).unflatten(-1, (4, 2))
    real = label >= 0
    # Without blending, neighbours meet without a seam.
    look = {"facecolors": shades[label[real].numpy()], "linewidths": 0, "antialiaseds": False, **look}
    ax.add_collection(part("collections").PolyCollection(corners[real].numpy(), **look), autolim=False)


def block_means(x: Tensor, dim: int) -> tuple[Tensor, int]:
    """The means of blocks along one axis, no more of them than can be seen, and how many entries a block has."""
    size = -(-x.shape[dim] // _SEEN)
    return torch.stack([block.double().mean(dim) for block in x.split(size, dim)], dim), size


def heat(ax: Axes, x: Tensor, label: str, **look: Any) -> None:
    """A matrix ``(rows, columns)`` as shades, each entry around its indices, with a bar that says what they mean."""
    means, high = block_means(x, 0)
    means, wide = block_means(means, 1)
    place = (-0.5, means.shape[1] * wide - 0.5, means.shape[0] * high - 0.5, -0.5)
    image = ax.imshow(means.numpy(), aspect="auto", interpolation="nearest", extent=place, **look)
    ax.set(xlim=(-0.5, x.shape[1] - 0.5), ylim=(x.shape[0] - 0.5, -0.5))
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.02)


def legend(ax: Axes, shades: Any, names: Sequence[str], shown: Iterable[int] = ()) -> None:
    """The colours of states, to the right of the axes.

    Args:
        shown: which of them; none for all.
    """
    patch, chosen = part("patches").Patch, sorted(shown) or range(len(names))
    outside(ax, handles=[patch(color=shades[i], label=names[i]) for i in chosen], title="state")


def outside(ax: Axes, handles: Sequence[Any], **look: Any) -> None:
    """A legend to the right of the axes, in columns of ten."""
    look = {"bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0, "frameon": False, "alignment": "left", **look}
    look = {"fontsize": "small", "title_fontsize": "small", "handlelength": 1.0, "handleheight": 1.0, **look}
    ax.legend(handles=handles, loc="upper left", ncols=1 + (len(handles) - 1) // 10, **look)


def over_time(ax: Axes, steps: int) -> None:
    """The axis of time."""
    ax.set_xlim(-0.5, steps - 0.5)
    ax.set_xlabel("step")
