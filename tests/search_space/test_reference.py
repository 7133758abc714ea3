"""The reference of parameters: docs/parameters.md is what the command prints."""

from pathlib import Path

from tuner.search_space.parameters import NETWORKS, TRAINING
from tuner.search_space.reference import reference_entries, reference_markdown

REFERENCE = Path(__file__).parents[2] / "docs" / "parameters.md"


def test_the_reference_has_every_parameter_once() -> None:
    names = [entry.name for entry in reference_entries()]
    assert sorted(names) == sorted(
        {*NETWORKS["mlp"].parameters, *NETWORKS["cnn"].parameters, *TRAINING}
    )
    assert all(entry.meaning and entry.values and entry.default for entry in reference_entries())


def test_the_page_is_what_the_command_prints() -> None:
    _, _, rest = REFERENCE.read_text(encoding="utf-8").partition("<!-- parameters: begin -->\n")
    assert rest.partition("\n<!-- parameters: end -->")[0] == reference_markdown()
