"""A run folder may come from anybody: showing it runs no code that it names."""

from pathlib import Path

import yaml


def test_show_with_a_checkpoint_runs_nothing_that_the_folder_names(al, fake, tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()\ndef touch(): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    al(*fake, "rounds=1", "study=s", "run_name=r")
    run = Path("outputs/s/r")
    config = yaml.safe_load((run / "config.yaml").read_text())
    for target, options in (("planted.touch", {}), ("pathlib.Path.touch", {"self": str(tmp_path / "canary")})):
        config["sampler"]["stages"] = [{"select": {"_target_": target, **options}, "keep": "budget"}]
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        al("show", str(run), "--checkpoint", str(run / "round_01/checkpoint.pth"), "--out", "seen.png")
        assert Path("seen.png").exists()
        assert not (tmp_path / "canary").exists()
