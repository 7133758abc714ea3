"""Places, leases, attempts: exactly N trials together, whoever runs them and whoever dies."""

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState, create_trial

from tuner.storage import Store, places
from tuner.storage.places import Lease, Place
from tuner.storage.records import read_attempts
from tuner.storage.studies import StudyRow
from tuner.storage.tables import loops


@pytest.fixture
def lease(store: Store, study: StudyRow) -> Lease:
    return places.open_lease(store, study.study_id)


def claimed(store: Store, lease: Lease, limit: int = 99) -> Place:
    place = places.claim(store, lease, limit)
    assert place is not None
    return place


def begun(store: Store, lease: Lease) -> Place:
    """A place whose new trial runs."""
    place = claimed(store, lease)
    if place.trial_id is None:
        waiting(store)
        place = places.bind(store, lease, place)
    assert place.trial_id is not None
    store.optuna.set_trial_state_values(place.trial_id, TrialState.RUNNING)
    return places.begin_attempt(store, lease, place, place.trial_id, worker=0)


def waiting(store: Store) -> int:
    study = optuna.load_study(study_name="toy", storage=store.optuna)
    study.add_trial(create_trial(state=TrialState.WAITING))
    return int(study.get_trials()[-1]._trial_id)


def expire(store: Store, lease: Lease) -> None:
    with store.writing() as connection:
        connection.execute(
            sa.update(loops).where(loops.c.loop_id == lease.loop_id).values(expires_at=0.0)
        )


def ends(store: Store, lease: Lease) -> list[str | None]:
    found = read_attempts(store, lease.study_id)
    return [attempt.end for attempts in found.values() for attempt in attempts]


def test_ensuring_places_twice_adds_none(store: Store, study: StudyRow) -> None:
    for total in (3, 3, 2, 5):
        places.ensure_places(store, study.study_id, total)
    assert places.place_counts(store, study.study_id) == {"open": 5}
    assert places.place_counts(store, study.study_id, limit=2) == {"open": 2}


def test_adding_places(store: Store, study: StudyRow) -> None:
    assert places.add_places(store, study.study_id, 2) == 2
    assert places.add_places(store, study.study_id, 3) == 5
    assert places.add_places(store, study.study_id, 3, most=6) == 6
    assert places.add_places(store, study.study_id, 3, most=4) == 6
    assert places.place_counts(store, study.study_id) == {"open": 6}


def test_studies_do_not_share_places(store: Store, study: StudyRow, lease: Lease) -> None:
    places.ensure_places(store, study.study_id + 1, 5)
    assert places.claim(store, lease, 99) is None


def test_only_places_up_to_the_limit_are_claimed(store: Store, lease: Lease) -> None:
    places.ensure_places(store, lease.study_id, 5)
    assert [claimed(store, lease, limit=2).number for _ in range(2)] == [1, 2]
    assert places.claim(store, lease, limit=2) is None


def test_queued_trials_are_given_out_in_order_and_once(store: Store, lease: Lease) -> None:
    queued = [waiting(store) for _ in range(3)]
    places.ensure_places(store, lease.study_id, 5)
    assert [claimed(store, lease).trial_id for _ in range(5)] == [*queued, None, None]


def test_a_new_trial_is_bound_to_the_place_that_asks_first(store: Store, lease: Lease) -> None:
    places.ensure_places(store, lease.study_id, 2)
    first, second = claimed(store, lease), claimed(store, lease)
    assert places.bind(store, lease, first).trial_id is None
    trial_id = waiting(store)
    assert places.bind(store, lease, second).trial_id == trial_id
    assert places.bind(store, lease, first).trial_id is None


def test_what_was_put_back_comes_first_to_its_own_place(store: Store, lease: Lease) -> None:
    places.ensure_places(store, lease.study_id, 3)
    _, place = begun(store, lease), begun(store, lease)
    queued = waiting(store)
    store.optuna.set_trial_state_values(place.trial_id, TrialState.WAITING)
    # It waits now, but has a place: no other may have it, only the queued one.
    assert claimed(store, lease).trial_id == queued
    places.put_back(store, place, "interrupted")
    again = claimed(store, lease)
    assert (again.number, again.trial_id, again.attempt) == (place.number, place.trial_id, 1)
    assert places.begin_attempt(store, lease, again, queued - 1, worker=1).attempt == 2
    assert ends(store, lease) == [None, "interrupted", None]


def test_claiming_alone_is_no_attempt(store: Store, lease: Lease) -> None:
    places.ensure_places(store, lease.study_id, 1)
    assert claimed(store, lease).attempt == 0
    for _ in range(3):  # loops that die before they begin
        expire(store, lease)
        lease = places.open_lease(store, lease.study_id)
        (orphan,) = places.take_over_orphans(store, lease)
        places.put_back(store, orphan, "lost")
        assert claimed(store, lease).attempt == 0
    assert read_attempts(store, lease.study_id) == {}


def test_a_finished_place_is_never_open_again(store: Store, lease: Lease) -> None:
    places.ensure_places(store, lease.study_id, 1)
    places.finish(store, begun(store, lease))
    assert places.claim(store, lease, 99) is None
    assert places.place_counts(store, lease.study_id) == {"done": 1}


def test_a_freed_place_forgets_its_trial(store: Store, lease: Lease) -> None:
    places.ensure_places(store, lease.study_id, 1)
    place = begun(store, lease)
    store.optuna.set_trial_state_values(place.trial_id, TrialState.FAIL)
    places.free(store, place)
    again = claimed(store, lease)
    assert (again.number, again.trial_id, again.attempt) == (1, None, 0)


def test_orphans_are_taken_only_from_an_expired_lease(store: Store, lease: Lease) -> None:
    places.ensure_places(store, lease.study_id, 4)
    place, other = begun(store, lease), claimed(store, lease)
    places.finish(store, begun(store, lease))
    second = places.open_lease(store, lease.study_id)
    kept = begun(store, second)
    assert places.take_over_orphans(store, second) == []
    expire(store, lease)
    found = places.take_over_orphans(store, second)
    assert sorted(orphan.number for orphan in found) == [place.number, other.number]
    assert places.take_over_orphans(store, second) == []
    assert ends(store, lease) == ["lost", None, None]
    assert kept.number not in [orphan.number for orphan in found]


def test_a_renewed_lease_holds_and_an_ended_one_does_not(store: Store, lease: Lease) -> None:
    places.ensure_places(store, lease.study_id, 1)
    begun(store, lease)
    second = places.open_lease(store, lease.study_id)
    expire(store, lease)
    places.renew_lease(store, lease)
    assert places.take_over_orphans(store, second) == []
    places.renew_lease(store, lease, lasts_s=-1.0)
    assert len(places.take_over_orphans(store, second)) == 1


def test_losses_are_counted_and_interruptions_are_not(store: Store, lease: Lease) -> None:
    places.ensure_places(store, lease.study_id, 1)
    for end in ("worker_lost", "interrupted", "timeout", "lost"):
        place = begun(store, lease)
        store.optuna.set_trial_state_values(place.trial_id, TrialState.WAITING)
        places.put_back(store, place, end)
    assert place.trial_id is not None
    assert places.count_losses(store, place.trial_id) == 2
    assert ends(store, lease) == ["worker_lost", "interrupted", "timeout", "lost"]
