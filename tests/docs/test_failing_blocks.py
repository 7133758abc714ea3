"""A block that does not run is reported with its page and line."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from doc_pages import blocks_of
from doc_runner import BlockFailed, PageRunner

PYTHON = "Text.\n\n```python\nx = 1\nx.missing\n```\n"
SHARED = "```python\nx = 1\n```\n\n```python\ny = x / 0\n```\n"
BASH = "```bash\necho begun\nfalse\necho ended\n```\n"
COMMAND = "```bash\ntuner study show nothing || true\ntuner study list --nonsense\n```\n"
SPACE = "```yaml\nnetwork: mlp\nparameters:\n  depth: {type: int, low: 3, high: 1}\n```\n"
FILE = "```python\n# file: bad.py\nimport nothing_of_the_sort\n```\n\n```bash\npython bad.py\n```\n"


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageRunner]:
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory(prefix="tuner-docs-") as shims:
        runner = PageRunner(tmp_path, Path(shims))
        yield runner
        runner.close()


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        (PYTHON, "page.md:4", 'File "<page.md:4>", line 5.*no attribute .missing'),
        (SHARED, "page.md:6", "division by zero"),
        (BASH, "page.md:2", "ended with 1\nbegun\n$"),
        (COMMAND, "page.md:2", "ended with 2\n.*--nonsense"),
        (SPACE, "page.md:2", "depth"),
        (FILE, "page.md:7", "nothing_of_the_sort"),
    ],
    ids=["python", "shared", "bash", "command", "space", "file"],
)
def test_a_failure_names_its_page_and_line(
    runner: PageRunner, text: str, place: str, why: str
) -> None:
    with pytest.raises(BlockFailed, match=f"(?s)^{place}: .*{why}"):
        for block in blocks_of("page.md", text):
            runner.run(block)
