"""Work shared by processes: what one of them does to itself is nobody else's loss."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semihmm.speech.corpora.processes import in_processes

DIES = "__import__('os')._exit(1)"


def test_results_come_in_order_and_a_dead_process_has_its_own():
    assert list(in_processes(eval, ["1", DIES, "2"], 1, died=len)) == [1, len(DIES), 2]


def test_items_are_taken_as_they_are_needed_and_what_a_task_raises_is_raised_here():
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield f"1 / {1 - number}"

    results = in_processes(eval, items(), 1, died=len)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(taken) < 10


ORPHAN = """
import os, signal
from semihmm.speech.corpora.processes import in_processes
if __name__ == "__main__":
    items = ["__import__('os').getpid()", "__import__('time').sleep(600)"]
    results = in_processes(eval, items, 1, died=len)  # by a name: without one it would end, and wait for its process
    print(next(results), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's list of processes")
def test_no_process_outlives_a_parent_that_was_killed(tmp_path):
    (tmp_path / "orphan.py").write_text(ORPHAN)
    with subprocess.Popen([sys.executable, tmp_path / "orphan.py"], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
    assert parent.returncode == -signal.SIGKILL
    state = Path(f"/proc/{worker}/stat")
    for _ in range(1000):
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.01)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the process goes on")
