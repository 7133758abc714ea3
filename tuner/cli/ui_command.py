"""`tuner ui`: the page of all studies, and who may see it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tuner.cli.app import new_typer, settings_of

if TYPE_CHECKING:
    from tuner.web.security.accounts import Accounts

app = new_typer()

Users = Annotated[
    Path | None,
    typer.Option(
        help="The file of the page's users.",
        metavar="FILE",
        show_default=".tuner/users.json, beside a SQLite database",
    ),
]


@app.callback(invoke_without_command=True, no_args_is_help=False)
def ui(
    context: typer.Context,
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen on: 0.0.0.0 lets other machines in, and needs a login.",
            metavar="ADDRESS",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="The port of the page; 0 takes any free one.", metavar="PORT")
    ] = 8080,
    token: Annotated[
        str | None,
        typer.Option(
            help="What an operator logs in with, or @FILE of it; everybody can read command lines.",
            metavar="TOKEN",
            show_default="TUNER_UI_TOKEN",
        ),
    ] = None,
    users: Users = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            help="The certificate of this server, a PEM file: the page is served by TLS.",
            metavar="FILE",
            show_default="no TLS",
        ),
    ] = None,
    certificate_key: Annotated[
        Path | None,
        typer.Option(
            help="The certificate's key, a PEM file.", metavar="FILE", show_default="no TLS"
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A further name of this server in a browser, such as that of a program in front "
            "of it. May be repeated.",
            metavar="NAME",
            show_default="this machine's own names",
        ),
    ] = None,
) -> None:
    """Serve the page of all studies, with MLflow and the Optuna dashboard. Ctrl-C stops it.

    Example: tuner ui

    The page answers only browsers on this machine, and asks for no login, unless there are users
    or a token. For others: tuner ui adduser, then tuner ui --host 0.0.0.0 with a certificate.
    """
    if context.invoked_subcommand is not None:
        return
    from tuner.cli.output import complain, say
    from tuner.web.serving import PageWanted, serve

    wanted = PageWanted(
        host=host,
        port=port,
        token=token,
        users=users,
        certificate=certificate,
        key=certificate_key,
        names=tuple(allow_host or ()),
    )
    serve(settings_of(context), wanted, say, complain)


@app.command("adduser")
def add_user(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The user's name.", metavar="NAME")],
    role: Annotated[
        Literal["reader", "operator"],
        typer.Option(help="Who reads sees everything; an operator also changes it."),
    ] = "reader",
    users: Users = None,
) -> None:
    """Add a user of the page, or give one a new password and role.

    Example: tuner ui adduser ada --role operator

    The password is asked for, or read from standard input. A new one ends the user's sessions.
    """
    from tuner.cli.output import say
    from tuner.web.security.accounts import Role, check_user_name

    accounts = _accounts(context, users)
    check_user_name(name)
    is_new = accounts.put(name, _password(), Role(role))
    say(f"{'added' if is_new else 'changed'} user {name}, {role}, in {accounts.file}")


@app.command("removeuser")
def remove_user(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The user's name.", metavar="NAME")],
    users: Users = None,
) -> None:
    """Remove a user of the page, whose sessions end at once.

    Example: tuner ui removeuser ada
    """
    from tuner.cli.output import say

    accounts = _accounts(context, users)
    accounts.remove(name)
    say(f"removed user {name} from {accounts.file}")


def _accounts(context: typer.Context, users: Path | None) -> "Accounts":
    from tuner.web.security.accounts import Accounts, users_file

    return Accounts(users or users_file(settings_of(context)))


def _password() -> str:
    """Asked for twice on a terminal, else a line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")
