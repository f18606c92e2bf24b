"""Acoustic models and dictionaries from disk: our own files, and what Sphinx and HTK wrote."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.acoustics.contexts import Contexts
from semihmm.speech.acoustics.edges import EdgeCorrection
from semihmm.speech.acoustics.from_htk import htk_model
from semihmm.speech.acoustics.from_sphinx import sphinx_model
from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.acoustics.model import NETWORK, AcousticModel
from semihmm.speech.acoustics.network import TimeDelayNetwork
from semihmm.speech.acoustics.storing import mixture_of, read, tuples
from semihmm.speech.text.dictionary import Entries, read_dictionary
from semihmm.speech.text.gruut_dictionary import gruut_dictionary

ENGLISH = "english"
"""The name of the model that comes with semihmm."""

_ENGLISH = Path(__file__).with_name(f"{ENGLISH}.safetensors")


def load_acoustic_model(folder: Path | str | None = None, *, contexts: bool = False) -> AcousticModel:
    """Read an acoustic model: a file that `AcousticModel.save` wrote, a phonetically-tied Sphinx-3 model, or HTK's.

    Args:
        folder: the file; or a folder that holds ``mdef``, ``means``, ``variances``, ``transition_matrices``,
            ``feat.params`` and ``mixture_weights`` or ``sendump`` (Sphinx); or ``hmmdefs`` and ``config``, and perhaps
            ``macros`` and ``monophones.repl`` (HTK, see `semihmm.speech.acoustics.htk`); or `ENGLISH`, for the small
            US English model that comes with semihmm. Default: the best that is installed, which is the one inside the
            ``pocketsphinx`` package, and without it that one.
        contexts: whether to read a Sphinx model's phones in context too.

    Raises:
        DataError: a file is missing or damaged, or the model is of another kind.
        DependencyError: ``safetensors`` is not installed.

    Example:
        >>> load_acoustic_model("english").silence
        'SIL'
    """
    if folder is None and not has_sphinx_model():
        folder = ENGLISH
    folder = _ENGLISH if str(folder) == ENGLISH else folder if folder is None else Path(folder)
    if folder is not None and folder.is_file():
        return _saved(folder)
    if folder is None or (folder / "mdef").exists():
        return replace(
            sphinx_model(folder or _package_folder() / "en-us", contexts=contexts),
            name=f"Sphinx {folder or 'en-us'}{', in context' if contexts else ''}",
            edges=None if folder else EdgeCorrection.load(),
        )
    if (folder / "hmmdefs").exists():
        return htk_model(folder)
    raise DataError(
        f"load_acoustic_model: {folder} should be the file of a model, or hold a Sphinx model (mdef and other files) "
        f"or an HTK model (hmmdefs and config), but has neither mdef nor hmmdefs."
    )


def load_dictionary(path: Path | None = None, *, model: AcousticModel | None = None) -> Entries:
    """Pronunciations by word, as `semihmm.speech.text.dictionary.read_dictionary` reads them.

    Args:
        path: the file. Default: the CMU dictionary inside the ``pocketsphinx`` package; without that, the one inside
            ``gruut``, which has the same phones.
        model: refuse phones that it lacks. Default: take any.
    """
    if path is None and not has_sphinx_model():
        return gruut_dictionary()
    return read_dictionary(
        path or _package_folder() / "cmudict-en-us.dict", phones=None if model is None else model.phones
    )


def has_sphinx_model() -> bool:
    """Whether the ``pocketsphinx`` package, which holds an acoustic model and a dictionary, is installed."""
    return find_spec("pocketsphinx") is not None


def _saved(path: Path) -> AcousticModel:
    """What `AcousticModel.save` wrote."""
    tensors, note = read(path)
    try:
        edges = [tensors[name] for part in EdgeCorrection.__dataclass_fields__ if (name := f"edges.{part}") in tensors]
        table, transitions = tensors.get("contexts"), tensors["transitions"]
        front_end: dict[str, Any] = {name: tuples(value) for name, value in note["front_end"].items()}
        phones = tuple(note["phones"])
        if note["silence"] not in phones or len(phones) != len(transitions) or len({*phones}) < len(phones):
            raise ValueError(
                f"{len(transitions)} phones, called {' '.join(phones)}, of which {note['silence']} is silence"
            )
        return AcousticModel(
            phones,
            tuple(mixture_of(tensors, f"streams.{number}") for number in range(note["streams"])),
            transitions,
            FrontEnd(**front_end),
            name=note["name"],
            silence=note["silence"],
            edges=EdgeCorrection(*edges) if edges else None,
            contexts=None if table is None else Contexts(table.expand(4, -1, -1, -1, -1)),
            card=note["card"],
            splice=note.get("splice", 0),
            transform=tensors.get("transform"),
            network=_network_of(tensors, note["network"]) if "network" in note else None,
        )
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"load_acoustic_model: {path} is damaged, as its parts do not fit each other ({error}). Fetch or train it "
            f"again."
        ) from error


def _network_of(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> TimeDelayNetwork:
    network = TimeDelayNetwork(**config)
    network.load_state_dict({name[len(NETWORK) :]: x for name, x in tensors.items() if name.startswith(NETWORK)})
    return network.eval().requires_grad_(False)


def _package_folder() -> Path:
    pocketsphinx = require("pocketsphinx", extra="speech", purpose="The default acoustic model and dictionary")
    return Path(pocketsphinx.get_model_path()) / "en-us"
