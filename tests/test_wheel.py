"""An installed wheel carries its configurations: build it, install it in a clean folder, run it there."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_runs_on_its_own(tmp_path, fake):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path / "dist"), str(ROOT)],
        check=True,
        capture_output=True,
    )
    [wheel] = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True)
    assert (site / "al_cli/_conf/config.yaml").is_file() and (site / "al_cli/_sweeps").is_dir()
    assert (site / "al_cli/report/page.html.j2").is_file()
    assert (site / "al_cli/datasets/imagenet_classes.txt").is_file()
    assert (site / "al_cli/py.typed").is_file(), "without it type checkers do not read our annotations"
    clean = tmp_path / "clean"
    clean.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-c", "import al_cli; print(al_cli.__file__)"],
        cwd=clean,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(site))
    done = subprocess.run(
        [sys.executable, "-m", "al_cli.cli.main", *fake, "rounds=1"],
        cwd=clean,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(clean.glob("outputs/*/*/rounds.csv"))
