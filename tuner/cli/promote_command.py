"""`tuner promote`."""

from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.app import Json, TrustCode, data_option, flag, settings_of

if TYPE_CHECKING:
    from tuner.models.registering import Promotion


def promote(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="The study's name.", metavar="STUDY")],
    trial: Annotated[
        int | None,
        typer.Option(
            help="The number of the trial.", metavar="N", show_default="the study's best trial"
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="The name of the registered model in MLflow.",
            metavar="NAME",
            show_default="the study's name",
        ),
    ] = None,
    replace: Annotated[
        bool,
        flag(
            "--replace",
            text="Replace a champion that the network does not beat on the test split, or that "
            "has other data.",
        ),
    ] = False,
    data: Annotated[
        str | None,
        data_option(
            "Where the study's data lie now. Their contents must be the same.",
            "where they were when the study was created",
        ),
    ] = None,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Train a trial's final network and make it the champion of a registered model in MLflow.

    Example: tuner promote mlp-digits

    The trial's configuration is trained on the training and validation splits, for its best
    number of epochs, and evaluated once on the test split. It becomes the champion,
    models:/NAME@champion, if it beats the present one on the same test rows.
    """
    from tuner.cli.consent import with_consent
    from tuner.cli.database_access import open_study
    from tuner.cli.output import complain, print_json, say
    from tuner.models.promoting import PromotionOptions
    from tuner.models.promoting import promote as promote_trial

    settings = settings_of(context)
    store, row = open_study(context, study)
    options = PromotionOptions(trial, name, replace, data, tuple(trust_code or ()))
    stage = complain if as_json else say
    promotion = with_consent(lambda: promote_trial(settings, store, row, options, stage), settings)
    if as_json:
        print_json(promotion.to_json())
    else:
        _print(promotion)


def _print(promotion: "Promotion") -> None:
    from tuner.cli.output import say
    from tuner.models.model_cards import figure_in_words
    from tuner.study.metrics import name_of
    from tuner.system.names import command

    words = figure_in_words(name_of(promotion.metric), promotion.figure)
    say(f"\n{promotion.metric}: {words}")
    if promotion.comparison is not None:
        say(promotion.comparison)
    instead = "" if promotion.replaced is None else f", in place of version {promotion.replaced}"
    say(f"champion: {promotion.uri}, version {promotion.version}{instead}")
    say(f"next: {command('predict', promotion.uri, 'DATA')}")
