"""What the tests of the client share: a server, and the command line in this process."""

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from pipelines.__main__ import app
from tests.pipelines.kfp_server import KfpServer

Cli = Callable[..., str]


@pytest.fixture
def server() -> Iterator[KfpServer]:
    running = KfpServer()
    yield running
    running.stop()


@pytest.fixture
def cli(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run `python -m pipelines …` on the server; returns what it prints, raises what it raises."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.host)

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(word) for word in arguments])
        if result.exception is not None:
            raise result.exception
        return result.output

    return run
