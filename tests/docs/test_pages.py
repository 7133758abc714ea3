"""What the pages say and the code does, where nothing else compares them. Links within docs/ are
checked as MkDocs builds them (make check)."""

import re
from pathlib import Path

from doc_pages import REPOSITORY, blocks_of, pages
from markdown_it import MarkdownIt

import tuner
import tuner.settings
from tuner.settings import VARIABLES


def test_links_of_the_readme_lead_to_files_and_headings() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    links = [
        str(child.attrs.get("href") or child.attrs.get("src"))
        for token in MarkdownIt().parse(text)
        for child in token.children or ()
        if child.type in ("link_open", "image")
    ]
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = REPOSITORY / (path or "README.md")
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_no_text_suggests_to_install_tuner_by_its_name() -> None:
    """An index has another package of that name, and whatever it holds would be run."""
    by_name = re.compile(r"\binstall\b.*?(?<![\w./-])tuner(?![\w./-])|['\"]tuner\[")
    assert by_name.search("pip install --upgrade tuner") and by_name.search("'tuner[gpu]'")
    found = [
        f"{path.relative_to(REPOSITORY)}: {line.strip()}"
        for folder in ("tuner", "docs", "deploy")
        for path in [REPOSITORY / "README.md", *(REPOSITORY / folder).rglob("*")]
        if path.suffix in (".py", ".md", ".html", ".yaml", ".sbatch", ".service")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\b(pip|pipx|uv)\b", line) and by_name.search(line)
    ]
    assert not found


def test_every_variable_that_is_read_is_documented() -> None:
    source = Path(tuner.settings.__file__).read_text(encoding="utf-8")
    # DO_NOT_TRACK and the like are only set, for MLflow's processes.
    read = set(re.findall(r'env(?:iron)?(?:\.get\(|\[)"(\w+)"', source)) - {"PYTHONPATH"}
    assert read == {variable.name for variable in VARIABLES}


def test_the_python_api_is_documented_whole() -> None:
    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^::: tuner\.(\w+)$", text, re.MULTILINE)
    assert sorted(documented) == sorted({*tuner.__all__} - {"__version__"})


def test_every_block_can_be_found_and_says_its_language() -> None:
    """Indented code, and a fence in a list, are not found by the runner of code blocks."""
    hidden = [
        (page, token.map)
        for page in pages()
        for token in MarkdownIt().parse((REPOSITORY / page).read_text(encoding="utf-8"))
        if token.type == "code_block" or (token.type == "fence" and token.level)
    ]
    blocks = [block for page in pages() for block in blocks_of(page)]
    assert not hidden
    assert not [block.place for block in blocks if not block.language]


def test_blocks_are_found_with_what_is_to_be_done_with_them() -> None:
    text = """
```bash
tuner study list
```

<!-- not run: it opens a browser -->
```bash
tuner ui
```

Text.

```python
# file: net.py
def build(): ...
```
"""
    run, skipped, written = blocks_of("page.md", text)
    assert (run.place, run.language, run.is_run) == ("page.md:3", "bash", True)
    assert (skipped.place, skipped.is_run) == ("page.md:8", False)
    assert (written.place, written.file, written.is_run) == ("page.md:14", "net.py", True)
