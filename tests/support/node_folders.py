"""A store whose files each node of a cluster keeps for itself, as if nothing were shared."""

import os
from pathlib import Path

from tuner.study.artifacts import FolderArtifacts

OWN = "NODE_FOLDERS_OWN"


class NodeFolders(FolderArtifacts):
    """Files lie in `root`; on a node whose environment has OWN, in a folder beside it."""

    def _locate(self, name: str) -> Path:
        return super()._locate(f"{os.environ[OWN]}/{name}" if OWN in os.environ else name)


def open_with(on: str, root: str) -> None:
    """Open the cluster with such a store, and say what is wrong."""
    from tuner.errors import WorkerError
    from tuner.workers.ray.cluster_connection import open_cluster

    try:
        with open_cluster(on, artifacts=NodeFolders(Path(root))):
            print("it is shared")
    except WorkerError as error:
        print(error)
