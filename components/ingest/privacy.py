"""Replaces user ids by a keyed hash."""

import hashlib

import polars as pl

from components.errors import InputError

MIN_KEY_CHARACTERS = 16


def hash_users(users: pl.Series, *, key: str) -> pl.Series:
    """Return the ids replaced by a keyed BLAKE2b of 128 bits, in hex.

    The same id under the same key gives the same hash, so that a returning user is known again;
    without the key, ids cannot be found by hashing all possible ones.

    Args:
        users: Ids, no missing ones, length [events].
        key: The secret; never written anywhere.

    Raises:
        InputError: If the key is too short to be a secret.
    """
    if len(key) < MIN_KEY_CHARACTERS:
        expected = f"a secret of at least {MIN_KEY_CHARACTERS}, because clean.hash_users is set"
        raise InputError("hash key (SHOPFLOW_HASH_KEY)", f"{len(key)} characters", expected)
    secret = hashlib.sha256(key.encode()).digest()
    distinct = users.unique()
    hashed = [
        hashlib.blake2b(user.encode(), key=secret, digest_size=16).hexdigest() for user in distinct
    ]
    return users.replace_strict(distinct, hashed, return_dtype=pl.String)
