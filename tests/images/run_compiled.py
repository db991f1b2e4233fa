"""The process that runs a compiled pipeline, each step in a container of its image."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import docker
from docker.models.containers import Container, ContainerCollection
from kfp import components, local


def main() -> None:
    """Run the YAML file of the first argument; parameters and folders come as JSON on stdin."""
    told = json.load(sys.stdin)
    runner = local.DockerRunner(
        # The state of the servers is a folder, and what is listened to is loopback's.
        network_mode="host",
        pid_mode="host",
        read_only=True,
        tmpfs={"/tmp": "mode=1777"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mounts=[{"Type": "bind", "Source": folder, "Target": folder} for folder in told["folders"]],
    )
    local.init(runner, pipeline_root=told["root"])
    with containers_that_stay():
        components.load_component_from_file(sys.argv[1])(**told["arguments"])


@contextmanager
def containers_that_stay() -> Iterator[None]:
    """Remove the steps' containers in the end.

    KFP asks for containers that remove themselves. One of a short step may be gone before its log
    is asked for, which Podman's API answers with 500 where KFP expects 404.
    """
    run, ids = ContainerCollection.run, list[str]()

    def run_and_keep(self: ContainerCollection, **options: object) -> Container:
        container = run(self, **options | {"auto_remove": False})
        ids.append(container.id)
        return container

    try:
        with mock.patch.object(ContainerCollection, "run", run_and_keep):
            yield
    finally:
        client = docker.from_env()
        for one in ids:
            client.containers.get(one).remove(force=True)
        client.close()


if __name__ == "__main__":
    main()
