"""Models outside of Python: what each way to run one takes, and what of its answers is left.

    python benchmarks/export.py [--smoke] [--only speed|accuracy|bits] [--out DIR]

Speed: log-likelihoods of a dense HMM, of log-likelihoods of frames, by a loop of PyTorch in log space (the baseline)
and as products of matrices, the latter compiled by torch.compile, TorchScript (`export.jit`), the program of
`torch_export` run by PyTorch, its AOTInductor package (which takes two sequences or more: of one, the time is that of
two), the native backend, and ONNX Runtime with steps in either form; one thread. Everybody's are compared with float64
before the clock starts.

Accuracy: every model of the tests' table, in ONNX Runtime against PyTorch. Bits: three models whose networks are in 32,
16 and 8 bits: spoken digits (``fsdd`` of ``SEMIHMM_DATA`` or ``../shared/data``, else synthetic speakers), a dense HMM,
and CTC; and a recursion in 16 bits, which is not offered. The models of the tests are those of tests/export.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import semihmm
from semihmm import export
from semihmm.models import HMM, Neural
from semihmm.semirings import log

HERE = Path(__file__).parent
HAVE_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
SECONDS = 0.5  # that each contestant is timed
SIZES = [(16, 1, 100), (120, 1, 100), (120, 1, 1000), (120, 16, 200)]  # states, sequences, frames


# ---- speed


def by_sums(initial: Tensor, transition: Tensor, x: Tensor) -> Tensor:
    """The recursion in log space."""
    state = initial + x[:, 0]
    for frame in x[:, 1:].unbind(1):
        state = (state.unsqueeze(-1) + transition).logsumexp(-2) + frame
    return state.logsumexp(-1)


def product(state: Tensor, weight: Tensor, frame: Tensor) -> Tensor:
    """One step as a product of matrices."""
    peak = state.amax(-1, keepdim=True)
    return ((state - peak).exp() @ weight).log() + peak + frame


def by_products(initial: Tensor, transition: Tensor, x: Tensor, step: Callable[..., Tensor] = product) -> Tensor:
    """The recursion as products of matrices."""
    state, weight = initial + x[:, 0], transition.exp()
    for frame in x[:, 1:].unbind(1):
        state = step(state, weight, frame)
    return state.logsumexp(-1)


@contextmanager
def steps_in_log_space() -> Iterator[None]:
    """Exports as they would be without products of matrices."""
    kept = log.product
    log.product = lambda vector, matrix: log.mixture(vector.unsqueeze(-1) + matrix, -2)[0]
    try:
        yield
    finally:
        log.product = kept


class Dense(nn.Module):
    """An HMM whose observations are log-likelihoods."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.register_buffer("initial", torch.randn(states).log_softmax(-1))
        self.register_buffer("transition", torch.randn(states, states).log_softmax(-1))

    def forward(self, x: Tensor, lengths: Tensor) -> semihmm.HMM:
        return semihmm.HMM(self.initial, self.transition, x, lengths=lengths)


def session(path: Path) -> Any:
    """ONNX Runtime with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options)


def answers_of(path: Path) -> Callable[[Tensor, Tensor], list[Tensor]]:
    """A file as a function of observations and lengths."""
    file = session(path)
    return lambda x, lengths: [
        torch.from_numpy(y) for y in file.run(None, {"x": x.numpy(), "lengths": lengths.numpy()})
    ]


class Same(nn.Module):
    """Log-likelihoods as they are. A module without parameters has no dtype to be asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x


def scripted(dense: Dense) -> Callable[[Tensor, Tensor], Tensor]:
    """The same HMM by `export.jit`."""
    model = HMM(len(dense.initial), Neural(Same(), event_shape=(len(dense.initial),)))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = export.jit(model)
        script.initial.copy_(dense.initial)
        script.transition.copy_(dense.transition)
    return script


