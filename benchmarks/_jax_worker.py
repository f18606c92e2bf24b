"""The other side of `_jax`: prepares functions, runs them, says how long they took. Run by its own environment."""

import importlib
import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.simplefilter("ignore")

import jax  # noqa: E402  # after what it reads from the environment
import numpy as np  # noqa: E402

jax.config.update("jax_enable_x64", True)  # so that an array keeps the dtype that it came with

functions = {}


def prepare(function, arrays, options):
    """Build, and run once: that compiles."""
    module, _, name = function.partition(":")
    built = getattr(importlib.import_module(module), name)
    call = built(**{key: jax.numpy.asarray(np.load(path)) for key, path in arrays.items()}, **options)
    jax.block_until_ready(call())
    number = len(functions)
    functions[number] = call
    return {"number": number}


def call(number, folder):
    """Once, results into files."""
    start = time.perf_counter()
    results = jax.block_until_ready(functions[number]())
    seconds = time.perf_counter() - start
    for name, value in results.items():
        np.save(Path(folder) / f"{name}.npy", np.asarray(value))
    return {"seconds": seconds, "names": list(results)}


def measure(number, repeats):
    """Several times in a row."""
    function = functions[number]
    start = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(function())
    return {"seconds": (time.perf_counter() - start) / repeats}


def drop(number):
    """Forget it and its arrays."""
    functions[number] = None
    return {}


def main():
    """A command a line, an answer a line; what libraries print goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    commands = {"prepare": prepare, "call": call, "time": measure, "drop": drop}
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = commands[command.pop("do")](**command)
        except Exception as why:
            if os.environ.get("SEMIHMM_BENCH_DEBUG"):
                traceback.print_exc()
            text = (str(why).strip() or "no message").splitlines()[0]
            answer = {"error": f"{type(why).__name__}: {text}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
