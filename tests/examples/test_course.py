"""The course in `examples/course`: solutions pass, blanks say what is to be done, wrong answers what is wrong."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
COURSE = ROOT / "examples" / "course"
NAMES = sorted(file.stem for file in (COURSE / "exercises").glob("*.py"))

FORWARD = """def _forward(initial, transition, emission):
    a = initial + emission[0]
    for step in emission[1:]:
        a = (a.unsqueeze(-1) + transition).logsumexp(0) + step
    return a.logsumexp(0)


def posteriors"""
SHIFTED = "(lambda x: (x - x.amax(0)).exp().sum(0).log() + x.amax(0))(forward.unsqueeze(-1) + transition) + step"

# For each exercise: what is changed in the solution, as `before -> after`, and a part of what the student then reads.
WRONG: dict[str, list[tuple[dict[str, str], str]]] = {
    "01_count_paths": [
        ({"range(steps - 1)": "range(steps)"}, "T steps are joined by T - 1 transitions"),
        ({"allowed.long()": "allowed.mT.long()"}, "`allowed` is [from, to]"),
        ({"first.long()": "first.long() * 0 + 1"}, "not every state may be the first"),
        ({"ways @ allowed.long()": "(ways @ allowed.long()).clamp(max=1)"}, "the states that paths may end in"),
        ({"first.long()": "first.double()", "allowed.long()": "allowed.double()"}, "use int64"),
    ],
    "02_forward": [
        ({"initial + emission[0]": "initial"}, "the emission of step 0 is missing"),
        (
            {"unsqueeze(-1) + transition).logsumexp(0)": "unsqueeze(-2) + transition).logsumexp(1)"},
            "used as [to, from]",
        ),
        ({"emission[1:]": "emission[:-1]"}, "off by one in time"),
        ({"emission[1:]": "emission[1:-1]"}, "stops one step before the last"),
        ({"return forward.logsumexp(0)": "return forward.logsumexp(0).exp()"}, "this is Z; its log was asked for"),
        ({"return forward.logsumexp(0)": "return forward"}, "paths may end in any of them"),
        ({".logsumexp(0)": ".amax(0)"}, "added up by logsumexp, not by max"),
        (
            {"(forward.unsqueeze(-1) + transition).logsumexp(0)": "(forward.exp() @ transition.exp()).log()"},
            "T = 3000",
        ),
        (
            {"(forward.unsqueeze(-1) + transition).logsumexp(0) + step": SHIFTED},
            "is NaN",
        ),
        ({"    return forward.logsumexp(0)\n": ""}, "Is there a `return`?"),
    ],
    "03_viterbi": [
        ({"states[::-1]": "states"}, "the wrong way round"),
        ({"initial + emission[0]": "initial"}, "the emission of step 0 is missing"),
        ({"torch.stack(states[::-1])": "emission.argmax(-1)"}, "the best states of each step alone"),
        (
            {
                "pointers.append(pointer)": "pointers.append(best.argmax())",
                "pointer[states[-1]])": "pointer)",
                "[best.argmax()]": "[]",
                "return torch": "states.append((initial + emission[0]).argmax())\n    return torch",
            },
            "follow the backpointers",
        ),
        ({"states[::-1]), best.max()": "states[:0:-1]), best.max()"}, "a state is missing"),
        ({"best.max()": "best.max().exp()"}, "this is exp of the score"),
        (
            {
                "(best.unsqueeze(-1) + transition).max(0)": "(best.unsqueeze(-1) + transition).flip(0).max(0)",
                "pointers.append(pointer)": "pointers.append(len(best) - 1 - pointer)",
                "[best.argmax()]": "[len(best) - 1 - best.flip(0).argmax()]",
            },
            "take the lowest index, not the highest",
        ),
        ({"return torch.stack(states[::-1]), best.max()": "return torch.stack(states[::-1])"}, "return two things"),
    ],
    "04_forward_backward": [
        (
            {
                "joint = torch.stack(forward) + torch.stack(backward[::-1])": "joint = torch.stack(forward)",
                "(joint - forward[-1].logsumexp(0)).exp()": "joint.softmax(-1)",
            },
            "the forward pass alone",
        ),
        (
            {"return (joint - forward[-1].logsumexp(0)).exp()": "return joint - forward[-1].logsumexp(0)"},
            "these are logs",
        ),
        ({"joint - forward[-1].logsumexp(0)": "joint"}, "do not sum to 1"),
        ({"torch.stack(backward[::-1])": "torch.stack(backward[::-1]) + emission"}, "counts twice"),
        (
            {
                "(transition + step + backward[-1]).logsumexp(1)": "(transition.mT + step + backward[-1]).logsumexp(1)",
                "(joint - forward[-1].logsumexp(0)).exp()": "joint.softmax(-1)",
            },
            "in the backward pass `transition`",
        ),
        ({"[initial + emission[0]]": "[initial]"}, "the emission of step 0 is missing"),
    ],
    "05_gradient": [
        ({"return states, counts": "return counts, states"}, "return the states first"),
        ({"return states, counts": "return states, counts.mT"}, "this is [to, from]"),
        ({"torch.autograd.grad(log_partition,": "torch.autograd.grad(log_partition.exp(),"}, "take that of log Z"),
        (
            {
                "transition.detach()": "transition",
                "emission.detach()": "emission",
            },
            "the caller's tensors are marked",
        ),
        ({"return states, counts": "return states, counts / counts.sum(-1, keepdim=True)"}, "rows are divided"),
        (
            {
                "semihmm.log_partition(semihmm.HMM(": "_forward(*(",
                "def posteriors": FORWARD,
            },
            "The gradient of torch.logsumexp",
        ),
    ],
    "06_semiring": [
        ({"zero = (-math.inf, -math.inf)": "zero = (-math.inf, 0.0)"}, "the log of 0 is -inf"),
        ({"torch.where(score == best.unsqueeze(dim), count, -math.inf)": "count"}, "this counts all paths"),
        ({"Log().sum(tied, dim)": "tied.amax(dim)"}, "a tie counts once"),
        ({"a + b": "a * b"}, "both parts of `times` are sums"),
        ({"Max().sum(score, dim)": "score.amax(dim)"}, "take max and logsumexp from semihmm.semirings"),
        (
            {"torch.where(log_weight == -math.inf, -math.inf, 0.0).to(log_weight)": "torch.zeros_like(log_weight)"},
            "What is forbidden is no path",
        ),
        ({"torch.stack([log_weight, torch": "torch.stack([torch"}, "scores, then logs of counts"),
    ],
    "07_ctc_topology": [
        ({" if labels[i] != labels[i + 2]": ""}, "two equal tokens need the blank between them"),
        ({"    arcs += ": "    arcs[:0] = [] and "}, "between two different tokens the blank may be left out"),
        ({"[(i, i) for i in range(places)] + ": ""}, "each place leads to itself"),
        ({"range(1, places - 2, 2) if labels[i] != labels[i + 2]": "range(places - 2)"}, "it leaves a token out"),
        ({"[0, 1][:places]": "[0]"}, "paths may begin in place 1, too"),
        ({"[places - 2, places - 1][-places:]": "[places - 1]"}, "paths may end in place"),
        ({"labels = [blank]": "labels = [0]", "[token, blank]": "[token, 0]"}, "the blank is not always 0"),
        ({"labels += [token, blank]": "labels += [token]"}, "labels"),
    ],
    "08_edit_distance": [
        (
            {
                "self.deletion.unsqueeze(1)": "self.insertion.unsqueeze(1)",
                "self.insertion.expand": "self.deletion.expand",
            },
            "deletions and insertions have changed places",
        ),
        ({"(0, 0, 1, 0)": "(0, 0, 0, 1)", "(1, 0))": "(0, 1))", "(1, 0, 1, 0)": "(0, 1, 0, 1)"}, "off by one"),
        ({"factor=-1.0": "factor=1.0"}, "the sign is wrong"),
        (
            {"[(1, 0), (0, 1), (1, 1)]": "[(1, 0), (0, 1)]", "[down, right, both]": "[down, right]"},
            "substitutions are missing",
        ),
    ],
    "09_soft_dtw": [
        ({"-gamma * (-x / gamma).logsumexp(0)": "-(-x / gamma).logsumexp(0)"}, "Where does gamma go?"),
        ({"-gamma * (-x / gamma).logsumexp(0)": "gamma * (x / gamma).logsumexp(0)"}, "the soft maximum was taken"),
        ({"(-x / gamma)": "(-x * gamma)", "-gamma *": "-1 / gamma *"}, "costs are multiplied by gamma"),
        (
            {"-gamma * (-x / gamma).logsumexp(0) if gamma else x.min()": "-gamma * (-x / gamma).logsumexp(0)"},
            "gamma = 0",
        ),
        ({"-gamma * (-x / gamma).logsumexp(0) if gamma else x.min()": "x.min()"}, "this is the plain minimum"),
        ({", (i - 1, j - 1))": ")"}, "right and down at once are missing"),
        ({"-gamma * (-x / gamma).logsumexp(0)": "-gamma * (-x / gamma).exp().sum().log()"}, "use logsumexp"),
        ({"cost[i, j] + ": "cost[i, j].detach() + "}, "cannot be differentiated"),
    ],
    "10_em": [
        ({"transitions.sum(0)": "transitions.sum(0).mT"}, "[to, from] before they are divided"),
        ({"_normalised(count) for": "count for"}, "divide by the number of sequences"),
        ({"states[:, 0].sum(0)": "states.sum((0, 1))"}, "only the first of each sequence"),
        ({"1.0 / count.shape[-1]": "count / total"}, "0 / 0 is NaN"),
        (
            {"return initial, transition, emission": "return initial, transition, counts[2] / counts[2].sum(0)"},
            "columns sum to 1",
        ),
        (
            {"return initial, transition,": "return initial, counts[1] / states.sum((0, 1)).unsqueeze(-1),"},
            "the last step of a sequence",
        ),
    ],
    "11_hsmm": [
        ({"duration[:, d - 1]": "duration[:, d]", "min(longest, t) + 1": "min(longest - 1, t) + 1"}, "off by one"),
        ({"range(1, min(longest, t) + 1)": "range(1, min(longest - 1, t) + 1)"}, "the longest duration"),
        ({"until[t] - until[t - d]": "emission[t - 1]"}, "only the last step of a segment"),
        ({"(ends[-1].unsqueeze(-1) + transition)": "(ends[-1].unsqueeze(-1) + transition.mT)"}, "used as [to, from]"),
        ({"return ends[-1].logsumexp(0)": "return ends[-1].logsumexp(0).exp()"}, "this is Z"),
    ],
    "12_counter": [
        ({"end=(only(count == self.k, self.emission),)": "end=()"}, "paths with fewer than k steps"),
        ({"count == (state == 0)": "count == 0"}, "a first step in state 0 is not counted"),
        (
            {"self.transition[state[source], state[target]]": "self.transition[state[target], state[source]]"},
            "used as [to, from]",
        ),
        (
            {", self.emission[0, state]": ""},
            "the emission of step 0 is missing",
        ),
        ({"count = (event == 0).cumsum(-1)\n": "count = (event == 0).cumsum(-1) - 1\n"}, "check_structure says"),
        ({"loss = -semihmm": "loss = semihmm"}, "minimise minus the log-probability"),
        ({"return initial.detach(), transition.detach()": "return initial, transition"}, "detach what you return"),
    ],
}


@pytest.fixture(scope="module")
def course() -> ModuleType:
    """`examples/course/check.py`, imported."""
    spec = importlib.util.spec_from_file_location("course_check", COURSE / "check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_passes(course: ModuleType, name: str) -> None:
    assert course.check(COURSE / "solutions" / f"{name}.py") == course.Result(name, "passes")


@pytest.mark.parametrize("name", NAMES)
def test_a_blank_says_what_is_to_be_done(course: ModuleType, name: str) -> None:
    """The message of the first function that is missing, with its name."""
    file = COURSE / "exercises" / f"{name}.py"
    result = course.check(file)
    assert result.status == "not done yet"
    todo = re.findall(r'NotImplementedError\(\s*"([\w.]+: .+)"', file.read_text(encoding="utf-8"))
    assert result.message in todo


CASES = [(name, changes, message) for name, every in WRONG.items() for changes, message in every]


@pytest.mark.parametrize(("name", "changes", "message"), CASES, ids=[f"{name}-{message}" for name, _, message in CASES])
def test_a_wrong_answer_is_told_what_is_wrong(
    course: ModuleType, tmp_path: Path, name: str, changes: dict[str, str], message: str
) -> None:
    source = (COURSE / "solutions" / f"{name}.py").read_text(encoding="utf-8")
    head, begin, body = source.partition('"""\n\n')  # prose stays as it is
    for before, after in changes.items():
        assert before in body, f"{before!r} is not in the solution"
        body = body.replace(before, after)
    file = tmp_path / f"{name}.py"
    file.write_text(head + begin + body, encoding="utf-8")
    result = course.check(file)
    assert result.status == "wrong", result
    assert message in result.message


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_is_the_blank_filled_in(name: str) -> None:
    """The prose and the public names are the same; each exercise has two wrong answers or more in these tests."""
    blank, solution = (_public(COURSE / folder / f"{name}.py") for folder in ("exercises", "solutions"))
    assert blank == solution
    assert len(WRONG[name]) >= 2


