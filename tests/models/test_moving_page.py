"""What the page on moving in puts beside another library's names is code that runs."""

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "moving.md"
EXPORTED = """
    HMM HMMPyTorch HMMLayer GaussianHMMLayer MixtureGaussianHMMLayer HSMMLayer DurationConstrainedHMM SemiMarkovHMM
    DurationModel AdaptiveDurationHSMM NeuralHMM ContextualNeuralHMM NeuralTransitionModel NeuralObservationModel
    StreamingHMMProcessor StreamingResult AdaptiveLatencyController DTWAligner ConstrainedDTWAligner CTCAligner
    CTCSegmentationAligner mel_cepstral_distortion f0_root_mean_square_error log_f0_rmse alignment_accuracy
    boundary_accuracy duration_accuracy spectral_distortion perceptual_evaluation_speech_quality
    comprehensive_speech_evaluation print_evaluation_summary save_evaluation_results create_transition_matrix
    create_left_to_right_matrix create_duration_constrained_matrix create_skip_state_matrix
    create_phoneme_aware_transitions create_hierarchical_transitions create_attention_based_transitions
    create_prosody_aware_transitions AdaptiveTransitionMatrix create_gaussian_observation_model gaussian_log_likelihood
    align_sequences compute_state_durations interpolate_features optimize_transition_matrix validate_transition_matrix
    benchmark_transition_operations analyze_transition_patterns create_speech_hmm create_korean_tts_hmm
    get_speech_transitions ModelFactory Config auto_configure get_device_info check_optional_dependencies run_quick_test
    get_version
""".split()


def parts() -> list[tuple[str, list[str]]]:
    """The page's code blocks and the rows of its tables under "here", in order: where each is, and its lines."""
    found: list[tuple[str, list[str]]] = []
    tokens = MarkdownIt().enable("table").parse(PAGE.read_text(encoding="utf-8"))
    column, here = -1, -1
    for before, token in pairwise(tokens):
        column = -1 if token.type == "tr_open" else column + (token.type in ("th_open", "td_open"))
        here = -1 if token.type == "table_open" else here
        if token.type == "fence" and token.info == "python":
            assert token.map is not None
            found.append((f"line {token.map[0] + 1}", [token.content]))
        elif before.type == "th_open" and token.content == "here":
            here = column
        elif before.type == "td_open" and column == here:
            codes = [child.content for child in token.children or () if child.type == "code_inline"]
            found.append((token.content, codes))
    return found


def test_every_line_of_the_tables_runs() -> None:
    pytest.importorskip("hmmlearn")
    pytest.importorskip("torch_struct")
    names: dict[str, Any] = {}
    ran = 0
    for where, lines in parts():
        for line in lines:
            plain = re.sub(r"^(>>>|\.\.\.) ?", "", line, flags=re.MULTILINE) if ">>>" in line else line
            plain = re.sub(r"^(True|False)\n", "", plain, flags=re.MULTILINE)
            exec(compile(plain, f"{PAGE.name}: {where}", "exec"), names)
            ran += not where.startswith("line ")
    assert ran > 100
    assert math.isfinite(names["hmm"].emission.sum())


def test_every_name_of_pytorch_hmm_has_a_row() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## pytorch_hmm")[2]
    first = " ".join(row.split(" | ")[0] for row in section.splitlines() if row.startswith("| "))
    named = {re.match(r"\w*", code)[0] for code in re.findall(r"`([^`]+)`", first)}  # type: ignore[index]
    assert [name for name in EXPORTED if name not in named] == []
