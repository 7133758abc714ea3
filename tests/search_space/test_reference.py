"""The reference of parameters: one source, in the README as the command prints it."""

from pathlib import Path

from tuner.search_space.parameters import NETWORKS, TRAINING
from tuner.search_space.reference import reference_entries, reference_markdown

README = Path(__file__).parents[2] / "README.md"


def test_the_reference_has_every_parameter_once() -> None:
    names = [entry.name for entry in reference_entries()]
    assert sorted(names) == sorted(
        {*NETWORKS["mlp"].parameters, *NETWORKS["cnn"].parameters, *TRAINING}
    )
    assert all(entry.meaning and entry.values and entry.default for entry in reference_entries())


def test_the_readme_has_the_reference_as_the_command_prints_it() -> None:
    _, _, rest = README.read_text(encoding="utf-8").partition("<!-- parameters: begin -->\n")
    assert rest.partition("\n<!-- parameters: end -->")[0] == reference_markdown()
