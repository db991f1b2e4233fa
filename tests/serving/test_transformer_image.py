"""The transformer's image: what is copied into it is enough, and it holds no TensorFlow."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "images" / "transformer"


def pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", file.read_text(), re.MULTILINE))


def test_transformer_loads_no_tensorflow_and_nothing_the_image_does_not_hold():
    program = (
        "import sys, serving.transformer.server, google.cloud.storage, cachetools\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))\n"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] == 'serving'))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    packages, ours = (line.split() for line in shown.stdout.strip().splitlines()[-2:])
    assert not {"tensorflow", "keras", "tensorflow_transform", "apache_beam"} & set(packages)
    copied = re.findall(r"serving/(\w+)(?:\.py)?(?= )", (IMAGE / "Dockerfile").read_text())
    held = {"serving", *(f"serving.{name}" for name in copied)}
    assert {".".join(name.split(".")[:2]) for name in ours} == held - {"serving.__init__"}


def test_image_is_locked_to_the_projects_versions():
    locked, project = pins(IMAGE / "requirements.txt"), pins(ROOT / "requirements.txt")
    assert locked == {name: project[name] for name in locked}
    wanted = re.findall(r"^[a-z-]+$", (IMAGE / "requirements.in").read_text(), re.MULTILINE)
    assert len(wanted) >= 10 and set(wanted) <= set(locked)
    assert not {"tensorflow", "keras", "kfp", "apache-beam"} & set(locked)
