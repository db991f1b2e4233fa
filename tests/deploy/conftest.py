from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.platform.local import LocalPlatform


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published package, not to be altered."""
    from tests.serving.tiny_package import publish_tiny

    return publish_tiny(tmp_path_factory.mktemp("store"))


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[LocalPlatform]:
    """A local platform of its own, with everything it started ended afterwards."""
    local = LocalPlatform(tmp_path / "state", namespace="test")
    yield local
    for service in local.services():
        local.delete(service)
