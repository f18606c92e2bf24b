"""Whether a structure answers every question as its paths do; if not, the smallest example of it."""

from functools import partial

import torch

from semihmm.errors import StructureError
from semihmm.structures import Structure
from semihmm.testing.laws import Broken, Case, Law, laws, numbers
from semihmm.testing.oracle import By
from semihmm.testing.smaller import smallest


def check_structure(
    structure: Structure, *, paths: By | None = None, atol: float | None = None, samples: int = 2000, seed: int = 0
) -> None:
    """Compares every answer about a structure with brute-force enumeration, on a small instance of it.

    First come the laws that all others rest on: `ranks` tell which axes are a batch's, each log-weight of the chain is
    one potential times a constant, padding does not count, no two paths read as one event, `path` undoes `event`, an
    event scores the sum along its path, and what is no path's event ``-inf``. Then what is asked are totals in twelve
    semirings, `log_partition` and its gradient, `marginals`, `max_marginals`, `viterbi`, `topk`, `sample`, `entropy`,
    `renyi_entropy`, `kl_divergence`, `cross_entropy`, `expectation`, `variance`, `covariance`, `log_count`, `log_prob`,
    `condition`, `smoothing` and, where the structure has it, `filtering`: with every strategy, with and without
    checkpointing.

    Args:
        structure: a small one, with a batch axis or more and ragged lengths at best; of any dtype.
        paths: lists the paths of one sequence without batch axes: ``item -> (event, log-weights), ...``, the same paths
            in the same order whatever the potentials' values. Log-weights are all potentials that the path uses, also
            those that are 0: each a number, or those that the chain adds up within one arc, such as all of one segment
            of a `Segmental` map, together in one tuple. (Only `Bottleneck` tells the difference.)
            None: enumerated from the definitions for this library's structures; else by walking ``structure.chain()``,
            which finds faults in `event`, `path` and the rest, but cannot know which paths were meant. With ``paths``
            it does. (`filtered` is taken at its word.)
        atol: how far answers may be off, next to as much of their size; None for 1e-9, or 1e-4 in float32.
        samples: draws whose frequencies are compared with the posterior (a chi-square test that refuses one right
            sampler in a million).
        seed: of features, masks and draws. The same seed asks the same questions.
    Raises:
        StructureError: names the first law that fails and shows the smallest structure found that breaks it, number by
            number: what was expected, what came, where to look. Or there are too many paths to list, or a log-weight on
            one of them mixes several potentials, so that nobody can say how often each is used.
        LawError: the same, where the draws do not fit the posterior.

    Cost: 20,000 paths at most; seconds for thousands.

    Example:
        >>> import torch, semihmm
        >>> check_structure(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.randn(3, 3, 2)))
    """

    def case(some: Structure) -> Case:
        wide = any(getattr(getattr(some, name, None), "dtype", None) == torch.float64 for name in some.ranks)
        return Case(some, paths, (1e-9 if wide else 1e-4) if atol is None else atol, samples, seed)

    def fails(law: Law, some: Structure) -> bool:
        try:
            return law.broken(case(some)) is not None
        except Exception:  # another mistake than the one whose example is looked for
            return False

    given = case(structure)
    for law in laws():
        if law.broken(given) is not None:
            example = smallest(structure, partial(fails, law))
            found = law.broken(case(example))
            assert found is not None
            raise _error(law, structure, example, found, paths is not None) from found.__cause__


def _error(law: Law, structure: Structure, example: Structure, found: Broken, told: bool) -> StructureError | Exception:
    which = "Example" if example is structure else "Smallest example found"
    return found.error(
        f"check_structure: {type(structure).__name__} breaks a law: {law.name}. {which}: {numbers(example)}. "
        f"There, {found}. Look at {law.look}{law.told if told else ''}."
    )
