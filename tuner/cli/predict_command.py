"""`tuner predict`."""

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.app import Json, SavedNetwork, Strict, TrustCode, flag, settings_of


def predict(
    context: typer.Context,
    model: SavedNetwork,
    data: Annotated[
        str,
        typer.Argument(
            help="The rows: a .csv, .parquet or .npz file, an image, a folder of images or of IDX "
            "files, a name such as digits, or - for CSV from standard input.",
            metavar="DATA",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="Write all predictions to this .csv, .csv.gz, .parquet or .npz file.",
            metavar="FILE",
            show_default="to the terminal the first rows; into a pipe all of them, as CSV",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            help="Give the K most probable labels of each row.",
            metavar="K",
            show_default="all labels; in the terminal 3 if there are more than 5",
        ),
    ] = None,
    strict: Strict = False,
    force: Annotated[bool, flag("--force", text="Replace FILE if it exists.")] = False,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Predict labels with their probabilities, or numbers, for new data.

    Example: tuner predict best.keras new.csv --output predictions.csv

    The data need the columns of the training data, in any order; the target may be missing.
    There is one prediction for each row, in the order of the rows, with the index column of the
    data. Files larger than memory are read and written in blocks.
    """
    from tuner.cli.consent import entered_with_consent
    from tuner.cli.prediction_output import print_predictions
    from tuner.data.prediction_files import check_output
    from tuner.data.readers import parse_source
    from tuner.models.predicting import open_scoring

    if output is not None:
        check_output(output, [Path(model), parse_source(data).path], replace=force)
    settings, trust = settings_of(context), trust_code or []
    with entered_with_consent(
        lambda: open_scoring(model, data, settings, trust), settings
    ) as scoring:
        print_predictions(scoring, output, top, strict=strict, as_json=as_json)
