"""`tuner doctor` as it is printed, and its exit codes."""

import json

import pytest

from tuner.doctor import Finding


@pytest.fixture
def findings(monkeypatch):
    """What the doctor will find."""
    found = [Finding("python", "ok", "3.12")]
    monkeypatch.setattr("tuner.doctor.examine", lambda settings, quick, stage: iter(found))
    return found


def test_all_is_well(tuner, findings):
    done = tuner("doctor")
    assert (done.code, done.err) == (0, "")
    assert done.out == "ok    python       3.12\n\nall checks passed\n"


def test_a_warning_is_no_failure(tuner, findings):
    findings.append(Finding("leases", "warn", "x: expired", "tuner study repair x"))
    done = tuner("doctor")
    assert done.code == 0
    assert done.out.splitlines()[1:] == [
        "warn  leases       x: expired",
        "                   → tuner study repair x",
        "",
        "1 warning",
    ]


def test_a_failure_is_exit_code_1(tuner, findings):
    long = "word " * 60
    findings += [Finding("database", "fail", long, "[do] it"), Finding("x", "warn", "", "y")] * 2
    done = tuner("doctor")
    assert done.code == 1
    assert f"FAIL  database     {long.strip()}\n" in done.out
    assert "→ [do] it" in done.out
    assert done.out.splitlines()[-1] == "2 checks failed, 2 warnings"


def test_json(tuner, findings):
    findings.append(Finding("database", "fail", "gone"))
    done = tuner("doctor", "--json")
    assert done.code == 1
    assert json.loads(done.out) == {
        "ok": False,
        "checks": [
            {"check": "python", "state": "ok", "found": "3.12", "advice": None},
            {"check": "database", "state": "fail", "found": "gone", "advice": None},
        ],
    }


def test_quick_leaves_tensorflow_out(tuner, tmp_path):
    told = json.loads(tuner("doctor", "--quick", "--json").out)
    checks = {one["check"] for one in told["checks"]}
    assert {"python", "database", "mlflow"} <= checks
    assert "tensorflow" not in checks
    assert list(tmp_path.iterdir()) == []


def test_a_study_and_an_unreachable_database(tuner):
    tuner("study", "create", "--data", "digits")
    assert "schema" in tuner("doctor", "--quick").out
    done = tuner("--storage", "postgresql://me:s3cret@127.0.0.1:1/x", "doctor", "--quick")
    assert done.code == 1
    assert "FAIL  database" in done.out
    assert "s3cret" not in done.out + done.err
