"""The process that runs a compiled pipeline, each step in a container of its image."""

import json
import sys

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
    components.load_component_from_file(sys.argv[1])(**told["arguments"])


if __name__ == "__main__":
    main()
