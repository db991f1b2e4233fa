"""The order of the tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a cluster last: its programs may still be building beside the others."""
    items.sort(key=lambda item: "cluster" in item.path.parts)
