"""Languages that only say which label may follow which, as the masks that a model takes."""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor

from semihmm.automata import Automaton, Language
from semihmm.errors import StructureError


class Constraints(TypedDict):
    """What `constraints` returns.

    allowed: which label may follow which, bool ``(S, S)``, ``[from, to]``.
    start: the labels that a sequence may begin with.
    end: the labels that it may end with.

    Example:
        >>> sorted(Constraints.__annotations__)
        ['allowed', 'end', 'start']
    """

    allowed: Tensor
    start: list[int]
    end: list[int]


def constraints(language: Language | Automaton, labels: int) -> Constraints:
    """A language over neighbouring labels, such as a tagging scheme, as the arguments of a model.

    Args:
        language: what sequences are allowed, from `semihmm.automata`.
        labels: how many labels there are, S.
    Raises:
        StructureError: it remembers more than the last label, or no sequence is allowed.

    Example:
        >>> tags = ["O", "B-PER", "I-PER"]
        >>> scheme = constraints(semihmm.automata.bio(tags), len(tags))
        >>> scheme["allowed"].tolist(), scheme["start"], scheme["end"]
        ([[True, True, False], [True, True, True], [True, True, True]], [0, 1], [0, 1, 2])
        >>> crf = LinearChainCRF(len(tags), **scheme)
    """
    if not isinstance(language, Language | Automaton):
        raise StructureError(
            f"constraints: a language is one of semihmm.automata, such as automata.bio(tags), got {language!r}."
        )
    automaton = language.automaton(labels) if isinstance(language, Language) else language
    after = torch.tensor(automaton.next)  # (Q, S), and -1 where refused
    last = after.amax(0)  # the state that each label leads to, if it is one
    if ((after >= 0) & (after != last)).any():
        raise StructureError(
            "constraints: this language remembers more than the last label, so no mask of neighbours says it. Ask "
            "semihmm.constrain(model(scores, lengths), language), which goes along with its automaton."
        )
    start = after[automaton.start] >= 0
    if not start.any():
        raise StructureError("constraints: this language allows no sequence of at least one label.")
    comes = last >= 0
    end = torch.tensor(automaton.accepting)[last] & comes
    return {
        "allowed": (after[last] >= 0) & comes.unsqueeze(-1),
        "start": start.nonzero().flatten().tolist(),
        "end": end.nonzero().flatten().tolist(),
    }