def contestants(dense: Dense, folder: Path, smoke: bool) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Whoever runs here, from observations and lengths (all alike) to log-likelihoods."""
    initial, transition = dense.initial, dense.transition
    compiled, example = torch.compile(product, dynamic=False), torch.zeros(1, 1, len(initial))
    program = export.torch_export(dense, example, ("log_prob",)).module()
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "eager, log space": lambda x, n: by_sums(initial, transition, x),
        "eager, products": lambda x, n: by_products(initial, transition, x),
        "TorchScript": scripted(dense),
        "torch.export": lambda x, n: program(x, n)[0],
        "native": lambda x, n: semihmm.log_partition(dense(x, n)),
    }
    if not smoke:  # compilers take half a minute
        export.aoti(dense, folder / "model.pt2", ("log_prob",), example)
        package = torch._inductor.aoti_load_package(str(folder / "model.pt2"))
        found["AOTInductor"] = lambda x, n: (package(x, n) if len(x) > 1 else package(x.repeat(2, 1, 1), n.repeat(2)))[
            0
        ][: len(x)]
        found["torch.compile, products"] = lambda x, n: by_products(initial, transition, x, compiled)
    if HAVE_ONNX:
        export.onnx(dense, folder / "products.onnx", ("log_prob",), example)
        with steps_in_log_space():
            export.onnx(dense, folder / "sums.onnx", ("log_prob",), example)
        for name, file in (("ONNX Runtime, log space", "sums"), ("ONNX Runtime, products", "products")):
            run = answers_of(folder / f"{file}.onnx")
            found[name] = lambda x, n, run=run: run(x, n)[0]
    return found


def timed(calls: dict[str, Callable[..., Any]], given: tuple[Tensor, ...], seconds: float) -> dict[str, float]:
    """The least CPU milliseconds of each call, taken in turns: a busy machine only adds to it."""
    least = dict.fromkeys(calls, float("inf"))
    begin, turns = time.process_time(), 0
    while time.process_time() - begin < seconds * len(calls) or turns < 3:
        for name, call in calls.items():
            start = time.process_time()
            call(*given)
            least[name] = min(least[name], 1e3 * (time.process_time() - start))
        turns += 1
    return least


@torch.no_grad()
def speed(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    """Log-likelihoods."""
    rows, made = [], {}
    for states, batch, frames in [(4, 2, 6)] if smoke else SIZES:
        torch.manual_seed(0)
        if states not in made:
            dense = Dense(states)
            made[states] = dense, contestants(dense, folder, smoke)
        dense, ways = made[states]
        x, lengths = 3 * torch.randn(batch, frames, states), torch.full((batch,), frames)
        exact = by_sums(dense.initial.double(), dense.transition.double(), x.double())
        for name, way in ways.items():
            torch.testing.assert_close(way(x, lengths).double(), exact, rtol=1e-5, atol=1e-4, msg=name)
        cells = timed(ways, (x, lengths), 0.0 if smoke else SECONDS)
        rows.append({"states": states, "sequences": batch, "frames": frames, "ms": cells})
        print(rows[-1], flush=True)
    return rows


# ---- accuracy


def compared(found: list[Tensor], wanted: list[Tensor], names: tuple[str, ...]) -> dict[str, float]:
    """What differs, of sequences of one length."""
    row: dict[str, float] = {}
    for name, a, b in zip(names, found, wanted, strict=True):
        if name == "states":
            row["path agreement"] = float((a == b).double().mean())
        elif name == "posteriors":
            row["posterior L1"] = float((a - b).abs().sum(-1).mean())
        elif name == "log_prob":
            row["log-likelihood"] = float(((a - b) / b).abs().max())
    return row


@torch.no_grad()
def accuracy(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    """Every model of the tests' table, in ONNX Runtime against PyTorch."""
    if not HAVE_ONNX:
        return []
    source = HERE.parent / "tests" / "export" / "test_onnx.py"
    spec = importlib.util.spec_from_file_location("of_the_tests", source)
    assert spec is not None and spec.loader is not None
    tests = importlib.util.module_from_spec(spec)
    sys.modules["of_the_tests"] = tests
    spec.loader.exec_module(tests)
    rows = []
    for name, make in list(tests.MODELS.items())[: 1 if smoke else None]:
        torch.manual_seed(0)
        model, x = make(), tests.observations(name, 8, 200)
        lengths = torch.full((8,), 200)
        path = folder / f"{name}.onnx"
        export.onnx(model, path, export.OUTPUTS, x)
        answers = export.Answers(model)
        rows.append({"model": name, **compared(answers_of(path)(x, lengths), list(answers(x, lengths)), answers.names)})
        print(rows[-1], flush=True)
    return rows


# ---- bits


