"""A model out of a file, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

from semihmm.errors import DataError
from semihmm.models import saving
from semihmm.models.base import Model
from semihmm.models.crf import CRF, LinearChainCRF
from semihmm.models.higher_order import HigherOrderHMM
from semihmm.models.hmm import HMM
from semihmm.models.hsmm import HSMM
from semihmm.models.part import Part
from semihmm.models.segment_crf import SemiMarkovCRF

_OWN = (HMM, HSMM, HigherOrderHMM, LinearChainCRF, SemiMarkovCRF)


def load(path: str | PathLike[str], *kinds: type[Model[Any] | CRF[Any]], **parts: Part) -> Model[Any] | CRF[Any]:
    """What any `save` wrote, as the class that it was.

    Nothing in the file runs, and no class is looked for: it is one of this package or one of ``kinds``.

    Args:
        kinds: classes of your own that it may be.
        parts: those that the file cannot build, as for `Model.load`.
    Raises:
        DataError: no such file, another kind of file, a class that is not among these, parts that do not fit.
        DependencyError: safetensors is not installed.
    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     HMM(2, Gaussian(2, features=3)).save(f"{folder}/model")
        ...     type(load(f"{folder}/model")).__name__
        'HMM'
    """
    strange = [kind for kind in kinds if not (isinstance(kind, type) and issubclass(kind, Model | CRF))]
    if strange:
        raise DataError(
            f"load: classes of models follow the path, got {strange[0]!r}. A part? Pass it by name: emission=...",
            see="loading",
        )
    known: dict[str, Callable[..., Model[Any] | CRF[Any]]] = {kind.__name__: kind for kind in (*_OWN, *kinds)}
    return saving.load(path, known, parts)
