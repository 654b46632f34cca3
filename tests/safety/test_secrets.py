"""What came from the environment, what is called token, key, secret or password, and logins in URLs are in no file."""

import json
import pickle
import sys
from pathlib import Path

import pytest
import yaml

from al_cli import masked
from al_cli.experiment.job import jobs_of
from al_cli.experiment.names import name_with
from al_cli.learners.fake import FakeLearner

SECRET = "s3cr3t-of-mine"
TOP = {"_target_": "al_cli.samplers.top", "_partial_": True}
CALLED = (
    "token",
    "key",
    "secret",
    "password",
    "api_key",
    "WANDB_API_KEY",
    "apiKey",
    "hf_token",
    "AWS_SECRET_ACCESS_KEY",
)
ELSE = ("model.overrides.MODEL.KEYPOINT_ON", "keep", "training.keep_checkpoints", "sampler.monkey", "keyboard", "seed")


def files_with(folder: Path, text: str) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


SERVICE = """
from al_cli.samplers.base import score

@score(needs=frozenset(), family="mine", source="a service that wants a key")
def asked(query, *, api_key: str, where: str = ""):
    return query.candidates.counts.astype(float)
"""


def stages(key: str, where: str) -> str:
    """A sampler that asks a service."""
    score = f"{{_target_: service.asked, _partial_: true, api_key: '{key}', where: '{where}'}}"
    return f"[{{score: {score}, select: {{_target_: al_cli.samplers.top, _partial_: true}}, keep: budget}}]"


@pytest.fixture
def typed(al, monkeypatch):
    """A run's words, one value of them from the environment, one typed secret and one login in a URL."""
    monkeypatch.setenv("MY_TOKEN", SECRET)
    (al.cwd / "service.py").write_text(SERVICE)
    monkeypatch.syspath_prepend(str(al.cwd))
    monkeypatch.delitem(sys.modules, "service", raising=False)
    sampler = stages(f"{SECRET}2", f"https://me:{SECRET}3@host/")
    return ["rounds=1", "study=s", "run_name=r", "dataset.name='${oc.env:MY_TOKEN}'", f"sampler.stages={sampler}"]


def test_which_names_are_secrets():
    assert all(masked.is_secret(key) and masked.is_secret(f"a.{key}.b") for key in CALLED)
    assert not any(masked.is_secret(key) for key in ELSE)


def test_no_file_of_a_run_holds_a_secret_and_the_run_continues(al, fake, typed, monkeypatch):
    words = [*fake, *typed, "tracking=tensorboard"]
    al(*words)
    run = al.cwd / "outputs/s/r"
    config = yaml.safe_load((run / "config.yaml").read_text())
    score = config["sampler"]["stages"][0]["score"]
    assert (config["dataset"]["name"], score["api_key"], score["where"]) == ("***", "***", "https://***@host/")
    command = json.loads((run / "environment.json").read_text())["command"]
    assert command[:2] == ["al", "run"] and "api_key: ***" in command[-2]
    assert files_with(al.cwd / "outputs", SECRET) == []
    assert "is done already" in al(*words).stderr
    monkeypatch.setenv("MY_TOKEN", "another-one")
    assert "is done already" in al(*words).stderr  # a new token is no other run
    assert "another configuration" in al(*words, "training.iterations=7", code=2).stderr


def test_errors_and_logs_say_no_secret(al, fake, typed, monkeypatch):
    def fail(self, train, **options):
        raise RuntimeError(f"cannot log in with {SECRET}, {SECRET}2 at https://me:{SECRET}@host/x")

    monkeypatch.setattr(FakeLearner, "fit", fail)
    done = al(*fake, *typed, "store=false", code=1)
    assert "cannot log in with ***" in done.stderr and SECRET not in done.stdout + done.stderr
    assert "cannot log in with ***" in (al.cwd / "outputs/s/r/error.txt").read_text()
    assert files_with(al.cwd / "outputs", SECRET) == []
    for wrong in (
        f"training.token={SECRET}",
        f"model.weights=https://me:{SECRET}@host/w.pth",
        f"sampler.api_key={SECRET}",
    ):
        done = al(*fake[:3], "initial=0", "rounds=1", wrong, code=2)
        assert SECRET not in done.stderr
    done = al(*fake, "store='${oc.env:MY_TOKEN}'", code=2)
    assert "store is '***'" in done.stderr


def test_a_study_keeps_no_secret(al, fake, typed):
    (al.cwd / "conf").mkdir()  # so that a study's file may name what lies next to it
    base = dict(word.split("=", 1) for word in fake[1:]) | {"plots": False, "rounds": 1, "store": False}
    score = {"_target_": "service.asked", "api_key": f"{SECRET}4", "where": "${oc.env:MY_TOKEN}"}
    arms = [{"name": "a", "sampler": "entropy", "sampler.stages": [{"score": score, "select": TOP, "keep": "budget"}]}]
    (al.cwd / "st.yaml").write_text(json.dumps({"base": base, "arms": arms, "random": False}))
    al("sweep", "st.yaml", f"model.weights=https://me:{SECRET}5@host/w.pth")
    study = json.loads((al.cwd / "outputs/st/study.json").read_text())
    assert study["command"].endswith("model.weights=https://***@host/w.pth'")
    assert "api_key: ***" in " ".join(study["arms"][0]["overrides"])
    assert files_with(al.cwd / "outputs", SECRET) == []


def test_no_folder_is_named_by_a_secret(fake):
    [job] = jobs_of([*fake[1:], f"model.weights=https://{SECRET}@host"])
    assert SECRET not in str(job.folder)
    assert SECRET not in name_with("ccms", [f"+api_key={SECRET}"], 0)


def test_a_job_in_another_process_hides_the_same(al, fake, typed):
    job = pickle.dumps(jobs_of([*fake[1:], *typed])[0])
    masked.begin([])
    assert masked.hide(SECRET) == SECRET
    assert pickle.loads(job).experiment.recorded["dataset"]["name"] == "***"
    assert masked.hide(f"see {SECRET}") == "see ***"


def test_what_is_not_text_or_chooses_among_our_words_can_be_read(al, fake, monkeypatch):
    monkeypatch.setenv("ROUNDS", "1")
    monkeypatch.setenv("FORMAT", "yolo")
    al(*fake, "rounds='${oc.decode:${oc.env:ROUNDS}}'", "dataset.format=${oc.env:FORMAT}", "study=s", "run_name=r")
    assert "1/2" not in al("ls").stdout and "2/2" in al("ls").stdout
    al("show", "outputs/s/r")


def test_urls_lose_their_login():
    for url in ("https://me:pass@host/R-50.pkl", "https://token@host/R-50.pkl", "https://me:p@ss@host/R-50.pkl"):
        assert masked.hide(f"at {url}, and a@b") == "at https://***@host/R-50.pkl, and a@b"
        assert masked.hide_values({"model": {"weights": url}}, ()) == {
            "model": {"weights": "https://***@host/R-50.pkl"}
        }
    assert masked.hide("https://host/a@b") == "https://host/a@b"