def network(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """Two hidden layers."""
    hidden = [nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(width, outputs), nn.LogSoftmax(-1))


def trained(net: nn.Module, x: Tensor, states: Tensor, steps: int) -> None:
    """By frames whose states are known."""
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    with torch.enable_grad():
        for _ in range(steps):
            chosen = torch.randint(len(x), (512,))
            loss = nn.functional.nll_loss(net(x[chosen]), states[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


class Heard(nn.Module):
    """An HMM whose emissions are a network's log-posteriors, less the log-priors."""

    def __init__(self, net: nn.Module, transition: Tensor, prior: Tensor) -> None:
        super().__init__()
        self.net = net.eval()
        self.register_buffer("transition", transition)
        self.register_buffer("prior", prior)

    def forward(self, x: Tensor, lengths: Tensor) -> semihmm.HMM:
        return semihmm.HMM(torch.zeros_like(self.prior), self.transition, self.net(x) - self.prior, lengths=lengths)


def of_digits(smoke: bool) -> tuple[Any, Tensor]:
    """A network and an HMM over phones, whose frames are cut evenly; strings of a speaker who is held out."""
    source = HERE.parent / "examples" / "spoken_digits.py"
    spec = importlib.util.spec_from_file_location("spoken_digits", source)
    assert spec is not None and spec.loader is not None
    digits = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(digits)
    folder = HERE.parents[1] / "shared" / "data" / "fsdd"
    folder = Path(os.environ["SEMIHMM_DATA"]) / "fsdd" if "SEMIHMM_DATA" in os.environ else folder
    generator = torch.Generator().manual_seed(0)
    real = folder.is_dir() and not smoke
    recordings = digits.recorded(folder) if real else digits.synthetic(1 if smoke else 4, generator)
    test = recordings.pop(sorted(recordings)[-1])

    def context(x: Tensor) -> Tensor:
        rows = nn.functional.pad(x.T, (3, 3), mode="replicate").T
        return rows.unfold(0, 7, 1).flatten(1)

    frames, states = [], []
    for spoken in recordings.values():
        for (digit, _), x in zip(spoken, digits.features(spoken), strict=False):
            phones = torch.tensor(digits.SPELLED[digit])
            frames.append(context(x))
            states.append(phones[torch.arange(len(x)) * len(phones) // len(x)])
    x, known = torch.cat(frames), torch.cat(states)
    count = len(digits.PHONES)
    net = network(x.shape[-1], count, 256)
    trained(net, x, known, 20 if smoke else 600)
    pairs = torch.full((count, count), 0.1)
    for each in states:
        pairs.index_put_((each[:-1], each[1:]), torch.ones(len(each) - 1), accumulate=True)
    prior = torch.bincount(known, minlength=count).clamp(min=1).log() - torch.tensor(float(len(known))).log()

    transition = pairs.log() - pairs.sum(-1, keepdim=True).log()
    heard = torch.cat([context(f) for f in digits.features(test)[:-1]])
    frames_each = 200 if len(heard) > 400 else 50
    count_of = min(len(heard) // frames_each, 32)
    return Heard(net, transition, prior), heard[: count_of * frames_each].unflatten(0, (count_of, -1))


def of_a_dense_hmm(smoke: bool) -> tuple[Any, Tensor]:
    """120 states that a network tells apart, more or less."""
    states, features = (6, 5) if smoke else (120, 40)
    centres = 1.2 * torch.randn(states, features)
    path = torch.randint(states, (20000,))
    net = network(features, states, 16 if smoke else 512)
    trained(net, centres[path] + torch.randn(len(path), features), path, 20 if smoke else 600)
    stay = (0.8 * torch.eye(states) + 0.2 / states).log()
    path = torch.randint(states, (8, 40)).repeat_interleave(5, -1)
    return Heard(net, stay, torch.zeros(states)), centres[path] + torch.randn(8, 200, features)


def of_ctc(smoke: bool) -> tuple[Any, Tensor]:
    """Twenty tokens, whose frames a network knows."""
    tokens, features = 21, 20
    centres, targets = torch.randn(tokens, features), torch.arange(1, tokens)
    labels = torch.stack([targets, torch.zeros_like(targets)], 1).flatten().repeat_interleave(5)
    x = centres[labels].expand(16, -1, -1) + torch.randn(16, len(labels), features)
    net = network(features, tokens, 16 if smoke else 256)
    trained(net, x.flatten(0, 1), labels.repeat(16), 20 if smoke else 600)

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.register_buffer("targets", targets)

        def forward(self, x: Tensor, lengths: Tensor) -> semihmm.CTC:
            return semihmm.CTC(self.net(x), self.targets.expand(x.shape[0], -1), lengths)

    return Reader().eval(), centres[labels].expand(8, -1, -1) + torch.randn(8, len(labels), features)


@torch.no_grad()
def in_16_bits(made: semihmm.Structure) -> float:
    """How much of a dense HMM's best paths is left where states are sums in float16."""
    initial, transition, x = made.initial, made.transition, made.emission
    best = semihmm.viterbi(made).event
    score, came = (initial + x[:, 0]).half(), []
    for frame in x[:, 1:].unbind(1):
        moved = score.unsqueeze(-1) + transition.half()
        came.append(moved.argmax(-2))
        score = moved.amax(-2) + frame.half()
    path = [score.argmax(-1)]
    for each in reversed(came):
        path.append(each.gather(-1, path[-1].unsqueeze(-1)).squeeze(-1))
    return float((torch.stack(path[::-1], -1) == best).double().mean())


@torch.no_grad()
def bits(smoke: bool, folder: Path) -> list[dict[str, Any]]:
    """Three models, whose networks are in 32, 16 and 8 bits."""
    rows = []
    for name, make in (("digits", of_digits), ("dense", of_a_dense_hmm), ("ctc", of_ctc)):
        torch.manual_seed(0)
        model, x = make(smoke)
        lengths = torch.full(x.shape[:1], x.shape[1])
        if not HAVE_ONNX:
            model(x, lengths)
            continue
        path = folder / f"{name}-fp32.onnx"
        export.onnx(model, path, export.OUTPUTS, x)
        files = {"fp32": path}
        for to in export.PRECISIONS:
            files[to] = folder / f"{name}-{to}.onnx"
            export.quantize(path, files[to], to)
        ways = {to: answers_of(file) for to, file in files.items()}
        names = export.Answers(model).names
        wanted = ways["fp32"](x, lengths)
        times = timed(ways, (x, lengths), 0.0 if smoke else SECONDS)
        for to, way in ways.items():
            row = {"model": name, "bits": to, **compared(way(x, lengths), wanted, names)}
            row |= {"kB": files[to].stat().st_size / 1e3, "ms": times[to]}
            if to == "fp32" and name != "ctc":
                row["path agreement, recursion in 16 bits"] = in_16_bits(model(x, lengths))
            rows.append(row)
            print(row, flush=True)
    return rows


# ---- pages


def table(rows: list[dict[str, Any]]) -> str:
    """Rows in Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(names)} |", "| --- " * len(names) + "|"]
    for row in rows:
        lines.append(f"| {' | '.join(shown(row.get(name, '')) for name in names)} |")
    return "\n".join(lines) + "\n"


def shown(x: object) -> str:
    return f"{x:.3g}" if isinstance(x, float) and abs(x) < 100 else f"{x:,.0f}" if isinstance(x, float) else str(x)


def page(figures: dict[str, Any]) -> str:
    """All figures in Markdown."""
    base = "eager, log space"
    fast = [
        {"states": row["states"], "sequences": row["sequences"], "frames": row["frames"]}
        | {name: f"{shown(ms)} ({row['ms'][base] / ms:.1f} ×)" for name, ms in row["ms"].items()}
        for row in figures.get("speed", [])
    ]
    found = [
        f"One thread, float32; {figures['machine']}. The least CPU ms of a call, and how many times as fast as "
        f"the loop in log space:\n\n{table(fast)}"
    ]
    if figures.get("accuracy"):
        found.append(
            "ONNX Runtime against PyTorch, 8 sequences of 200 frames; of log-likelihoods what is off, relatively; "
            f"of posteriors, summed over states, the mean:\n\n{table(figures['accuracy'])}"
        )
    if figures.get("bits"):
        found.append(
            "Against the file in 32 bits, on data that no network was trained on; kB of the file, CPU ms a call:\n\n"
            f"{table(figures['bits'])}"
        )
    return "\n".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="small cases, once; writes nothing")
    parser.add_argument("--only", choices=("speed", "accuracy", "bits"), help="one part, the others as they were")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    file = args.out / "export.json"
    figures = json.loads(file.read_text()) if file.is_file() and args.only else {}
    with tempfile.TemporaryDirectory() as folder:
        for part in (speed, accuracy, bits):
            if args.only in (None, part.__name__):
                figures[part.__name__] = part(args.smoke, Path(folder))
    if args.smoke:
        return
    versions = {"torch": torch.__version__}
    if HAVE_ONNX:
        import onnxruntime

        versions["onnxruntime"] = onnxruntime.__version__
    figures["machine"] = f"{platform.machine()}, " + ", ".join(f"{name} {v}" for name, v in versions.items())
    args.out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures, indent=1) + "\n")
    (args.out / "export.md").write_text(page(figures))


if __name__ == "__main__":
    main()
