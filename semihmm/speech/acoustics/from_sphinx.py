"""The acoustic model that Sphinx's files hold."""

from pathlib import Path

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.speech.acoustics.contexts import Contexts
from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.acoustics.model import AcousticModel, tied_mixture
from semihmm.speech.acoustics.sphinx import (
    ModelDefinition,
    read_feature_parameters,
    read_gaussians,
    read_mixture_weights,
    read_model_definition,
    read_sendump,
    read_transitions,
)

_VARIANCE_FLOOR = 1e-4


def sphinx_model(folder: Path, *, contexts: bool) -> AcousticModel:
    """The phonetically-tied Sphinx-3 model in a folder.

    Args:
        folder: with the files that `load_acoustic_model` names.
        contexts: whether to read its phones in context too.

    Raises:
        DataError: a file is missing or damaged, or the model is not phonetically tied.
    """
    try:
        return _read(folder, contexts=contexts)
    except DataError:
        raise
    except (ValueError, LookupError) as error:
        raise DataError(
            f"load_acoustic_model: the files in {folder} are damaged, or not of one model ({error}). Fetch them again."
        ) from error


def _read(folder: Path, *, contexts: bool) -> AcousticModel:
    definition = read_model_definition(folder / "mdef")
    means, variances = read_gaussians(folder / "means"), read_gaussians(folder / "variances")
    if len(means[0]) != len(definition.phones):
        raise DataError(
            f"load_acoustic_model: {folder} has {len(means[0])} sets of Gaussians for {len(definition.phones)} phones; "
            f"only models with one set per phone (type ptm) can be read. Train or download a model of that type."
        )
    if (folder / "mixture_weights").exists():
        weights = read_mixture_weights(folder / "mixture_weights")
    else:
        weights = read_sendump(folder / "sendump", senones=definition.total_senones)
    rows, phone, table = _columns(definition, contexts=contexts)
    streams = tuple(
        tied_mixture(mean, variance.clamp(min=_VARIANCE_FLOOR), weight[rows], phone)
        for mean, variance, weight in zip(means, variances, weights, strict=True)
    )
    front_end = FrontEnd.from_parameters(read_feature_parameters(folder / "feat.params"))
    transitions = read_transitions(folder / "transition_matrices")[definition.transitions]
    if transitions[:, :-1, -1].isfinite().any() or transitions[:, -1, -1].isneginf().any():
        raise DataError(
            f"load_acoustic_model: in {folder}, a phone should be left from its last state, and only from it."
        )
    return AcousticModel(definition.phones, streams, transitions, front_end, contexts=table)


def _columns(definition: ModelDefinition, *, contexts: bool) -> tuple[Tensor, Tensor, Contexts | None]:
    """For each column of a model, its row of the mixture weights and its phone; and which contexts take which columns.

    A column is a row of the weights together with the phone whose Gaussians it weighs.
    """
    total, phones = definition.total_senones, torch.arange(len(definition.phones))
    alone = (phones[:, None] * total + definition.senones).flatten()
    if not contexts:
        return alone % total, alone // total, None
    keys = phones[:, None, None] * total + definition.in_context()
    tied = keys.unique()
    every = torch.cat([alone, tied[~torch.isin(tied, alone)]])
    order = every.argsort(stable=True)
    table = order[torch.searchsorted(every[order], keys)]
    return every % total, every // total, Contexts(table.int())
