"""Engines by name: what a search can ask for, what trains a trial, and what attempts record of it.

A request asks for `"auto"`, or for `"keras"`: a program of the trial's own structure. What trains
the trial is named by KERAS, KERAS_XLA, GRAPH, TIERED, LANES, FIT or OWN_CODE.
"""

from typing import Literal

Engine = Literal["auto", "keras"]

KERAS = "keras"  # a Keras model in a plain TensorFlow graph
KERAS_XLA = "keras, xla"  # a Keras model compiled by XLA
GRAPH = "graph"  # a graph shared by all trials of one program key
TIERED = "tiered"  # that graph for the first epoch, XLA for the others
LANES = "lanes"  # several trials side by side in one XLA program
FIT = "fit"  # Keras' own fit, of a model that the user's code has compiled
OWN_CODE = "own code"  # the user's function, which trains by itself

# Earlier versions recorded other words, and meant the Keras engine by "graph": what is recorded
# now has a prefix that theirs lack.
_PREFIX = "engine:"
_EARLIER_NAMES = {
    "graph": KERAS,
    "xla": KERAS_XLA,
    "shared graph": GRAPH,
    "shared graph, then xla": TIERED,
    "population": LANES,
}


def recorded_engine(name: str) -> str:
    """The form in which an attempt records the engine that trained it."""
    return f"{_PREFIX}{name}"


def engine_name(recorded: str) -> str:
    """The engine's name, of what an attempt of this or an earlier version recorded."""
    if recorded.startswith(_PREFIX):
        return recorded.removeprefix(_PREFIX)
    return _EARLIER_NAMES.get(recorded, recorded)


def is_same_engine(shown: str, name: str) -> bool:
    """Whether a word that this or an earlier version has shown, as MLflow keeps it without a mark,
    may be the engine's. Of an earlier "graph" it is not known which was meant."""
    return shown == name or _EARLIER_NAMES.get(shown) == name


def engine_to_ask_for(name: str | None) -> Engine:
    """What a request asks for so that the named engine trains its trial again."""
    return "keras" if name in (KERAS, KERAS_XLA) else "auto"
