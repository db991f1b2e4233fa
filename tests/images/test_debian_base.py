"""The base made of Debian's packages: what its script does when it is cut off."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "images" / "debian_base.sh"
PODMAN = "#!/bin/sh\nexit 1\n"  # it has no such image
# As the real one is when it is killed: what it has mounted in the new system stays mounted.
DEBOOTSTRAP = """#!/bin/sh
for folder; do :; done
mkdir -p "$folder/proc" "$folder/etc" && mount --bind "$MACHINES" "$folder/proc" && exit 1
exit 3
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and make the base")
def test_cut_off_it_removes_its_folder_and_nothing_that_is_mounted_there(tmp_path):
    for name, text in (("podman", PODMAN), ("debootstrap", DEBOOTSTRAP)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    machines, temporary = tmp_path / "machines", tmp_path / "temporary"
    temporary.mkdir()
    machines.mkdir()
    (machines / "kept").touch()
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MACHINES": str(machines)}
    environment = {**os.environ, **own, "TMPDIR": str(temporary)}
    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)
    if "mount:" in done.stderr:
        pytest.skip("nothing can be mounted here")
    assert done.returncode == 1, done.stderr
    assert (machines / "kept").exists()
    assert list(temporary.iterdir()) == []
