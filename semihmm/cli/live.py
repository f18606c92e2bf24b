"""The command ``semihmm live``."""

from pathlib import Path
from typing import Annotated

import typer

from semihmm.cli.running import build_aligner, refusing


def live(
    sound: Annotated[Path | None, typer.Argument(help="A file to play. Default: a microphone.")] = None,
    script: Annotated[str | None, typer.Option(help="A text that is read aloud, or a file that holds it.")] = None,
    keywords: Annotated[
        str | None, typer.Option(help='Words to listen for, "yes no stop"; with commas, also several: "turn on, stop".')
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Nats a frame by which free speech is better than it is: more for fewer false alarms.")
    ] = -0.5,
    device: Annotated[
        str | None, typer.Option(help="The microphone: a part of its name, or its number in python -m sounddevice.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Play SOUND on a simulated clock, as fast as can be.")] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each frame instead.")] = False,
    plot: Annotated[
        str | None, typer.Option(help="Draw the last seconds: 'window', or a file, such as out.png, at the end.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the alignment at the end: NAME.json, NAME.TextGrid, or as --format."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="As for align.")] = None,
    dictionary: Annotated[Path | None, typer.Option(help="As for align.")] = None,
    language: Annotated[str | None, typer.Option(help="As for align.")] = None,
) -> None:
    """Hear speech as it is said: where a reader is in a script, when keywords are said, or which phones.

    From a microphone, which takes the extra "live", or from a file that is played. Ctrl-C ends it, with a summary. A
    microphone that is lost is waited for; sound that is lost is a gap, and times stay right.

    Exit code: 0, or 2 if nothing could be done.
    """
    import torch

    from semihmm.cli.listening import Screen, listen, summary
    from semihmm.errors import DataError
    from semihmm.speech.files.textfile import read_text
    from semihmm.speech.live import (
        FileSource,
        KeywordSpotter,
        MicrophoneSource,
        PhoneListener,
        ScriptFollower,
        Session,
        SimulatedClock,
        WallClock,
        reconnecting,
    )
    from semihmm.speech.live.tasks import Task

    torch.set_num_threads(1)  # the work of one frame is too small to share: threads would wait for each other
    with refusing():
        if script and keywords:
            raise DataError("--script and --keywords exclude each other: which of them is to be listened for?")
        if fast and sound is None:
            raise DataError("--fast takes a file: a microphone is as fast as it is.")
        aligner = build_aligner(model, dictionary, language=language)
        text = ""
        task: Task
        if script:
            text = read_text(Path(script)) if len(script) < 256 and Path(script).is_file() else script
            task = ScriptFollower(aligner.model, aligner.lexicon, text)
        elif keywords:
            wanted = keywords.split(",") if "," in keywords else keywords.split()
            named = [word.strip() for word in wanted if word.strip()]
            task = KeywordSpotter(aligner.model, aligner.lexicon, named, threshold)
        else:
            task = PhoneListener(aligner.model)
        clock = SimulatedClock() if fast else WallClock()
        screen = Screen(task, json_lines=json_lines)
        session = Session(aligner.model, task, clock=clock, say=screen.say)
        if sound is not None:
            source = iter(FileSource(sound, clock=clock))
        else:
            rate = round(aligner.model.front_end.sample_rate)
            number = int(device) if device and device.isdigit() else device
            source = reconnecting(lambda: MicrophoneSource(number, rate, clock=clock), screen.say, clock=clock)
        found = listen(session, source, screen, plot)
        if out is not None:
            alignment = session.alignment(found, text)
            if out.suffix.lower() == ".json":
                alignment.save(out.with_suffix(".TextGrid"), out)
            else:
                from semihmm.speech import write_labels

                write_labels(alignment, out)
    summary(session, found, screen)
