"""The password of a store, which no record holds: taken from the environment when a run goes on."""

from __future__ import annotations

import os
from urllib.parse import quote, urlsplit

from expkit.errors import TrackingError
from expkit.masking import is_masked, masked, without_passwords
from expkit.secret_names import MASK

URI = "MLFLOW_TRACKING_URI"
_VARIABLES = {
    "http": "MLFLOW_TRACKING_PASSWORD",
    "https": "MLFLOW_TRACKING_PASSWORD",
    "postgresql": "PGPASSWORD",
    "mysql": "MYSQL_PWD",
    "mssql": "MSSQL_PASSWORD",
}


def with_password(uri: str) -> str:
    """Return the URI of a store with the password that its record lacks.

    Args:
        uri: as recorded; one that lacks nothing is returned as it is.

    Raises:
        TrackingError: the environment does not have it; says how to give it.
    """
    if not is_masked(uri):
        return uri
    whole = os.environ.get(URI, "")
    if whole and uri in (without_passwords(whole), masked(whole)):
        return whole
    scheme = urlsplit(uri).scheme.split("+")[0]
    variable = _VARIABLES.get(scheme, "")
    password = os.environ.get(variable, "")
    if password and uri.count(MASK) == 1:
        return uri.replace(MASK, quote(password, safe=""))
    names = f"{URI} or {variable}" if variable else URI
    raise TrackingError(
        f"tracking.uri={uri}: passwords are not recorded. Put it into the environment ({names}), or give the address "
        "with its own (tracking.uri=URI; of `sync`: --uri URI), or go on without a store: tracking.kind=none."
    )
