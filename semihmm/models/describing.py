"""What a model is like: how large, how good for its size, how long its states last, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

import networkx as nx
import torch
from torch import Tensor

from semihmm import inference
from semihmm._optional import require
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.models.answering import Answering
from semihmm.structures import Structure
from semihmm.structures.authoring import tensor_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from semihmm.models.sequences import Data, Known

S = TypeVar("S", bound=Structure)


class Described(Answering[S]):
    """What can be said of a model and of its states."""

    @property
    def free_parameters(self) -> int:
        """How many numbers are fitted, k."""
        return sum(part.free_parameters for part in (*self.laws.values(), self.emission))

    def aic(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> float:
        """Akaike's criterion ``2 k - 2 log p(x)``; the least is the best (Akaike 1974)."""
        return 2 * self.free_parameters - 2 * self.score(x, lengths, **known)

    def bic(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> float:
        """Schwarz's criterion ``k log n - 2 log p(x)`` for n steps; the least is the best (Schwarz 1978)."""
        return self._penalty(x, lengths, **known) - 2 * self.score(x, lengths, **known)

    def icl(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> float:
        """As `bic`, with ``log p(x, z)`` of the best path z in place of ``log p(x)`` (Biernacki et al. 2000)."""
        with torch.no_grad():
            best = self.answers(lambda structure: inference.viterbi(structure).score, x, lengths, **known)
        return self._penalty(x, lengths, **known) - 2 * float(best.double().sum())

    def _penalty(self, x: Data, lengths: Tensor | None, **known: Unpack[Known]) -> float:
        steps = sum(batch.steps for batch in self.batches(x, lengths, **known))
        return self.free_parameters * float(torch.tensor(steps).log())

    def stationary_distribution(self) -> Tensor:
        """How much of the time is spent in each state in the long run, ``(S,)`` in float64.

        Raises:
            StructureError: transitions differ from step to step, or what is the case in the long run depends on the
                start.
        """
        return stationary(self._matrix())

    def expected_durations(self) -> Tensor:
        """How many steps a visit to each state lasts on average, ``(S,)`` in float64; inf where it does not end."""
        with torch.no_grad():
            return 1 / (1 - self._matrix().diagonal())

    def sojourn(self, longest: int) -> Tensor:
        """The probability that a visit to each state lasts 1, 2, ... steps, ``(S, longest)`` in float64."""
        with torch.no_grad():
            stay = self._matrix().diagonal().unsqueeze(-1)
            return stay ** torch.arange(longest, device=stay.device) * (1 - stay)

    def _matrix(self) -> Tensor:
        """The probabilities of the transitions, ``(S, S)`` in float64, where they are the same at each step."""
        raise StructureError(f"{type(self).__name__}: its states do not follow one another by one matrix.")

    def confusion(
        self, x: Data, labels: Tensor | Sequence[Tensor], lengths: Tensor | None = None, *, inputs: Any = None
    ) -> Tensor:
        """How many steps of each label are in each predicted state, int64 ``(labels, S)``.

        Args:
            labels: what each step is, integers ``(..., T)``, or a list of ``(T,)``; below 0 where it is not known.
        """
        found = self.predict(x, lengths, **({} if inputs is None else {"inputs": inputs}))
        given = _labels(labels, found)
        known_steps = (given >= 0) & (found >= 0)
        kinds = int(given.max()) + 1 if given.numel() else 0
        if kinds <= 0:
            raise DataError(f"{type(self).__name__}.confusion: no step has a label.")
        pairs = given[known_steps] * self.states + found[known_steps]
        return pairs.bincount(minlength=kinds * self.states).reshape(kinds, self.states)

    def align(
        self, x: Data, labels: Tensor | Sequence[Tensor], lengths: Tensor | None = None, *, inputs: Any = None
    ) -> list[int]:
        """Number the states as labels are, so that most steps agree; the old number of each state.

        Raises:
            DataError: more labels than states.
        """
        table = self.confusion(x, labels, lengths, inputs=inputs)
        if len(table) > self.states:
            raise DataError(f"{type(self).__name__}.align: there are {len(table)} labels, and {self.states} states.")
        order = matched(table)
        self.permute(order)
        return order

    @torch.no_grad()
    def permute(self, order: Sequence[int]) -> None:
        """Number the states anew: the first one is the one that was ``order[0]``.

        Raises:
            ShapeError: not each state once.
            StructureError: a part whose parameters do not say which are whose, or transitions of a few distances.
        """
        order = [int(state) for state in order]
        if sorted(order) != list(range(self.states)):
            raise ShapeError(
                f"{type(self).__name__}.permute: order must name each of the states 0 to {self.states - 1} once, got "
                f"{order}."
            )
        for model in (deepcopy(self), self):  # where a part cannot, none is touched
            for part in (*model.laws.values(), model.emission):
                part.permute(order)

    def summary(self, x: Data | None = None, lengths: Tensor | None = None, **known: Unpack[Known]) -> str:
        """A table of what each state is like: what it emits, how long it lasts, where it leads.

        Args:
            x: data, to say besides how often each state is met in them, and how probable they are.
        Raises:
            DependencyError: rich is not installed.
        """
        table = require("rich.table", extra="models", purpose="A summary").Table
        console = require("rich.console", extra="models", purpose="A summary").Console
        name = f"{type(self).__name__}, {self.states} states, {self.free_parameters} free parameters"
        columns: dict[str, list[str]] = {"state": [str(i) for i in range(self.states)]}
        if x is not None:
            with torch.no_grad():
                met = self.predict_proba(x, lengths, **known).reshape(-1, self.states).double().sum(0)
            columns["occupancy"] = [f"{float(share):.1%}" for share in met / met.sum()]
            name += f", log-likelihood {self.score(x, lengths, **known):.6g}"
        for title, column in (
            ("mean duration", self.expected_durations),
            ("in the long run", self.stationary_distribution),
        ):
            try:
                columns[title] = [f"{float(value):.4g}" for value in column()]
            except StructureError:
                continue
        for title, values in self._described().items():
            columns[title] = [_shown(value) for value in values.detach()]
        made = table()
        for title in columns:
            made.add_column(title, justify="right")
        for row in zip(*columns.values(), strict=True):
            made.add_row(*row)
        out = console(width=200, record=True, file=_Nowhere())
        out.print(made)
        text: str = out.export_text()
        return "\n".join([name, *(line.rstrip() for line in text.splitlines())])

    def _described(self) -> dict[str, Tensor]:
        try:
            return self.emission.describe()
        except StructureError:
            return {}


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing to write out."""


def _shown(value: Tensor) -> str:
    """Numbers as a reader wants them; the first few of many."""
    flat = value.flatten().tolist()
    shown = " ".join(f"{number:.4g}" for number in flat[:6])
    return shown + (" ..." if len(flat) > 6 else "")


def _labels(labels: Tensor | Sequence[Tensor], found: Tensor) -> Tensor:
    """Labels in the shape of predictions."""
    if not isinstance(labels, Tensor):
        each = [tensor_of("labels", "each", one) for one in labels] if isinstance(labels, list | tuple) else []
        if each and all(one.ndim == 1 for one in each) and len(each) == len(found):
            whole = found.new_full(found.shape, -1)
            for row, one in zip(whole, each, strict=True):
                row[: len(one)] = one[: len(row)]
            return whole
    given = tensor_of("labels", "their numbers", labels)
    if given.shape != found.shape or given.is_floating_point():
        raise ShapeError(
            f"labels must be integers, one for each step, so {tuple(found.shape)}; got {tuple(given.shape)} of "
            f"{given.dtype}."
        )
    return given


def stationary(matrix: Tensor) -> Tensor:
    """The distribution ``(S,)`` that transitions ``(S, S)`` leave as it is, if there is one only.

    Example:
        >>> stationary(torch.tensor([[0.75, 0.25], [0.75, 0.25]])).round(decimals=6).tolist()
        [0.75, 0.25]
    """
    matrix = matrix.detach().double()
    states = len(matrix)
    balance = torch.cat([(matrix - torch.eye(states).to(matrix)).T, torch.ones(1, states).to(matrix)])
    if int(torch.linalg.matrix_rank(balance[:-1], rtol=1e-12)) < states - 1 or not bool(balance.isfinite().all()):
        raise StructureError("where the states are in the long run depends on the start: several never lead out.")
    aim = torch.zeros(states + 1, 1).to(matrix)
    aim[-1] = 1.0
    found: Tensor = torch.linalg.lstsq(balance, aim).solution.squeeze(-1).clamp(min=0.0)
    return found / found.sum()


def matched(table: Tensor) -> list[int]:
    """For each row a column of its own, so that the sum is greatest; then the columns that are left."""
    graph = nx.Graph()
    for i, row in enumerate(table.tolist()):
        for j, value in enumerate(row):
            graph.add_edge(("row", i), ("column", j), weight=value)
    pairs = {}
    for a, b in nx.max_weight_matching(graph, maxcardinality=True):
        row, column = sorted((a, b), key=lambda end: end[0] != "row")
        pairs[row[1]] = column[1]
    chosen = [pairs[i] for i in range(len(table))]
    return chosen + [j for j in range(table.shape[1]) if j not in chosen]
