"""The keys of signatures, which a step is given by its environment."""

import os

from components.errors import InputError
from serving.signature import SignatureError, key_in


def given_key(variable: str) -> str:
    """Return the key that an environment variable gives, PEM; "" when it gives none.

    Raises:
        InputError: If what it gives is neither PEM nor a file with it; it is not shown.
    """
    try:
        return key_in(os.environ, variable)
    except SignatureError as error:
        raise InputError(variable, str(error), "PEM, or the path of a file with it") from error
