"""One picture of one alignment: the waveform with its words, the phones' posteriors, the phones."""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semihmm._files import atomically
from semihmm._optional import require
from semihmm.audio import read_audio
from semihmm.speech.alignment.align import Aligner, Evidence
from semihmm.speech.alignment.graph import PAUSE
from semihmm.speech.corpora.corpus import Recording
from semihmm.speech.files.results import Alignment
from semihmm.speech.intervals import Interval
from semihmm.types import Hertz

_INK, _WAVE, _PATH = "#1f2933", "#3e5c76", "#d1495b"
_TINTS = ("#dbe7f3", "#f6e9d7")  # of every other word
_POINTS = 4000  # of the drawn waveform: more would not be seen


def draw(evidence: Evidence, wave: Tensor, sample_rate: Hertz, path: Path) -> None:
    """Draw an alignment to a PNG, all at once.

    From top to bottom, over one axis of time: the waveform under its words; for every phone of the best path, the
    posterior probability of being in it, frame by frame, with the path; the phones.

    Args:
        evidence: from `Aligner.explain`.
        wave: ``(N,)`` the samples that were aligned.
        sample_rate: of ``wave``.
        path: the file to write.

    Raises:
        DependencyError: ``matplotlib`` is not installed.
    """
    # A figure of its own, not pyplot's: no window, no global state.
    figures = require("matplotlib.figure", extra="speech", purpose="Drawing an alignment")
    duration = evidence.alignment.duration
    rows = len(evidence.nodes.unique_consecutive())
    height = min(max(2.5, 0.105 * rows), 9.0)
    figure = figures.Figure(figsize=(min(max(9.0, 3.2 * duration), 30.0), height + 3.4), dpi=130, layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=[2.0, height, 0.45])
    scale = 0.85 * figure.get_figwidth() / duration  # inches per second, roughly
    _draw_wave(panels[0], evidence.alignment.words, wave, sample_rate, scale)
    image = _draw_posteriors(panels[1], evidence)
    _draw_phones(panels[2], evidence.alignment, scale)
    bar = figure.colorbar(image, ax=panels[1], fraction=0.02, pad=0.01)
    bar.set_label("posterior probability", color=_INK)
    bar.outline.set_visible(False)
    figure.suptitle(evidence.alignment.text, fontsize=12, color=_INK)
    panels[-1].set_xlim(0, duration)
    panels[-1].set_xlabel("time (s)", color=_INK)
    for axes in panels:
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=_INK, length=0, labelsize=9)
    panels[1].tick_params(axis="y", labelsize=min(9.0, 62 * height / rows))
    panels[-1].tick_params(axis="x", length=3)
    with atomically(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_wave(axes: Any, words: tuple[Interval, ...], wave: Tensor, sample_rate: Hertz, scale: float) -> None:
    """The wave's envelope, on bands that show the words."""
    step = max(1, len(wave) // _POINTS)
    blocks = wave[: len(wave) // step * step].reshape(-1, step)
    times = (torch.arange(len(blocks)) * (step / sample_rate)).tolist()
    peak = max(float(wave.abs().max()), 1e-6)
    for index, (word, level) in enumerate(zip(words, _levels(words, scale, 0.09), strict=True)):
        axes.axvspan(word.start, word.end, color=_TINTS[index % 2], linewidth=0)
        _write(axes, word, peak * (1.25 + 0.3 * level), size=10)
    axes.fill_between(times, blocks.amin(1).tolist(), blocks.amax(1).tolist(), color=_WAVE, linewidth=0)
    axes.set_ylim(-1.05 * peak, 1.75 * peak)
    axes.set_yticks([])
    axes.set_ylabel("waveform", color=_INK)


def _draw_posteriors(axes: Any, evidence: Evidence) -> Any:
    """A staircase: one row per phone of the best path, first phone on top."""
    order = evidence.nodes.unique_consecutive()
    nodes = [evidence.graph.nodes[node] for node in order.tolist()]
    labels = ["pause" if node.word == PAUSE else node.phone for node in nodes]
    times = evidence.boundaries.numpy()
    rows = torch.arange(len(order) + 1) - 0.5
    image = axes.pcolormesh(times, rows.numpy(), evidence.posterior[:, order].T.numpy(), cmap="Blues", vmin=0, vmax=1)
    path = (evidence.nodes[:, None] == order).int().argmax(1)
    axes.stairs(path.numpy(), times, baseline=None, color=_PATH, linewidth=1.2, label="best path")
    axes.invert_yaxis()
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylabel("phones of the transcript", color=_INK)
    axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=_INK)
    for word in evidence.alignment.words:
        axes.axvline(word.start, color=_INK, linewidth=0.3, alpha=0.4)
    return image


def _draw_phones(axes: Any, alignment: Alignment, scale: float) -> None:
    """The phones as boxes, in the tints of their words."""
    starts = [word.start for word in alignment.words]
    phones = alignment.phones
    for phone, level in zip(phones, _levels(phones, scale, 0.075), strict=True):
        tint = _TINTS[(bisect_right(starts, phone.start) - 1) % 2]
        axes.axvspan(phone.start, phone.end, facecolor=tint, edgecolor="white", linewidth=1.0)
        _write(axes, phone, 0.3 + 0.4 * level, size=8)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel("phones", color=_INK)


def _write(axes: Any, item: Interval, height: float, *, size: int) -> None:
    middle = (item.start + item.end) / 2
    axes.text(middle, height, item.label, ha="center", va="center", fontsize=size, color=_INK)


def _levels(items: Sequence[Interval], scale: float, letter: float) -> list[int]:
    """0 for a label that fits its box or has room above its neighbour's, 1 for every other of those that do not."""
    levels: list[int] = []
    for item in items:
        tight = (item.end - item.start) * scale < letter * (len(item.label) + 0.5)
        levels.append(1 - levels[-1] if tight and levels else 0)
    return levels


def draw_recording(aligner: Aligner, recording: Recording, path: Path) -> Evidence:
    """Align one recording of a corpus, and draw the result to ``path``."""
    wave, sample_rate = read_audio(recording.audio)
    evidence = aligner.explain(wave, sample_rate, recording.transcript())
    draw(evidence, wave, sample_rate, path)
    return evidence
