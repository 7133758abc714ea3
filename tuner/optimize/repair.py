"""Putting a study right that dead loops have left, without running it."""

import optuna

from tuner.optimize.trials import Repaired, TrialBook
from tuner.storage import Store, leases
from tuner.storage.keeper import LeaseKeeper
from tuner.storage.studies import StudyRow


def repair(store: Store, study: StudyRow) -> Repaired:
    """What each start of `tuner optimize` does first. Loops whose lease holds are left alone."""
    lease = leases.open_lease(store, study, begins_trials=False)
    optuna_study = optuna.load_study(study_name=study.name, storage=store.optuna)
    book = TrialBook(store, optuna_study, study.spec, lease)
    try:
        # There may be thousands: the lease is to last until the last one.
        with store.asking_optuna(), LeaseKeeper(store, lease):
            return book.repair()
    finally:
        book.close()
