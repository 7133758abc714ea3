"""Tests on a Ray cluster: all of this folder is done by one process, which has one cluster. There
is no `__init__.py` here, or `import ray` would find this folder."""

import pytest
from command_line import command_tree, tuner
from fault_table import bench, check, measured, pytest_terminal_summary, times
from ray_cluster import RayNodes, ray_cluster, ray_nodes
from toy_study import Bench

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
def ray_bench(bench: Bench, ray_nodes: RayNodes) -> Bench:
    """A bench whose loops train on the cluster."""
    bench.on, bench.joining = ray_nodes.address, ray_nodes.joining
    return bench
