"""The reference of parameters, which docs/parameters.md shows."""

from tuner.search_space.parameters import NETWORKS, TRAINING
from tuner.search_space.reference import reference_entries, reference_markdown


def test_the_reference_has_every_parameter_once() -> None:
    names = [entry.name for entry in reference_entries()]
    assert sorted(names) == sorted(
        {*NETWORKS["mlp"].parameters, *NETWORKS["cnn"].parameters, *TRAINING}
    )
    assert all(entry.meaning and entry.values and entry.default for entry in reference_entries())


def test_the_markdown_has_a_row_for_each_parameter() -> None:
    rows = [line for line in reference_markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [entry.name for entry in reference_entries()]
    assert all(row.count(" | ") == 4 for row in rows)
