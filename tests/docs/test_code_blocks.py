"""Every code block of README.md and docs/ runs as it stands. The contract is in
tests/support/doc_pages.py. A failure names the page and the line."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from doc_pages import blocks_of, pages
from doc_runner import BlockFailed, PageRunner, small_searches

pytestmark = [pytest.mark.usefixtures("own_fork_server"), pytest.mark.tensorflow, pytest.mark.slow]

_BLOCKS = {page: [b for b in blocks_of(page) if b.does_something] for page in pages()}


@pytest.fixture
def shims() -> Iterator[Path]:
    """A folder with a short name: a socket's path has under 108 characters."""
    with tempfile.TemporaryDirectory(prefix="tuner-docs-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("page", [page for page, blocks in _BLOCKS.items() if blocks])
def test_the_code_of_a_page_runs(
    page: str, shims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("TUNER_STORAGE", "MLFLOW_TRACKING_URI", "TUNER_CHECKPOINTS"):
        monkeypatch.delenv(variable, raising=False)
    # Not a cluster that somebody else runs on this machine.
    monkeypatch.setenv("RAY_ADDRESS", "local")
    runner = PageRunner(tmp_path, shims)
    try:
        with small_searches(toy=not _uses_networks(page)):
            for block in _BLOCKS[page]:
                runner.run(block)
    except BlockFailed as error:
        pytest.fail(str(error), pytrace=False)
    finally:
        runner.close()


def _uses_networks(page: str) -> bool:
    """Whether its code names keras or a model. Options such as --keep-models name none."""
    return any(re.search(r"keras|(?<!-)model", block.code) for block in _BLOCKS[page])
