"""The C interface of the runtime for Python, by ctypes: for tests and benchmarks. It needs NumPy, and no semihmm."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_I, _P, _FLOATS, _DOUBLES = (
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_float),
    ctypes.POINTER(ctypes.c_double),
)
_INTS, _BYTES = ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.c_uint8)


class RuntimeFailure(Exception):
    """What the library said, and its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Info(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("kind", ctypes.c_char_p), ("emission", ctypes.c_char_p)] + [
        (name, _I) for name in ("inputs", "states", "columns", "max_duration")
    ]


class _Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("lookahead", _I), ("max_delay", _I)]


class _Update(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("frames", _I),
        ("filtered", _FLOATS),
        ("log_likelihood", _DOUBLES),
        ("smoothed", _FLOATS),
        ("committed", _I),
        ("first", _I),
        ("states", _INTS),
        ("forced", _BYTES),
    ]


class _Ending(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("log_likelihood", ctypes.c_double),
        ("score", ctypes.c_double),
        ("smoothed_frames", _I),
        ("smoothed", _FLOATS),
        ("committed", _I),
        ("first", _I),
        ("states", _INTS),
    ]


class Info(NamedTuple):
    """What a model is."""

    kind: str
    emission: str
    inputs: int
    states: int
    columns: int
    max_duration: int


class Best(NamedTuple):
    """The best path."""

    states: Ints
    begins: Bytes
    score: float


class _FrontOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("samples", ctypes.c_int32), ("whole", ctypes.c_int32)]


class _FrontInfo(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("inputs", _I),
        ("outputs", _I),
        ("sample_rate", ctypes.c_double),
        ("frame_rate", ctypes.c_double),
    ]


class Update(NamedTuple):
    """What frames have brought."""

    filtered: Floats
    log_likelihood: Doubles
    smoothed: Floats | None
    states: Ints
    forced: Bytes
    first: int


class Ending(NamedTuple):
    """What the end has brought."""

    log_likelihood: float
    score: float
    smoothed: Floats | None
    states: Ints
    first: int


def _copied(pointer: Any, *shape: int) -> Any:
    """What lies there, or zeros of no size."""
    if not all(shape):
        kind = {_FLOATS: np.float32, _DOUBLES: np.float64, _INTS: np.int64, _BYTES: np.uint8}[type(pointer)]
        return np.zeros(shape, kind)
    return np.ctypeslib.as_array(pointer, shape).copy()


class Library:
    """The shared library at a path."""

    Failure = RuntimeFailure

    def __init__(self, path: Path | str) -> None:
        self.c = ctypes.CDLL(str(path))
        self.c.semihmm_last_error.restype = ctypes.c_char_p
        self.c.semihmm_isa.restype = ctypes.c_char_p
        self.c.semihmm_model_name.restype = ctypes.c_char_p
        self.c.semihmm_model_name.argtypes = [_P, _I]
        for name in ("model_close", "stream_close", "stream_restart", "front_close", "front_restart"):
            getattr(self.c, f"semihmm_{name}").argtypes = [_P]
            getattr(self.c, f"semihmm_{name}").restype = None
        arguments = {
            "model_open": [ctypes.c_char_p, _P],
            "model_read": [ctypes.c_char_p, ctypes.c_size_t, _P],
            "model_info": [_P, _P],
            "model_columns": [_P, _P],
            "log_likelihoods": [_P, _P, _I, _P],
            "log_prob": [_P, _P, _I, _P],
            "posteriors": [_P, _P, _I, _P, _P],
            "viterbi": [_P, _P, _I, _P, _P, _P],
            "stream_open": [_P, _P, _P],
            "stream_push": [_P, _P, _I, _P],
            "stream_finish": [_P, _P],
            "front_open": [_P, _P, _P],
            "front_info_of": [_P, _P],
            "front_push": [_P, _P, _I, _P, _P],
            "front_finish": [_P, _P, _P],
        }
        for name, types in arguments.items():
            getattr(self.c, f"semihmm_{name}").argtypes = types

    @property
    def isa(self) -> str:
        """The instruction set that it chose."""
        found: bytes = self.c.semihmm_isa()
        return found.decode()

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; raises what it says."""
        status = getattr(self.c, f"semihmm_{name}")(*arguments)
        if status:
            raise RuntimeFailure(status, self.c.semihmm_last_error().decode())

    def open(self, path: Path | str) -> Model:
        """The model in a file."""
        handle = _P()
        self.call("model_open", str(path).encode(), ctypes.byref(handle))
        return Model(self, handle)

    def read(self, content: bytes) -> Model:
        """The model in a file's bytes."""
        handle = _P()
        self.call("model_read", content, len(content), ctypes.byref(handle))
        return Model(self, handle)


