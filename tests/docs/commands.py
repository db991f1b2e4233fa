"""The commands in the site's pages, and how a test runs them.

Each `sh` block is cut into commands. A command is run by a test in one of four places, or another
test runs the like of it and `ELSEWHERE` names that test. There is no third way: what nobody sorts
out is run on this machine, and the test fails where it fails.
"""

import os
import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

ROOT = Path(__file__).parents[2]
Place = Literal["machine", "servers", "kubeflow", "cluster", "elsewhere"]
# What serves until it is told to end.
SERVES = re.compile(r"-m serving\.(predictor|transformer|platform host)\b")

# Of a command that is not run here: the file that runs the like of it, and what in it does so.
ELSEWHERE = {
    "make demo": ("benchmarks/demo.py", '"-m", "pipelines.demo"'),
    "make bench": ("Makefile", "-m benchmarks."),
    "make bench-serving": ("Makefile", "-m benchmarks.serving"),
    "make images": ("Makefile", "images/build.py --or-debian predictor pipeline transformer"),
    "make images-test": ("tests/images/test_pipeline_in_containers.py", "def test_"),
    "make images-scan": ("Makefile", "-m pip_audit --strict"),
}


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        page: The page's file, from the root.
        line: Its line there.
        text: The command on one line, without its comment.
    """

    page: str
    line: int
    text: str

    @property
    def key(self) -> str | None:
        """Its entry in `ELSEWHERE`; None when it is run here."""
        words = " ".join(re.sub(r"^([A-Z_]+=\S+ )+|\.venv/bin/", "", self.text).split())
        matching = [key for key in ELSEWHERE if words == key or words.startswith(f"{key} ")]
        return max(matching, key=len, default=None)

    @property
    def place(self) -> Place:
        """Where it is run."""
        if self.key is not None:
            return "elsewhere"
        if SERVES.search(self.text) or self.text.startswith("curl "):
            return "servers"
        if "kubectl" in self.text or "--platform kserve" in self.text:
            return "cluster"
        client = r"KF_PIPELINES|compile\.py|-m pipelines (upload|run|runs|logs|schedule)\b"
        return "kubeflow" if re.search(client, self.text) else "machine"


def pages() -> list[str]:
    """Return the files of the site's pages in the order of its navigation."""
    # The file names nothing that only mkdocs could read.
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]

    def files(entry: object) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry if (ROOT / entry).is_file() else f"docs/{entry}"
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from files(part) if not isinstance(entry, str) else ()

    return list(files(nav))


def blocks(page: str, language: str) -> Iterator[tuple[int, str]]:
    """Yield the fenced blocks of a language with the line they begin at."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = re.compile(r"^(?P<margin> *)```(?P<language>\w*)\n(?P<body>.*?)^ *```$", re.M | re.S)
    for match in fenced.finditer(text):
        if match["language"] == language:
            yield text.count("\n", 0, match.start("body")) + 1, textwrap.dedent(match["body"])


def commands(page: str) -> Iterator[Command]:
    """Yield a page's commands; a line that ends with a backslash goes on in the next."""
    for first, body in blocks(page, "sh"):
        lines = body.splitlines()
        start = 0
        for number, line in enumerate(lines):
            if line.endswith("\\"):
                continue
            joined = " ".join(part.strip().removesuffix("\\") for part in lines[start : number + 1])
            if text := re.sub(r"(^|\s+)#( .*)?$", "", joined).strip():
                yield Command(page, first + start, text)
            start = number + 1


def run(page: str, place: Place, folder: Path, words: Mapping[str, str], **environment: str) -> str:
    """Run a page's commands of one place in one shell, as a person would paste them.

    What serves goes on beside the commands after it, and must end well when it is told to.

    Args:
        page: The page.
        place: Whose commands are run.
        folder: Where, see `checkout`.
        words: What stands in a command → what is to stand there, such as a name of one's own.
        environment: Variables of the shell.

    Returns:
        What they printed.
    """
    any_of = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    script = ["set -eEuo pipefail", "trap 'echo \"at line $LINENO\" >&2' ERR", "servers=()"]
    script += ["trap 'kill \"${servers[@]}\" 2>/dev/null || true' EXIT"]
    for command in commands(page):
        if command.place == place:
            # At once, so that nothing is put in place of what has been put there.
            text = re.sub(any_of, lambda found: words[found[0]], command.text)
            script += [f"echo {shlex.quote(f'{page}:{command.line}: {text}')} >&2"]
            script += served(text) if SERVES.search(text) else [text]
    script += ['for server in "${servers[@]}"; do kill "$server"; wait "$server"; done; servers=()']
    (folder / ".curlrc").write_text('fail-with-body\nnoproxy = "*"\n')
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "CURL_HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def served(text: str) -> list[str]:
    """Return shell lines that start a server and go on when it serves, or end when it does not."""
    if port := re.search(r"--http_port (\d+)", text):
        ready = f"curl -so /dev/null http://127.0.0.1:{port[1]}/v2/health/ready"
    else:
        ready = "test -e {}/host.lock".format(*re.search(r"--state-dir (\S+)", text).groups())
    return [f"{text} &", "servers+=($!)", f"until {ready}; do kill -0 $!; sleep 0.1; done"]


def checkout(folder: Path) -> Path:
    """Make a folder look like a checkout, so that what commands write stays in it."""
    for path in ROOT.iterdir():
        if path.name not in ("build", ".git"):
            (folder / path.name).symlink_to(path)
    return folder
