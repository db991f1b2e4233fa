"""The arrows between the rooms, and what an import may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# room → rooms it may import from; compile → pipelines → components → serving, one way only.
ALLOWED = {
    "serving": {"serving"},
    "components": {"components", "serving"},
    "pipelines": {"pipelines", "components", "serving"},
}
STEPS = sorted(path.parent.name for path in ROOT.glob("components/*/component.py"))


def imported_modules(file: Path) -> set[str]:
    """Every module a file imports, also inside functions; relative imports are refused."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_follow_the_arrows(room):
    for file in (ROOT / room).rglob("*.py"):
        own = {
            name for name in imported_modules(file) if name.split(".")[0] in {*ALLOWED, "compile"}
        }
        assert {name.split(".")[0] for name in own} <= ALLOWED[room], file


@pytest.mark.parametrize("step", STEPS)
def test_no_step_imports_another(step):
    others = {f"components.{other}" for other in STEPS} - {f"components.{step}"}
    for file in (ROOT / "components" / step).rglob("*.py"):
        for name in imported_modules(file):
            assert ".".join(name.split(".")[:2]) not in others, f"{file} imports {name}"


def test_components_reach_serving_only_through_the_platform_and_the_packages_signature():
    # What one side writes into a package and the other reads is in one place.
    allowed = ("serving.platform", "serving.signature")
    for file in (ROOT / "components").rglob("*.py"):
        for name in imported_modules(file):
            assert not name.startswith("serving.") or name.startswith(allowed), file


def test_importing_pipelines_loads_no_tensorflow():
    program = (
        "import sys, compile, pipelines.recommender, pipelines.__main__\n"
        "print([m for m in sys.modules if m.split('.')[0] in "
        "{'tensorflow', 'tensorflow_transform', 'apache_beam', 'keras', 'kserve'}])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("step", STEPS)
def test_a_step_has_its_readme_and_a_short_wrapper(step):
    folder = ROOT / "components" / step
    assert (folder / "README.md").is_file()
    tree = ast.parse((folder / "component.py").read_text(encoding="utf-8"))
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        # The interface (signature and docstring) may be long; the work in the body may not.
        assert len(function.body) <= 20, function.name
        assert not any(isinstance(node, ast.For | ast.While) for node in ast.walk(function))


def test_all_eight_rooms_of_the_design_but_monitor_are_there():
    assert set(STEPS) >= {
        "ingest", "preprocess", "train", "evaluate", "package", "deploy", "shadow", "rollout",
    }  # fmt: skip
