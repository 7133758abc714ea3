"""Promoting a trial from the page: what `tuner promote` does, in a process of its own.

A promotion trains for a while, and imports TensorFlow: the server must do neither. The process is
the command itself, so that it asks for the same and says the same.
"""

import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response

from tuner.errors import StudyError, UsageError
from tuner.settings import Settings, child_environment
from tuner.storage.split_readings import describe_readings, earlier_readings
from tuner.storage.studies import StudyRow, check_is_search
from tuner.system.child_processes import end_groups
from tuner.system.names import is_valid
from tuner.system.secret_masking import without_secrets
from tuner.tracking.model_registry import check_model_name
from tuner.web.actions import Form, form_of
from tuner.web.page_rendering import page, redirect
from tuner.web.web_setup import OpenedStudy, opened_trial, site_of

_MOST_LINES = 400
_END_S = 5.0


@dataclass
class PromotionRun:
    """One run of `tuner promote`. `lines`: what it has said so far."""

    trial: int
    process: "subprocess.Popen[str]"
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_LINES))

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def has_failed(self) -> bool:
        return self.process.poll() not in (None, 0)

    def read(self) -> None:
        """Keep what the process says, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(without_secrets(line.rstrip()))
        self.process.wait()


class PromotionRuns:
    """The latest promotion of each study. They end with the server; the same promotion goes on
    with the network that was trained."""

    def __init__(self) -> None:
        self._latest: dict[str, PromotionRun] = {}
        self._lock = threading.Lock()

    def of(self, study: StudyRow) -> PromotionRun | None:
        return self._latest.get(study.uuid)

    def start(
        self, settings: Settings, study: StudyRow, trial: int, name: str, replaces: bool
    ) -> PromotionRun:
        """Raises StudyError while another promotion of the study runs."""
        with self._lock:
            latest = self._latest.get(study.uuid)
            if latest is not None and latest.is_running:
                raise StudyError(f"trial {latest.trial} of this study is being promoted: wait")
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tuner", *_words(study, trial, name, replaces)],
                env=child_environment(settings) | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            promotion = self._latest[study.uuid] = PromotionRun(trial, process)
        threading.Thread(target=promotion.read, daemon=True).start()
        return promotion

    def close(self) -> None:
        """End those that run, with their workers."""
        end_groups([each.process for each in self._latest.values() if each.is_running], _END_S)


def _words(study: StudyRow, trial: int, name: str, replaces: bool) -> list[str]:
    """The command, which its own messages repeat. A study of an earlier version may be called as
    an option is."""
    named = [study.name] if is_valid(study.name) else []
    options = ["--trial", str(trial), *([f"--name={name}"] if name else [])]
    words = ["promote", *named, *options, *["--replace"] * replaces]
    return words if named else [*words, "--", study.name]


@asynccontextmanager
async def _promoting(app: FastAPI) -> AsyncIterator[None]:
    try:
        yield
    finally:
        promotions_of(app).close()


def promotions_of(app: FastAPI) -> PromotionRuns:
    """The application's promotions."""
    if not hasattr(app.state, "promotions"):
        app.state.promotions = PromotionRuns()
    promotions: PromotionRuns = app.state.promotions
    return promotions


router = APIRouter(lifespan=_promoting)


@router.get("/studies/{uuid}/trials/{number}/promote")
def ask_to_promote(request: Request, opened: OpenedStudy, number: int) -> Response:
    """Says what it does, and asks once: it reads the test split."""
    store, study = opened
    check_is_search(study, "promoting a trial")
    trial = opened_trial(store, study, number)
    readings = describe_readings(earlier_readings(store, study.spec.fingerprint))
    return page(request, "promote.html", study=study, trial=trial, readings=readings)


@router.post("/studies/{uuid}/trials/{number}/promote")
def promote_trial(
    request: Request, opened: OpenedStudy, number: int, form: Annotated[Form, Depends(form_of)]
) -> Response:
    """Start it, and show how it goes."""
    store, study = opened
    opened_trial(store, study, number)
    settings = site_of(request).setup.settings
    name, replaces = form.get("name", "").strip(), "replace" in form
    try:
        if name:
            check_model_name(name, is_given=True)
    except UsageError as error:
        page_of_trial = f"/studies/{study.uuid}/trials/{number}/promote"
        return redirect(request, page_of_trial, str(error), is_error=True)
    try:
        promotions_of(request.app).start(settings, study, number, name, replaces)
    except StudyError as error:
        return redirect(request, f"/studies/{study.uuid}/promotion", str(error), is_error=True)
    return redirect(request, f"/studies/{study.uuid}/promotion")


@router.get("/studies/{uuid}/promotion")
def show_promotion(request: Request, opened: OpenedStudy) -> Response:
    """What the study's latest promotion says; the page loads itself again until it has ended."""
    _, study = opened
    promotion = promotions_of(request.app).of(study)
    is_running = promotion is not None and promotion.is_running
    lines = [] if promotion is None else list(promotion.lines)
    return page(
        request,
        "promotion.html",
        study=study,
        promotion=promotion,
        is_running=is_running,
        lines=lines,
    )
