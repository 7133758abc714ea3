"""What `tuner compare` prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.cli.output import complain, console, print_json, say, show_rows
from tuner.cli.result_commands import EXITS, REASONS, complain_of_delivery, failure_told
from tuner.storage.studies import StudyRow
from tuner.study.ends import StopReason

if TYPE_CHECKING:
    from tuner.reports.comparison_tables import ComparisonTable
    from tuner.runner import Delivered, Outcome


def print_comparison(
    study: StudyRow,
    table: "ComparisonTable",
    files: Sequence[Path],
    ran: "tuple[Outcome, Delivered | None] | None",
    as_json: bool,
) -> int:
    """Print the table, and how its trials came to an end. `ran`: None when nothing was left to
    train. The exit code."""
    outcome, delivered = ran if ran is not None else (None, None)
    reason = outcome.reason if outcome is not None else None
    if as_json:
        facts = {"study": study.name, "metric": study.spec.metric, "stopped": reason}
        rows = {"common": table.common, "rows": table.numbers()}
        print_json(facts | rows | {"files": [str(file) for file in files]})
    else:
        _say_all(study, table, files)
    if outcome is not None and reason is not None:
        if not as_json:
            back = f"; {outcome.put_back} running put back" if outcome.put_back else ""
            say(f"stopped: {REASONS[reason]}{back}; the same command goes on")
        if reason is StopReason.ERRORS:
            complain(failure_told(study, outcome))
    complain_of_delivery(study, delivered)
    return EXITS.get(reason, 0)


def _say_all(study: StudyRow, table: "ComparisonTable", files: Sequence[Path]) -> None:
    from tuner.reports.comparison_tables import in_terminal, in_words, panels
    from tuner.reports.comparisons import caption

    say(f"\nstudy {study.name}: {caption(study)}")
    show_rows(table.words(), False)
    for picture in in_terminal(table, panels(table)):
        console().print(picture)
        say()
    if table.common:
        say(f"the same for all: {in_words(table.common)}; all else by default")
    say(f"wrote {', '.join(str(file) for file in files)}")
