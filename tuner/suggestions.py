"""Commands that messages suggest. They are complete: pasted as they are printed, they do what is
said of them, on the database that the running command was given."""

import shlex

from tuner.masking import without_secrets

_global_options: list[str] = []


def remember_options(storage: str | None, tracking_uri: str | None) -> None:
    """The global options of the running command, as it was given them; those that come from the
    environment or are defaults need not be repeated. A password in them is masked, and has to be
    filled in again."""
    options = {"--storage": storage, "--tracking-uri": tracking_uri}
    _global_options[:] = [
        word
        for option, value in options.items()
        if value is not None
        for word in (option, without_secrets(value))
    ]


def command(*words: object) -> str:
    """`tuner` with the global options and these words, quoted for a shell. It must end the line, or
    what follows must begin with a semicolon, ", or ", three blanks or a closing bracket."""
    return shlex.join(["tuner", *_global_options, *map(str, words)])
