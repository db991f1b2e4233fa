"""Flink with Beam's job server: started when the first test asks for it."""

from collections.abc import Iterator

import pytest

from tests.beam.flink import Flink, running_flink
from tests.beam.jars import NoJars, fetch

_FETCH_TIMEOUT_S = 3600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test that needs Flink the time to fetch it."""
    for item in items:
        if "flink" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(_FETCH_TIMEOUT_S))


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    try:
        jars = fetch()
    except NoJars as missing:
        pytest.skip(str(missing))
    with running_flink(jars, tmp_path_factory.mktemp("flink")) as running:
        yield running
