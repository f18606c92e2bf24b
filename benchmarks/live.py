"""An hour of speech as it is said: how long each frame waits for its result, and what becomes of memory.

    python benchmarks/live.py [--minutes 60] [--tasks script,keywords,phones] [--smoke]

The recordings in ``examples/data``, again and again, in blocks of 10 ms, through the whole chain: features, densities,
the free phone loop, and a script that is followed, keywords that are spotted, or phones. On a simulated clock, waiting
takes no time and work takes the processor time that it takes, so that a block that comes while the one before it is
still worked on waits, as it would; a minute on the clock on the wall follows. A frame's latency runs from when its
last sample was delivered to when its result was out; 30 ms of it are the three frames that its differences look ahead.

Then, what it costs that a stream cannot look at the whole recording first (`means`): words of the same recordings,
followed with the running means, and aligned offline. And keywords in recordings of ``SEMIHMM_DATA`` or
``../shared/data``, where they are there: how many are spotted, at how many false alarms an hour, at each threshold.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from semihmm.audio import read_audio, resample
from semihmm.speech import Aligner, Lexicon, words_of
from semihmm.speech.live import (
    FileSource,
    KeywordSpotter,
    LiveFrontEnd,
    PhoneListener,
    ScriptFollower,
    Session,
    SimulatedClock,
    WallClock,
)
from semihmm.speech.live.loop import FreeLoop, Sounds

HERE = Path(__file__).parent
RATE = 16000
KEYWORDS = "leisure considerable yes no stop prudently"
SPOTTED = {"chosen on": ("ljspeech32",), "others": ("librispeech4", "librivox5")}
THRESHOLDS = (-1.0, -0.75, -0.5, -0.25, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="seconds for minutes; results are not written")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--tasks", default="script,keywords,phones")
    parser.add_argument("--only", choices=("simulated", "wall", "means", "spotting"), help="one part alone")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "live.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    aligner, clips = Aligner(), recordings()
    if arguments.smoke:
        clips = [min(clips, key=lambda clip: len(clip[0]))]
    kept = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}

    def report(name: str, figures: dict[str, object]) -> None:
        print(name, json.dumps(figures), flush=True)
        kept[name] = figures
        if not arguments.smoke:
            arguments.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    seconds = 2.0 if arguments.smoke else 60 * arguments.minutes
    for task in arguments.tasks.split(","):
        if arguments.only in {None, "simulated"}:
            report(f"simulated, {task}", latencies(aligner, clips, task, seconds, SimulatedClock(time.process_time)))
        if arguments.only in {None, "wall"}:
            report(f"wall, {task}", latencies(aligner, clips, task, 2.0 if arguments.smoke else 60.0, WallClock()))
    if arguments.only in {None, "means"}:
        report("means", means(aligner, clips))
    if arguments.only in {None, "spotting"} and not arguments.smoke:
        for name, figures in spotting(aligner):
            report(name, figures)


def recordings() -> list[tuple[Tensor, str]]:
    """Those of examples/data, and what they say."""
    texts = sorted((HERE.parent / "examples" / "data").glob("austen-*.txt"))
    return [(read_audio(text.with_suffix(".wav"))[0], text.read_text(encoding="utf-8")) for text in texts]


def joined(clips: list[tuple[Tensor, str]], seconds: float) -> Iterator[tuple[Tensor, str]]:
    """Clips, again and again, for so long."""
    samples = round(seconds * RATE)
    while samples > 0:
        for wave, text in clips:
            if samples > 0:
                yield wave, text
                samples -= len(wave)


def latencies(
    aligner: Aligner, clips: list[tuple[Tensor, str]], name: str, seconds: float, clock: SimulatedClock | WallClock
) -> dict[str, object]:
    """What the frames of so many seconds waited for, and what memory there was a tenth of the way and at the end."""
    model, lexicon = aligner.model, aligner.lexicon
    if name == "script":
        script = " ".join(text for _, text in joined(clips, seconds))
        task = ScriptFollower(model, lexicon, script)
    elif name == "keywords":
        task = KeywordSpotter(model, lexicon, KEYWORDS.split())
    else:
        task = PhoneListener(model)
    session = Session(model, task, clock=clock)
    memory, found, said = 0, 0, 0
    for moment in session.play(FileSource((wave for wave, _ in joined(clips, seconds)), RATE, clock=clock)):
        found += len(moment.now.found)
        said += sum(one.said for one in moment.now.found)
        if session.frames % 30_000 == 0:
            print(
                f"{session.duration / 60:.0f} minutes: 99 % within {1000 * session.latencies.quantile(0.99):.1f} ms",
                flush=True,
            )
        if session.duration <= seconds / 10:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "minutes": round(session.duration / 60, 2),
        "frames": len(session.latencies),
        "median (ms)": round(1000 * session.latencies.quantile(0.5), 1),
        "99 % (ms)": round(1000 * session.latencies.quantile(0.99), 1),
        "99.9 % (ms)": round(1000 * session.latencies.quantile(0.999), 1),
        "longest (ms)": round(1000 * session.latencies.longest, 1),
        "times real time": round(session.duration / session.busy, 2),
        "found": found,
        "of them said": said,
        **({"words of the script": len(task.words)} if isinstance(task, ScriptFollower) else {}),
        "certain after its end, median (s)": round(session.delays.quantile(0.5), 2),
        "peak memory after a tenth (MB)": round(memory / 1024),
        "peak memory (MB)": round(whole / 1024),
    }


def means(aligner: Aligner, clips: list[tuple[Tensor, str]]) -> dict[str, object]:
    """How far the words followed are from those aligned offline, with and without ten seconds of silence first."""
    figures: dict[str, object] = {}
    noise = 3e-4 * torch.randn(10 * RATE, generator=torch.Generator().manual_seed(0))
    for name, before in (("at once", noise[:0]), ("after 10 s of silence", noise)):
        apart, unsaid, words = [], 0, 0
        for wave, text in clips:
            task = ScriptFollower(aligner.model, aligner.lexicon, text)
            session = Session(aligner.model, task, clock=SimulatedClock(time.process_time))
            moments = session.play(FileSource(torch.cat([before, wave]), RATE, clock=session.clock))
            found = [one for moment in moments for one in moment.now.found]
            offline = aligner(wave, RATE, text).words
            start = len(before) / RATE
            apart += [abs(one.item.start - start - word.start) for one, word in zip(found, offline, strict=True)]
            unsaid, words = unsaid + sum(not one.said for one in found), words + len(found)
        figures[name] = {
            "words": words,
            "taken to be not said": unsaid,
            "onsets from offline: median (ms)": round(1000 * median(apart), 1),
            "within 20 ms (%)": round(100 * sum(d <= 0.0201 for d in apart) / words, 1),
            "within 50 ms (%)": round(100 * sum(d <= 0.0501 for d in apart) / words, 1),
        }
    return figures


def spotting(aligner: Aligner) -> Iterator[tuple[str, dict[str, object]]]:
    """Some twenty words of at least five phones, listened for in all recordings of a set."""
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parent.parent / "shared" / "data"))
    for title, names in SPOTTED.items():
        clips = [clip for name in names for clip in of_set(data / name)]
        if not clips:
            continue
        heard = [list(sounds(aligner, wave)) for wave, _ in clips]
        spoken = [set(words_of(text)) for _, text in clips]
        lexicon = aligner.lexicon
        usable = [word for word in sorted(set().union(*spoken)) if lexicon.knows(word) and phones(lexicon, word) >= 5]
        keywords = usable[:: max(len(usable) // 20, 1)]
        hours = sum(map(len, heard)) / 360_000
        for threshold in THRESHOLDS:
            found = [set(spotted(aligner, keywords, threshold, items)) for items in heard]
            said = sum(len(words & set(keywords)) for words in spoken)
            hits = sum(len(labels & words) for labels, words in zip(found, spoken, strict=True))
            alarms = sum(len(labels - words) for labels, words in zip(found, spoken, strict=True))
            yield (
                f"spotting, {title}, threshold {threshold}",
                {
                    "keywords": len(keywords),
                    "said": said,
                    "spotted (%)": round(100 * hits / said, 1),
                    "false alarms per keyword and hour": round(alarms / hours / len(keywords), 2),
                },
            )


def phones(lexicon: Lexicon, word: str) -> int:
    return min(map(len, lexicon.pronounce(word).variants))


def of_set(folder: Path) -> Iterator[tuple[Tensor, str]]:
    """The recordings of a set, if it is there, and what they say."""
    if not (folder / "manifest.jsonl").exists():
        print(f"skipped {folder.name}: no such set in SEMIHMM_DATA or ../shared/data")
        return
    for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        wave, rate = read_audio(folder / item["audio"])
        yield resample(wave, source=rate, target=RATE), item["text"]


def sounds(aligner: Aligner, wave: Tensor) -> Iterator[Sounds]:
    """What the free phone loop makes of a recording."""
    front_end, loop = LiveFrontEnd(aligner.model.front_end), FreeLoop(aligner.model)
    features = torch.cat([front_end.push(wave), front_end.finish()])
    return map(loop.push, aligner.model.log_likelihood(features))


def spotted(aligner: Aligner, keywords: list[str], threshold: float, heard: list[Sounds]) -> Iterator[str]:
    task = KeywordSpotter(aligner.model, aligner.lexicon, keywords, threshold)
    for one in heard:
        yield from (found.item.label for found in task.push(one).found)
    yield from (found.item.label for found in task.finish())


if __name__ == "__main__":
    main()
