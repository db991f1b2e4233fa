"""What is in an image: a CycloneDX bill of materials, and the licence of every package.

`python images/bill_of_materials.py REFERENCE --out FOLDER` reads Python's packages by cyclonedx-py
from the metadata in the image, and Debian's from dpkg and their copyright files.
"""

import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from engine import find_engine

_METADATA = "cd /opt/venv/lib/python3*/site-packages && tar -c *.dist-info"
_DEBIAN = r"""dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\n' |
while IFS="$(printf '\t')" read -r name version architecture; do
  file=/usr/share/doc/$name/copyright
  licences=$(sed -n 's/^License: *//p' "$file" 2>/dev/null | sort -u | tr '\n' ';')
  printf '%s\t%s\t%s\t%s\n' "$name" "$version" "$architecture" "$licences"
done"""
_NOT_STATED = "not stated"


def in_image(reference: str, script: str) -> bytes:
    """Run a shell script in a new container without a network; return what it printed."""
    command = [find_engine(), "run", "--rm", "--network", "none", "--entrypoint", "/bin/sh"]
    done = subprocess.run([*command, reference, "-c", script], capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{reference}: {done.stderr.decode().strip()}")
    return done.stdout


def python_packages(reference: str) -> dict[str, Any]:
    """Return the CycloneDX document of the image's Python environment."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "environment"
        venv.create(environment)
        (site,) = environment.glob("lib/python3*/site-packages")
        with tarfile.open(fileobj=io.BytesIO(in_image(reference, _METADATA))) as archive:
            archive.extractall(site, filter="data")
        command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
        done = subprocess.run([*command, str(environment)], capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{reference}: cyclonedx-py: {done.stderr.decode().strip()}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def debian_packages(reference: str) -> Iterator[dict[str, Any]]:
    """Yield a CycloneDX component for each package that dpkg knows."""
    for line in in_image(reference, _DEBIAN).decode().splitlines():
        name, version, architecture, licences = line.split("\t")
        purl = f"pkg:deb/debian/{name}@{version.replace(':', '%3A')}?arch={architecture}"
        # Where a copyright file has the licence's text in place of its name, the text is left out.
        found = [text for text in licences.split(";") if text and len(text.split()) < 6]
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "licenses": [{"license": {"name": text}} for text in found],
        }


def licences_of(component: dict[str, Any]) -> str:
    """Return a component's licences in one line; of the classifiers only the last word."""
    stated = [
        entry.get("expression") or entry["license"].get("id") or entry["license"]["name"]
        for entry in component.get("licenses", [])
    ]
    names = {re.split(r" :: |\n", text)[-1].strip() for text in stated}
    return ", ".join(sorted(names)) or _NOT_STATED


def main(
    reference: Annotated[str, typer.Argument(help="The image.")],
    out: Annotated[Path, typer.Option(help="Folder for the two files.")] = Path("build/images"),
) -> None:
    """Write NAME.cdx.json and NAME.licences.tsv for one image."""
    document = python_packages(reference)
    document["components"] = [*document.get("components", []), *debian_packages(reference)]
    document["metadata"]["component"] = {"type": "container", "name": reference}
    out.mkdir(parents=True, exist_ok=True)
    name = re.split(r"[@:]", reference.rsplit("/", 1)[-1])[0]
    (out / f"{name}.cdx.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    rows = [(c["name"], c["version"], licences_of(c)) for c in document["components"]]
    lines = "".join("\t".join(row) + "\n" for row in sorted(rows))
    (out / f"{name}.licences.tsv").write_text(lines, encoding="utf-8")
    unknown = sum(row[2] == _NOT_STATED for row in rows)
    print(f"{reference}: {len(rows)} packages, {unknown} with their licence {_NOT_STATED}")


if __name__ == "__main__":
    typer.run(main)
