"""``semihmm export --to runtime --check``: the C++ runtime answers as the model does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("typer", reason="the speech extra is not installed")
pytest.importorskip("safetensors", reason="the models extra is not installed")

from typer.testing import CliRunner

from semihmm.cli.main import app
from semihmm.export import comparing
from semihmm.models import HMM, HSMM, Gaussian, durations, emissions

MODELS = {
    "gaussian": lambda: HMM(3, Gaussian(3, features=2)),
    "symbols": lambda: HMM(2, emissions.Categorical(2, symbols=4)),
    "segments": lambda: HSMM(3, Gaussian(3, features=2), durations.Poisson(3, max_duration=5)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_file_of_the_runtime_answers_as_the_model(
    name: str, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "find_library", lambda _: str(built / "libsemihmm.so"))
    generator = torch.Generator().manual_seed(0)
    model = MODELS[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) / 2)
    model.save(tmp_path / "model")
    x = torch.randn(3, 20, 2, generator=generator)
    observed = [torch.arange(20) % 4] if name == "symbols" else list(x)
    for number, row in enumerate(observed):
        (tmp_path / "data").mkdir(exist_ok=True)
        np.save(tmp_path / "data" / f"{number}.npy", row[: 20 - 5 * number].numpy())
    files = ["--out", str(tmp_path / "out"), "--check", str(tmp_path / "data"), "--json"]
    result = CliRunner().invoke(app, ["export", str(tmp_path / "model"), "--to", "runtime", *files])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert (found["sequences"], found["frames"]) == ((1, 20) if name == "symbols" else (3, 45))
    assert found["path_agreement"] == 1.0 and found["posterior_l1"] < 1e-4 and found["log_likelihood"] < 1e-5
    assert found["exported_bytes"] == (tmp_path / "out").stat().st_size
    assert found["holds"]["file"] == "model of the C++ runtime, version 1"