class Model:
    """A model, asked of arrays ``(T, inputs)``."""

    def __init__(self, library: Library, handle: ctypes.c_void_p) -> None:
        self.library, self.handle = library, handle
        info = _Info(ctypes.sizeof(_Info))
        library.call("model_info", handle, ctypes.byref(info))
        kind, emission = info.kind.decode(), info.emission.decode()
        self.info = Info(kind, emission, info.inputs, info.states, info.columns, info.max_duration)

    def __del__(self) -> None:
        self.library.c.semihmm_model_close(self.handle)

    def name(self, state: int) -> str | None:
        """Of a state."""
        found: bytes | None = self.library.c.semihmm_model_name(self.handle, state)
        return None if found is None else found.decode()

    @property
    def columns(self) -> Ints:
        """Which column of the log-likelihoods each state has."""
        found = np.zeros(self.info.states, np.int64)
        self.library.call("model_columns", self.handle, found.ctypes.data)
        return found

    def frames(self, x: Any) -> Floats:
        """As the library reads them."""
        return np.ascontiguousarray(x, np.float32).reshape(-1, self.info.inputs)

    def log_likelihoods(self, x: Any) -> Floats:
        """``(T, columns)``."""
        x = self.frames(x)
        found = np.zeros((len(x), self.info.columns), np.float32)
        self.library.call("log_likelihoods", self.handle, x.ctypes.data, len(x), found.ctypes.data)
        return found

    def log_prob(self, x: Any) -> float:
        """Of all frames."""
        x, found = self.frames(x), ctypes.c_double()
        self.library.call("log_prob", self.handle, x.ctypes.data, len(x), ctypes.byref(found))
        return found.value

    def posteriors(self, x: Any) -> tuple[Floats, float]:
        """``(T, columns)``, and the log-likelihood."""
        x, value = self.frames(x), ctypes.c_double()
        found = np.zeros((len(x), self.info.columns), np.float32)
        self.library.call("posteriors", self.handle, x.ctypes.data, len(x), found.ctypes.data, ctypes.byref(value))
        return found, value.value

    def viterbi(self, x: Any) -> Best:
        """The best path."""
        x, score = self.frames(x), ctypes.c_double()
        states, begins = np.zeros(len(x), np.int64), np.zeros(len(x), np.uint8)
        where = (states.ctypes.data, begins.ctypes.data, ctypes.byref(score))
        self.library.call("viterbi", self.handle, x.ctypes.data, len(x), *where)
        return Best(states, begins, score.value)

    def stream(self, lookahead: int = 0, max_delay: int = 0) -> Stream:
        """A stream of its frames."""
        return Stream(self, lookahead, max_delay)

    def front(self, *, samples: bool, whole: bool = False) -> Front:
        """What makes its frames, of samples or of a network's inputs."""
        return Front(self, samples, whole)


class Stream:
    """Frames that arrive in chunks."""

    def __init__(self, model: Model, lookahead: int, max_delay: int) -> None:
        self.model, self.handle = model, _P()
        options = _Options(ctypes.sizeof(_Options), lookahead, max_delay)
        model.library.call("stream_open", model.handle, ctypes.byref(options), ctypes.byref(self.handle))

    def __del__(self) -> None:
        self.model.library.c.semihmm_stream_close(self.handle)

    def push(self, x: Any) -> Update:
        """Take some frames."""
        x, update, states = self.model.frames(x), _Update(ctypes.sizeof(_Update)), self.model.info.states
        self.model.library.call("stream_push", self.handle, x.ctypes.data, len(x), ctypes.byref(update))
        frames, count = update.frames, update.committed
        return Update(
            _copied(update.filtered, frames, states),
            _copied(update.log_likelihood, frames),
            _copied(update.smoothed, frames, states) if update.smoothed else None,
            _copied(update.states, count),
            _copied(update.forced, count),
            update.first,
        )

    def finish(self) -> Ending:
        """End it."""
        ending, states = _Ending(ctypes.sizeof(_Ending)), self.model.info.states
        self.model.library.call("stream_finish", self.handle, ctypes.byref(ending))
        smoothed = _copied(ending.smoothed, ending.smoothed_frames, states) if ending.smoothed else None
        states_ = _copied(ending.states, ending.committed)
        return Ending(ending.log_likelihood, ending.score, smoothed, states_, ending.first)

    def restart(self) -> None:
        """Forget all frames."""
        self.model.library.c.semihmm_stream_restart(self.handle)


class Front:
    """What comes before a model's frames."""

    def __init__(self, model: Model, samples: bool, whole: bool) -> None:
        self.model, self.handle = model, _P()
        options = _FrontOptions(ctypes.sizeof(_FrontOptions), samples, whole)
        model.library.call("front_open", model.handle, ctypes.byref(options), ctypes.byref(self.handle))
        info = _FrontInfo(ctypes.sizeof(_FrontInfo))
        model.library.call("front_info_of", self.handle, ctypes.byref(info))
        self.inputs, self.outputs = info.inputs, info.outputs
        self.sample_rate, self.frame_rate = info.sample_rate, info.frame_rate

    def __del__(self) -> None:
        self.model.library.c.semihmm_front_close(self.handle)

    def push(self, x: Any) -> Floats:
        """The frames ``(n, outputs)`` that some inputs bring."""
        x = np.ascontiguousarray(x, np.float32).reshape(-1, self.inputs)
        return self._frames("front_push", x.ctypes.data, len(x))

    def finish(self) -> Floats:
        """The frames that the end brings."""
        return self._frames("front_finish")

    def restart(self) -> None:
        """Forget what came in."""
        self.model.library.c.semihmm_front_restart(self.handle)

    def _frames(self, name: str, *arguments: Any) -> Floats:
        out, count = _FLOATS(), _I()
        self.model.library.call(name, self.handle, *arguments, ctypes.byref(out), ctypes.byref(count))
        found: Floats = _copied(out, count.value, self.outputs)
        return found
