"""What `make check` makes of pip-audit's report."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / ".ci" / "audit.py"
BUG = {"id": "CVE-2026-1", "fix_versions": ["2.1"]}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(*dependencies: dict[str, object]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_a_finding_fails(audit: ModuleType) -> None:
    good = {"name": "a", "version": "1", "vulns": []}
    bad = {"name": "b", "version": "2.0", "vulns": [BUG, {"id": "CVE-2026-2", "fix_versions": []}]}
    verdict = audit.judge(report(good, bad), "")
    assert verdict.is_bad
    assert "b 2.0: CVE-2026-1, fixed in 2.1" in verdict.text
    assert "CVE-2026-2, fixed in no version yet" in verdict.text


def test_nothing_found_says_of_how_many(audit: ModuleType) -> None:
    good = {"name": "a", "version": "1", "vulns": []}
    unknown = {"name": "c", "skip_reason": "Dependency not found on PyPI"}
    verdict = audit.judge(report(good, unknown), "")
    assert (verdict.is_bad, verdict.is_left_out) == (False, False)
    assert verdict.text == "nothing found; it knows 1 of 2 dependencies"


def test_an_audit_that_could_not_ask_is_no_finding(audit: ModuleType) -> None:
    unknown = {"name": "c", "skip_reason": "Dependency not found on PyPI"}
    for output, errors in ((report(unknown), ""), ("", "trace\nno route to host"), ("[]", "")):
        verdict = audit.judge(output, errors)
        assert verdict.is_left_out and not verdict.is_bad
    assert audit.judge("", "trace\nno route to host").text.endswith("no route to host")
