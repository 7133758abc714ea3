"""`tuner study`: create, list, show, best, plot, import, export, code, repair, delete, and what
control_commands.py has."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tuner.cli.app import Json, StudyName, TrustCode, data_option, flag, new_typer, settings_of
from tuner.cli.control_commands import (
    CONTROL,
    DaemonPatience,
    DaemonSure,
    DaemonTarget,
    DaemonTrialTimeout,
    Priority,
    Total,
)
from tuner.cli.data_options import DATA_HELP, Pairs, Scaling, say_data, takes_data_options
from tuner.cli.import_command import import_trials
from tuner.cli.plot_commands import plot_study

if TYPE_CHECKING:
    from tuner.manage.control import StudyPlan
    from tuner.manage.creation import Created
    from tuner.manage.wanted_study import Wanted
    from tuner.storage import Store
    from tuner.storage.studies import StudyRow
    from tuner.storage.trials import TrialRow

app = new_typer("Create studies and look at them.")


@app.command("create")
@takes_data_options(after="data")
def create(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            help="The study's name.", metavar="NAME", show_default="made of the space and the data"
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="A network such as cnn, or a function of your own as my_file.py:function, which "
            "may build a network or train by itself.",
            metavar="NETWORK",
            show_default="the space's",
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="What to search: a shipped space such as cnn, or a path to a YAML file.",
            metavar="SPACE",
            show_default="mlp, or that of --network",
        ),
    ] = None,
    data: Annotated[
        str | None, data_option(DATA_HELP, "the space file's data, else fashion_mnist")
    ] = None,
    scaling: Scaling = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="The share of the training rows for the validation split, such as 0.1.",
            metavar="SHARE",
            show_default="the space file's, else 1/6",
        ),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(
            help="The share of all rows for the test split, if the data bring none.",
            metavar="SHARE",
            show_default="the space file's, else 0.15",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="How to choose parameters: curves, tpe, random, grid, listed, qmc, cmaes, gp, "
            "nsgaii, or pbt, which changes them while trials train.",
            metavar="NAME",
            show_default="curves; tpe for a function that trains by itself",
        ),
    ] = None,
    sampler_option: Annotated[
        Pairs,
        typer.Option(
            metavar="NAME=VALUE",
            help="An option of the sampler, such as n_startup_trials=20. May be repeated.",
            show_default="the sampler's own",
        ),
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option(
            help="How to save epochs on hopeless trials: promotion (pauses them, and goes on with "
            "the best), hyperband, asha, median, percentile, threshold, patient or none.",
            metavar="NAME",
            show_default="promotion; hyperband or median for a function that trains by itself",
        ),
    ] = None,
    pruner_option: Annotated[
        Pairs,
        typer.Option(
            metavar="NAME=VALUE",
            help="An option of the pruner, such as reduction_factor=4. May be repeated.",
            show_default="the pruner's own",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="The number of epochs a trial trains at most.",
            metavar="N",
            show_default="the space file's, else 27",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="A trial stops early after this many epochs without a better score.",
            metavar="N",
            show_default="the space file's, else 5",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="The objective, such as val_auc, or a function of your own as "
            "my_file.py:function. tuner metrics lists all.",
            metavar="METRIC",
            show_default="val_accuracy; for regression val_loss, or val_mae if loss is searched",
        ),
    ] = None,
    direction: Annotated[
        Pairs,
        typer.Option(
            help="Whether more or less of the objective is better, maximize or minimize: needed "
            "for a function of your own. Of the others only the metric's own is accepted. Several, "
            "as minimize,maximize, for an Optuna objective that returns several values.",
            metavar="DIRECTION",
            show_default="the metric's",
        ),
    ] = None,
    record: Annotated[
        Pairs,
        typer.Option(
            help="A further metric to compute and keep, as for --metric. May be repeated.",
            metavar="METRIC",
            show_default="none",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The seed of the search, the splits and all trials.", metavar="N")
    ] = 0,
    set_: Annotated[
        Pairs,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Fix a parameter, such as batch_size=64. May be repeated.",
            show_default="the space file's values",
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            help="The MLflow experiment to share with other studies.",
            metavar="NAME",
            show_default="one of the study's own",
        ),
    ] = None,
    prior: Annotated[
        bool,
        flag(
            "--prior/--no-prior",
            text="Draw many of the first proposals near the defaults and the space's baselines.",
        ),
    ] = False,
    portfolio: Annotated[
        bool,
        flag(
            "--portfolio/--no-portfolio",
            text="Behind the baselines, try configurations that were good on other data.",
        ),
    ] = False,
    learn_from: Annotated[
        Pairs,
        typer.Option(
            help="An earlier study, on other data perhaps: its best configurations are tried "
            "first, and the first proposals are drawn near them. May be repeated.",
            metavar="STUDY",
            show_default="none",
        ),
    ] = None,
    trials: Total = None,
    priority: Priority = None,
    target: DaemonTarget = None,
    patience_trials: DaemonPatience = None,
    trial_timeout: DaemonTrialTimeout = None,
    until_sure: DaemonSure = None,
    **data_options: Any,
) -> None:
    """Create a study: what to search, on which data, and how.

    Example: tuner study create digits-mlp --data digits --epochs 20 --set batch_size=32

    If the study exists with the same definition, nothing changes. If it exists with another one,
    the command is refused. While no trial of the study has finished, you may correct your own files
    (a network, data, and the modules that they import from their folders): repeat the command.

    With --trials, daemons (tuner worker) train that many, and nobody needs to wait for them.
    """
    from tuner.algorithms.options import parse_configuration, parse_options
    from tuner.manage.control import StudyPlan
    from tuner.manage.wanted_study import wanted_study

    plan = StudyPlan(trials, priority, target, patience_trials, trial_timeout, until_sure)
    plan.check()
    wanted = wanted_study(
        name,
        network=network,
        space=space,
        data=data,
        scaling=scaling,
        validation=validation,
        test=test,
        sampler=sampler,
        sampler_options=parse_options(sampler_option or [], "--sampler-option"),
        pruner=pruner,
        pruner_options=parse_options(pruner_option or [], "--pruner-option"),
        params=parse_configuration(set_ or [], "--set"),
        epochs=epochs,
        patience=patience,
        metric=metric,
        record=record or [],
        direction=direction,
        seed=seed,
        experiment=experiment,
        prior=prior,
        portfolio=portfolio,
        learn_from=learn_from or [],
        **data_options,
    )
    _create(context, wanted, plan)


def _create(context: typer.Context, wanted: "Wanted", plan: "StudyPlan") -> None:
    """Create the study, and print how it reads its data and what to do next."""
    from tuner.cli.database_access import open_database
    from tuner.cli.output import complain, say
    from tuner.manage.control import describe_plan, next_command, plan_study
    from tuner.manage.creation import create_study

    created = create_study(wanted, settings_of(context), lambda: open_database(context), complain)
    study = created.study
    say(f"{_describe_creation(created)}: {study.spec.objectives_in_words}")
    if study.spec.record:
        say(f"recorded too: {', '.join(study.spec.record)}")
    if created.left_out:
        say(f"left out, because it does not apply to these data: {', '.join(created.left_out)}")
    if created.kind:
        say(created.kind)
    if study.spec.data is not None:
        say_data(created.columns, created.notes, study.spec.data)
    if created.given:
        say(created.given)
    for line in created.prior:
        say(line)
    store = open_database(context)
    if not plan.is_empty:
        plan_study(store, study, plan, may_lower=False)
        say(describe_plan(store, study, plan))
    say(f"next: {next_command(store, study)}")


def _describe_creation(created: "Created") -> str:
    name = created.study.name
    if created.is_new:
        return f"created study {name}"
    if not created.corrected:
        return f"study {name} exists already, with this definition"
    changes = "; ".join(created.corrected)
    return f"study {name} takes the corrected code, because no trial has finished ({changes})"


@app.command("list")
def list_studies(context: typer.Context, as_json: Json = False) -> None:
    """List all studies, newest first.

    Example: tuner study list
    """
    from tuner.cli.database_access import read_database
    from tuner.cli.output import say, show_rows
    from tuner.reports.study_tables import short_study_list_rows, study_list_rows
    from tuner.storage.studies import how_to_create, list_studies

    store = read_database(context)
    studies = list_studies(store) if store is not None else []
    if not studies and not as_json:
        say(f"no study yet; {how_to_create()}")
        return
    show_rows((study_list_rows if as_json else short_study_list_rows)(studies), as_json)


@app.command("show")
def show(context: typer.Context, study: StudyName = None, as_json: Json = False) -> None:
    """Print how a study is defined, and how its trials ended.

    Example: tuner study show mlp-digits
    """
    from tuner.cli.database_access import read_study
    from tuner.cli.output import show_facts
    from tuner.cli.result_output import complain_of_damage
    from tuner.reports.lineages import population_facts
    from tuner.reports.study_tables import study_facts
    from tuner.storage.trial_outcomes import read_expected_gain
    from tuner.storage.trials import summarize
    from tuner.tracking.process import current_experiment_name

    store, row = read_study(context, study)
    summary = summarize(store, row)
    experiment = current_experiment_name(settings_of(context).tracking_uri, row, store)
    expected = read_expected_gain(store, row, row.spec)
    population = population_facts(store, row, summary.best.trial)
    show_facts(study_facts(row, summary, experiment, expected, population), as_json)
    complain_of_damage(summary.best)


@app.command("best")
def show_best(
    context: typer.Context,
    study: StudyName = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Write the best network to this .keras file.",
            metavar="FILE",
            show_default="no file",
        ),
    ] = None,
    trust_code: TrustCode = None,
    data: Annotated[
        str | None,
        data_option(
            "With --save, if the network must be trained again: where the data lie now.",
            "where they lay when the study was created",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the best trial. With --save, write its network, which takes data as they are.

    Of several objectives, print the Pareto front: the trials that no other one is better than in
    all of them.

    Example: tuner study best --save best.keras
    """
    from tuner.cli.database_access import read_study
    from tuner.cli.output import print_json, say
    from tuner.cli.result_output import (
        complain_of_damage,
        network_suffix,
        predicts,
        print_best,
        print_front,
    )
    from tuner.errors import UsageError
    from tuner.reports.study_tables import best_facts
    from tuner.storage.trials import find_best, require_best
    from tuner.system.names import command, in_command

    for option, value in {"--trust-code": trust_code, "--data": data}.items():
        if value is not None and save is None:
            raise UsageError(f"{option} has an effect only with --save FILE")
    store, row = read_study(context, study)
    if len(row.spec.goals) > 1:
        if save is not None:
            raise UsageError("--save: a study with several objectives has no best trial to write")
        print_front(store, row, as_json)
        return
    best = find_best(store, row)
    complain_of_damage(best)
    trial = require_best(row, best)
    source = None
    if save is not None:  # before anything is printed: the pipe may be closed by then
        source = _save_network(context, store, row, trial, save, data, trust_code or [])
    if not as_json:
        say(f"study {row.name}")
        print_best(row, trial)
    if as_json:
        written = {"network": {"path": str(save), "source": source}} if source else {}
        print_json(best_facts(row, trial) | written)
    elif source is not None:
        say(f"\nwrote {save} ({source})")
    if not as_json and predicts(row, network_suffix(row, trial)):
        network = in_command(row.name) if save is None else save
        say(f"next: {command('predict', network, 'DATA')}")


