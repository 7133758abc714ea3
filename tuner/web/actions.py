"""What an operator changes from the page: each action is a POST form, answered by the page again
with a line about what was done, or why not.

A new action is a function and one line in `STUDY_ACTIONS` or `TRIAL_ACTIONS`; the guard of this
router refuses readers and forms of other sites.
"""

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from tuner.errors import TunerError, UsageError
from tuner.manage.control import StudyPlan, change_state, describe_plan, plan_study
from tuner.runner import Limits, slots_wanted
from tuner.storage import Store, slots
from tuner.storage.studies import StudyRow, check_is_search
from tuner.storage.study_control import stop_trial
from tuner.storage.trials import retry
from tuner.study.study_state import StudyState
from tuner.system.names import printable
from tuner.values import shown
from tuner.web.page_rendering import redirect
from tuner.web.parts import part
from tuner.web.web_setup import OpenedStudy, opened_trial

router = APIRouter()

Form = Mapping[str, str]
StudyAction = Callable[[Store, StudyRow, Form], str]
TrialAction = Callable[[Store, StudyRow, int], str]


async def form_of(request: Request) -> Form:
    """The form's fields that are texts."""
    return {name: text for name, text in (await request.form()).items() if isinstance(text, str)}


def whole_number(form: Form, field: str, name: str) -> int:
    """Raises UsageError for what is no whole number."""
    text = form.get(field, "").strip()
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{name} must be a whole number, got {shown(text)}") from error


def _changes_to(state: StudyState) -> StudyAction:
    return lambda store, study, _form: change_state(store, study, state)


def _add_trials(store: Store, study: StudyRow, form: Form) -> str:
    check_is_search(study, "adding trials")
    more = whole_number(form, "more", "the number of trials to add")
    Limits.check_count("the number of trials to add", more)
    before = slots.total_slots(store, study)
    total = slots_wanted(store, study, trials=None, more=more)
    if total - before < more:
        return f"the study has {total:,} trials in all: its grid has no more points"
    return f"{more:,} trials added: the study has {total:,} in all"


def _set_priority(store: Store, study: StudyRow, form: Form) -> str:
    plan = StudyPlan(priority=whole_number(form, "priority", "the priority"))
    plan_study(store, study, plan)
    return describe_plan(store, study, plan)


def _retry(store: Store, study: StudyRow, number: int) -> str:
    return describe_queued(store, study, *retry(store, study, number))


def _stop_trial(store: Store, study: StudyRow, number: int) -> str:
    if stop_trial(store, study, number):
        return f"trial {number} ends at its next report, with its best score so far"
    return f"trial {number} does not run now; it ends when it goes on"


def describe_queued(store: Store, study: StudyRow, number: int, waiting: int) -> str:
    """What happens with a trial that was queued."""
    line = f"trial {number} is queued ({waiting} waiting)"
    if slots.slot_counts(store, study).get("open", 0) < waiting:
        return f"{line}; the study has too few trials left for all that wait: add some"
    return f"{line}: it runs before the sampler proposes others"


STUDY_ACTIONS: dict[str, StudyAction] = {
    "pause": _changes_to(StudyState.PAUSED),
    "resume": _changes_to(StudyState.RUNNING),
    "stop": _changes_to(StudyState.STOPPED),
    "add": _add_trials,
    "priority": _set_priority,
}
TRIAL_ACTIONS: dict[str, TrialAction] = {
    "retry": _retry,
    "stop": _stop_trial,
}


@router.get("/studies/{uuid}/actions")
def show_actions(request: Request, opened: OpenedStudy) -> Response:
    """The buttons that suit the study as it is now."""
    _, study = opened
    heading = f"Change study {printable(study.name)}"
    return part(request, "study_actions.html", heading, study=study)


@router.post("/studies/{uuid}/actions/{name}")
def change_study(
    request: Request, opened: OpenedStudy, name: str, form: Annotated[Form, Depends(form_of)]
) -> Response:
    """Do it, and show the study's page again."""
    store, study = opened
    action = STUDY_ACTIONS.get(name)
    if action is None:
        raise HTTPException(404, "there is no such action")
    return _answer(request, f"/studies/{study.uuid}", lambda: action(store, study, form))


@router.post("/studies/{uuid}/trials/{number}/actions/{name}")
def change_trial(request: Request, opened: OpenedStudy, number: int, name: str) -> Response:
    """Do it, and show the trial's page again."""
    store, study = opened
    action = TRIAL_ACTIONS.get(name)
    if action is None:
        raise HTTPException(404, "there is no such action")
    opened_trial(store, study, number)
    path = f"/studies/{study.uuid}/trials/{number}"
    return _answer(request, path, lambda: action(store, study, number))


def _answer(request: Request, path: str, work: Callable[[], str]) -> Response:
    try:
        return redirect(request, path, work())
    except TunerError as error:
        return redirect(request, path, str(error), is_error=True)
