"""What a study that was killed leaves in the temporary folder is removed when the next one starts."""

import os
import subprocess
import sys

from al_cli.sweep import worker


def test_files_of_processes_that_are_gone_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(worker.tempfile, "gettempdir", lambda: str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [f"al_run_{gone.pid}_x1", f"al_run_{os.getpid()}_x2", "al_run_notes_of_mine", "al_run_x3"]
    for name in names:
        (tmp_path / name).touch()
    worker.prepare([])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