def _save_network(
    context: typer.Context,
    store: "Store",
    study: "StudyRow",
    trial: "TrialRow",
    file: Path,
    data: str | None,
    hashes: list[str],
) -> str:
    """Write the trial's network, and say where it came from. If it must be trained again: `data`,
    where the data lie now; `hashes`, of code that the user trusts."""
    from tuner.cli.consent import with_trusted_code
    from tuner.cli.output import complain
    from tuner.models.trial_networks import save_network

    settings = settings_of(context)
    network = with_trusted_code(
        lambda: save_network(settings, store, study, trial, file, data), settings, study, hashes
    )
    for remark in network.remarks:
        complain(remark)
    return str(network.source)


app.command("plot")(plot_study)
app.command("import")(import_trials)


@app.command("export")
def export(
    context: typer.Context,
    study: StudyName = None,
    to: Annotated[
        Literal["csv", "json"], typer.Option("--format", help="The format of the output.")
    ] = "csv",
) -> None:
    """Print every trial with its parameters.

    Example: tuner study export > trials.csv
    """
    from tuner.cli.database_access import read_study
    from tuner.cli.output import print_csv, print_json_rows
    from tuner.reports.study_tables import trial_columns, with_metrics
    from tuner.storage.trials import stream_trials, table_row, varying_params

    store, row = read_study(context, study)
    rows = (table_row(trial) for trial in stream_trials(store, row))
    if to == "json":
        print_json_rows(rows)
    else:
        flat = (with_metrics(trial, trial) for trial in rows)
        print_csv(flat, trial_columns(row.spec.beside_score), varying_params(store, row))


