"""A script that is followed while it is read aloud, from a microphone or from a file that is played as if it were one.

Run it: ``python examples/realtime_microphone.py``, and read what it prints; or with a sound and its text: ``python
examples/realtime_microphone.py SOUND.wav TEXT.txt`` (``--smoke`` plays one as fast as can be, ``--picture FILE`` draws
when each word was known).

Each frame of 10 ms goes through features, an acoustic model and the script's graph as it comes: look at how soon a word
is known once it has begun, at how long after its end its edges are certain, and at the milliseconds that a frame waits
for its result, 30 of which are the three frames that the features look ahead.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from semihmm.speech import load_acoustic_model, load_lexicon
from semihmm.speech.live import (
    Block,
    FileSource,
    Found,
    MicrophoneSource,
    ScriptFollower,
    Session,
    SimulatedClock,
    WallClock,
    reconnecting,
)

SOUND = Path(__file__).with_name("data") / "austen-0880.wav"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sound", type=Path, nargs="?", help="default: the microphone, until Ctrl-C")
    parser.add_argument("text", type=Path, nargs="?", default=SOUND.with_suffix(".txt"))
    parser.add_argument("--smoke", action="store_true", help="a short recording, on a simulated clock")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw when each word was known and certain")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # a frame is too little work to share

    clock = SimulatedClock() if arguments.smoke else WallClock()
    model, script = load_acoustic_model(), arguments.text.read_text(encoding="utf-8")
    session = Session(model, ScriptFollower(model, load_lexicon(), script), clock=clock)
    source: Iterator[Block]
    if arguments.sound or arguments.smoke:
        source = iter(FileSource(arguments.sound or SOUND, clock=clock))
    else:
        print(f"Read aloud: {script}")
        source = reconnecting(lambda: MicrophoneSource(clock=clock), print, clock=clock)

    current, known, certain = -1, {}, []
    try:
        for moment in session.play(source):
            if moment.now.index > current and moment.now.probability > 0.9:
                current = moment.now.index
                known[current] = moment.time
                print(f"{moment.time:6.2f} s  now: {moment.now.label}")
            for word in moment.now.found:
                certain.append((moment.time, word))
                print(
                    f"{moment.time:6.2f} s  certain: {word.item.label}, {word.item.start:.2f} to {word.item.end:.2f} s"
                )
    except KeyboardInterrupt:
        print()
    waits = [f"{1000 * session.latencies.quantile(share):.0f} ms ({share:.0%})" for share in (0.5, 0.99)]
    print(f"A frame waited {' and '.join(waits)} for its result, {1000 * session.latencies.longest:.0f} ms at most.")
    if arguments.picture:
        picture(arguments.picture, known, certain)


def picture(file: Path, known: dict[int, float], certain: list[tuple[float, Found]]) -> None:
    """Each word as a bar from its start to its end; when it was known to be said, and when its edges were certain."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    words = [word.item for _, word in certain]
    axes.barh(range(len(words)), [w.end - w.start for w in words], left=[w.start for w in words], label="said")
    begun = {row: known[word.index] for row, (_, word) in enumerate(certain) if word.index in known}
    axes.plot(list(begun.values()), list(begun), "o", color="C1", label="known while it was said")
    axes.plot(
        [time for time, _ in certain],
        range(len(words)),
        "|",
        color="C2",
        markersize=9,
        markeredgewidth=2,
        label="certain",
    )
    axes.set_yticks(range(len(words)), [word.label for word in words], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("seconds of sound")
    axes.legend(frameon=False, loc="lower left")
    axes.figure.savefig(file)


if __name__ == "__main__":
    main()
