"""Korean: an acoustic model from recordings and texts alone, words and phones aligned by it, and how long phones last.

Run it: ``python examples/korean_kss_demo.py kss --limit 300``, where kss is the folder of the Korean Single Speaker
dataset (Park 2018, on Kaggle): ``transcript.v.1.4.txt`` and the folders 1 to 4. Without a folder it takes ten synthetic
sentences in the same layout, ``examples/data-korean``; ``--smoke`` trains less; ``--picture FILE`` draws the first. It
needs ``pip install 'semihmm[ko]'``.

No Korean model comes with semihmm, so one is trained from a flat start: words are pronounced by rule (같이 is said
가치), phones begin as equal parts of the sentence, and EM does the rest. Then the sentences are aligned. Look at the
first sentence's words, and at the durations. They are predicted for sentences that the laws did not see, by the mean of
the phone; by negative binomial laws, as an HSMM's states have, of the phone with its neighbours; and by these where the
length of the sentence is known. The last figures say what is lost
where a vocoder (WORLD) speaks a sentence, with its own durations and with predicted ones; all else is the recording's
own, so they are a floor for synthetic voices. They need ``pip install 'semihmm[metrics]'``.
"""

import argparse
from pathlib import Path
from time import perf_counter

import torch

from semihmm.audio import read_audio
from semihmm.errors import DependencyError, SemihmmError
from semihmm.speech import Aligner, find_recordings, load_lexicon, words_of
from semihmm.speech.metrics import at_durations, duration_statistics, resynthesis_errors
from semihmm.speech.training import PhoneDurations, Recipe, Utterance, predict_durations, train

BUNDLED = Path(__file__).parent / "data-korean"
TRAINED_ON = 600  # sentences at most; all are aligned


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", nargs="?", type=Path, default=BUNDLED)
    parser.add_argument("--limit", type=int, help="how many recordings at most, evenly spread")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw the first sentence, and how long phones last"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    recordings = list(find_recordings(args.corpus))
    limit = 4 if args.smoke else args.limit or len(recordings)
    recordings = recordings[:: -(-len(recordings) // limit)]

    try:
        lexicon = load_lexicon("ko")
        lexicon.pronounce("같이")
    except DependencyError as error:
        print(error)
        return
    utterances = []
    for recording in recordings[:: -(-len(recordings) // TRAINED_ON)]:
        try:
            words = words_of(recording.transcript(), language="ko")
            said = tuple(lexicon.pronounce(word) for word in words)
            utterances.append(Utterance(recording.name, *read_audio(recording.audio), said))
        except SemihmmError as error:
            print(f"{recording.name} is not learnt from: {error}")
    start = perf_counter()
    recipe = Recipe.for_rate(min(16000, *(item.sample_rate for item in utterances)), gaussians=1 if args.smoke else 4)
    model = train(utterances, recipe=recipe, name="Korean")
    seconds = sum(len(item.wave) / item.sample_rate for item in utterances)
    print(f"{len(model.phones)} phones learnt from {seconds:.1f} s in {perf_counter() - start:.1f} s")

    aligner, aligned = Aligner(model, lexicon), []
    for recording in recordings:
        try:
            aligned.append((recording, aligner(*read_audio(recording.audio), recording.transcript())))
        except SemihmmError as error:
            print(f"{recording.name} is left out: {error}")
    first, result = aligned[0]
    print(f"\n{first.transcript()}")
    for word in result.words:
        phones = [phone.label for phone in result.phones if word.start <= phone.start < word.end]
        print(f"  {word.start:5.2f} {word.end:5.2f}  {word.label}  {' '.join(phones)}")

    tiers = [result.phones for _, result in aligned]
    print("\nphone     n  mean ms    sd  skewness")
    for label, found in list(duration_statistics(tiers).items())[:12]:
        print(f"{label:5} {found.n:5} {1000 * found.mean:8.1f} {1000 * found.sd:5.1f} {found.skewness:9.2f}")

    print("\ndurations of sentences not learnt from, by")
    for name, errors in predict_durations(tiers, range(len(tiers))).items():
        figures = f"mean error {1000 * errors.mean:5.1f} ms, RMSE {1000 * errors.rmse:5.1f} ms"
        print(f"  {name:18} {figures}, correlation {errors.correlation:.3f}, {errors.within(0.2):.0%} within a fifth")

    laws = PhoneDurations.fit(tiers[1:])
    predicted = laws(tiers[0], total=sum(phone.end - phone.start for phone in tiers[0]))
    print("\nthe first sentence by a vocoder")
    for name, durations in (("its own", None), ("predicted", predicted)):
        frames = None if durations is None else at_durations(tiers[0], durations, result.duration)
        try:
            distortion, pitch = resynthesis_errors(*read_audio(first.audio), frames=frames)
        except DependencyError as error:
            print(f"  MCD and F0 are left out: {error}")
            break
        figures = f"F0 RMSE {pitch.rmse:.1f} Hz, gross errors {pitch.gross:.1%}, voicing errors {pitch.voicing:.1%}"
        print(f"  {name:10} durations: MCD {distortion:.2f} dB, {figures}")
    if args.picture:
        picture(args.picture, *read_audio(first.audio), tiers)


def picture(file, wave, rate, tiers):
    """The first sentence with its phones; and the durations of the commonest phones of all."""
    from matplotlib.figure import Figure

    above, below = Figure(figsize=(6, 3.4), layout="constrained").subplots(2, 1, height_ratios=(2, 3))
    above.plot(torch.arange(0, len(wave), 8) / rate, wave[::8], linewidth=0.3)
    top = float(wave.abs().max())
    for number, phone in enumerate(tiers[0]):
        above.axvspan(phone.start, phone.end, color=f"C{1 + number % 2}", alpha=0.25, linewidth=0)
        above.text((phone.start + phone.end) / 2, 1.2 * top, phone.label, fontsize=6, ha="center")
    above.set(xlabel="seconds", yticks=[], xlim=(0, len(wave) / rate), ylim=(-1.2 * top, 1.6 * top))
    common = list(duration_statistics(tiers))[:16]
    lasting = [[1000 * (p.end - p.start) for tier in tiers for p in tier if p.label == name] for name in common]
    ink = {name: {"color": below.xaxis.label.get_color()} for name in ("boxprops", "whiskerprops", "capprops")}
    below.boxplot(lasting, showfliers=False, widths=0.6, medianprops={"color": "C1", "linewidth": 2}, **ink)
    below.set_xticks(range(1, len(common) + 1), common)
    below.set(ylabel="phone's duration (ms)", ylim=(0, None))
    above.figure.savefig(file)


if __name__ == "__main__":
    main()