def _public(file: Path) -> list[str]:
    """The docstring of a file, and the names, arguments and docstrings of its public functions and methods."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [ast.get_docstring(tree) or ""]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            returns = ast.unparse(node.returns) if node.returns else ""
            found.append(f"{node.name}({ast.unparse(node.args)}) -> {returns}: {ast.get_docstring(node)}")
    return found


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300, check=False)


def test_an_exercise_checks_itself_when_it_is_run(tmp_path: Path) -> None:
    blank = run(COURSE / "exercises" / "02_forward.py")
    assert blank.returncode == 1
    assert re.fullmatch(r"02 forward +not done yet\n +log_partition: from initial [\s\S]+\n", blank.stdout)
    solution = run(COURSE / "solutions" / "02_forward.py")
    assert (solution.returncode, solution.stdout.split()) == (0, ["02", "forward", "passes"])


def test_the_checker_takes_numbers_names_and_folders(tmp_path: Path) -> None:
    (tmp_path / "01_count_paths.py").write_text("def count_paths(first, allowed, steps):\n    return steps / 0\n")
    (tmp_path / "02_forward.py").write_text("def log_partition(\n")
    found = run(COURSE / "check.py", "1", "forward", "--folder", tmp_path)
    assert found.returncode == 1
    said = "ZeroDivisionError: division by zero (01_count_paths.py, line 2: `return steps / 0`)"
    assert said in " ".join(found.stdout.split())
    assert "SyntaxError" in found.stdout and "0 of 2 pass" in found.stdout
    for unknown in ("13", "nothing"):
        refused = run(COURSE / "check.py", unknown)
        assert refused.returncode == 1 and f"there is no exercise {unknown!r}" in refused.stderr
    missing = run(COURSE / "check.py", "3", "--folder", tmp_path)
    assert "there is no file" in missing.stderr


@pytest.mark.parametrize("page", ["examples/course/README.md", "docs/tutorials/course.md"])
def test_a_page_lists_all_exercises(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\d\d_\w+)`", text, re.MULTILINE) == NAMES


def test_the_syllabi_last_as_long_as_they_say() -> None:
    """The minutes in the first column of each table sum up to one hour and to six."""
    text = (COURSE / "README.md").read_text(encoding="utf-8")
    for title, hours in (("One hour", 1), ("Six hours", 6)):
        section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
        minutes = [int(n) for n in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)]
        assert sum(minutes) == 60 * hours


def test_what_pytorch_cannot_do_is_an_error_of_the_student(course: ModuleType, tmp_path: Path) -> None:
    """PyTorch raises NotImplementedError for a product of booleans, which is not a blank."""
    file = tmp_path / "01_count_paths.py"
    file.write_text("def count_paths(first, allowed, steps):\n    return int((first @ allowed).sum())\n")
    result = course.check(file)
    assert result.status == "stops with an error" and "not implemented for 'Bool'" in result.message
