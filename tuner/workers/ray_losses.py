"""What Ray says when an actor or the cluster is gone, in a line for the user.

Ray tells causes apart by the text of its errors alone. A text that is not known makes a less exact
line, and no other difference.
"""

import re

from tuner.system.names import command, in_command
from tuner.workers.base import Place

_NODE_DIED = ("node has died", "node was terminated", "node failure", "node is dead")
_OUT_OF_MEMORY = ("low on memory", "OutOfMemory", "out of memory")
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


def is_nodes_fault(error: BaseException) -> bool:
    """Whether the actor ended with its node."""
    return any(words in str(error) for words in _NODE_DIED)


def why_lost(error: BaseException, place: Place | None) -> str:
    """What became of an actor's worker: "was lost with its machine n3 (node 1f2e3d4c)"."""
    where = f"{place.host} (node {place.node[:8]})" if place else "that it was to start on"
    if is_nodes_fault(error):
        return f"was lost with its machine {where}"
    if any(words in str(error) for words in _OUT_OF_MEMORY):
        return f"was ended by Ray, because {where} ran out of memory"
    return f"was lost on {where}: the process of its Ray actor has ended"


def why_not_begun(error: BaseException) -> str:
    """Why actors end as they start: mostly the last line of a traceback."""
    lines = [line.strip() for line in _COLORS.sub("", str(error)).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def why_no_cluster(study: str, reason: str) -> str:
    """For a search whose cluster does not answer any more."""
    again = command("optimize", in_command(study))
    return (
        f"the Ray cluster is gone ({reason}); no trial is lost, they go on from their checkpoints "
        f"with: {again} (with --on ADDRESS on another cluster)"
    )
