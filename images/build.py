"""Build the images of docker-bake.hcl with Docker or Podman: `python images/build.py [NAME …]`."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import hcl2
import typer
from engine import answers, find_engine

ROOT = Path(__file__).parents[1]
BAKE_FILE = ROOT / "images" / "docker-bake.hcl"
_DEBIAN_BASE = ROOT / "images" / "debian_base.sh"


@dataclass(frozen=True)
class Target:
    """One image to build, as the bake file describes it.

    Attributes:
        dockerfile: Relative to the repository's root.
        tag: What it is called; empty for what only helps to build the others.
        args: Build arguments.
        contexts: Name in the Dockerfile → the target that it stands for.
    """

    dockerfile: str
    tag: str
    args: Mapping[str, str]
    contexts: Mapping[str, str]


def read_targets(environment: Mapping[str, str]) -> tuple[dict[str, Target], list[str]]:
    """Read the bake file as `docker buildx bake` does: variables come from the environment.

    Returns:
        The targets by name, and the names of the default group.
    """
    options = hcl2.SerializationOptions(strip_string_quotes=True)
    with BAKE_FILE.open(encoding="utf-8") as file:
        content = hcl2.load(file, serialization_options=options)
    defaults = {name: block["default"] for name, block in _blocks(content, "variable")}
    values = {name: environment.get(name, default) for name, default in defaults.items()}

    def filled(text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)

    targets = {
        name: Target(
            block["dockerfile"],
            filled(block.get("tags", [""])[0]),
            {key: filled(value) for key, value in block.get("args", {}).items()},
            {
                key: value.removeprefix("target:")
                for key, value in block.get("contexts", {}).items()
            },
        )
        for name, block in _blocks(content, "target")
    }
    return targets, dict(_blocks(content, "group"))["default"]["targets"]


def _blocks(content: Mapping[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for block in content[kind]:
        yield from ((name.strip('"'), body) for name, body in block.items())


def build_order(targets: Mapping[str, Target], wanted: list[str]) -> list[str]:
    """Return the wanted targets and what they build on, each after what it needs."""
    order: list[str] = []

    def visit(name: str) -> None:
        for needed in targets[name].contexts.values():
            visit(needed)
        if name not in order:
            order.append(name)

    for name in wanted:
        visit(name)
    return order


def podman_command(targets: Mapping[str, Target], name: str) -> list[str]:
    """Return the `podman build` that makes one target from those built before it."""
    target = targets[name]
    # Docker's format, because OCI's has no health check; the host's network, because a build
    # needs nothing but the package index.
    command = ["podman", "build", "--format", "docker", "--network", "host", "--quiet"]
    command += ["--file", target.dockerfile, "--tag", reference(targets, name)]
    for key, value in target.args.items():
        command += ["--build-arg", f"{key}={value}"]
    for key, needed in target.contexts.items():
        command += ["--build-context", f"{key}=container-image://{reference(targets, needed)}"]
    return [*command, "."]


def reference(targets: Mapping[str, Target], name: str) -> str:
    """Return what an image is called, also one that has no tag of its own."""
    return targets[name].tag or f"localhost/shopflow-build/{name}:latest"


def can_have(base: str) -> bool:
    """Return whether the base is here or can be pulled."""
    engine = find_engine()
    return answers(engine, "image", "inspect", base) or answers(engine, "pull", base)


def revision() -> str:
    """Return the commit that is checked out, "unknown" outside a repository."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def main(
    images: Annotated[list[str] | None, typer.Argument(help="Names; all by default.")] = None,
    or_debian: Annotated[
        bool, typer.Option("--or-debian", help="On Debian's Python where no base can be pulled.")
    ] = False,
) -> None:
    """Build the images; REGISTRY, TAG and BASE_IMAGE are taken from the environment."""
    environment = {"REVISION": revision(), **os.environ}
    targets, default = read_targets(environment)
    base = targets["tools"].args["BASE_IMAGE"]
    if or_debian and not can_have(base):
        print(f"found no {base}; building on a base made of Debian's packages", flush=True)
        made = subprocess.run(_DEBIAN_BASE, stdout=subprocess.PIPE, text=True, check=False)
        if made.returncode:
            sys.exit(f"images: {_DEBIAN_BASE} failed, see above")
        environment["BASE_IMAGE"] = made.stdout.strip()
        targets, default = read_targets(environment)
    wanted = images or default
    if unknown := set(wanted) - set(targets):
        sys.exit(f"images: found {', '.join(unknown)}, expected some of {', '.join(targets)}")
    if find_engine() == "docker":
        if not answers("docker", "buildx", "version"):
            sys.exit("images: found Docker without buildx, expected both")
        bake = ["docker", "buildx", "bake", "--file", str(BAKE_FILE), "--load", *wanted]
        sys.exit(subprocess.run(bake, cwd=ROOT, env=environment, check=False).returncode)
    for name in build_order(targets, wanted):
        print(f"building {reference(targets, name)}", flush=True)
        done = subprocess.run(podman_command(targets, name), cwd=ROOT, check=False)
        if done.returncode:
            sys.exit(f"images: {name} was not built, see above")


if __name__ == "__main__":
    typer.run(main)
