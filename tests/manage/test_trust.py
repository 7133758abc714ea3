"""Code from the database runs only where its user has agreed to it, once a machine."""

import hashlib
import stat
from pathlib import Path
from typing import Any

import pytest
from stored_spec import change_spec

from tuner.cli.consent import _accepting_command
from tuner.errors import CodeError, SpecError
from tuner.manage.own_code import UntrustedCode
from tuner.manage.trust import agree_to_code, require_trusted, trust_code
from tuner.runner import trained_on
from tuner.settings import Settings, load_settings
from tuner.storage import open_store
from tuner.storage.studies import load_study

NETWORK = """\
import keras
from pathlib import Path
Path("ran").write_text("the network's file ran")

def build(params, input_shape, outputs):
    return keras.Sequential([
        keras.Input(input_shape), keras.layers.Dense(outputs, activation="softmax")
    ])
"""
DATA = """\
import numpy as np
from pathlib import Path
Path("ran").write_text("the data's file ran")

def load():
    return np.arange(60.0).reshape(30, 2), np.arange(30) % 3
"""
HASH = hashlib.sha256(NETWORK.encode()).hexdigest()
SEARCH = ["optimize", "s", "--trials", "1", "--workers", "1", "--no-tracking"]


def plant(path: str = "net.py", text: str = NETWORK, sha256: str | None = None) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["space"]["network"] = f"{path}:build"
        spec.pop("defaults", None)  # of the shipped network
        real = hashlib.sha256(text.encode()).hexdigest()
        spec["code"] = {path: {"sha256": sha256 or real, "text": text}}

    change_spec(change)


def settings() -> Settings:
    return load_settings()


def check(settings: Settings) -> None:
    store = open_store(settings.storage)
    try:
        require_trusted(load_study(store, "s").spec, settings)
    finally:
        store.close()


