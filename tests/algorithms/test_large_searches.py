"""What a search costs on a study of 50 000 finished trials. In CPU time, since others may be using
the machine, and against what a search of one trial needs to begin, since machines differ."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_thousand_trials() -> None:
    command = [sys.executable, "-m", "benchmarks.large", "searching", "--json", '{"runs": 1}']
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    _, small_cpu_s, _ = found["small"]
    _, idle_cpu_s, idle_mib = found["idle"]
    assert idle_cpu_s <= 1.7 * small_cpu_s
    assert idle_mib <= 400
    assert found["further"][1] <= 0.15 * small_cpu_s
    assert found["mib"] <= 400
