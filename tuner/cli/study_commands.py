"""`tuner study`: create, list, show, best, export, delete."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tuner.cli.app import Json, StudyName, TrustCode, new_typer, settings_of
from tuner.cli.data_commands import DATA_HELP, Columns, say_data

if TYPE_CHECKING:
    from tuner.manage.creation import Created

app = new_typer("Create studies and look at them.")

Pairs = list[str] | None


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Its name.  (default: made of space and data)")
    ] = None,
    space: Annotated[
        str, typer.Option(help="A shipped search space, or a path to a YAML file.")
    ] = "mlp",
    data: Annotated[
        str | None,
        typer.Option(
            help=f"{DATA_HELP}  (default: the space file's data, else fashion_mnist)",
            metavar="SOURCE",
        ),
    ] = None,
    column: Columns = None,
    task: Annotated[
        str | None,
        typer.Option(help="classes, binary or regression.  (default: the file's, else inferred)"),
    ] = None,
    scaling: Annotated[
        str | None,
        typer.Option(help="minmax, center, standardize or none.  (default: by the data)"),
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of the training rows for validation.")
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Share for the test, where the data bring none.")
    ] = None,
    sampler: Annotated[
        str, typer.Option(help="tpe, random, grid, listed, qmc, cmaes or gp.")
    ] = "tpe",
    sampler_option: Annotated[Pairs, typer.Option(metavar="K=V", help="May be repeated.")] = None,
    pruner: Annotated[
        str,
        typer.Option(help="hyperband, asha, median, percentile, threshold, patient or none."),
    ] = "hyperband",
    pruner_option: Annotated[Pairs, typer.Option(metavar="K=V", help="May be repeated.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs a trial trains.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a better score before a trial ends.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="The objective, for instance val_accuracy or val_loss.")
    ] = None,
    direction: Annotated[
        Literal["maximize", "minimize"] | None,
        typer.Option(help="Of the metric; only its own is accepted.  (default: the metric's)"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the search, the splits and all trials.")] = 0,
    set_: Annotated[
        Pairs,
        typer.Option("--set", metavar="K=V", help="Fix a parameter; may be repeated."),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="MLflow experiment to share.  (default: the study's own)")
    ] = None,
) -> None:
    """Create a study: what is searched, on which data, how.

    Example: tuner study create digits-mlp --data digits --epochs 20 --set batch_size=32

    A name that exists already with the very same definition is left as it is; with any other
    definition it is refused. While no trial of the study has finished, your own files (a network,
    data, and the modules that they import from their folders) may be corrected: repeat the command.
    """
    from tuner.algorithms.options import parse_columns, parse_configuration, parse_options
    from tuner.cli.database_access import open_for_work
    from tuner.cli.output import complain, say
    from tuner.manage.creation import Wanted, create_study, file_data
    from tuner.search_space import load_file
    from tuner.study.spec import Choice
    from tuner.system.names import command, in_command

    overrides = dict(parse_configuration(set_ or [], "--set"))
    overrides |= {
        key: value
        for key, value in {"epochs": epochs, "patience": patience}.items()
        if value is not None
    }
    wanted = Wanted(
        name=name,
        space=space,
        data=file_data(
            load_file(space),
            seed,
            source=data,
            columns=parse_columns(column or []),
            task=task,
            scaling=scaling,
            validation=validation,
            test=test,
        ),
        sampler=Choice(
            name=sampler, options=parse_options(sampler_option or [], "--sampler-option")
        ),
        pruner=Choice(name=pruner, options=parse_options(pruner_option or [], "--pruner-option")),
        overrides=overrides,
        metric=metric,
        direction=direction,
        seed=seed,
        experiment=experiment,
    )
    settings = settings_of(context)
    created = create_study(wanted, settings, lambda: open_for_work(context), complain)
    row = created.study
    say(f"{_how_made(created)}: {row.spec.metric}, {row.spec.direction}")
    if created.left_out:
        say(f"left out, since these data have no use for it: {', '.join(created.left_out)}")
    say_data(created.columns, created.notes, row.spec.data)
    if created.given:
        say(created.given)
    say(f"next: {command('optimize', in_command(row.name), '--trials', 100)}")


def _how_made(created: "Created") -> str:
    name = created.study.name
    if created.is_new:
        return f"created study {name}"
    if not created.corrected:
        return f"study {name} exists already, with this definition"
    changes = "; ".join(created.corrected)
    return f"study {name} takes the corrected code, since no trial has finished ({changes})"


@app.command("list")
def list_studies(context: typer.Context, as_json: Json = False) -> None:
    """All studies, newest first.

    Example: tuner study list
    """
    from tuner.cli.database_access import look
    from tuner.cli.output import say, show_rows
    from tuner.cli.result_commands import study_rows
    from tuner.storage.studies import how_to_create, list_studies

    store = look(context)
    found = list_studies(store) if store is not None else []
    if not found and not as_json:
        say(f"no study yet; {how_to_create()}")
        return
    show_rows(study_rows(found, as_json), as_json)


@app.command("show")
def show(context: typer.Context, study: StudyName = None, as_json: Json = False) -> None:
    """How a study is defined, and how its trials ended.

    Example: tuner study show mlp-digits
    """
    from tuner.cli.database_access import look_at_study
    from tuner.cli.output import show_facts
    from tuner.cli.result_commands import complain_of_damage, study_facts
    from tuner.storage.trials import summarize
    from tuner.tracking.process import current_experiment_name

    store, row = look_at_study(context, study)
    summary = summarize(store, row)
    facts = study_facts(row, summary)
    facts["mlflow_experiment"] = current_experiment_name(
        settings_of(context).tracking_uri, row, store
    )
    show_facts(facts, as_json)
    complain_of_damage(summary.best)


@app.command("best")
def show_best(
    context: typer.Context,
    study: StudyName = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the best network to this .keras file.")
    ] = None,
    trust_code: TrustCode = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="With --save, where the network must be trained again: where the data lie now.",
            metavar="SOURCE",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """The best trial; with --save its network, which takes unscaled inputs.

    Example: tuner study best --save best.keras
    """
    from tuner.cli.database_access import look_at_study
    from tuner.cli.result_commands import complain_of_damage, show_best
    from tuner.errors import StudyError, UsageError
    from tuner.storage.studies import no_finished_trial
    from tuner.storage.trials import find_best

    for option, value in {"--trust-code": trust_code, "--data": data}.items():
        if value is not None and save is None:
            raise UsageError(f"{option} has an effect only with --save FILE: nothing else is read")
    store, row = look_at_study(context, study)
    best = find_best(store, row)
    found = best.trial
    complain_of_damage(best)
    if not row.spec.selects:
        raise StudyError(f"study {row.name!r} is a comparison: nothing is chosen in it")
    if found is None and best.damaged:
        raise StudyError(f"study {row.name!r} has no finished trial that can be read")
    if found is None:
        raise no_finished_trial(row)
    hashes = trust_code or []
    show_best(settings_of(context), store, row, found, save, as_json, data, hashes)


@app.command("export")
def export(
    context: typer.Context,
    study: StudyName = None,
    to: Annotated[
        Literal["csv", "json"], typer.Option("--format", help="Of what is printed.")
    ] = "csv",
) -> None:
    """Every trial with its params, on standard output, as they are read.

    Example: tuner study export > trials.csv
    """
    from tuner.cli.database_access import look_at_study
    from tuner.cli.output import print_csv, print_json_rows
    from tuner.storage.trials import TABLE_COLUMNS, stream_trials, table_row

    store, row = look_at_study(context, study)
    rows = (table_row(trial) for trial in stream_trials(store, row))
    if to == "json":
        print_json_rows(rows)
    else:
        print_csv(rows, TABLE_COLUMNS, row.spec.space.varying())


@app.command("code")
def code(context: typer.Context, study: StudyName = None) -> None:
    """The user's own code that a study keeps and runs.

    Example: tuner study code mlp-digits
    """
    from tuner.cli.consent import code_lines
    from tuner.cli.database_access import look_at_study
    from tuner.cli.output import say
    from tuner.manage.trust import code_of

    _, row = look_at_study(context, study)
    codes = code_of(row.spec)
    for each in codes:
        say("\n".join(code_lines(each)))
    if not codes:
        say(f"study {row.name} runs no code of its own")


@app.command("repair")
def repair(context: typer.Context, study: StudyName = None) -> None:
    """Put right what killed searches have left, without running any trial.

    Example: tuner study repair mlp-digits

    tuner optimize does the same when it starts. Searches that are at work are left alone.
    """
    from tuner.cli.database_access import open_study
    from tuner.cli.output import say
    from tuner.cli.result_commands import repaired
    from tuner.runner import repair as repair_study

    store, row = open_study(context, study)
    say(repaired(row.name, repair_study(store, row)))


@app.command("delete")
def delete(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="The study's name.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Leave MLflow's runs.")] = False,
    keep_networks: Annotated[
        bool, typer.Option("--keep-networks", help="Leave the files of saved networks.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Have searches that run on it stop, on any machine.")
    ] = False,
) -> None:
    """Delete a study: its trials, its saved networks, its MLflow runs.

    Example: tuner study delete mlp-digits --yes

    While a search runs on it, on whichever machine, it is refused. With --force the search is asked
    to stop, which it does within a minute, and the study is deleted then.
    """
    from tuner.cli.database_access import open_study
    from tuner.cli.output import say
    from tuner.cli.residence import check_settled
    from tuner.cli.result_commands import confirm_deletion
    from tuner.manage.deletion import closed_to_searches, delete_study, unowned_networks

    settings = settings_of(context)
    store, row = open_study(context, study, even_damaged=True)
    check_settled(store, "study delete")
    confirm_deletion(store, row, yes)
    with closed_to_searches(store, row, force, say):
        if not keep_runs:
            from tuner.tracking.sync import remove_study

            remove_study(settings.tracking_uri, row, store)
        left = unowned_networks(settings, store, row)
        delete_study(settings, store, row, keep_networks, force)
    say(f"deleted study {row.name}")
    if left and not keep_networks:
        say(f"left, since an earlier version saved it without an id: {left[0].parents[1]}")
