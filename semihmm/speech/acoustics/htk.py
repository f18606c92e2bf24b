"""Readers of the text files that make up an HTK acoustic model: ``hmmdefs``, ``macros`` and ``config``.

``hmmdefs`` (and ``macros``, which may hold a part of it) defines HMMs and what they share: means ``~u``, variances
``~v``, mixture components ``~m``, states ``~s``, transition matrices ``~t``. ``config`` says which features they hear.
Read are models of one stream, with Gaussians of diagonal covariance, and features of the kind MFCC. Other contents are
refused by name.

References:
    Young et al. (2006), "The HTK Book", version 3.4, chapters 5 and 7.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.text.phones import alphabet_of

_TOKEN = re.compile(r"""<[^<>\s]*>|~\S|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s<>"'~]+|\S""")
_KIND = re.compile(r"<([A-Z]+(?:_[A-Z0-9])*)>")
_ROUNDING = 1e-3  # what sums of seven-digit numbers may be off
_EXTRAS = {"sil", "sp", "noise", "dummy", "laugh", "fp"}  # models of these names stand for no phone


@dataclass(frozen=True)
class State:
    """An emitting state: a mixture of M Gaussians of F features.

    Args:
        weights: ``(M,)``, summing to 1.
        means: ``(M, F)``.
        variances: ``(M, F)``.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor


@dataclass(frozen=True)
class Definition:
    """An HMM of N emitting states.

    Args:
        states: the emitting ones.
        transitions: ``(N + 2, N + 2)`` probabilities; the first state enters the model, the last one leaves it.
    """

    states: tuple[State, ...]
    transitions: Tensor


@dataclass
class Definitions:
    """What one or more files define.

    Args:
        kind: the features, as ``MFCC_D_N_Z_0``; empty if no file says.
        size: how many numbers each vector has; 0 if no file says.
        models: the HMMs by name, in the order of the files.
        shared: by ``~u``, ``~v``, ``~m``, ``~s``, ``~t`` and name, what models may refer to.
    """

    kind: str = ""
    size: int = 0
    models: dict[str, Definition] = field(default_factory=dict)
    shared: dict[tuple[str, str], Any] = field(default_factory=dict)


def read_definitions(*paths: Path) -> Definitions:
    """The HMMs of some files of definitions, each of which may refer to those before it.

    Raises:
        DataError: a file cannot be read, is damaged, or holds what is not read here; the message names the line.
    """
    found = Definitions()
    for path in paths:
        _Reader(path, found).read()
    return found


class _Reader:
    """Reads one file, token by token, into what other files have defined."""

    def __init__(self, path: Path, found: Definitions) -> None:
        self.path, self.found = path, found
        self.text = _read_text(path)
        self.tokens = list(_TOKEN.finditer(self.text))
        self.at = 0

    def read(self) -> None:
        readers: dict[str, Callable[[], Any]] = {
            "~u": lambda: self._vector("<MEAN>"), "~v": lambda: self._vector("<VARIANCE>"), "~m": self._component,
            "~s": self._state, "~t": self._matrix, "~h": self._model,
        }  # fmt: skip
        while self.at < len(self.tokens):
            sign = self._next()
            if sign == "~o":
                self._options()
            elif sign not in readers:
                raise self._refusal(f"a macro ~o, {', '.join(readers)} was expected", sign)
            else:
                name = self._name()
                known: dict[Any, Any] = self.found.models if sign == "~h" else self.found.shared
                key = name if sign == "~h" else (sign, name)
                if key in known:
                    raise self._refusal("each macro should be defined once", f'{sign} "{name}" again')
                known[key] = readers[sign]()

    def _options(self) -> None:
        """Those of all models, up to the next macro or model."""
        while self._peek().startswith("<") and self._peek() not in {"<BEGINHMM>", "<NUMSTATES>"}:
            option = self._next()
            if option == "<VECSIZE>":
                self._settle("size", self._count())
            elif option == "<STREAMINFO>":
                self._expect("1")
                self._settle("size", self._count())
            elif option == "<HMMSETID>":
                self._name()
            elif kind := _KIND.fullmatch(option):
                if kind[1] not in {"DIAGC", "NULLD"}:
                    self._settle("kind", kind[1])
            else:
                raise self._refusal("options like <VecSize>, <DiagC> or <MFCC_0_D> were expected", option)

    def _settle(self, name: str, value: Any) -> None:
        known = getattr(self.found, name)
        same = _parts(known) == _parts(value) if name == "kind" and known else known in {value, 0, ""}
        if not same:
            raise self._refusal(f"all models should hear the same features, {known}", str(value))
        setattr(self.found, name, value)

    def _model(self) -> Definition:
        self._expect("<BEGINHMM>")
        self._options()
        self._expect("<NUMSTATES>")
        count = self._count()
        if count < 3:
            raise self._refusal("a model has 3 states or more, the first and last of which emit nothing", str(count))
        states = []
        for number in range(2, count):
            self._expect("<STATE>")
            self._expect(str(number))
            states.append(self._shared("~s", self._state))
        transitions = self._shared("~t", self._matrix)
        if len(transitions) != count:
            raise self._refusal(f"transitions of {count} states were expected", f"{len(transitions)}")
        self._expect("<ENDHMM>")
        return Definition(tuple(states), transitions)

    def _state(self) -> State:
        mixtures = 1
        if self._peek() == "<NUMMIXES>":
            self._next()
            mixtures = self._count()
        if self._peek() == "<STREAM>":
            self._next()
            self._expect("1")
        parts: list[tuple[float, Tensor, Tensor]] = []
        if self._peek() != "<MIXTURE>":
            parts.append((1.0, *self._shared("~m", self._component)))
        last = 0
        while self._peek() == "<MIXTURE>":
            self._next()
            number = self._count()
            if not last < number <= mixtures:
                raise self._refusal(f"mixture components {last + 1} to {mixtures} were expected", str(number))
            last = number
            weight = self._numbers(1)[0]
            parts.append((weight, *self._shared("~m", self._component)))
        weights = torch.tensor([weight for weight, _, _ in parts], dtype=torch.float64)
        if bool((weights < 0).any()) or abs(float(weights.sum()) - 1) > _ROUNDING:
            raise self._refusal("the weights of a mixture should sum to 1", f"{weights.tolist()}")
        return State(weights, *(torch.stack(values) for values in list(zip(*parts, strict=True))[1:]))

    def _component(self) -> tuple[Tensor, Tensor]:
        mean = self._shared("~u", lambda: self._vector("<MEAN>"))
        variance = self._shared("~v", lambda: self._vector("<VARIANCE>"))
        if self._peek() == "<GCONST>":
            self._next()
            given, due = self._numbers(1)[0], float(variance.log().sum()) + len(variance) * math.log(2 * math.pi)
            if abs(given - due) > _ROUNDING * max(abs(due), 1):
                raise self._refusal(f"the variances before it make <GConst> {due:.6g}", f"{given:g}")
        return mean, variance

    def _vector(self, keyword: str) -> Tensor:
        self._expect(keyword)
        size = self._count()
        self._settle("size", size)
        found = torch.tensor(self._numbers(size), dtype=torch.float64)
        if keyword == "<VARIANCE>" and bool((found <= 0).any()):
            raise self._refusal("variances should be positive", f"{float(found.min()):g}")
        return found

    def _matrix(self) -> Tensor:
        self._expect("<TRANSP>")
        size = self._count()
        if size < 3:
            raise self._refusal("transitions of 3 states or more were expected", str(size))
        found = torch.tensor([self._numbers(size) for _ in range(size)], dtype=torch.float64)
        sums = found.sum(1)
        whole = bool(((sums[:-1] - 1).abs() <= _ROUNDING).all()) and bool((sums[-1] == 0) & (found[:, 0] == 0).all())
        if bool((found < 0).any()) or not whole:
            raise self._refusal(
                "transitions should be probabilities that sum to 1 in each row but the last, which is 0, and lead "
                "nowhere back to the first state",
                f"rows that sum to {', '.join(f'{value:.4g}' for value in sums.tolist())}",
            )
        return found

    def _shared(self, sign: str, read: Callable[[], Any]) -> Any:
        """What a macro has defined, if one is named here, and else what stands here."""
        if self._peek() != sign:
            return read()
        self._next()
        name = self._name()
        if (sign, name) not in self.found.shared:
            raise self._refusal(f"{sign} should name what was defined before", f'"{name}"')
        return self.found.shared[sign, name]

    def _peek(self) -> str:
        if self.at == len(self.tokens):
            return ""
        token = self.tokens[self.at].group()
        return token.upper() if token[0] == "<" else token

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise self._refusal("the file should go on", "its end")
        self.at += 1
        return token

    def _expect(self, token: str) -> None:
        found = self._next()
        if found != token:
            raise self._refusal(f"{token} was expected", found)

    def _name(self) -> str:
        token = self._next()
        return re.sub(r"\\(.)", r"\1", token[1:-1]) if token[0] in "\"'" and len(token) > 1 else token

    def _count(self) -> int:
        token = self._next()
        if not re.fullmatch("[0-9]{1,9}", token):
            raise self._refusal("a whole number was expected", token)
        return int(token)

    def _numbers(self, count: int) -> list[float]:
        tokens = [token.group() for token in self.tokens[self.at : self.at + count]]
        try:
            found = [float(token) for token in tokens]
        except ValueError as error:
            raise self._refusal(f"{count} numbers were expected", str(error)) from error
        self.at += len(tokens)
        if len(found) < count or not all(map(math.isfinite, found)):
            raise self._refusal(f"{count} finite numbers were expected", " ".join(tokens[:3]) or "its end")
        return found

    def _refusal(self, expected: str, found: str) -> DataError:
        at = self.tokens[min(self.at, len(self.tokens)) - 1].start() if self.tokens else 0
        return DataError(
            f"read_definitions: {self.path}, line {self.text.count(chr(10), 0, at) + 1}: {expected}, got "
            f"{found[:80]}. Only text files of HTK's one-stream models with diagonal covariances are read; is this one "
            f"whole?"
        )


def read_names(path: Path) -> dict[str, str]:
    """A file of replacements, lines of a model's name and the name by which dictionaries call it.

    Raises:
        DataError: the file cannot be read, or a line has not two names.
    """
    found = {}
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        match line.split():
            case [ours, theirs]:
                found[ours] = theirs
            case []:
                pass
            case _:
                raise DataError(
                    f"read_names: {path}, line {number} should be a model's name and its name in dictionaries, got "
                    f"{line[:80]!r}."
                )
    return found


def phone_names(models: Sequence[str], replacements: Mapping[str, str]) -> dict[str, str]:
    """By a model's name, that of its phone.

    ARPAbet is in capitals, as the CMU dictionary has it. Other phones have the names that dictionaries call them by, if
    no other model has such a name. What is no phone keeps its name.
    """
    phones = [name for name in models if name not in _EXTRAS]
    if alphabet_of(phones) == "arpabet":
        return {name: name.upper() for name in models}
    found: dict[str, str] = {}
    for name in models:
        other = replacements.get(name, name) if name in phones else name
        found[name] = name if other in models or other in found.values() else other
    return found


def read_configuration(path: Path) -> dict[str, str]:
    """A ``config`` file: names in capitals, without the module that they are for, and values.

    Raises:
        DataError: the file cannot be read, or a line is not ``NAME = VALUE``.
    """
    found = {}
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        if plain := line.split("#")[0].strip():
            name, sign, value = plain.partition("=")
            if not sign or not name.strip() or not value.strip():
                raise DataError(f"read_configuration: {path}, line {number} should be NAME = VALUE, got {line[:80]!r}.")
            found[name.split(":")[-1].strip().upper()] = value.strip()
    return found


_RANGES = {  # the numbers of a configuration that say how features are computed: least, most, and default
    "SOURCERATE": (50.0, 2500.0, None), "TARGETRATE": (1e4, 1e6, None), "WINDOWSIZE": (1e4, 2e6, 256000.0),
    "PREEMCOEF": (0.0, 1.0, 0.97), "NUMCHANS": (2, 200, 20), "NUMCEPS": (1, 100, 12), "CEPLIFTER": (0, 1000, 22),
    "LOFREQ": (0.0, 1e5, 0.0), "HIFREQ": (1.0, 1e5, None), "DELTAWINDOW": (1, 20, 2), "ACCWINDOW": (1, 20, 2),
}  # fmt: skip
_ONLY = {
    "USEHAMMING": "T", "ZMEANSOURCE": "F", "V1COMPAT": "F", "DOUBLEFFT": "F", "USESILDET": "F",
    "SOURCEKIND": "WAVEFORM",
}  # fmt: skip
_ASIDE = "SOURCEFORMAT TARGETFORMAT SAVECOMPRESSED SAVEWITHCRC BYTEORDER NATURALREADORDER NATURALWRITEORDER ENORMALISE"
_ASIDE += " ESCALE SILFLOOR RAWENERGY TRACE TARGETKIND USEPOWER"


def front_end_of(settings: Mapping[str, str]) -> FrontEnd:
    """The front end that a ``config`` asks for.

    Args:
        settings: names and values, as `read_configuration` returns them.

    Raises:
        DataError: a value is damaged, or asks for what this front end does not compute.
    """
    for name, value in settings.items():
        if name in _ONLY and value.upper()[: len(_ONLY[name])] != _ONLY[name]:
            raise _refused(name, value, f"only {_ONLY[name]} can be computed here")
        if name not in _RANGES and name not in _ONLY and name not in _ASIDE.split():
            raise _refused(name, value, "what it changes is not known here")
    number = {name: _number(settings, name) for name in _RANGES if name != "HIFREQ" or name in settings}
    rate = 1e7 / number["SOURCERATE"]
    highest = number.get("HIFREQ", rate / 2)
    cepstra, filters = int(number["NUMCEPS"]), int(number["NUMCHANS"])
    if not number["LOFREQ"] < highest <= rate / 2:
        raise _refused("HIFREQ", f"{highest:g}", f"it should lie between LOFREQ and {rate / 2:g}")
    if cepstra >= filters:
        raise _refused("NUMCEPS", f"{cepstra}", f"it should be less than NUMCHANS, {filters}")
    kind = settings.get("TARGETKIND", "").upper()
    asked = _parts(kind)
    if "MFCC" not in asked or asked - set("0DANZKC") - {"MFCC"} or ("A" in asked and "D" not in asked):
        raise _refused("TARGETKIND", kind, "only MFCC with the qualifiers 0, D, A, N, Z can be computed here")
    if "N" in asked and not asked >= {"0", "D"}:
        raise _refused("TARGETKIND", kind, "N leaves out c0 where its difference stays, so 0 and D belong to it")
    slope = _slope(int(number["DELTAWINDOW"]))
    differences = [slope, tuple(np.convolve(slope, _slope(int(number["ACCWINDOW"]))).tolist())]
    blocks = 1 + ("D" in asked) + ("A" in asked)
    order = [*range(1, cepstra + 1), *([0] if "0" in asked else [])]
    columns = [block * (cepstra + 1) + column for block in range(blocks) for column in order]
    return FrontEnd(
        sample_rate=rate,
        window=number["WINDOWSIZE"] / 1e7,
        frame_rate=1e7 / number["TARGETRATE"],
        pre_emphasis=number["PREEMCOEF"],
        lower_edge=number["LOFREQ"],
        upper_edge=highest,
        filters=filters,
        cepstra=cepstra + 1,
        transform="htk",
        lifter=int(number["CEPLIFTER"]),
        mean_normalisation="Z" in asked,
        padded=False,
        emphasis_within=True,
        exponent=2.0 if settings.get("USEPOWER", "F").upper().startswith("T") else 1.0,
        corners="mel",
        offset=0.0,
        floor=1.0,
        differences=tuple(differences[: blocks - 1]),
        columns=tuple(column for column in columns if column or "N" not in asked),
    )


def same_kind(one: str, other: str) -> bool:
    """Whether two names, as ``MFCC_D_N_Z_0`` and ``MFCC_0_D_N_Z``, are of one kind of features."""
    return _parts(one) - {"K", "C"} == _parts(other) - {"K", "C"}


def _parts(kind: str) -> set[str]:
    return set(kind.upper().split("_"))


def _slope(reach: int) -> tuple[float, ...]:
    """The weights of a regression line's slope over so many frames on both sides."""
    offsets = range(-reach, reach + 1)
    return tuple(offset / sum(other * other for other in offsets) for offset in offsets)


def _number(settings: Mapping[str, str], name: str) -> float:
    least, most, default = _RANGES[name]
    value = settings.get(name, "" if default is None else str(default))
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not least <= found <= most or (isinstance(least, int) and found != int(found)):
        raise _refused(name, value or "nothing", f"a number from {least:g} to {most:g} is needed")
    return found


def _refused(name: str, value: str, reason: str) -> DataError:
    return DataError(
        f"FrontEnd: the model's config has {name} = {value[:80]}, but {reason}, and other features would not fit the "
        f"model. Mend the config, or use another model."
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(f"HTK model: cannot read {path} ({error.strerror}). Is the model folder complete?") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"HTK model: {path} is no text in UTF-8 ({error.reason}): HTK's binary form is not read."
        ) from error
