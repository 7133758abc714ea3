"""`tuner export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tuner.cli.app import Json, SavedNetwork, TrustCode, flag, settings_of

if TYPE_CHECKING:
    from tuner.models.exporting import Export

_MOST_LISTED = 40


def export(
    context: typer.Context,
    model: SavedNetwork,
    to: Annotated[
        Literal["keras", "savedmodel", "onnx", "litert"] | None,
        typer.Option(
            "--format",
            help="The form of the export: keras, savedmodel, onnx or litert.",
            metavar="FORM",
            show_default="that of the output's ending",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Where to write it: a .keras, .onnx or .tflite file, or a folder for savedmodel.",
            metavar="PATH",
            show_default="MODEL with the form's ending",
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(
            help="Data to compare the export and the network on.",
            metavar="DATA",
            show_default="the study's data if they are at hand, else made-up rows",
        ),
    ] = None,
    force: Annotated[bool, flag("--force", text="Replace PATH if it exists.")] = False,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Write a network in another form, for other programs.

    Example: tuner export best.keras --format onnx

    The export is loaded by its own runtime and must give the network's outputs to 1e-5. It takes
    prepared rows; tuner predict gives it raw ones.
    """
    from tuner.cli.consent import with_consent
    from tuner.cli.output import complain, show_facts
    from tuner.models.exporting import plan_export, write_export

    form, path = plan_export(model, to, output, replace=force)
    settings, trust = settings_of(context), trust_code or []
    export = with_consent(lambda: write_export(model, form, path, settings, rows, trust), settings)
    for remark in export.remarks:
        complain(remark)
    show_facts(_json_facts(export) if as_json else _facts(export), as_json)


def _facts(export: "Export") -> dict[str, Any]:
    comparison, preparation = export.comparison, export.description.preparation
    shape = ", ".join(map(str, ("n", *preparation.input_shape)))
    return {
        "wrote": f"{export.path} ({export.form.title}, {export.size:,} bytes)",
        "compared": f"{export.form.runtime} and Keras differ by at most "
        f"{comparison.difference:.1g} on {comparison.rows}; {comparison.allowed:.1g} is allowed",
        "input": f"{export.network.input_name}: {preparation.input_dtype} ({shape}), prepared rows",
        "columns": _listed(export.features) or None,
        "output": f"{export.network.output_name}: {_listed(export.outputs)}",
    }


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_LISTED
    text = ", ".join(names[:_MOST_LISTED])
    return text if more <= 0 else f"{text}, and {more} more: --json has all"


def _json_facts(export: "Export") -> dict[str, Any]:
    comparison, preparation = export.comparison, export.description.preparation
    return {
        "path": str(export.path),
        "format": export.form.title,
        "bytes": export.size,
        "runtime": export.form.runtime,
        "difference": comparison.difference,
        "allowed_difference": comparison.allowed,
        "compared_on": comparison.rows,
        "input": export.network.input_name,
        "input_dtype": preparation.input_dtype,
        "input_shape": list(preparation.input_shape),
        "columns": list(export.features),
        "output": export.network.output_name,
        "outputs": export.outputs,
    }
