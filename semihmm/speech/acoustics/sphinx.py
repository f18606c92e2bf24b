"""Readers of the Sphinx-3 files that make up an acoustic model.

The files are those that SphinxTrain writes and PocketSphinx ships: ``mdef`` (which phones and states there are),
``means`` and ``variances`` (the Gaussians), ``mixture_weights`` or its 8-bit form ``sendump``,
``transition_matrices``, ``feat.params`` (the front end).
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.speech.acoustics.contexts import BEGIN, END, SINGLE

_BYTE_ORDER = 0x11223344
_LOG_BASE = math.log(1.0001)
_SILENCE = "SIL"
_POSITIONS = "ibes"  # of a phone in its word, in the order of `Contexts`
_SENDUMP_NATS = 1024 * _LOG_BASE  # one step of a sendump's 8-bit -log weight


@dataclass(frozen=True)
class ModelDefinition:
    """The phones of a model, alone and in context, and the rows of the parameter files that belong to them.

    Args:
        phones: names, in the order of the model's numbering.
        senones: ``(phones, states)`` rows of the mixture weights.
        transitions: ``(phones,)`` rows of the transition matrices.
        total_senones: number of rows of the mixture weights, those of phones in context included.
        fillers: ``(phones,)`` which of the phones are silence and noises.
        triphones: ``(N, 4)`` phones in context: position in the word (inside, begin, end, single), phone before, phone,
            phone after.
        triphone_senones: ``(N, states)``.
    """

    phones: tuple[str, ...]
    senones: Tensor
    transitions: Tensor
    total_senones: int
    fillers: Tensor
    triphones: Tensor
    triphone_senones: Tensor

    def __post_init__(self) -> None:
        for name, values, limit in (
            ("phone", self.triphones[:, 1:], len(self.phones)),
            ("position", self.triphones[:, 0], len(_POSITIONS)),
            ("state", self.senones, self.total_senones),
            ("state", self.triphone_senones, self.total_senones),
        ):
            if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < limit:
                raise ValueError(f"a {name} is not one of {limit}")

    def in_context(self) -> Tensor:
        """Rows of the mixture weights of every phone in every context: ``(4, P, P, P, states)``, as in `Contexts`.

        What Sphinx's decoders take where a model lacks a triphone: the same in another position of a word, the lowest
        first; then the same with silence for the neighbours in other words. Noises are silence to their neighbours.
        Where there is none of these either, the phone's own rows.
        """
        count = len(self.phones)
        row = torch.full((len(_POSITIONS), count, count, count), -1)
        row[self.triphones.unbind(1)] = torch.arange(len(self.triphones))
        elsewhere = row[0]
        for position in row[1:]:
            elsewhere = torch.where(elsewhere < 0, position, elsewhere)
        row = torch.where(row < 0, elsewhere, row)
        if _SILENCE in self.phones:
            silence, index = self.phones.index(_SILENCE), torch.arange(count)
            heard = torch.where(self.fillers, silence, index)
            row = row[:, heard][..., heard]
            for position, before, after in ((BEGIN, True, False), (END, False, True), (SINGLE, True, True)):
                near = row[position][torch.full_like(index, silence) if before else index]
                near = near[..., torch.full_like(index, silence) if after else index]
                row[position] = torch.where(row[position] < 0, near, row[position])
        own = self.senones[:, None].expand(*row.shape, -1)
        none = torch.zeros_like(self.senones[:1])  # for row -1
        return torch.where((row < 0)[..., None], own, torch.cat([self.triphone_senones, none])[row])


def read_parameters(path: Path) -> tuple[dict[str, str], np.ndarray]:
    """The header and the 32-bit words of any Sphinx-3 parameter file, in this machine's byte order.

    Returns:
        The header's names and values, and the words after the byte-order mark as a ``uint32`` array, without the
        checksum. View them as ``float32`` where they are that.

    Raises:
        DataError: the file does not exist, is not a Sphinx-3 file, or its checksum is wrong.
    """
    data = _read_bytes(path)
    header, mark, body = data.partition(b"endhdr\n")
    lines = header.decode("latin-1").split("\n")
    if lines[0] != "s3" or not mark or len(body) < 4:
        raise DataError(
            f"read_parameters: {path} should start with 's3' and hold an 'endhdr' line, as every Sphinx-3 parameter "
            f"file does, but starts with {data[:12]!r}. Is it a model file of another toolkit, or cut short?"
        )
    fields = dict(line.split(maxsplit=1) for line in lines[1:] if len(line.split()) > 1)
    order = next((order for order in "<>" if struct.unpack(order + "I", body[:4])[0] == _BYTE_ORDER), None)
    if order is None or len(body) % 4:
        raise DataError(f"read_parameters: {path} has no byte-order mark after its header, or stops inside a number.")
    words = np.frombuffer(body, dtype=order + "u4", offset=4).astype(np.uint32)
    if fields.get("chksum0", "no").strip() == "yes":
        words, stored = words[:-1], int(words[-1])
        if _checksum(words) != stored:
            raise DataError(f"read_parameters: the checksum in {path} does not fit its content. Fetch the file again.")
    return fields, words


def read_gaussians(path: Path) -> tuple[Tensor, ...]:
    """A ``means`` or ``variances`` file: per feature stream one ``(codebooks, components, features)`` float32."""
    _, words = read_parameters(path)
    codebooks, streams, components = (int(n) for n in words[:3])
    sizes = [int(n) for n in words[3 : 3 + streams]]
    values = _floats(words, 3 + streams, codebooks * components * sum(sizes), path)
    per_stream = values.reshape(codebooks, components * sum(sizes)).split([components * n for n in sizes], dim=1)
    return tuple(part.reshape(codebooks, components, n) for part, n in zip(per_stream, sizes, strict=True))


def read_mixture_weights(path: Path) -> Tensor:
    """A ``mixture_weights`` file: log-weights ``(streams, senones, components)``, each row summing to 1."""
    _, words = read_parameters(path)
    senones, streams, components = (int(n) for n in words[:3])
    weights = _floats(words, 3, senones * streams * components, path).reshape(senones, streams, components)
    weights = weights / weights.sum(-1, keepdim=True)
    return weights.clamp(min=1e-7).log().log_softmax(-1).transpose(0, 1)  # the floor that Sphinx uses


def read_sendump(path: Path, *, senones: int) -> Tensor:
    """A ``sendump`` file, the 8-bit form of mixture weights: ``(streams, senones, components)`` log-weights.

    The rounding leaves rows that sum to 1 only roughly; they are left as they are, as every Sphinx decoder does.

    Args:
        senones: how many the model definition has; the file pads its rows beyond them.

    Raises:
        DataError: the file is cut short, or holds clustered weights (written for other model types).
    """
    data = _read_bytes(path)
    fields, offset = {}, 0
    while True:
        if offset + 4 > len(data):
            raise DataError(f"read_sendump: {path} ends inside its header.")
        (size,) = struct.unpack_from("<i", data, offset)
        if size == 0:
            break
        if not 0 < size < 1000:
            raise DataError(f"read_sendump: {path} is not a little-endian sendump file: a header line of {size} bytes.")
        name, _, value = data[offset + 4 : offset + 3 + size].decode("latin-1").partition(" ")
        fields[name] = value
        offset += 4 + size
    if fields.get("cluster_count", "0") != "0":
        raise DataError(f"read_sendump: {path} holds clustered weights; only plain 8-bit weights can be read here.")
    streams = int(fields.get("feature_count", 1))
    if offset + 12 > len(data):
        raise DataError(f"read_sendump: {path} ends inside its header.")
    components, columns = struct.unpack_from("<2i", data, offset + 4)
    body = np.frombuffer(data, dtype=np.uint8, offset=offset + 12)
    if columns < senones or len(body) != streams * components * columns:
        raise DataError(
            f"read_sendump: {path} should hold {streams} x {components} x at least {senones} weights to fit the model "
            f"definition, but holds {len(body)} bytes in rows of {columns}."
        )
    steps = torch.from_numpy(body.reshape(streams, components, columns)[:, :, :senones].astype(np.float32))
    return (-_SENDUMP_NATS * steps).transpose(1, 2).contiguous()


def read_transitions(path: Path) -> Tensor:
    """A ``transition_matrices`` file: log-probabilities ``(matrices, states, states + 1)``; the last column leaves."""
    _, words = read_parameters(path)
    matrices, rows, columns = (int(n) for n in words[:3])
    counts = _floats(words, 3, matrices * rows * columns, path).reshape(matrices, rows, columns)
    return (counts / counts.sum(-1, keepdim=True)).log()


def read_model_definition(path: Path) -> ModelDefinition:
    """An ``mdef`` file, in its binary (``BMDF``) or its text form.

    Raises:
        DataError: neither form, or the phones have different numbers of states.
    """
    data = _read_bytes(path)
    try:
        return _binary_definition(data) if data[:4] == b"BMDF" else _text_definition(data.decode("ascii"))
    except (ValueError, struct.error, LookupError) as error:
        raise DataError(
            f"read_model_definition: {path} is neither a little-endian binary (BMDF) nor a text model definition "
            f"with the same number of states for every phone ({error})."
        ) from error


def read_feature_parameters(path: Path) -> dict[str, str]:
    """A ``feat.params`` file: option names without their dash, and values."""
    words = _read_bytes(path).decode("utf-8").split()
    return {name.lstrip("-"): value for name, value in zip(words[::2], words[1::2], strict=True)}


def _binary_definition(data: bytes) -> ModelDefinition:
    version, description = struct.unpack_from("<2i", data, 4)
    if version != 1:
        raise ValueError(f"version {version} or byte order")
    offset = 12 + description
    phones, total, states, _, senones, _, sequences, _, tree, _ = struct.unpack_from("<10i", data, offset)
    offset += 40
    names = []
    start = offset
    for _ in range(phones):
        end = data.index(b"\0", offset)
        names.append(data[offset:end].decode("ascii"))
        offset = end + 1
    offset = start + -(-(offset - start) // 4) * 4 + 8 * tree
    record = np.dtype([("sequence", "<i4"), ("matrix", "<i4"), ("kind", "u1", 4)])
    records = np.frombuffer(data, record, total, offset)
    offset += total * record.itemsize + 4
    rows = np.frombuffer(data, "<u2", sequences * states, offset).reshape(sequences, states)
    rows_of = torch.from_numpy(rows[records["sequence"]].astype(np.int64))
    kinds = torch.from_numpy(records["kind"].astype(np.int64))
    position, base, before, after = kinds[phones:].unbind(1)
    return ModelDefinition(
        tuple(names),
        rows_of[:phones],
        torch.from_numpy(records["matrix"][:phones].astype(np.int64)),
        senones,
        kinds[:phones, 0] > 0,
        torch.stack([position, before, base, after], 1),
        rows_of[phones:],
    )


def _text_definition(text: str) -> ModelDefinition:
    counts: dict[str, int] = {}
    names: dict[str, int] = {}
    matrices, fillers, rows, contexts, triphone_rows = [], [], [], [], []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) == 2 and words[1].startswith("n_"):
            counts[words[1]] = int(words[0])
        elif len(words) > 6:
            base, before, after, position, kind, matrix, *senones, _ = words
            if before == after == position == "-":
                names[base] = len(names)
                fillers.append(kind == "filler")
                matrices.append(int(matrix))
                rows.append([int(senone) for senone in senones])
            else:
                contexts.append([_POSITIONS.index(position), names[before], names[base], names[after]])
                triphone_rows.append([int(senone) for senone in senones])
    if not names or len(names) != counts.get("n_base"):
        raise ValueError(f"{len(names)} base phones found, {counts.get('n_base')} announced")
    return ModelDefinition(
        tuple(names),
        torch.tensor(rows),
        torch.tensor(matrices),
        counts["n_tied_state"],
        torch.tensor(fillers),
        torch.tensor(contexts, dtype=torch.long).reshape(-1, 4),
        torch.tensor(triphone_rows, dtype=torch.long).reshape(-1, len(rows[0])),
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"Sphinx model: cannot read {path} ({error.strerror}). Is the model folder complete?"
        ) from error


def _floats(words: np.ndarray, dimensions: int, count: int, path: Path) -> Tensor:
    """The float32 values after ``dimensions`` sizes and one total, which must be ``count``."""
    values = words[dimensions + 1 :]
    if len(words) <= dimensions or int(words[dimensions]) != count or len(values) != count:
        raise DataError(
            f"Sphinx model: {path} announces {words[:dimensions].tolist()}, so {count} numbers, but {len(values)} "
            f"follow. The file is cut short or of another kind."
        )
    return torch.from_numpy(values.view(np.float32).copy())


def _checksum(words: np.ndarray) -> int:
    total = 0
    for word in words.tolist():
        total = ((total << 20 | total >> 12) + word) & 0xFFFFFFFF
    return total
