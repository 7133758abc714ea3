"""Studies in SQL, as `tuner study` sees them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState, create_trial
from toy_study import toy_spec
from trial_writes import begun
from waiting import wait_until, waits_for_a_lock

from tuner.errors import SpecError, StudyError
from tuner.storage import Store, attempt_rows, leases, open_store, slots
from tuner.storage.schema import (
    METRIC_NAMES,
    STUDY_UUID,
    metadata,
    optuna_study_attributes,
    studies,
)
from tuner.storage.studies import (
    StudyRow,
    create_study,
    delete_study,
    free_name,
    list_studies,
    load_study,
    name_objectives,
)
from tuner.study.messages import Report


def test_what_is_created_is_loaded(storage_url: str) -> None:
    spec = toy_spec(seed=7)
    store = open_store(storage_url)
    created = create_study(store, "toy", spec, experiment="shared")
    store.close()
    again = open_store(storage_url)
    loaded = load_study(again, "toy")
    again.close()
    assert loaded == created
    assert (loaded.spec, loaded.experiment) == (spec, "shared")
    assert abs(datetime.now(UTC) - loaded.created_at) < timedelta(minutes=5)


def test_experiment_is_named_like_the_study(store: Store) -> None:
    assert create_study(store, "toy", toy_spec()).experiment == "toy"


def test_without_a_name_the_newest(store: Store) -> None:
    for name in ("b", "a", "c"):
        create_study(store, name, toy_spec())
    assert load_study(store).name == "c"
    delete_study(store, load_study(store, "c"))
    assert load_study(store).name == "a"


def test_optuna_calls_the_objective_by_its_metric(store: Store) -> None:
    old, other = (create_study(store, name, toy_spec()) for name in ("old", "other"))

    def metric_names(study: StudyRow) -> list[str] | None:
        return optuna.load_study(study_name=study.name, storage=store.optuna).metric_names

    assert metric_names(old) == [old.spec.metric]
    marks = optuna_study_attributes
    store.write(lambda it: it.execute(sa.delete(marks).where(marks.c.key == METRIC_NAMES)))
    assert metric_names(old) is None  # as earlier versions left it
    name_objectives(store, only=old)
    assert (metric_names(old), metric_names(other)) == ([old.spec.metric], None)
    name_objectives(store)
    name_objectives(store)
    assert metric_names(other) == [other.spec.metric]


def test_first_trials_wait_in_their_order(store: Store) -> None:
    wanted = [{"x": 0.3}, {"x": 0.1}, {"x": 0.2}]
    create_study(store, "toy", toy_spec(), first_trials=wanted)
    trials = store.optuna.get_all_trials(load_study(store).study_id)
    assert [trial.system_attrs["fixed_params"] for trial in trials] == wanted
    assert {trial.state for trial in trials} == {TrialState.WAITING}


def test_a_name_is_taken_once(store: Store, study: StudyRow) -> None:
    with pytest.raises(StudyError, match="a study named 'toy' exists already"):
        create_study(store, "toy", toy_spec(seed=1))
    assert load_study(store, "toy") == study


def test_an_unknown_name_lists_those_there_are(store: Store) -> None:
    for name in ("one", "two"):
        create_study(store, name, toy_spec())
    with pytest.raises(StudyError, match=r"no study named 'three' in .*; there are: two, one"):
        load_study(store, "three")


def test_no_study_at_all_says_how_to_make_one(store: Store) -> None:
    with pytest.raises(StudyError, match="holds no study; create one with: tuner study create"):
        load_study(store)


def test_optunas_own_study_is_none_of_ours(store: Store) -> None:
    optuna.create_study(study_name="theirs", storage=store.optuna)
    assert list_studies(store) == []
    with pytest.raises(StudyError, match="holds no study"):
        load_study(store, "theirs")
    with pytest.raises(StudyError, match="did not finish creating; choose another name"):
        create_study(store, "theirs", toy_spec())
    assert free_name(store, "theirs") == "theirs-2"


def test_free_names_are_numbered(store: Store) -> None:
    assert free_name(store, "toy") == "toy"
    for name in ("toy", "toy-2"):
        create_study(store, name, toy_spec())
    assert free_name(store, "toy") == "toy-3"


@pytest.mark.parametrize(("metric", "best"), [("val_accuracy", 0.9), ("val_loss", 0.2)])
def test_the_list_counts_trials_and_knows_the_best(store: Store, metric: str, best: float) -> None:
    direction = "maximize" if metric == "val_accuracy" else "minimize"
    create_study(store, "toy", toy_spec(metric=metric, direction=direction))
    study = optuna.load_study(study_name="toy", storage=store.optuna)
    for value in (0.5, 0.9, 0.2):
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=value))
    # Neither a pruned trial's value nor what is not finite can be the best.
    study.add_trial(create_trial(state=TrialState.PRUNED, value=1.0 if best == 0.9 else 0.0))
    for value in (float("inf"), float("-inf")):
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=value))
    study.add_trial(create_trial(state=TrialState.FAIL))
    study.enqueue_trial({"x": 0.1})
    create_study(store, "empty", toy_spec())

    empty, toy = list_studies(store)
    assert (empty.name, empty.states, empty.best, empty.finished) == ("empty", {}, None, 0)
    assert toy.states == {"COMPLETE": 5, "PRUNED": 1, "FAIL": 1, "WAITING": 1}
    assert (toy.best, toy.finished, toy.metric, toy.data) == (best, 6, metric, "points.npz")


def test_deleting_leaves_no_row_and_spares_the_others(store: Store) -> None:
    for name in ("kept", "gone"):
        _use(store, create_study(store, name, toy_spec()))
    before = _rows(store)
    with pytest.raises(StudyError, match="being searched by"):
        delete_study(store, load_study(store, "gone"))
    delete_study(store, load_study(store, "gone"), even_while_searched=True)
    assert [study.name for study in list_studies(store)] == ["kept"]
    assert _rows(store) == {table: count / 2 for table, count in before.items()}
    assert [study.study_name for study in store.optuna.get_all_studies()] == ["kept"]
    create_study(store, "gone", toy_spec())


def _use(store: Store, study: StudyRow) -> None:
    """Leave rows of every kind that a loop writes."""
    lease = leases.open_lease(store, study)
    slots.ensure_slots(store, study, 1)
    slot = begun(store, lease)
    attempt_rows.record_report(store, lease, slot, Report(1, 1, True, {"loss": 1.0}))


def _rows(store: Store) -> dict[str, float]:
    with store.reading() as connection:
        return {
            table.name: connection.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
            for table in metadata.sorted_tables
        }


def test_a_spec_of_another_version_is_refused_in_one_line(store: Store, study: StudyRow) -> None:
    with store.writing() as connection:
        connection.execute(sa.update(studies).values(spec='{"space": {}, "later": 1}'))
    with pytest.raises(SpecError, match="not a study of this version of tuner") as caught:
        load_study(store)
    assert "\n" not in str(caught.value)


def test_a_study_that_cannot_be_finished_leaves_its_name_free(store: Store) -> None:
    with pytest.raises(TypeError):
        create_study(store, "toy", toy_spec(), first_trials=[{"x": 0.5}, {"x": object()}])
    assert store.optuna.get_all_studies() == []
    create_study(store, "toy", toy_spec())


def test_what_optuna_deleted_is_gone_here_too(store: Store, study: StudyRow) -> None:
    _use(store, study)
    store.optuna.delete_study(study.study_id)  # as the dashboard's button does
    assert list_studies(store) == []
    with pytest.raises(StudyError, match="holds no study"):
        load_study(store)
    # SQLite gives the ids out again: nothing old may cling to them.
    _use(store, create_study(store, "toy", toy_spec()))
    assert _rows(store)["tuner_intervals"] == 1


@pytest.mark.parametrize("spoiled", ['"0"', "oops", "{}"])
def test_a_study_whose_mark_is_spoiled_is_kept(store: Store, study: StudyRow, spoiled: str) -> None:
    _use(store, study)
    with store.writing() as connection:
        marks = optuna_study_attributes
        mark = sa.update(marks).where(marks.c.key == STUDY_UUID)
        connection.execute(mark.values(value_json=spoiled))
    create_study(store, "another", toy_spec())
    assert _rows(store)["tuner_studies"] == 2
    assert _rows(store)["tuner_intervals"] == 1


def test_a_study_of_others_that_took_the_name_is_spared(store: Store, study: StudyRow) -> None:
    store.optuna.delete_study(study.study_id)
    theirs = optuna.create_study(storage=store.optuna, study_name=study.name)
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    delete_study(store, replace(study, study_id=theirs._study_id))
    assert [kept.study_name for kept in store.optuna.get_all_studies()] == [study.name]
    assert len(theirs.get_trials()) == 1


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_study_made_while_another_clears_up_is_kept(store: Store) -> None:
    """PostgreSQL gives every statement a new view of the rows; SQLite has one writer at a time."""
    own = store.writer
    made: list[StudyRow] = []

    @sa.event.listens_for(own, "after_cursor_execute")
    def meanwhile(connection, cursor, statement, *_rest) -> None:
        if "tuner_studies" in statement and not made:
            made.append(create_study(other, "meanwhile", toy_spec()))

    other = open_store(store.url.render_as_string(hide_password=False))
    create_study(store, "toy", toy_spec())
    other.close()
    sa.event.remove(own, "after_cursor_execute", meanwhile)
    assert {study.name for study in list_studies(store)} == {"toy", "meanwhile"}


_REPORT = "INSERT INTO trial_intermediate_values VALUES (DEFAULT, :trial, 9, 0.5, 'FINITE')"
_NOTE = "INSERT INTO trial_user_attributes VALUES (DEFAULT, :trial, 'note', '1')"
_TRIAL = "INSERT INTO trials (number, study_id, state) VALUES (9, :study, 'WAITING')"
_MARK = "INSERT INTO study_user_attributes VALUES (DEFAULT, :study, 'note', '1')"


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@pytest.mark.parametrize("written", [_REPORT, _NOTE, _TRIAL, _MARK])
@pytest.mark.parametrize("by_optuna", [False, True])
def test_what_is_being_written_is_deleted_too(
    store: Store, study: StudyRow, written: str, by_optuna: bool
) -> None:
    """SQLite has one writer at a time."""
    _use(store, study)

    def delete() -> None:
        if by_optuna:
            store.optuna.delete_study(study.study_id)
        else:
            delete_study(store, study, even_while_searched=True)

    with ThreadPoolExecutor() as pool:
        with store.writing() as connection:
            ids = connection.execute(sa.text("SELECT trial_id, study_id FROM trials")).one()
            connection.execute(sa.text(written), dict(zip(("trial", "study"), ids, strict=True)))
            deletion = pool.submit(delete)
            wait_until(lambda: deletion.done() or waits_for_a_lock(store))
            assert not deletion.done()
        deletion.result(30)
    assert store.optuna.get_all_studies() == []
    assert list_studies(store) == []
