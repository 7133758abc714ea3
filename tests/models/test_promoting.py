"""Promotion into a real MLflow store. Two networks are trained once, for all tests."""

import functools
import json
import shutil
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Command, tuner
from toy_study import Bench
from tracking_helpers import Search

import tuner as api
from tuner.data import Dataset, load_dataset
from tuner.errors import ArtifactsUnavailable, NotPromoted, StudyError, TrackingError
from tuner.manage.carried_code import Code, UntrustedCode
from tuner.models import champions, promoting, registering
from tuner.models.evaluations import Estimate
from tuner.models.final_networks import FinalNetworks
from tuner.models.model_opening import open_model
from tuner.models.promoting import PromotionOptions
from tuner.models.registering import Promotion
from tuner.preparation.keras_file import read_description
from tuner.runner import trained_on
from tuner.runner.final_training import finished_trial
from tuner.search_space import make_space
from tuner.settings import Settings, load_settings
from tuner.storage import open_store
from tuner.storage.identity import record, residence
from tuner.storage.split_readings import earlier_readings
from tuner.storage.studies import StudyRow, create_study, load_study
from tuner.study.artifacts import FolderArtifacts
from tuner.study.spec import Choice, DataSpec, StudySpec
from tuner.tracking import model_registry
from tuner.tracking.client import Client, open_client

__all__ = ["tuner"]
pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]
DATA = DataSpec(source="digits", task="classes")
LEARNING_RATES = {"good": 0.01, "bad": 1e-6}


@functools.cache
def digits() -> Dataset:
    return load_dataset(DATA, load_settings())


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    """Few resamples, and the data are read once: most of the time would go there."""

    def read(settings: Settings, spec: StudySpec, data: str | None = None) -> Dataset:
        return trained_on(settings, spec, data) if data else digits()

    with pytest.MonkeyPatch.context() as patch:
        for name in ("evaluate_outputs", "difference"):
            few = functools.partial(getattr(champions, name), resamples=50)
            patch.setattr(champions, name, few)
        patch.setattr(promoting, "trained_on", read)
        yield


def bench_in(folder: Path) -> Bench:
    store = open_store(f"sqlite:///{folder}/tuner.db")
    return Bench(folder, store, f"sqlite:///{folder}/mlruns/mlflow.db")


