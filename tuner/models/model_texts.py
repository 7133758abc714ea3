"""The texts that name a network, told apart without opening anything."""

import re

RUN = re.compile(r"(?:runs:/+)?(?P<run>[0-9a-f]{32})(?:/(?P<path>.+))?")
LOGGED = re.compile(r"(?:models:/+)?(?P<model>m-[0-9a-f]{32})")
REGISTERED = re.compile(r"models:/+(?P<name>[^/@]+)(?:@(?P<alias>.+)|/(?P<version>.+))?")
_URI = re.compile(r"(models|runs):/")
TRIAL = re.compile(r"(?P<study>.+)/(?P<number>[0-9]{1,9})")

LOGGED_FORMS = "models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-ID or runs:/ID"
FORMS = "MODEL is a .keras file, a study, STUDY/N for its trial N, models:/NAME@ALIAS or runs:/ID"


def is_logged(text: str) -> bool:
    """Whether the text names a network in MLflow: a URI, or the id of a run or a logged model."""
    return any(pattern.fullmatch(text) for pattern in (RUN, LOGGED)) or bool(_URI.match(text))
