"""The code blocks of README.md and docs/, and how each is run.

The contract, for whoever writes a page. A page's blocks run in order, in one empty folder:

- `bash` runs under `bash -e`, with `tuner` and `python` on the PATH;
- `python` runs in this process; a page's blocks share their names;
- a block whose first line is `# file: NAME` is written to that file instead;
- `yaml` that looks like a search space is parsed, also where it is not a file;
- `<!-- not run: REASON -->` right above a block skips it;
- all other languages are only shown.

Searches are kept small (doc_runner.py): 2 epochs, one worker, no MLflow, and one trial, or three
of a toy on a page whose code names neither keras nor a model (options do not count).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

REPOSITORY = Path(__file__).parents[2]
_FILE = re.compile(r"# file: (\S+)\n")
_NOT_RUN = re.compile(r"<!-- not run: \S.*-->\s*", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """`line`: of its first line of code, from 1. `file`: the name of the file that it is written
    to; "" for one that is run."""

    page: str
    line: int
    language: str
    code: str
    is_run: bool
    file: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def does_something(self) -> bool:
        """Whether the page's test has anything to do for it."""
        is_space = self.language == "yaml" and "network:" in self.code
        return self.is_run and bool(self.file or self.language in ("bash", "python") or is_space)


def pages() -> list[str]:
    """README.md and every page of docs/, as paths from the repository's root."""
    found = sorted(REPOSITORY.glob("docs/**/*.md"))
    return ["README.md", *(str(path.relative_to(REPOSITORY)) for path in found)]


def blocks_of(page: str, text: str | None = None) -> list[Block]:
    """The fenced code blocks of a page, in order. `text`: of the page; None reads it."""
    if text is None:
        text = (REPOSITORY / page).read_text(encoding="utf-8")
    return list(_blocks(page, text))


def _blocks(page: str, text: str) -> Iterator[Block]:
    is_run = True
    for token in MarkdownIt().parse(text):
        if token.type == "html_block":
            is_run = _NOT_RUN.fullmatch(token.content) is None
        elif token.type == "fence":
            assert token.map is not None
            match = _FILE.match(token.content)
            yield Block(
                page=page,
                line=token.map[0] + 2,
                language=token.info.strip().partition(" ")[0],
                code=token.content,
                is_run=is_run,
                file=match[1] if match else "",
            )
            is_run = True
        elif token.nesting >= 0:
            is_run = True
