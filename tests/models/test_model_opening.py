"""What a MODEL may be: files, studies and their trials, and what none of them is."""

import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from described_networks import describe, write_network, write_plain_network
from toy_study import Bench

from tuner.errors import ArtifactError, ArtifactsUnavailable, CodeError, StudyError, TunerError
from tuner.manage.carried_code import Code, UntrustedCode
from tuner.models import trial_networks
from tuner.models.model import load_file
from tuner.models.model_opening import BroughtNetwork, bring_network, read_code
from tuner.preparation.keras_file import read_description
from tuner.settings import Settings, load_settings
from tuner.storage import open_store
from tuner.storage.studies import load_study
from tuner.storage.trials import find_best

Opener = Callable[..., BroughtNetwork]
LAYERS = {"nets/own.py": "import blocks", "nets/blocks.py": "x = 1"}


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """Brings copies into a folder of their own."""
    folder = tmp_path.parent / f"{tmp_path.name}-brought"
    folder.mkdir()
    return lambda text, settings, trust=(): bring_network(text, settings, folder, trust)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.parent / f"{tmp_path.name}-state"))
    for variable in ("TUNER_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    return load_settings()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A study of toys, two trials, whose networks can be read."""
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))
    bench.create()
    bench.run(2)

    def save(*given: object) -> trial_networks.WrittenNetwork:
        _, _, study, trial, target = given
        write_network(target, study=study.name, trial=trial.number)  # type: ignore[attr-defined,arg-type]
        return trial_networks.WrittenNetwork(trial_networks.NetworkSource.SAVED, ["a remark"])

    monkeypatch.setattr("tuner.models.studied_networks.copy_network", save)
    return bench


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_used_in_its_place(empty: Settings, opened: Opener, tmp_path: Path) -> None:
    file = write_network(tmp_path / "best.keras")
    assert opened("best.keras", empty) == BroughtNetwork(Path("best.keras"), "best.keras")
    assert opened(str(file), empty).file == file
    assert read_description(file) == describe()
    assert names_in(tmp_path) == ["best.keras"]  # no database, no folder was made


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("best.kera", "there is no such file (did you mean 'best.keras'?)"),
        ("folder/3", "there is no such file; "),
        ("folder", "is a folder without a network"),
        ("people", "there is no such file, and no study of that name"),
        ("", "MODEL: is empty"),
        ("a\0b", "there is no such file"),
        ("x" * 5000, "xx…: there is no such file"),
        ("models:/", "there is no MLflow store at"),
        ("models:/people@champion", "there is no MLflow store at"),
        (f"runs:/{'0' * 32}", "there is no MLflow store at"),
    ],
)
def test_what_names_nothing(
    empty: Settings, opened: Opener, tmp_path: Path, text: str, problem: str
) -> None:
    write_network(tmp_path / "best.keras")
    (tmp_path / "folder").mkdir()
    with pytest.raises(TunerError) as refused:
        opened(text, empty)
    message = str(refused.value)
    assert problem in message and "\n" not in message and len(message) < 400
    assert names_in(tmp_path) == ["best.keras", "folder"]


def test_a_study_and_its_trials(bench: Bench, opened: Opener) -> None:
    best = find_best(bench.store, load_study(bench.store)).trial
    assert best is not None
    brought = opened("toy", bench.settings)
    assert brought.where == f"trial {best.number} of study toy"
    assert brought.remarks == ["a remark"]
    for number in (0, 1):
        assert read_description(opened(f"toy/{number}", bench.settings).file).trial == number
    with pytest.raises(StudyError, match="7"):
        opened("toy/7", bench.settings)
    with pytest.raises(StudyError, match=r"no study of that name \(did you mean 'toy'\?\)"):
        opened("toys", bench.settings)


def test_a_file_comes_before_a_study_of_its_name(
    bench: Bench, opened: Opener, tmp_path: Path
) -> None:
    (tmp_path / "toy").mkdir()  # a folder that holds no network does not count
    assert "trial" in opened("toy", bench.settings).where
    (tmp_path / "toy").rmdir()
    write_network(tmp_path / "toy")
    brought = opened("toy", bench.settings)
    assert brought.where == "toy"
    assert brought.remarks == ["toy is taken for the file of that name, not for the study"]


def test_a_network_of_an_earlier_version_learns_its_preparation_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))
    bench.create()
    bench.run(1)
    study, trial = load_study(bench.store), bench.trials[0]

    def copy(settings: object, trial: object, target: Path, remarks: object) -> bool:
        return bool(write_plain_network(target))

    monkeypatch.setattr(trial_networks, "_copy_saved", copy)
    target = tmp_path / "again.keras"

    def save() -> list[str]:
        settings, store = bench.settings, bench.store
        return trial_networks.copy_network(settings, store, study, trial, target).remarks

    assert save() == []
    description = read_description(target)
    assert description.fingerprint == study.spec.fingerprint
    assert (description.study_uuid, description.trial) == (study.uuid, 0)
    assert description.labels == ("0", "1", "2")
    assert description.preparation.input_shape == (3,)
    (tmp_path / "points.npz").unlink()
    (remark,) = save()
    assert "without its preparation, which cannot be learnt again: " in remark
    with pytest.raises(ArtifactError, match="holds a network without its preparation"):
        read_description(target)


