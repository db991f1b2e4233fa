"""Who goes to the canary: a fixed place per user, read from header or body."""

import json
import random

import pytest

from serving.platform.traffic import bucket, goes_to_canary, user_of

USERS = [f"user{i}" for i in range(4000)]


def on_canary(percent: int, salt: str = "shop-predictor-00002") -> set[str]:
    draw = random.Random(1)
    return {
        user
        for user in USERS
        if goes_to_canary(percent, salt=salt, header_user=user, body=b"", draw=draw)
    }


def test_raising_the_share_moves_users_to_the_canary_only():
    shares = [on_canary(percent) for percent in (0, 5, 25, 50, 100)]
    assert all(low <= high for low, high in zip(shares, shares[1:], strict=False))
    assert (shares[0], shares[-1]) == (set(), set(USERS))


def test_shares_are_what_was_asked_for():
    # 25 % of 4000 is 1000 with sd sqrt(4000 * .25 * .75) = 27; the hash is fixed, so no flakes.
    assert abs(len(on_canary(25)) - 1000) < 3 * 27


def test_another_canary_is_tried_on_other_users():
    both = on_canary(25) & on_canary(25, salt="shop-predictor-00003")
    assert abs(len(both) - 250) < 80  # independent: a quarter of a quarter of 4000


def test_place_of_a_user_never_changes():
    # The first 64 bits of `printf 'c\nu' | b2sum -l 64`, as a fraction.
    assert bucket("u", salt="c") == pytest.approx(0x64E1DDB5DCAADF02 / 2**64)


@pytest.mark.parametrize(
    ("payload", "user"),
    [
        ({"instances": [{"user": "a"}, {"user": "b"}]}, "a"),
        ({"inputs": [{"name": "k"}, {"name": "user", "data": ["a"]}]}, "a"),
        ({"user": "a"}, "a"),
        ({"instances": [{}]}, None),
        ({"instances": [{"user": 7}]}, None),
        ({"instances": ["x"]}, None),
        ({"inputs": [{"name": "user", "data": []}]}, None),
        ([], None),
    ],
)
def test_user_is_found_in_either_protocol(payload: object, user: str | None):
    assert user_of(json.dumps(payload).encode()) == user


def test_body_that_is_no_json_names_nobody():
    assert user_of(b"\xff{") is None