@app.command("code")
def code(
    context: typer.Context,
    study: Annotated[
        str | None,
        typer.Argument(
            help="The study's name, or a saved network: a .keras file or models:/NAME@ALIAS.",
            metavar="STUDY",
            show_default="the newest search",
        ),
    ] = None,
) -> None:
    """Print the user's own code that a study, or a saved network, carries and runs.

    Example: tuner study code mlp-digits
    """
    from tuner.cli.consent import code_lines
    from tuner.cli.output import say
    from tuner.models.model_opening import read_code

    where, files = read_code(study, settings_of(context))
    for file in files:
        say("\n".join(code_lines(file)))
    if not files:
        say(f"{where} runs no code of its own")


@app.command("repair")
def repair(context: typer.Context, study: StudyName = None) -> None:
    """Repair what killed searches have left, without running trials.

    Example: tuner study repair mlp-digits

    tuner optimize does the same when it starts. Running searches are left alone.
    """
    from tuner.cli.database_access import open_study
    from tuner.cli.result_output import print_repaired
    from tuner.runner import repair as repair_study

    store, row = open_study(context, study)
    print_repaired(row.name, repair_study(store, row))


for name, control in CONTROL.items():
    app.command(name)(control)


@app.command("delete")
def delete(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="The study's name.", metavar="STUDY")],
    yes: Annotated[bool, flag("--yes", "-y", text="Do not ask.")] = False,
    keep_runs: Annotated[bool, flag("--keep-runs", text="Keep the MLflow runs.")] = False,
    keep_networks: Annotated[
        bool, flag("--keep-networks", text="Keep the files of saved networks.")
    ] = False,
    keep_data: Annotated[
        bool,
        flag(
            "--keep-data",
            text="Keep data from memory and code of notebooks. Otherwise they go with the last "
            "study that uses them.",
        ),
    ] = False,
    force: Annotated[
        bool, flag("--force", text="Stop searches that run on the study, on any machine.")
    ] = False,
) -> None:
    """Delete a study: its trials, its saved networks, its MLflow runs.

    Example: tuner study delete mlp-digits --yes

    While a search runs on the study, on any machine, the command is refused. With --force the
    search is asked to stop, which takes at most a minute, and then the study is deleted.
    """
    from tuner.cli.consent import confirm_deletion
    from tuner.cli.database_access import open_study
    from tuner.cli.output import say
    from tuner.manage.databases import check_settled
    from tuner.manage.deletion import remove_study

    settings = settings_of(context)
    store, row = open_study(context, study, even_damaged=True)
    check_settled(store, "study delete")
    if not yes:
        confirm_deletion(store, row)
    left = remove_study(
        settings,
        store,
        row,
        keep_runs=keep_runs,
        keep_networks=keep_networks,
        keep_data=keep_data,
        force=force,
        say=say,
    )
    say(f"deleted study {row.name}")
    if left:
        folder = left[0].rsplit("/", 2)[0]
        say(f"kept, because an earlier version saved it without an id: {folder}")
