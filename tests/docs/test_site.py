"""The site: it builds, it loads nothing from elsewhere, and no command in it goes unrun."""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from pipelines.configs import config_parameter
from tests.docs.commands import ELSEWHERE, ROOT, blocks, commands, pages

LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
# What begins like a command but is in a block that no test would read.
COMMAND = re.compile(r"^(\$ |\.venv/bin/|python3? |make |kubectl |curl |export |openssl |docker )")


class Loaded(HTMLParser):
    """Collects what a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        own = dict(attrs)
        if own.get("rel") != "canonical" and own.get(LOADS.get(tag, "")):
            self.found.append(own[LOADS[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_makes_a_browser_ask_another_host(site):
    for page in site.rglob("*.html"):
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.found
        assert [url for url in loaded.found if url.startswith(("http", "//"))] == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text("utf-8")), (
            style
        )


def test_the_components_are_there_with_what_their_docstrings_say(site):
    page = (site / "reference" / "components" / "index.html").read_text(encoding="utf-8")
    for step in (path.parent.name for path in ROOT.glob("components/*/component.py")):
        assert f'id="components.{step}.component.{step}"' in page, step
    assert "ISO date; events at or after it are removed." in page


def test_readmes_are_pages_and_link_to_pages(site):
    page = (site / "components" / "package" / "index.html").read_text(encoding="utf-8")
    assert "All or nothing." in page
    page = (site / "serving" / "index.html").read_text(encoding="utf-8")
    assert 'href="../components/package/#signatures"' in page
    assert 'href="../metrics/"' in page


def test_every_readme_of_a_step_is_in_the_navigation():
    readmes = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("components/*/README.md")}
    assert readmes <= set(pages()), "name it in mkdocs.yml and in docs/reference/components.md"


@pytest.mark.parametrize("page", pages())
def test_what_looks_like_a_command_is_in_a_block_that_is_run(page):
    for language in ("", "bash", "shell", "console", "text"):
        for line, body in blocks(page, language):
            assert not COMMAND.match(body), f"{page}:{line}: say ```sh"


def test_what_is_not_run_here_is_run_where_the_table_says():
    keys = [found.key for page in pages() for found in commands(page) if found.place == "elsewhere"]
    assert set(keys) == set(ELSEWHERE), "an entry that no page needs"
    for name, (file, text) in ELSEWHERE.items():
        assert text in (ROOT / file).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("words", [key for key in ELSEWHERE if key.startswith("make ")])
def test_a_word_of_make_calls_what_is_there(words):
    said = subprocess.run(
        [*words.split(), "--dry-run", "--old-file", ".venv/ready"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    modules = re.findall(r"/python -m ([\w.]+)", said)
    scripts = re.findall(r"/python ([\w/]+\.py)", said)
    assert modules or scripts
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    assert [name for name in scripts if not (ROOT / name).is_file()] == []


def test_the_configuration_on_the_page_is_one():
    from components.ingest.config import load_config

    (config,) = [
        body for _, body in blocks("docs/bring-your-own-data.md", "yaml") if "events:" in body
    ]
    shown = load_config(config, where="bring-your-own-data.md")
    copied = load_config(config_parameter("user_behavior"), where="user_behavior.yaml")
    assert shown.events.columns == copied.events.columns
