"""A form that queues a trial of one's own. Its fields are made of the study's space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from tuner.algorithms.options import parse_configuration
from tuner.errors import SpaceError, SpecError, StudyError, TunerError
from tuner.search_space.nodes import Node, format_conditions
from tuner.search_space.parameter_types import Params
from tuner.search_space.ranges import Choices
from tuner.storage import Store
from tuner.storage.studies import StudyRow, check_is_search
from tuner.storage.trials import enqueue, varying_params
from tuner.values import Scalar, word
from tuner.web.actions import Form, describe_queued, form_of
from tuner.web.page_rendering import page, redirect
from tuner.web.security.guards import FORM_TOKEN
from tuner.web.web_setup import LARGEST_NUMBER, OpenedStudy, opened_trial

router = APIRouter()

_FURTHER = "further"


@dataclass(frozen=True)
class Field:
    """One parameter. `choices`: None for a field that takes text. `hint`: its range and when it
    applies. `low`, `high`: of a field that takes one number."""

    name: str
    value: str
    hint: str
    choices: list[str] | None = None
    low: str = ""
    high: str = ""
    is_number: bool = False


@router.get("/studies/{uuid}/enqueue")
def show_form(
    request: Request,
    opened: OpenedStudy,
    like: Annotated[int | None, Query(ge=0, le=LARGEST_NUMBER)] = None,
) -> Response:
    """The form; with the values of the trial `like` in it, where that is given."""
    store, study = opened
    given = {} if like is None else _searched(study, opened_trial(store, study, like).params)
    return _form(request, store, study, given)


def _searched(study: StudyRow, params: Params) -> dict[str, str]:
    """What a trial's sampler chose: a parameter that does not apply has a default, or nothing."""
    nodes = study.spec.space.nodes
    return {
        name: _as_text(value)
        for name, value in params.items()
        if name not in nodes or nodes[name].status(params) == "searched"
    }


@router.post("/studies/{uuid}/enqueue")
def enqueue_trial(
    request: Request, opened: OpenedStudy, form: Annotated[Form, Depends(form_of)]
) -> Response:
    """Queue it, and show the study's page; the form again, with what is wrong with it."""
    store, study = opened
    fields = {name: text.strip() for name, text in form.items() if name != FORM_TOKEN}
    words = [f"{name}={text}" for name, text in fields.items() if text and name != _FURTHER]
    words += [line for line in fields.get(_FURTHER, "").splitlines() if line.strip()]
    try:
        configuration = parse_configuration(words, "the form")
        number, waiting = enqueue(store, study, configuration)
    except (SpaceError, SpecError, StudyError) as error:
        return _form(request, store, study, fields, str(error))
    line = describe_queued(store, study, number, waiting)
    return redirect(request, f"/studies/{study.uuid}", line)


def _form(
    request: Request,
    store: Store,
    study: StudyRow,
    given: Mapping[str, str],
    problem: str = "",
) -> Response:
    try:
        check_is_search(study, "queueing a trial")
    except TunerError as error:
        return redirect(request, f"/studies/{study.uuid}", str(error), is_error=True)
    names, nodes = varying_params(store, study), study.spec.space.nodes
    return page(
        request,
        "enqueue.html",
        400 if problem else 200,
        study=study,
        fields=[_field(name, nodes.get(name), given.get(name, "")) for name in names],
        takes_more=study.spec.space.function_kind.defines_space,
        further=given.get(_FURTHER, ""),
        problem=problem,
    )


def _field(name: str, node: Node | None, value: str) -> Field:
    if node is None or node.range is None:
        return Field(name, value, "")
    hint = node.range.describe()
    if condition := format_conditions({**node.needs, **node.when}):
        hint = f"{hint}; only when {condition}"
    if node.repeat:
        return Field(name, value, f"{hint}; one value, or one for each layer: 64, 32")
    if isinstance(node.range, Choices):
        return Field(name, value, hint, [word(choice) for choice in node.range.choices])
    # What a browser checks while one types; the study's space has the last word.
    low, high = word(node.range.low), word(node.range.top)
    return Field(name, value, hint, low=low, high=high, is_number=True)


def _as_text(value: Scalar | list[Scalar]) -> str:
    return ", ".join(map(word, value)) if isinstance(value, list) else word(value)
