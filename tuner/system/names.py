"""Names of studies and of MLflow's experiments, and the commands that messages suggest.

A study's name is part of commands, file names and MLflow's filters. Earlier versions allowed more
characters, and whoever can write the database can put in any: such a study is found by its name,
but the name is used for nothing else.

A suggested command is complete: pasted as printed, it works on the database that the running
command was given.
"""

import hashlib
import re
import shlex
import unicodedata

from tuner.errors import StudyError
from tuner.system.secret_masking import without_secrets

LONGEST = 128
# A made name leaves room for a number that makes it unique.
_LONGEST_MADE = 112
# MLflow takes 500 characters, of which its table on PostgreSQL holds 256.
_LONGEST_EXPERIMENT = 256
_VALID = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{LONGEST - 1}}}")


def is_valid(name: str) -> bool:
    """Whether a study may be created with this name: safe as a folder, argument and filter."""
    return _VALID.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raises StudyError for a name that a study may not be created with."""
    if is_valid(name):
        return
    shown = printable(name) if len(name) <= 60 else f"{printable(name[:60])}…"
    if len(name) > LONGEST:
        problem = f"it has {len(name)} characters"
    elif name[:1] in ("", ".", "-"):
        problem = f"it begins with {name[0]}" if name else "it is empty"
    else:
        odd = next(character for character in name if not _VALID.fullmatch(f"_{character}"))
        problem = f"it holds {_named(odd)}"
    raise StudyError(
        f"'{shown}' is no name for a study: {problem}; a name has up to {LONGEST} of the letters "
        "A-Z and a-z, digits, . _ and -, and begins with a letter, a digit or _"
    )


def check_experiment(name: str) -> None:
    """Raises StudyError for what cannot be the name of an MLflow experiment."""
    if not name.strip():
        raise StudyError("the name of an MLflow experiment must not be empty")
    if len(name) > _LONGEST_EXPERIMENT:
        raise StudyError(
            f"the name of an MLflow experiment has up to {_LONGEST_EXPERIMENT} characters, "
            f"got {len(name)}"
        )
    odd = next((character for character in name if not character.isprintable()), None)
    if odd is not None:
        raise StudyError(f"the name of an MLflow experiment must not hold {_named(odd)}")


def _named(character: str) -> str:
    """A character as a message names it."""
    if character == " ":
        return "a blank"
    code = f"U+{ord(character):04X}"
    return f"{character} ({code})" if character.isprintable() else f"the character {code}"


def printable(name: str) -> str:
    """The name as it may be printed: characters that do not print are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def in_command(name: str) -> str:
    """The name as an argument of a suggested command; STUDY for a name that a shell could
    misread."""
    return name if is_valid(name) else "STUDY"


def as_file_name(name: str, uuid: str) -> str:
    """The name of a study's files: its own name, or its id where that could be another path."""
    return name if is_valid(name) else f"study-{uuid}"


def make_name(*words: str) -> str:
    """A valid name made of these words, such as mlp-digits: accents are dropped, other characters
    that are not allowed become dashes. Where letters or the end are lost, a part of the words' hash
    is added, so that different words give different names."""
    text = "-".join(words)
    letters = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    letters = "".join(c for c in letters if not unicodedata.combining(c))
    made = re.sub(r"[^A-Za-z0-9._-]", "-", letters).lstrip(".-")
    is_lost = any(c.isalnum() and not c.isascii() for c in letters)
    if is_lost or not made or len(made) > _LONGEST_MADE:
        mark = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:8]
        made = f"{made[: _LONGEST_MADE - 9].rstrip('-') or 'study'}-{mark}"
    return made


def as_option(name: str) -> str:
    """A keyword as an option of the command line: --patience-trials."""
    return f"--{name.replace('_', '-')}"


_global_options: list[str] = []


def remember_options(storage: str | None, tracking_uri: str | None) -> None:
    """Have suggested commands repeat the global options of the running one; None for those that
    come from the environment or are defaults. A password in them is masked, and has to be filled in
    again."""
    options = {"--storage": storage, "--tracking-uri": tracking_uri}
    _global_options[:] = [
        word
        for option, value in options.items()
        if value is not None
        for word in (option, without_secrets(value))
    ]


def command(*words: object) -> str:
    """`tuner` with the global options and these words, quoted for a shell. In a message it must end
    the line or be followed by a semicolon, ", or ", three blanks or a closing bracket."""
    return shlex.join(["tuner", *_global_options, *map(str, words)])


def install_command(*requirements: str) -> str:
    """How to install these libraries, quoted for a shell. Never tuner itself, as in `tuner[ray]`:
    an index has another package of that name."""
    return shlex.join(["pip", "install", *requirements])


def command_elsewhere(*words: object) -> str:
    """The same for a text that is read on other machines: without this one's global options."""
    return shlex.join(["tuner", *map(str, words)])
