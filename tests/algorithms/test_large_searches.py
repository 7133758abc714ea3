"""What a search costs on a study of 50 000 finished trials. In seconds of CPU: others may be using
the machine."""

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
    _, idle_cpu_s, idle_mib = found["idle"]
    assert idle_cpu_s <= 3
    assert idle_mib <= 400
    assert found["further"][1] <= 0.3
    assert found["mib"] <= 400
