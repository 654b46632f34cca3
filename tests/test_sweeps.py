"""The shipped sweeps: the words that sweeps/README.md makes of a file are runs that pass every check."""

from pathlib import Path

import yaml

from al_cli import app, compose
from al_cli.samplers.guide import guide
from al_cli.verbs import detectors

SWEEPS = Path(__file__).parent.parent / "sweeps"


def words(name: str) -> list[str]:
    content = yaml.safe_load((SWEEPS / name).read_text())
    return [f"{key}={value}" for key, value in content["hydra"]["sweeper"]["params"].items()]


def test_every_practical_sampler_runs_with_every_seed():
    jobs = [dict(word.split("=") for word in job) for job in compose.job_overrides(words("samplers_digits.yaml"), True)]
    practical = {entry.name for entry in guide(compose.shipped("conf") / "sampler", detectors()) if not entry.oracle}
    assert sorted((job["sampler"], job["seed"]) for job in jobs) == sorted((n, s) for n in practical for s in "012")


def test_arms_pass_every_check_and_differ_in_their_sampler_alone():
    one_seed = ["seed=0" if word.startswith("seed=") else word for word in words("samplers_digits.yaml")]
    configs = compose.compose_all(one_seed, multirun=True)
    first = app.check(configs[0])
    for config in configs:
        one = app.check(config)
        assert (one.model, one.training, one.seeds) == (first.model, first.training, first.seeds)
        assert config.hydra.run.dir == f"outputs/samplers_digits/{config.sampler.name}_dropout0.2_tiny-faster-rcnn_s0"
