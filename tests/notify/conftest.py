"""A real receiver for the notices."""

from collections.abc import Iterator

import pytest

from tests.notify.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook on loopback."""
    running = Receiver()
    yield running
    running.stop()
