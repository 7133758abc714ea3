"""Tests on a Ray cluster, which one process has for all of them. There is no `__init__.py` here, or
`import ray` would find this folder."""

from collections.abc import Iterator
from typing import Any

import pytest
from command_line import command_tree, tuner
from fault_table import bench, check, measured, pytest_terminal_summary, times
from ray_cluster import RayNodes, ray_cluster, ray_nodes
from toy_study import Bench, Loop

__all__ = [
    "bench",
    "check",
    "command_tree",
    "measured",
    "pytest_terminal_summary",
    "ray_cluster",
    "ray_nodes",
    "times",
    "tuner",
]


@pytest.fixture
def ray_bench(
    times: int, bench: Bench, ray_nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """A bench whose loops train on the cluster. Those that a test leaves behind are ended, and what
    they said is shown. `times` comes first: for tests that are done in a soak only, the cluster is
    not mended."""
    loops, start = [], bench.start

    def remember(*given: Any, **named: Any) -> Loop:
        loops.append(start(*given, **named))
        return loops[-1]

    monkeypatch.setattr(bench, "start", remember)
    bench.on, bench.joining = ray_nodes.address, ray_nodes.joining
    yield bench
    for loop in loops:
        if loop.poll() is None:
            loop.kill()
            print(loop.communicate()[0])
