"""Audits the locked dependencies for known vulnerabilities: python .ci/audit.py requirements.lock

Fails where pip-audit finds one. Where the network does not let it ask, one line says that the audit
was left out. One dependency is asked for first, since a package index without vulnerability data
answers for none.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

_LIMIT_S = 300
_PINNED = re.compile(r"^[A-Za-z0-9._-]+==[^ ;\\]+", re.MULTILINE)


class Verdict(NamedTuple):
    """`is_bad`: whether something was found. `is_left_out`: whether nothing could be asked."""

    text: str
    is_bad: bool = False
    is_left_out: bool = False


def judge(output: str, errors: str) -> Verdict:
    """What pip-audit's report, as JSON, says; `errors`: what it wrote to stderr."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or ["it printed nothing"])[-1]
        return Verdict(f"left out, it could not ask: {last[:200]}", is_left_out=True)
    asked = [each for each in dependencies if "skip_reason" not in each]
    found = [
        f"{each['name']} {each['version']}: {bug['id']}, fixed in "
        + (", ".join(bug.get("fix_versions") or []) or "no version yet")
        for each in asked
        for bug in each.get("vulns", [])
    ]
    if found:
        return Verdict("\n".join(["vulnerable dependencies:", *found]), is_bad=True)
    if not asked:
        return Verdict("left out, the package index has no such data", is_left_out=True)
    return Verdict(f"nothing found; it knows {len(asked)} of {len(dependencies)} dependencies")


def audit(pins: list[str]) -> Verdict:
    """Ask for these, each NAME==VERSION."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins) + "\n")
        file.flush()
        options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        command = [sys.executable, "-m", "pip_audit", *options, "--requirement", file.name]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return Verdict(f"left out, no answer within {_LIMIT_S} s", is_left_out=True)
    return judge(done.stdout, done.stderr)


def main(lock: str) -> int:
    pins = _PINNED.findall(Path(lock).read_text(encoding="utf-8"))
    verdict = audit(pins[:1])
    if not verdict.is_left_out:
        verdict = audit(pins)
    print(f"pip-audit: {verdict.text}")
    return int(verdict.is_bad)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
