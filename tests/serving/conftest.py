from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.platform import InferencePlatform
from serving.platform.local import LocalPlatform
from tests.serving.running_server import running_server


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[InferencePlatform]:
    """A local platform of its own, with everything it started ended afterwards."""
    local = LocalPlatform(tmp_path / "state", namespace="test")
    yield local
    for service in local.services():
        local.delete(service)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published package: 20 items, "item19" best without a history."""
    from tests.serving.tiny_package import publish_tiny

    return publish_tiny(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def predictor(package: Path) -> Iterator[httpx.Client]:
    """A client of one running predictor for the package."""
    options = ["--model_name", "shop", "--model_dir", str(package), "--revision", "shop-00001"]
    with running_server("serving.predictor", *options) as client:
        yield client