def test_a_changed_file_is_recognised(tmp_path: Path) -> None:
    """Cut at every fiftieth, and with bits turned over: either refused in one line, or what was
    turned over has no meaning."""
    file = write_network(tmp_path / "best.keras")
    whole, description = file.read_bytes(), read_description(file)
    draw = random.Random(0)
    damaged = [whole[: len(whole) * part // 50] for part in range(50)]
    for _ in range(150):
        content = bytearray(whole)
        content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        damaged.append(bytes(content))
    refused = 0
    for content in damaged:
        file.write_bytes(content)
        try:
            assert read_description(file) == description
        except ArtifactError as error:
            assert str(error).startswith(f"{file}: ") and "\n" not in str(error)
            refused += 1
    assert refused > 150


def test_an_edited_description_is_recognised(tmp_path: Path) -> None:
    """A whole archive all the same: other labels would rename what the network predicts."""
    file = write_network(tmp_path / "best.keras")
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    label = read_description(file).labels[0]
    edited = members["tuner.json"].replace(f'\\"{label}\\"'.encode(), b'\\"other\\"')
    assert edited != members["tuner.json"]
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (members | {"tuner.json": edited}).items():
            archive.writestr(name, content)
    with pytest.raises(ArtifactError, match="was changed since tuner saved it"):
        read_description(file)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + b"0" * 99, "is an HDF5 file, Keras' old format; "),
        (b"\x80\x02}q\x00.", "is a pickle, as PyTorch and scikit-learn save them; "),
        (b"age,town\n3,Bern\n", "is no .keras file; "),
        (b"PK\x03\x04 half", "was cut short or changed since it was saved; "),
    ],
)
def test_a_file_from_elsewhere(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "best.keras"
    file.write_bytes(content)
    with pytest.raises(ArtifactError) as refused:
        read_description(file)
    assert str(refused.value).startswith(f"{file}: {problem}")


def test_a_file_of_pytorch(tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("best/data.pkl", b"")
    with pytest.raises(ArtifactError, match=r"is a file of PyTorch; .*\(study best --save\)$"):
        read_description(file)


def test_code_runs_only_where_it_is_known(empty: Settings, opened: Opener, tmp_path: Path) -> None:
    write_network(tmp_path / "own.keras", "mine>Twice", code=LAYERS)
    codes = [Code(path, text) for path, text in LAYERS.items()]
    assert read_code("own.keras", empty) == ("own.keras", codes)
    with pytest.raises(UntrustedCode) as asked:
        opened("own.keras", empty)
    assert (asked.value.codes, asked.value.source) == (codes, "own.keras")
    for code in codes:  # files of this machine are trusted, others of their names are not
        Path(code.path).parent.mkdir(exist_ok=True)
        Path(code.path).write_text(code.text)
    opened("own.keras", empty)
    Path("nets/blocks.py").write_text("x = 2")
    with pytest.raises(UntrustedCode) as asked:
        opened("own.keras", empty)
    assert asked.value.codes == codes[1:]
    with pytest.raises(CodeError, match="is not a hash of this network's code"):
        opened("own.keras", empty, ["0" * 64])
    opened("own.keras", empty, [codes[1].sha256])
    opened("own.keras", empty)  # remembered


@pytest.mark.parametrize("path", ["{folder}/own.py", "../{name}/own.py"])
def test_a_network_does_not_choose_which_file_of_the_machine_runs(
    empty: Settings, opened: Opener, tmp_path: Path, path: str
) -> None:
    (tmp_path / "own.py").write_text("x = 1")
    named = path.format(folder=tmp_path, name=tmp_path.name)
    write_network(tmp_path / "own.keras", "mine>Twice", code={named: "x = 1"})
    with pytest.raises(UntrustedCode):
        opened("own.keras", empty)


def test_code_that_does_not_fit_together_is_refused(empty: Settings, tmp_path: Path) -> None:
    codes = {"nets/own.py": "x = 1", "elsewhere/blocks.py": "x = 2"}
    file = write_network(tmp_path / "own.keras", "mine>Twice", code=codes)
    hashes = [Code(path, text).sha256 for path, text in codes.items()]
    with pytest.raises(ArtifactError, match=r"own\.keras: its code cannot be read"):
        load_file(file, settings=empty, trust=hashes)


def test_the_folder_that_mlflow_writes(empty: Settings, opened: Opener, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {keras: {data: data}}")
    write_network(folder / "data" / "model.keras")
    assert opened("model", empty).file == Path("model/data/model.keras")
    (folder / "MLmodel").write_text("flavors: [")
    with pytest.raises(ArtifactError, match="model: its file MLmodel cannot be read"):
        opened("model", empty)


def test_a_network_whose_store_is_away_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))
    bench.create()
    bench.run(1)
    study, trial = load_study(bench.store), bench.trials[0]

    def refuse(*_: object) -> bool:
        raise ArtifactsUnavailable("s3://team: the store cannot be reached", may_pass=True)

    monkeypatch.setattr(trial_networks, "_copy_saved", refuse)
    target = tmp_path / "again.keras"

    def save() -> list[str]:
        settings, store = bench.settings, bench.store
        return trial_networks.copy_network(settings, store, study, trial, target).remarks

    with pytest.raises(ArtifactsUnavailable, match="cannot be reached"):
        save()
    assert not target.exists()
    monkeypatch.setattr(
        trial_networks, "_copy_logged", lambda *asked: bool(write_plain_network(asked[4]))
    )
    assert save()[0] == "s3://team: the store cannot be reached; it is not used"
