"""Classes of phones: silence, vowels, stops, ..."""

from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm.speech.text.phones import is_silence, manners


def classes_of(phones: Sequence[str]) -> Tensor:
    """The number of each phone's class, 0 for silences.

    Example:
        >>> classes_of(["AA", "T", "IY", "SIL"]).tolist()
        [2, 1, 2, 0]
    """
    spoken = [phone for phone in phones if not is_silence(phone)]
    manner = dict(zip(spoken, manners(spoken), strict=True))
    names = sorted({*manner.values()})
    return torch.tensor([names.index(manner[phone]) + 1 if phone in manner else 0 for phone in phones])
