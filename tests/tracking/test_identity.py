"""Several people, several MLflows, and what people do in MLflow's UI: nothing is mistaken for
something else, split or doubled."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fork_server import ForkedPythons
from mlflow_server import MlflowServer
from test_logged_models import keras_file
from tracking_helpers import Search, make_settings, make_spec

from tuner.doctor.search_checks import checks_of_searches
from tuner.errors import TrackingError
from tuner.storage import deliveries, leases, open_store
from tuner.storage.diagnostics import open_read_only
from tuner.storage.studies import create_study, delete_study
from tuner.tracking import remove_study, start_tracker
from tuner.tracking.check import Difference
from tuner.tracking.client import Client, open_client
from tuner.tracking.experiments import ALL, all_experiments
from tuner.tracking.process import current_experiment_name
from tuner.tracking.study_delivery import StudyDelivery
from tuner.tracking.sync import check_study, sync_study

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_new_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor's and the tracker's processes need 3 s each to import MLflow."""
    for module in ("tuner.tracking.probe", "tuner.tracking.process"):
        monkeypatch.setattr(f"{module}.subprocess", ForkedPythons)


@pytest.fixture(scope="module")
def server() -> Iterator[MlflowServer]:
    folder = Path(tempfile.mkdtemp(prefix="tuner-mlflow-"))
    server = MlflowServer(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


# What both do alike is tried on one of them: each test waits for some hundred requests.
ON_A_STORE = pytest.mark.parametrize("uri", ["store"], indirect=True)
ON_A_SERVER = pytest.mark.parametrize("uri", ["server"], indirect=True)


@pytest.fixture(params=["store", "server"])
def uri(request: pytest.FixtureRequest) -> str:
    """A store of our own and a server: one MLflow for all who use it."""
    if request.param == "store":
        return str(request.getfixturevalue("tracking_uri"))
    server = request.getfixturevalue("server")
    assert isinstance(server, MlflowServer)
    return server.uri


class Person(Search):
    """A search in a database and with networks of somebody's own."""

    def __init__(
        self, folder: Path, tables: Path, name: str, uri: str, experiment: str | None = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        if not (folder / "tuner.db").exists():
            shutil.copy(tables, folder / "tuner.db")
        self.folder, self.uri = folder, uri
        store = open_store(f"sqlite:///{folder}/tuner.db")
        super().__init__(store, create_study(store, name, make_spec(), experiment))

    def trials(self, *scores: float) -> None:
        for score in scores:
            trial = self.start()
            self.train(trial, epochs=2)
            path = self.folder / f"{self.study.uuid}-{trial.number}.keras"
            self.complete(trial, score, keras_file(path))

    def sync(self) -> None:
        synced = sync_study(self.store, self.uri, self.study, networks=self.folder)
        assert (synced.missing, synced.problem) == (0, None)
        assert self.differences() == []

    def differences(self) -> list[Difference]:
        return check_study(self.store, self.uri, self.study, networks=self.folder).differences

    def runs(self, view: int = 1) -> list[Any]:
        """The runs outside the bin that carry the study's UUID."""
        client = open_client(self.uri)
        ids = [one.experiment_id for one in all_experiments(client)]
        found = client.search_runs(
            ids, f"tags.`tuner.study_uuid` = '{self.study.uuid}'", view, max_results=1000
        )
        return list(found)

    def names(self) -> list[str]:
        return sorted(run.info.run_name for run in self.runs())

    def model_ids(self) -> list[str]:
        return [one.model_id for run in self.runs() for one in run.outputs.model_outputs]

    def is_whole(self) -> bool:
        """One run of the study, one of each trial beneath it, all in one experiment."""
        runs = self.runs()
        (parent,) = [run for run in runs if "tuner.study" in run.data.tags]
        children = [run for run in runs if run is not parent]
        ended = [trial for trial in deliveries.outlines(self.store, self.study) if trial.ended]
        return (
            sorted(int(run.data.tags["trial"]) for run in children) == [t.number for t in ended]
            and {run.info.experiment_id for run in runs} == {parent.info.experiment_id}
            and {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
        )


Make = Callable[..., Person]


@pytest.fixture
def person(
    tmp_path: Path, made_tables: Path, uri: str, request: pytest.FixtureRequest
) -> Iterator[Make]:
    made: list[Person] = []

    def make(folder: str = "a", name: str | None = None, **options: Any) -> Person:
        wanted = name or request.node.name.replace("[", "-").strip("]")
        options.setdefault("uri", uri)
        made.append(Person(tmp_path / folder, made_tables, wanted, **options))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


def fingerprint(person: Person) -> list[Any]:
    """All that MLflow shows of it, to be compared."""
    return sorted(
        (run.info.run_id, run.info.status, run.data.tags, run.data.params, run.data.metrics)
        for run in person.runs()
    )


def test_two_people_with_one_mlflow(person: Make, uri: str) -> None:
    ann, bob = person("ann"), person("bob")
    assert ann.study.name == bob.study.name
    ann.trials(0.5, 0.8)
    ann.sync()
    before, models = fingerprint(ann), ann.model_ids()
    bob.trials(0.6, 0.4, 0.9)
    bob.sync()
    assert fingerprint(ann) == before
    assert ann.differences() == []
    experiments = {person.runs()[0].info.experiment_id for person in (ann, bob)}
    client = open_client(uri)
    names = {client.get_experiment(one).name for one in experiments}
    assert names == {ann.study.name, f"{bob.study.name} ({bob.study.uuid[:8]})"}
    shown = {current_experiment_name(uri, one.study, one.store) for one in (ann, bob)}
    assert shown == (names if uri.startswith("sqlite") else {ann.study.name})
    removed = remove_study(uri, bob.study, bob.store)
    assert (removed.runs, removed.models) == (4, 3)
    assert bob.runs() == []
    assert fingerprint(ann) == before
    assert [client.get_logged_model(model_id).status for model_id in models]
    assert ann.differences() == []
    assert client.get_experiment_by_name(ann.study.name).lifecycle_stage == "active"


@ON_A_STORE
def test_two_people_share_an_experiment(person: Make, uri: str) -> None:
    shared = f"shared {uri[:5]}"
    ann, bob = person("ann", experiment=shared), person("bob", experiment=shared)
    for one in (ann, bob):
        one.trials(0.5)
        one.sync()
    before = fingerprint(ann)
    assert {run.info.experiment_id for run in ann.runs() + bob.runs()} == {
        open_client(uri).get_experiment_by_name(shared).experiment_id
    }
    remove_study(uri, bob.study, bob.store)
    assert (bob.runs(), fingerprint(ann)) == ([], before)


def rename(client: Client, person: Person) -> None:
    experiment_id = person.runs()[0].info.experiment_id
    client.rename_experiment(experiment_id, f"renamed {person.study.uuid}")


def delete_a_trial(client: Client, person: Person) -> None:
    client.delete_run(next(r for r in person.runs() if "trial" in r.data.tags).info.run_id)


def delete_the_parent(client: Client, person: Person) -> None:
    client.delete_run(next(r for r in person.runs() if "tuner.study" in r.data.tags).info.run_id)


def delete_all_runs(client: Client, person: Person) -> None:
    for run in person.runs():
        client.delete_run(run.info.run_id)


def delete_the_experiment(client: Client, person: Person) -> None:
    client.delete_experiment(person.runs()[0].info.experiment_id)


def rename_and_delete(client: Client, person: Person) -> None:
    rename(client, person)
    delete_the_parent(client, person)


def adopt_elsewhere(client: Client, person: Person) -> None:
    run = next(run for run in person.runs() if "trial" in run.data.tags)
    client.set_tag(run.info.run_id, "mlflow.parentRunId", "0" * 32)


HARM = [
    rename,
    delete_a_trial,
    delete_the_parent,
    delete_all_runs,
    delete_the_experiment,
    rename_and_delete,
    adopt_elsewhere,
]


# A server is asked the same by the same client: it is tried where a whole experiment changes.
@pytest.mark.parametrize(
    ("uri", "then", "harm"),
    [
        *[("store", "search", harm) for harm in HARM],
        *[("store", "sync", harm) for harm in HARM[:4]],
        *[("server", "sync", harm) for harm in HARM[4:]],
    ],
    indirect=["uri"],
)
def test_what_people_do_in_the_ui_splits_and_doubles_nothing(
    person: Make, uri: str, harm: Callable[[Client, Person], None], then: str
) -> None:
    ann = person()
    ann.trials(0.5, 0.8)
    ann.sync()
    run_ids = {run.info.run_id for run in ann.runs()}
    harm(open_client(uri), ann)
    if then == "search":
        ann.trials(0.9)
        client = open_client(uri)
        with contextlib.suppress(TrackingError):
            StudyDelivery(ann.store, client, ann.study, networks=ann.folder).deliver(last=True)
    ann.sync()
    assert ann.is_whole()
    assert run_ids <= {run.info.run_id for run in ann.runs()}, "what was in the bin was made anew"


def purge(person: Person, run_ids: list[str]) -> None:
    """As `mlflow gc` does."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(person.uri, str(person.folder))
    for run_id in run_ids:
        store.delete_run(run_id)
        store._hard_delete_run(run_id)
    store.engine.dispose()


@ON_A_STORE
@pytest.mark.parametrize("which", ["parent", "trial", "all"])
def test_what_was_purged_is_made_anew(person: Make, uri: str, which: str) -> None:
    ann = person()
    ann.trials(0.5, 0.8)
    ann.sync()
    runs = ann.runs()
    wanted = {"parent": "tuner.study", "trial": "trial"}.get(which)
    gone = [run.info.run_id for run in runs if wanted is None or wanted in run.data.tags]
    purge(ann, gone)
    assert ann.differences()
    ann.sync()
    assert ann.is_whole()
    kept = {run.info.run_id for run in runs} - set(gone)
    assert kept <= {run.info.run_id for run in ann.runs()}


@ON_A_STORE
def test_another_mlflow_and_back(person: Make, uri: str, tmp_path: Path) -> None:
    ann = person()
    ann.trials(0.5, 0.8)
    ann.sync()
    before = fingerprint(ann)
    ann.uri = f"sqlite:///{tmp_path}/other/mlflow.db"
    ann.sync()
    assert ann.is_whole()
    ann.uri = uri
    ann.sync()
    assert fingerprint(ann) == before


@ON_A_STORE
def test_an_older_copy_of_the_database_doubles_nothing(person: Make, uri: str) -> None:
    ann = person()
    ann.trials(0.5)
    ann.sync()
    ann.store.close()
    saved = ann.folder / "saved.db"
    shutil.copy(ann.folder / "tuner.db", saved)
    ann.trials(0.8)
    ann.sync()
    ann.store.close()
    for file in ann.folder.glob("tuner.db*"):
        file.unlink()
    shutil.copy(saved, ann.folder / "tuner.db")
    ann.lease = leases.open_lease(ann.store, ann.study)
    ann.store.optuna.remove_session()
    ann.trials(0.7)
    ann.sync()
    assert ann.is_whole()
    scores = [run.data.metrics["score"] for run in ann.runs() if "trial" in run.data.tags]
    assert sorted(scores) == [0.5, 0.7]


@ON_A_STORE
def test_runs_of_an_earlier_version_are_marked(person: Make, uri: str) -> None:
    ann = person()
    ann.trials(0.5, 0.8)
    ann.sync()
    client = open_client(uri)
    before = {run.info.run_id for run in ann.runs()}
    for run_id in before:
        client.delete_tag(run_id, "tuner.study_uuid")
    assert ann.runs() == []
    assert ann.differences() == []
    ann.sync()
    assert {run.info.run_id for run in ann.runs()} == before
    assert ann.is_whole()


@ON_A_STORE
def test_what_carries_another_uuid_is_not_touched(person: Make, uri: str) -> None:
    """Though SQL remembers it: two databases of an earlier version wrote into the same runs."""
    ann = person()
    ann.trials(0.5)
    ann.sync()
    client = open_client(uri)
    theirs = [run.info.run_id for run in ann.runs()]
    for run_id in theirs:
        client.set_tag(run_id, "tuner.study_uuid", "f" * 32)
    before = [client.get_run(run_id).to_dictionary() for run_id in theirs]
    ann.sync()
    assert ann.is_whole()
    assert not set(theirs) & {run.info.run_id for run in ann.runs()}
    remove_study(uri, ann.study, ann.store)
    assert [client.get_run(run_id).to_dictionary() for run_id in theirs] == before


@ON_A_STORE
def test_runs_without_a_uuid_that_nobody_remembers_are_not_touched(person: Make, uri: str) -> None:
    ann = person()
    ann.trials(0.5)
    ann.sync()
    client = open_client(uri)
    experiment_id = ann.runs()[0].info.experiment_id
    name = ann.study.name
    tags = {"study": name, "tuner.study": name, "tuner.trial": f"{name}/0", "trial": "0"}
    stranger = client.create_run(experiment_id, tags=tags).info.run_id
    assert ann.differences() == []
    ann.sync()
    remove_study(uri, ann.study, ann.store)
    assert client.get_run(stranger).info.lifecycle_stage == "active"
    assert client.get_experiment(experiment_id).lifecycle_stage == "active"


@ON_A_STORE
def test_a_new_study_of_the_name_gets_an_experiment_of_its_own(person: Make, uri: str) -> None:
    ann = person()
    ann.trials(0.5)
    ann.sync()
    delete_study(ann.store, ann.study, even_while_searched=True)  # with --keep-runs
    kept = fingerprint(ann)
    again = person("b", name=ann.study.name)
    again.trials(0.6)
    again.sync()
    assert again.is_whole()
    assert fingerprint(ann) == kept
    homes = {one.runs()[0].info.experiment_id for one in (ann, again)}
    assert len(homes) == 2


@ON_A_SERVER
def test_an_experiment_that_was_made_unheard_is_found(
    person: Make, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = person()
    ann.trials(0.5)
    client = open_client(uri)
    create = client.create_experiment

    def create_unheard(*words: Any, **options: Any) -> None:
        create(*words, **options)
        raise OSError("connection reset")

    with monkeypatch.context() as patch, pytest.raises(TrackingError):
        patch.setattr(client, "create_experiment", create_unheard)
        StudyDelivery(ann.store, client, ann.study).deliver()
    ann.sync()
    mine = [one for one in all_experiments(client) if ann.study.uuid in one.tags.values()]
    assert len(mine) == 1


@ON_A_STORE
@pytest.mark.parametrize("gone", ["data/model.keras", "."])
def test_files_of_a_model_that_are_gone_are_seen_and_written_again(
    person: Make, uri: str, gone: str
) -> None:
    ann = person()
    ann.trials(0.5)
    ann.sync()
    (model_id,) = ann.model_ids()
    folder = Path(open_client(uri).get_logged_model(model_id).artifact_location)
    shutil.rmtree(folder) if gone == "." else (folder / gone).unlink()
    assert [one.what for one in ann.differences()] == ["its model's files are missing"]
    if gone != ".":
        _assert_doctor_reports_lost_files(ann, uri)
    ann.sync()
    assert ann.model_ids() == [model_id]
    assert (folder / "data" / "model.keras").is_file()
    if gone != ".":
        assert [one.state for one in doctor(ann)] == ["ok"]


def _assert_doctor_reports_lost_files(ann: Person, uri: str) -> None:
    """By the doctor and by the end of a search, which are processes that take seconds."""
    (finding,) = [each for each in doctor(ann) if each.state == "warn"]
    assert finding.message.endswith("lacks 1 ended trial (trial 0: its model's files are missing)")
    delivered = start_tracker(make_settings(ann, uri), ann.study).finish(60)
    assert (delivered.sent, delivered.missing) == (0, 1)
    assert delivered.problem == "trial 0: its model's files are missing"
    page = f"experiments/{ann.runs()[0].info.experiment_id}/runs"
    link = f"{uri}/#/{page}?viewStateShareKey={ann.study.uuid[:8]}"
    assert delivered.link == (link if uri.startswith("http") else None)


@ON_A_STORE
def test_a_model_that_is_lost_for_good_is_not_shown(person: Make, uri: str) -> None:
    ann = person()
    ann.trials(0.5)
    ann.sync()
    (model_id,) = ann.model_ids()
    shutil.rmtree(open_client(uri).get_logged_model(model_id).artifact_location)
    for network in ann.folder.glob("*.keras"):
        network.unlink()
    assert [one.what for one in ann.differences()] == ["its model's files are missing"]
    ann.sync()


@ON_A_SERVER
def test_a_model_deleted_by_hand_is_logged_again(person: Make, uri: str) -> None:
    ann = person()
    ann.trials(0.5)
    ann.sync()
    open_client(uri).delete_logged_model(ann.model_ids()[0])
    assert [one.what for one in ann.differences()] == ["its model is missing"]
    ann.sync()


def doctor(person: Person) -> list[Any]:
    leases.renew_lease(person.store, person.lease, 0)  # the search is over
    store = open_read_only(person.store.url.render_as_string())
    try:
        return list(checks_of_searches(store, make_settings(person, person.uri))["deliveries"]())
    finally:
        store.close()


@ON_A_STORE
def test_the_doctor_sees_what_sync_sees(person: Make, uri: str) -> None:
    ann = person()
    ann.trials(0.5, 0.8)
    ann.sync()
    assert [one.message for one in doctor(ann)] == ["MLflow has 2 ended trials"]
    delete_a_trial(open_client(uri), ann)
    warned = [one for one in doctor(ann) if one.state == "warn"]
    assert [one.message.partition(":")[2][:28] for one in warned] == [
        " MLflow lacks 1 ended trial "
    ]


@ON_A_SERVER
def test_a_run_in_the_bin_stays_there_when_it_was_replaced(person: Make, uri: str) -> None:
    ann = person()
    ann.trials(0.5)
    ann.sync()
    run = next(run for run in ann.runs() if "trial" in run.data.tags)
    open_client(uri).log_metric(run.info.run_id, "score", 0.1)
    ann.sync()
    ann.sync()
    assert ann.is_whole()
    assert len(ann.runs(ALL)) == 3
