"""The server that the second notebook asks."""

from collections.abc import Iterator

import pytest

from tests.notebooks.execute import kubeflow_server
from tests.pipelines.kfp_server import KfpServer


@pytest.fixture
def kfp_server() -> Iterator[KfpServer]:
    with kubeflow_server() as server:
        yield server
