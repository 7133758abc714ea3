"""Tests on a Ray cluster: all of this folder is done by one process, which has one cluster. There
is no `__init__.py` here, or `import ray` would find this folder."""

from ray_cluster import ray_cluster, ray_nodes

__all__ = ["ray_cluster", "ray_nodes"]
