"""The reference of parameters, which docs/parameters.md shows."""

from tuner.search_space.parameters import NETWORKS, TRAINING
from tuner.search_space.reference import reference_entries, reference_markdown


def test_the_reference_has_every_parameter_once() -> None:
    names = [entry.name for entry in reference_entries()]
    assert sorted(names) == sorted(
        {*TRAINING, *(name for kind in NETWORKS.values() for name in kind.parameters)}
    )
    assert all(entry.meaning and entry.values and entry.default for entry in reference_entries())


def test_the_markdown_has_a_row_for_each_parameter() -> None:
    rows = [line for line in reference_markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [entry.name for entry in reference_entries()]
    assert all(row.count(" | ") == 4 for row in rows)


def test_the_reference_tells_networks_apart() -> None:
    entries = {entry.name: entry for entry in reference_entries()}
    assert entries["depth"].default == "2; resnet, rnn: 0"
    assert entries["batch_norm"].default == "false; resnet: true"
    assert entries["bias"].only_when == "network: mlp, cnn"
    assert entries["leaky_slope"].only_when == "activation is leaky_relu"
