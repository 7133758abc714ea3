"""The modules beside a user's own network and data: kept, trusted and compared like the file."""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from stored_spec import change_spec

from tuner.errors import CodeError
from tuner.manage.own_code import UntrustedCode
from tuner.manage.stored_functions import user_network
from tuner.manage.trust import code_of, require_trusted
from tuner.settings import load_settings
from tuner.storage import leases, open_store
from tuner.storage.studies import StudyRow, load_study

FILES = {
    "nets/net.py": "from parts.blocks import block\ndef build(params, shape, outputs): ...\n",
    "nets/parts/__init__.py": "",
    "nets/parts/blocks.py": "def block(): ...\n",
    "nets/other.py": "raise OSError('not imported')\n",
    "own.py": "from rows import N\nimport numpy as np\ndef load():\n"
    "    return np.arange(N * 2.0).reshape(N, 2), np.arange(N) % 3\n",
    "rows.py": "N = 60\n",
    "s.yaml": "network: nets/net.py:build\nparameters: {units: 4, epochs: 1}\n",
}
CREATE = ["study", "create", "s", "--space", "./s.yaml", "--data", "own.py:load"]
KEPT = ["nets/net.py", "nets/parts/__init__.py", "nets/parts/blocks.py", "own.py", "rows.py"]
SEARCH = ["optimize", "s", "--trials", "1", "--workers", "1", "--no-tracking"]

Command = Callable[..., Any]


