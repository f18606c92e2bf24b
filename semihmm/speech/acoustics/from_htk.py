"""The acoustic model that HTK's files hold."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.models import GaussianMixture
from semihmm.speech.acoustics.htk import (
    Definition,
    State,
    front_end_of,
    phone_names,
    read_configuration,
    read_definitions,
    read_names,
    same_kind,
)
from semihmm.speech.acoustics.model import AcousticModel, tied_mixture


def htk_model(folder: Path) -> AcousticModel:
    """The HTK model in a folder.

    Short pauses, called sp or passed over without a frame, are left out: the graph has pauses of its own.
    """
    macros, names = folder / "macros", folder / "monophones.repl"
    found = read_definitions(*([macros] if macros.exists() else []), folder / "hmmdefs")
    settings = read_configuration(folder / "config")
    front_end = front_end_of(settings)
    width = len(front_end.columns or ())
    if found.size != width or not same_kind(found.kind or settings["TARGETKIND"], settings["TARGETKIND"]):
        raise DataError(
            f"load_acoustic_model: in {folder}, hmmdefs should be of the features that config describes, "
            f"{settings['TARGETKIND']} with {width} numbers, but is of {found.kind} with {found.size}."
        )
    named = phone_names(list(found.models), read_names(names) if names.exists() else {})
    models = {
        named[name]: model
        for name, model in found.models.items()
        if len(model.states) > 1 or not (name == "sp" or float(model.transitions[0, -1]))
    }
    silence = next((name for name in models if name.lower() == "sil"), None)
    if silence is None:
        raise DataError(f"load_acoustic_model: {folder}/hmmdefs needs a model called sil, which stands for silence.")
    states = max(len(model.states) for model in models.values())
    parts = [_within(name, model, states, folder) for name, model in models.items()]
    return AcousticModel(
        tuple(models),
        (_mixtures([state for own, _ in parts for state in own]),),
        torch.stack([transitions for _, transitions in parts]).log(),
        front_end,
        name=f"HTK {folder}",
        silence=silence,
    )


def _within(name: str, model: Definition, states: int, folder: Path) -> tuple[list[State], Tensor]:
    """The model among others of so many states: its last state is the last, and no path enters those that it lacks."""
    count, given = len(model.states), model.transitions
    entered_and_left = given[0, 1] + given[0, -1] > 1 - 1e-3 and given[count, -1] > 0 and not given[1:count, -1].any()
    if not entered_and_left or count == 1 < states:
        raise DataError(
            f"load_acoustic_model: in {folder}/hmmdefs, {name!r} should have as many states as the others, or two at "
            f"least, and be entered in its first state and left from its last one, and only from it."
        )
    place = torch.tensor([*range(count - 1), states - 1])
    transitions = torch.eye(states, states + 1, dtype=torch.float64)
    transitions[place] = 0.0
    transitions[place[:, None], torch.cat([place, torch.tensor([states])])] = given[1:-1, 1:]
    return [*model.states[:-1], *(states - count + 1) * model.states[-1:]], transitions


def _mixtures(states: Sequence[State]) -> GaussianMixture:
    """Each state's own mixture; what some have fewer of is filled up with Gaussians of no weight."""
    most = max(len(state.weights) for state in states)
    means, variances, log_weights = [], [], []
    for state in states:
        filled = [*range(len(state.weights)), *(most - len(state.weights)) * [0]]
        means.append(state.means[filled])
        variances.append(state.variances[filled])
        log_weights.append(torch.nn.functional.pad(state.weights, (0, most - len(state.weights))).log()[None])
    return tied_mixture(torch.stack(means), torch.stack(variances), torch.stack(log_weights))