@pytest.fixture
def study(tuner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A study of a shipped network; nothing is trusted yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert tuner("study", "create", "s", "--data", "iris", "--set", "depth=1").code == 0
    return tuner


def test_a_planted_network_does_not_run(study: Any, tmp_path: Path) -> None:
    plant()
    done = study(*SEARCH)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert f"tuner {' '.join(SEARCH)} --trust-code {HASH}" in done.err
    assert "tuner study code s" in done.err
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "words",
    [
        SEARCH,
        ["compare", "--study", "s", "--trial", "0", "--seeds", "1", "--no-tracking"],
        ["study", "best", "s", "--save", "x.keras"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.tensorflow
def test_every_command_that_runs_code_asks_first(study: Any, tmp_path: Path, words: Any) -> None:
    assert study(*SEARCH).code == 0
    for network in tmp_path.rglob("*.keras"):
        network.unlink()  # so that it must be trained again
    plant()
    done = study(*[{"1": "2"}.get(word, word) for word in words] if words == SEARCH else words)
    assert done.code == 2
    assert HASH in done.err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("words", [["--trust-code", "0" * 64], ["--data", "other.npz"]])
def test_what_is_of_use_for_saving_alone_is_refused_without(
    study: Any, tmp_path: Path, words: list[str]
) -> None:
    done = study("study", "best", "s", *words, "--json")
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.strip().splitlines()
    assert line.startswith(f"tuner: {words[0]} has an effect only with --save")
    assert not (tmp_path / "state").exists()


def test_the_suggested_command_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--storage", "postgresql://me:one/two@host/db?password=Zq1", "optimize"]
    monkeypatch.setattr("sys.argv", ["tuner", *words])
    shown = _accepting_command([])
    assert "two" not in shown
    assert "Zq1" not in shown
    assert shown.startswith("tuner --storage 'postgresql://***@host/db")


def test_another_hash_is_refused(study: Any, tmp_path: Path) -> None:
    plant()
    done = study(*SEARCH, "--trust-code", "0" * 64)
    assert (done.code, "is not a hash of this study's code" in done.err) == (2, True)
    assert not (tmp_path / "ran").exists()


def test_a_hash_that_lies_is_refused(study: Any, tmp_path: Path) -> None:
    harmless = "def build(p, i, o): ...\n"
    trust_code(settings(), [hashlib.sha256(harmless.encode()).hexdigest()])
    plant(sha256=hashlib.sha256(harmless.encode()).hexdigest())
    done = study(*SEARCH)
    assert (done.code, "is not what its hash says" in done.err) == (2, True)
    assert not (tmp_path / "ran").exists()
    assert study("study", "list").code == 0
    assert study("study", "delete", "s", "--yes").code == 0


def test_a_network_without_its_code_is_refused(study: Any) -> None:
    plant()
    change_spec(lambda spec: spec.pop("code"))
    done = study(*SEARCH)
    assert (done.code, "net.py: its code is not stored" in done.err) == (2, True)


def test_what_was_agreed_to_is_remembered(study: Any) -> None:
    plant()
    with pytest.raises(UntrustedCode):
        check(settings())
    store = open_store(settings().storage)
    agree_to_code(load_study(store, "s").spec, settings(), [HASH.upper()])
    store.close()
    check(settings())
    assert stat.S_IMODE(settings().trusted_code.stat().st_mode) == 0o600
    plant(text=NETWORK + "# changed\n")
    with pytest.raises(UntrustedCode):
        check(settings())


def test_another_machine_with_the_same_home_asks_again(
    study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant()
    trust_code(settings(), [HASH])
    check(settings())
    monkeypatch.setattr("tuner.manage.trust.machine_id", lambda: "another")
    with pytest.raises(UntrustedCode):
        check(settings())
    trust_code(settings(), [HASH])
    check(settings())
    assert len(settings().trusted_code.read_text().splitlines()) == 2


def test_a_list_that_others_can_write_is_not_believed(study: Any) -> None:
    plant()
    trust_code(settings(), [HASH])
    settings().trusted_code.chmod(0o666)
    with pytest.raises(CodeError, match="others may write it"):
        check(settings())


def test_a_state_folder_that_cannot_be_written(study: Any, tmp_path: Path) -> None:
    plant()
    (tmp_path / "state").write_text("a file")
    done = study(*SEARCH, "--trust-code", HASH)
    assert (done.code, "set XDG_STATE_HOME" in done.err) == (2, True)


@pytest.mark.parametrize("folder", [".", "elsewhere"])
def test_the_file_itself_needs_no_question(
    study: Any, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant()
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("TUNER_STORAGE", f"sqlite:///{tmp_path}/tuner.db")
    monkeypatch.chdir(tmp_path / folder)
    check(settings())
    (tmp_path / "net.py").write_text(NETWORK + "# changed\n")
    with pytest.raises(CodeError, match=r"net\.py has changed"):
        check(settings())


@pytest.mark.parametrize("path", ["zero.py", "d.py", "x" * 5000 + ".py", "~/net.py"])
def test_paths_that_are_no_files(study: Any, path: str, tmp_path: Path) -> None:
    (tmp_path / "zero.py").symlink_to("/dev/zero")  # to be read without an end
    (tmp_path / "d.py").mkdir()
    plant(path)
    with pytest.raises(UntrustedCode):
        check(settings())


def test_whoever_makes_a_study_trusts_its_code(study: Any, untried: None, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "own.yaml").write_text("network: net.py:build\nparameters: {units: 4, epochs: 1}\n")
    made = study("study", "create", "t", "--data", "iris", "--space", "./own.yaml")
    assert (made.code, made.err) == (0, "")
    (tmp_path / "net.py").unlink()
    store = open_store(settings().storage)
    require_trusted(load_study(store, "t").spec, settings())
    store.close()


def test_a_data_function_that_was_planted_does_not_run(study: Any, tmp_path: Path) -> None:
    (tmp_path / "lying_about.py").write_text(DATA)
    change_spec(lambda spec: spec["data"].update(source="lying_about.py:load"))
    done = study(*SEARCH)
    assert (done.code, "its code is not stored" in done.err) == (2, True)
    assert not (tmp_path / "ran").exists()


def test_a_data_function_of_another_file_does_not_run(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(DATA)
    assert study("study", "create", "t", "--data", "own.py:load").code == 0
    (tmp_path / "ran").unlink()
    other = tmp_path / "other"
    other.mkdir()
    (other / "own.py").write_text(DATA + "raise SystemExit\n")
    monkeypatch.chdir(other)
    monkeypatch.setenv("TUNER_STORAGE", f"sqlite:///{tmp_path}/tuner.db")
    store = open_store(settings().storage)
    spec = load_study(store, "t").spec
    store.close()
    assert len(trained_on(settings(), spec).train)  # of the file beside the database
    (tmp_path / "own.py").unlink()
    with pytest.raises(SpecError, match=r"own\.py has changed"):
        trained_on(settings(), spec)


def test_code_is_shown_without_its_escape_sequences(study: Any) -> None:
    plant(text="import os  # \x1b[8m\nos.system('x')\r# ok \u202e\n\tpass\n")
    shown = study("study", "code", "s").out
    assert "import os  # \\x1b[8m" in shown
    assert "os.system('x')\\r# ok \\u202e" in shown
    assert "\x1b" not in shown
    assert study("study", "code", "s").code == 0


def test_a_study_without_code_has_none_to_show(study: Any) -> None:
    assert "no code of its own" in study("study", "code", "s").out


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_person_is_shown_the_code_and_asked_once(
    study: Any, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tuner.cli import consent as asking

    plant(text=NETWORK + "x = 1\n" * 100)
    asked = []

    def confirm(text: str, **_options: Any) -> bool:
        asked.append(text)
        return answer == "y"

    monkeypatch.setattr(asking.typer, "confirm", confirm)
    monkeypatch.setattr(asking.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(asking.sys.stderr, "isatty", lambda: True, raising=False)
    store = open_store(settings().storage)
    row = load_study(store, "s")
    store.close()
    if answer == "n":
        with pytest.raises(CodeError, match="nothing was run"):
            asking.confirm_code(settings(), row.spec, row.name, ())
        assert not settings().trusted_code.exists()
        return
    for _ in range(2):
        asking.confirm_code(settings(), row.spec, row.name, ())
    assert len(asked) == 1
    shown = capsys.readouterr().err
    assert "net.py: " in shown
    assert "SHA-256" in shown
    assert "more lines; the whole file: tuner study code s" in shown
