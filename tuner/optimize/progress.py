"""How far a study is, by what SQL says."""

from tuner.optimize.board import Board
from tuner.optimize.limits import Stopping
from tuner.spec import StudySpec
from tuner.storage import Store, places
from tuner.storage.tables import StudyKey
from tuner.training.events import Goal


def look_around(
    store: Store, study: StudyKey, spec: StudySpec, board: Board, stopping: Stopping
) -> None:
    """Bring the board up to date, with what other loops and earlier commands did."""
    goal = Goal(spec.metric, spec.direction, stopping.limits.target)
    board.done = places.place_counts(store, study, board.total).get("done", 0)
    best = places.best_score(store, study, spec.direction) if spec.selects else None
    if best is not None and goal.better(best[0], board.best):
        board.best, board.best_trial = best
    if goal.reached(board.best):
        stopping.target()


def all_done(store: Store, study: StudyKey, total: int) -> bool:
    """Whether all places up to that number are done: nothing is left, here or in another loop."""
    return set(places.place_counts(store, study, total)) <= {"done"}