@pytest.fixture
def study(
    tuner: Command, untried: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """A study with a network and data of the user's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    made = tuner(*CREATE)
    assert (made.code, made.err) == (0, "")
    return tuner


def row() -> StudyRow:
    store = open_store(load_settings().storage)
    try:
        return load_study(store, "s")
    finally:
        store.close()


def check() -> None:
    require_trusted(row().spec, load_settings())


def finish() -> None:
    """A trial that has finished."""
    study = optuna.load_study(study_name="s", storage="sqlite:///tuner.db")
    study.add_trial(optuna.trial.create_trial(value=0.5))


def test_a_study_keeps_what_its_files_import(study: Command) -> None:
    spec = row().spec
    assert sorted(spec.code) == KEPT
    assert [code.path for code in code_of(spec)] == KEPT
    shown = study("study", "code", "s").out
    assert all(f"{path}: " in shown for path in KEPT)
    assert "def block(): ..." in shown
    network = user_network(load_settings(), spec)
    assert network is not None
    assert network.file == str(Path("nets/net.py").absolute())
    assert network.modules == (
        ("parts/__init__.py", ""),
        ("parts/blocks.py", FILES["nets/parts/blocks.py"]),
    )


def test_its_stored_modules_are_trusted_once_the_files_are_gone(
    study: Command, tmp_path: Path
) -> None:
    network = user_network(load_settings(), row().spec)
    shutil.rmtree("nets")
    assert user_network(load_settings(), row().spec) == network
    shutil.rmtree(tmp_path / "state")
    with pytest.raises(UntrustedCode) as asked:
        check()
    assert [code.path for code in asked.value.codes] == KEPT[:3]
    done = study(*SEARCH)
    assert (done.code, done.err.count("--trust-code")) == (2, 3)


def test_a_module_that_is_missing_beside_its_file_is_asked_about(
    study: Command, tmp_path: Path
) -> None:
    Path("nets/parts/blocks.py").unlink()
    check()
    shutil.rmtree(tmp_path / "state")
    with pytest.raises(UntrustedCode) as asked:
        check()
    assert [code.path for code in asked.value.codes] == ["nets/parts/blocks.py"]


@pytest.mark.parametrize("path", KEPT)
def test_a_file_that_has_changed_is_named(study: Command, path: str) -> None:
    with Path(path).open("a") as file:
        file.write("# edited\n")
    done = study(*SEARCH)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert f"{path} has changed since the study was created" in done.err
    assert "create it again with the same options" in done.err
    finish()
    again = study(*CREATE)
    assert again.code == 2
    told = f"another definition: {path} has changed; 1 trial has finished with the former code;"
    assert told in again.err


@pytest.mark.parametrize("path", KEPT)
def test_a_tampered_file_is_refused(study: Command, path: str) -> None:
    change_spec(lambda spec: spec["code"][path].update(text="import os\n"))
    if path != "nets/net.py":
        shutil.rmtree("nets")
    with pytest.raises(CodeError, match=f"{path}: the code stored .* is not what its hash says"):
        check()


def test_a_module_that_was_planted_is_asked_about(study: Command) -> None:
    shutil.rmtree("nets")
    text = "import os\n"
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    blocks = {"sha256": sha256, "text": text}
    change_spec(lambda spec: spec["code"].update({"nets/parts/blocks.py": blocks}))
    with pytest.raises(UntrustedCode) as asked:
        check()
    assert [code.sha256 for code in asked.value.codes] == [sha256]


def test_another_module_of_that_name_elsewhere_is_no_change(
    study: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_STORAGE", f"sqlite:///{tmp_path}/tuner.db")
    (tmp_path / "elsewhere/nets/parts").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("nets/parts/blocks.py").write_text("# another project's\n")
    Path("rows.py").write_text("N = 3\n")
    check()
    assert user_network(load_settings(), row().spec).file == str(tmp_path / "nets/net.py")


def test_a_corrected_module_is_taken_while_no_trial_has_finished(study: Command) -> None:
    optuna.load_study(study_name="s", storage="sqlite:///tuner.db").add_trial(
        optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL)
    )
    Path("nets/parts/blocks.py").write_text("def block(): return 1\n")
    Path("nets/parts/heads.py").write_text("")
    Path("nets/parts/__init__.py").write_text("from . import heads\n")
    done = study(*CREATE)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == (
        "study s takes the corrected code, because no trial has finished "
        "(nets/parts/__init__.py has changed; nets/parts/blocks.py has changed; "
        "nets/parts/heads.py is new): "
        "val_accuracy, maximize"
    )
    assert row().spec.code["nets/parts/blocks.py"].text == "def block(): return 1\n"
    check()
    assert "exists already, with this definition" in study(*CREATE).out


def test_corrected_data_are_taken_with_their_fingerprint(study: Command) -> None:
    before = row().spec
    Path("rows.py").write_text("N = 90\n")
    assert "takes the corrected code" in study(*CREATE).out
    after = row().spec
    assert after.fingerprint != before.fingerprint
    assert after.train_rows > before.train_rows
    assert "exists already, with this definition" in study(*CREATE).out
    # Data that another file gives are no correction, nor is another option beside one.
    shutil.copy("own.py", "else.py")
    Path("else.py").write_text(Path("else.py").read_text().replace("% 3", "% 2"))
    words = [word.replace("own.py", "else.py") for word in CREATE]
    assert "data was own.py:load, is else.py:load" in study(*words).err
    Path("rows.py").write_text("N = 120\n")
    refused = study(*CREATE, "--seed", "3").err
    assert "rows.py has changed; choose another name" in refused


def test_data_that_mlflow_shows_are_not_replaced(study: Command) -> None:
    database = sqlite3.connect("tuner.db")
    database.execute(
        "insert into tuner_deliveries (study_uuid, trial_id, run_id, state) "
        "select uuid, -1, 'run', 'RUNNING' from tuner_studies"
    )
    database.commit()
    database.close()
    Path("rows.py").write_text("N = 90\n")
    assert "the study's run in MLflow shows the former data" in study(*CREATE).err
    Path("rows.py").write_text("N = 60\n")
    Path("nets/parts/blocks.py").write_text("def block(): return 1\n")
    assert "takes the corrected code" in study(*CREATE).out


def test_nothing_is_corrected_while_a_search_runs(study: Command) -> None:
    Path("nets/net.py").write_text(FILES["nets/net.py"] + "# edited\n")
    store = open_store(load_settings().storage)
    lease = leases.open_lease(store, load_study(store, "s"))
    assert "the study is being searched by " in study(*CREATE).err
    leases.renew_lease(store, lease, 0)
    store.close()
    assert "takes the corrected code" in study(*CREATE).out


def test_reports_of_the_former_code_are_forgotten(study: Command) -> None:
    ours = optuna.load_study(study_name="s", storage="sqlite:///tuner.db")
    ours.ask().report(0.3, 1)
    with sqlite3.connect("tuner.db") as database:
        database.execute(
            "insert into tuner_intervals (study_uuid, trial_id, attempt, step, epoch, whole, "
            "metrics, at) select uuid, 1, 1, 1, 1, 1, '{}', 0 from tuner_studies"
        )
    Path("nets/net.py").write_text(FILES["nets/net.py"] + "# edited\n")
    assert "takes the corrected code" in study(*CREATE).out
    with sqlite3.connect("tuner.db") as database:
        for table in ("tuner_intervals", "trial_intermediate_values"):
            assert database.execute(f"select count(*) from {table}").fetchone() == (0,)


def test_a_study_from_before_modules_were_kept_goes_on(study: Command) -> None:
    def age(spec: dict[str, Any]) -> None:
        del spec["keeps_modules"]
        spec["code"] = {path: spec["code"][path] for path in ("nets/net.py", "own.py")}

    change_spec(age)
    Path("nets/parts/blocks.py").write_text("def block(): return 1\n")
    check()
    network = user_network(load_settings(), row().spec)
    assert network is not None
    assert network.modules is None
    assert "exists already, with this definition" in study(*CREATE).out
    finish()
    assert "exists already, with this definition" in study(*CREATE).out
    assert [code.path for code in code_of(row().spec)] == ["nets/net.py", "own.py"]


def test_two_modules_of_one_name_are_refused(
    study: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data are found beside the database, the network in the current folder."""
    monkeypatch.setenv("TUNER_STORAGE", f"sqlite:///{tmp_path}/tuner.db")
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    Path("net.py").write_text("import rows\ndef build(params, shape, outputs): ...\n")
    Path("rows.py").write_text("N = 1\n")
    Path("s.yaml").write_text("network: net.py:build\nparameters: {units: 4, epochs: 1}\n")
    done = study("study", "create", "t", *CREATE[3:])
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "import different files by the name of rows.py" in done.err


def test_a_module_that_cannot_be_kept_is_named(study: Command) -> None:
    Path("nets/parts/blocks.py").write_bytes(b"x = '\xff'\n")
    done = study("study", "create", "t", *CREATE[3:])
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "nets/parts/blocks.py: the code is not UTF-8 text" in done.err