def digits_spec(learning_rate: float) -> StudySpec:
    constants = {"depth": 1, "width": 32, "epochs": 4, "learning_rate": learning_rate}
    return StudySpec(
        space=make_space("mlp", constants),
        data=DATA,
        fingerprint=digits().fingerprint,
        train_rows=len(digits().train),
        task="classes",
        metric="val_accuracy",
        direction="maximize",
        sampler=Choice(name="random"),
        pruner=Choice(name="none"),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two studies of one trial each, whose final networks are trained and kept: as
    promotions leave it that could not reach MLflow."""
    folder = tmp_path_factory.mktemp("trained")
    bench = bench_in(folder)
    for name, learning_rate in LEARNING_RATES.items():
        spec = digits_spec(learning_rate)
        search = Search(bench.store, create_study(bench.store, name, spec))
        search.complete(search.start(), 0.9)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(TrackingError) as stopped:
            patch.setattr(registering, "open_run", _refuse)
            promote(bench, name)
        assert f"the trained network is kept in {folder}" in str(stopped.value)
    bench.store.close()
    shutil.rmtree(folder / "mlruns")
    return folder


def _refuse(*_: object) -> None:
    raise OSError(111, "Connection refused")


@pytest.fixture
def bench(trained: Path, tmp_path: Path) -> Iterator[Bench]:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    bench = bench_in(tmp_path)
    with closing(bench.store):
        yield bench


def promote(bench: Bench, study: str = "good", **options: Any) -> Promotion:
    settings, row = bench.settings, load_study(bench.store, study)
    return promoting.promote(settings, bench.store, row, PromotionOptions(**options))


def kept_files(bench: Bench, study: StudyRow, pattern: str = "*") -> Iterator[Path]:
    """What a promotion that did not end has kept."""
    return bench.settings.checkpoints.glob(f"{study.uuid}/promoted/{pattern}")


def versions(client: Client, name: str = "good") -> list[str]:
    return [str(each.version) for each in client.search_model_versions(f"name = '{name}'")]


def champion(client: Client, name: str = "good") -> str | None:
    found = model_registry.read_champion(client, name)
    return None if found is None else found.version


def test_a_network_is_promoted(bench: Bench) -> None:
    promotion = promote(bench)
    client = open_client(bench.settings.tracking_uri)
    assert (champion(client), promotion.version, promotion.replaced) == ("1", "1", None)
    version = client.get_model_version("good", "1")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(version.run_id)} >= {"MODEL_CARD.md"}
    assert version.description.startswith("# good")
    # So nothing that removes models takes it.
    (model,) = run.outputs.model_outputs
    tags = client.get_logged_model(model.model_id).tags
    assert json.loads(tags[model_registry.VERSIONS_TAG]) == [{"name": "good", "version": 1}]

    # What others load gives the figure, for the rows as they are.
    model = open_model(promotion.uri, bench.settings).model
    study = load_study(bench.store, "good")
    assert model.description.fingerprint == study.spec.fingerprint
    assert list(kept_files(bench, study)) == []
    assert (model.description.trial, model.description.trained_on) == (0, "train+validation")
    test = digits().test
    predicted = model.predict(np.asarray(test.x, np.float32))["prediction"].astype(int)
    accuracy = float((predicted.to_numpy() == test.y).mean())
    assert accuracy > 0.85
    assert promotion.metric == "test_accuracy"
    assert promotion.figure.value == pytest.approx(accuracy)
    assert run.data.metrics["test_accuracy"] == pytest.approx(accuracy)
    assert f"{100 * accuracy:.2f} %" in promotion.card


def test_only_a_better_network_replaces_the_champion(bench: Bench) -> None:
    promote(bench)
    client = open_client(bench.settings.tracking_uri)
    with pytest.raises(NotPromoted) as refused:
        promote(bench, "bad", name="good")
    words = str(refused.value)
    assert "does not beat the champion models:/good/1 on the same 270 test rows" in words
    assert "tuner promote bad --trial 0 --name good --replace" in words
    assert (champion(client), versions(client)) == ("1", ["1"])

    replaced = promote(bench, "bad", name="good", replace=True)
    assert (champion(client), replaced.version, replaced.replaced) == ("2", "2", "1")
    assert "does not beat" in str(replaced.comparison)
    assert replaced.comparison is not None and replaced.comparison[1:] in replaced.card


def test_the_champion_is_not_trained_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(bench)
    with monkeypatch.context() as patch:
        patch.setattr(promoting, "_final_network", None)  # refused before the test is read
        with pytest.raises(NotPromoted, match="models:/good/1 is trial 0 of this study already"):
            promote(bench)
    assert promote(bench, replace=True).version == "2"


def test_an_equal_network_does_not_replace_the_champion(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(bench)
    monkeypatch.setattr(champions, "difference", lambda *_, **__: Estimate(0.0, 0.0, 0.0))
    with pytest.raises(NotPromoted, match="equals the champion models:/good/1 in test accuracy"):
        promote(bench, "bad", name="good")


def test_a_better_network_replaces_the_champion(bench: Bench) -> None:
    promote(bench, "bad", name="model")
    better = promote(bench, "good", name="model")
    assert (better.version, better.replaced) == ("2", "1")
    assert "beats the champion models:/model/1" in str(better.comparison)


def test_a_champion_of_other_data_is_not_compared(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(bench)

    def of_other_data(file: Path, source: str) -> Any:
        return replace(read_description(file, source), fingerprint="f" * 64)

    monkeypatch.setattr(champions, "read_description", of_other_data)
    refused = r"other data, columns or splits \(fingerprint ffffff"
    with monkeypatch.context() as patch, pytest.raises(NotPromoted, match=refused):
        patch.setattr(promoting, "_final_network", None)  # refused before the test is read
        promote(bench, "bad", name="good")
    replaced = promote(bench, "bad", name="good", replace=True)
    assert replaced.replaced == "1"
    assert "other data" in str(replaced.comparison)


@pytest.mark.parametrize(
    ("step", "after"),
    [
        ("open_run", True),
        ("log_model", True),
        ("register_version", True),
        ("set_champion", False),
        ("set_champion", True),
    ],
)
def test_an_interrupted_promotion_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    """`after`: what the step does reaches MLflow, but its reply does not arrive."""
    real = getattr(registering, step)

    def interrupted(*arguments: Any) -> None:
        if after:
            real(*arguments)
        raise KeyboardInterrupt

    client = open_client(bench.settings.tracking_uri)
    with monkeypatch.context() as patch:
        patch.setattr(registering, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            promote(bench)
    assert champion(client) == ("1" if (step, after) == ("set_champion", True) else None)
    assert promote(bench).version == "1"
    assert (champion(client), versions(client)) == ("1", ["1"])
    experiments = [each.experiment_id for each in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    assert [run.info.status, len(run.outputs.model_outputs)] == ["FINISHED", 1]
    study = load_study(bench.store, "good")
    assert len(earlier_readings(bench.store, study.spec.fingerprint)) == len(LEARNING_RATES)


def test_a_version_of_another_file_is_no_champion(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = registering.register_version
    other = next(kept_files(bench, load_study(bench.store, "bad"), "*.keras"))

    def replaced(*arguments: Any) -> Any:
        version = real(*arguments)
        (sent,) = (bench.folder / "mlruns").rglob("model.keras")
        shutil.copyfile(other, sent)
        return version

    monkeypatch.setattr(registering, "register_version", replaced)
    with pytest.raises(TrackingError, match="models:/good/1 is another file than the one"):
        promote(bench)
    assert champion(open_client(bench.settings.tracking_uri)) is None


def test_a_champion_that_came_meanwhile_is_not_replaced_unseen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = registering.register_version

    def overtaken(*arguments: Any) -> Any:
        version = real(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(registering, "register_version", real)
            patch.setattr(promoting, "_one_at_a_time", lambda *_: nullcontext())
            promote(bench, "good", name="model")
        return version

    monkeypatch.setattr(registering, "register_version", overtaken)
    with pytest.raises(NotPromoted, match="does not beat the champion models:/model/2"):
        promote(bench, "bad", name="model")
    assert champion(open_client(bench.settings.tracking_uri), "model") == "2"


def test_a_network_that_was_trained_otherwise_is_not_taken(bench: Bench) -> None:
    study = load_study(bench.store, "good")
    trial = finished_trial(bench.store, study, None)
    dataset = digits()
    assert FinalNetworks(bench.settings, study, trial, dataset).kept() is not None
    other = replace(trial, params=trial.params | {"width": 33})
    assert FinalNetworks(bench.settings, study, other, dataset).kept() is None
    kept = next(bench.folder.rglob("promoted/trial-0.keras"))
    for file in bench.folder.rglob("promoted/*.keras"):
        file.write_bytes(kept.read_bytes()[:-1])
    assert FinalNetworks(bench.settings, study, trial, dataset).kept() is None


def test_a_store_that_is_away_is_no_reason_to_train_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(bench.store, "good")
    networks = FinalNetworks(
        bench.settings, study, finished_trial(bench.store, study, None), digits()
    )

    def refuse(*_: object) -> Path:
        raise ArtifactsUnavailable("s3://team: access is denied")

    monkeypatch.setattr(FolderArtifacts, "get", refuse)
    with pytest.raises(ArtifactsUnavailable):
        networks.kept()


def test_the_command(bench: Bench, tuner: Command) -> None:
    done = tuner("promote", "good")
    assert done.code == 0, done.err
    assert "champion: models:/good@champion, version 1" in done.out
    assert "next: tuner predict models:/good@champion DATA" in done.out
    refused = tuner("promote", "bad", "--name", "good", "--json")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.splitlines()[-1].endswith("--name good --replace")
    with pytest.raises(api.NotPromoted):
        api.load_study("bad").promote(name="good")


def test_python_says_how_to_allow_the_code_of_a_champion(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UntrustedCode([Code("net.py", "")], "the network", "models:/good/1")

    monkeypatch.setattr(promoting, "promote", refuse)
    allow = r"tuner\.load_model\('models:/good/1', trust_code=\['[0-9a-f]{64}'\]\)$"
    with pytest.raises(api.CodeError, match=allow):
        api.load_study("good", storage=bench.settings.storage).promote()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "a/b"}, "no name for a registered model: it holds /"),
        ({"trial": 7}, "has no trial 7"),
        ({"data": "nowhere.csv"}, r"nowhere\.csv.*--data PATH"),
    ],
)
def test_mistakes(bench: Bench, options: dict[str, Any], words: str) -> None:
    with pytest.raises(api.UsageError, match=words):
        promote(bench, **options)


def test_studies_of_a_database_that_may_be_a_copy_are_not_promoted(bench: Bench) -> None:
    record(bench.store, residence(bench.store))
    for file in bench.folder.glob("tuner.db*"):  # what was written last is beside it
        shutil.copy(file, file.with_name(file.name.replace("tuner", "copy")))
    with closing(open_store(f"sqlite:///{bench.folder}/copy.db")) as copy:
        settings, study = bench.settings, load_study(copy, "good")
        with pytest.raises(StudyError, match=r"promote is refused: .* may be a copy"):
            promoting.promote(settings, copy, study, PromotionOptions())


def test_what_cannot_be_promoted(bench: Bench) -> None:
    spec = load_study(bench.store, "good").spec
    plateau = make_space("mlp", {"schedule": "plateau"})
    search = Search(
        bench.store,
        create_study(bench.store, "plateau", spec.model_copy(update={"space": plateau})),
    )
    with pytest.raises(StudyError, match="has no finished trial"):
        promote(bench, "plateau")
    search.complete(search.start(), 0.9)
    with pytest.raises(StudyError, match="plateau watches the validation split"):
        promote(bench, "plateau")
    held_out = {"held_out": "test", "metric": "test_accuracy", "sampler": Choice(name="listed")}
    create_study(bench.store, "comparison", spec.model_copy(update=held_out))
    with pytest.raises(StudyError, match="is a comparison itself"):
        promote(bench, "comparison")
