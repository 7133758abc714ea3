"""`tuner evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.app import Json, SavedNetwork, Strict, TrustCode, settings_of


def evaluate(
    context: typer.Context,
    model: SavedNetwork,
    data: Annotated[
        str,
        typer.Argument(
            help="The rows with their targets: a .csv, .parquet or .npz file, a folder of IDX "
            "files, or a name such as digits. FILE:COLUMN names the target's column.",
            metavar="DATA",
        ),
    ],
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            help="Write all figures to this .json file.",
            metavar="FILE",
            show_default="only print them",
        ),
    ] = None,
    strict: Strict = False,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Say how good a network is on data whose targets are known.

    Example: tuner evaluate best.keras new.csv

    Prints all metrics of the task with 95 % intervals, the figures of each label, which labels are
    confused, and whether probabilities come true; of numbers how large the errors are. Figures on
    rows that the network was trained on are too good; that is said.
    """
    from tuner.cli.consent import entered_with_consent
    from tuner.cli.evaluation_output import print_evaluation
    from tuner.cli.output import complain
    from tuner.cli.row_progress import RowProgress
    from tuner.models.evaluating import evaluate_data
    from tuner.models.predicting import open_scoring
    from tuner.reports.evaluation_files import check_file, save_evaluation

    if save is not None:
        check_file(save)
    settings, trust = settings_of(context), trust_code or []
    with (
        entered_with_consent(
            lambda: open_scoring(model, data, settings, trust), settings
        ) as scoring,
        RowProgress(scoring.rows.count) as progress,
    ):
        evaluated = evaluate_data(scoring, strict, progress.count)
    if save is not None:  # before anything is printed: the pipe may be closed by then
        save_evaluation(evaluated, save)
    print_evaluation(evaluated, as_json)
    if save is not None:
        complain(f"wrote {save}")
