"""Puts the folders' READMEs into the site, so that each text is in one place only.

A README keeps its place (`components/train/README.md`). Links between pages are made to fit; a link
to what is no page, such as a source file, becomes the name of that file.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
READMES = (*ROOT.glob("components/*/README.md"), *(ROOT / name / "README.md" for name in (
    "pipelines", "serving", "images",
)))  # fmt: skip
_LINK = re.compile(r"(?<!\!)\[(?P<text>[^\]]+)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the READMEs as pages."""
    for path in READMES:
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the links of a page fit the site."""
    uri = page.file.src_uri
    folder = posixpath.dirname(uri if _is_readme(uri) else f"docs/{uri}")
    pages = {
        (one.src_uri if _is_readme(one.src_uri) else f"docs/{one.src_uri}"): one.src_uri
        for one in files
    }

    def fitted(match: re.Match[str]) -> str:
        target = match["target"]
        if ":" in target:
            return match[0]
        place = posixpath.normpath(posixpath.join(folder, target))
        if place not in pages:
            if not (ROOT / place).exists():
                return match[0]  # mkdocs says that it is broken
            plain = match["text"].strip("`")
            return f"{match['text']} (`{place}`)" if plain not in place else f"`{place}`"
        way = posixpath.relpath(pages[place], posixpath.dirname(uri) or ".")
        return f"[{match['text']}]({way}{match['anchor'] or ''})"

    return _LINK.sub(fitted, markdown)


def _is_readme(uri: str) -> bool:
    return (ROOT / uri) in READMES
