"""What attempts record of engines, now and by earlier versions."""

import pytest

from tuner.study.engines import (
    GRAPH,
    KERAS,
    KERAS_XLA,
    LANES,
    TIERED,
    engine_name,
    engine_to_ask_for,
    recorded_engine,
)


@pytest.mark.parametrize("name", [KERAS, KERAS_XLA, GRAPH, TIERED, LANES, "toy"])
def test_what_is_recorded_is_read_again(name: str) -> None:
    assert engine_name(recorded_engine(name)) == name


@pytest.mark.parametrize(
    ("recorded", "name", "asked"),
    [
        ("graph", "keras", "keras"),
        ("xla", "keras, xla", "keras"),
        ("shared graph", "graph", "auto"),
        ("shared graph, then xla", "tiered", "auto"),
        ("population", "lanes", "auto"),
        ("engine:graph", "graph", "auto"),
        ("engine:keras", "keras", "keras"),
        ("engine:keras, xla", "keras, xla", "keras"),
        ("something", "something", "auto"),
    ],
)
def test_what_earlier_versions_recorded_is_read(recorded: str, name: str, asked: str) -> None:
    assert engine_name(recorded) == name
    assert engine_to_ask_for(engine_name(recorded)) == asked
