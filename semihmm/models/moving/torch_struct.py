"""From torch-struct (0.5): distributions become structures."""

from typing import Any

import torch

from semihmm.errors import StructureError
from semihmm.models.moving.building import family
from semihmm.structures import HMM, Lattice, Structure


def from_torch_struct(distribution: Any) -> HMM | Lattice:
    """The structure of a distribution, with its potentials and lengths; differentiable in those.

    Args:
        distribution: a ``LinearChainCRF`` or ``HMM``, whose ``log_potentials (B, N-1, C, C)``, ``[to, from]``, become
            the transitions of a `semihmm.HMM`; or a ``SemiMarkovCRF``, whose ``(B, N-1, K, C, C)`` become the arcs of a
            `semihmm.Lattice`, since their weights depend on both labels and on where and how long a segment is.
    Raises:
        StructureError: alignments and trees. For the former there are `semihmm.DTW` and `semihmm.EditDistance`.

    The arcs of the lattice are the entries ``[n, k, to, from]`` with ``1 <= k`` and ``n + k < N``, in the order of the
    tensor, and behind them one from each time and label to the end. Where sequences differ in length, torch-struct 0.5
    leaves out segments of the longer ones; here are all.

    Example:
        >>> import torch_struct
        >>> theirs = torch_struct.LinearChainCRF(torch.randn(3, 6, 4, 4))
        >>> ours = from_torch_struct(theirs)
        >>> torch.allclose(semihmm.log_partition(ours), theirs.partition, atol=1e-4)
        True
    """
    found = family(distribution, ("LinearChainCRF", "HMM", "SemiMarkovCRF"))
    if found is None or isinstance(distribution, Structure):
        raise StructureError(
            f"from_torch_struct: expected a LinearChainCRF, HMM or SemiMarkovCRF, got a {type(distribution).__name__}. "
            "Alignments are semihmm.DTW or semihmm.EditDistance; there are no trees here."
        )
    potentials, lengths = distribution.log_potentials, distribution.lengths
    if found == "SemiMarkovCRF":
        return _lattice(potentials, lengths)
    batch, moves, labels = potentials.shape[:3]
    free = potentials.new_zeros(batch, moves + 1, labels)
    return HMM(free[:, 0], potentials.mT, free, lengths=lengths)


def _lattice(potentials: torch.Tensor, lengths: torch.Tensor | None) -> Lattice:
    """A node for each time and label, and one behind them all."""
    batch, moves, longest, labels = potentials.shape[:4]
    device, behind = potentials.device, (moves + 1) * labels
    time, lasts, to, origin = torch.cartesian_prod(
        *(torch.arange(size, device=device) for size in (moves, longest, labels, labels))
    ).T
    real = (lasts > 0) & (time + lasts <= moves)
    source = torch.cat([time * labels + origin, torch.arange(behind, device=device)])
    target = torch.cat([(time + lasts) * labels + to, torch.full((behind,), behind, device=device)])
    ends = torch.full((batch,), moves + 1, device=device) if lengths is None else lengths.to(device)
    last = torch.arange(moves + 1, device=device) == ends.unsqueeze(-1) - 1
    over = torch.where(last, 0.0, -torch.inf).to(potentials.dtype).repeat_interleave(labels, -1)
    weight = torch.cat([potentials.flatten(1)[:, real], over], -1)
    every = torch.cat([real, torch.ones(behind, dtype=torch.bool, device=device)])
    return Lattice(source[every], target[every], weight, start=range(labels), end=[behind])
