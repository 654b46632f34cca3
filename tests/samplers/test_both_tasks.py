"""Which samplers run where images have one class each: every file of conf/sampler, checked as `al run` checks it."""

import pytest
import yaml
from omegaconf import OmegaConf

from al_cli.cli.samplers import classifiers, detectors
from al_cli.errors import ConfigError
from al_cli.experiment import settings, without_val
from al_cli.experiment.compose import compose_all, shipped
from al_cli.samplers.catalog import sampler_files
from al_cli.samplers.guide import guide

FOLDER = shipped("conf") / "sampler"
NAMES = [path.stem for path in sampler_files(FOLDER)]
BOXES = ("box_count", "ccms_coords", "localization_stability", "localization_tightness", "true_box_count")
IMAGES = ["task=classification", "dataset=digits_images", "model=fake", "training=ppal"]


@pytest.fixture(scope="module")
def checked():
    """The checked experiment of a sampler's file and of other settings: composed once, as Hydra takes a tenth of a second."""
    [base] = compose_all([IMAGES])

    def check(sampler, *words):
        content = yaml.safe_load((FOLDER / f"{sampler}.yaml").read_text())
        config = OmegaConf.create(OmegaConf.to_container(base) | {"sampler": content})
        for key, _, value in (word.partition("=") for word in words):
            OmegaConf.update(config, key, yaml.safe_load(value))
        return settings.check(config)

    return check


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_runs_or_says_that_it_needs_boxes(name, checked):
    if name not in BOXES:
        assert checked(name).strategy.stages
        return
    with pytest.raises(ConfigError, match="needs boxes, and this data has a class for each image") as caught:
        checked(name)
    assert str(caught.value).count(". ") == 0 and f"sampler {name}" in str(caught.value)


def test_the_guide_says_the_same():
    page = {entry.name: entry for entry in guide(FOLDER, detectors(), classifiers())}
    assert {name for name, entry in page.items() if entry.classifiers == "none"} == set(BOXES)
    assert {name for name, entry in page.items() if entry.detectors == "none"} == {
        "active_transfer_own",
        "discriminative_own",
    }
    assert {name for name, entry in page.items() if "dropout" in entry.classifiers} == {
        name for name in NAMES if name.startswith("mc_") or name == "bald"
    }


@pytest.mark.parametrize(
    "words",
    [
        ("coreset", "sampler.stages.0.select.feature=towers"),
        ("ccms", "sampler.stages.1.select.feature=center"),
        ("ppal", "sampler.stages.1.select.feature=coords"),
    ],
)
def test_features_of_boxes_are_refused_where_there_are_none(words, checked):
    with pytest.raises(ConfigError, match=r"(coreset|ccms_kmedoids).* needs boxes"):
        checked(*words)


def test_a_reference_asks_no_sampler(checked):
    assert checked("box_count", "reference=true").reference


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("active_transfer_own", "fine-tunes the model's own head"),
        ("discriminative_own", "fine-tunes the model's own head"),
        ("discriminative", "compares with the labeled images"),
        ("coreset", "compares with the labeled images"),
        ("influence", "measures influence with the labeled images"),
    ],
)
def test_what_needs_labels_cannot_choose_the_first_images(name, why, checked):
    with pytest.raises(ConfigError, match=f"{name} {why}"):
        checked(name, "initial=0")


def test_whose_errors_are_learned_decides_which_images_are_needed(checked):
    def uses(*words):
        experiment = checked(*words)
        return [use.what for use in without_val.uses_of_val(experiment)], experiment.strategy.stages[0].labeled

    said = "sampler {} learns from validation images"
    assert uses("active_transfer") == ([said.format("active_transfer")], None)
    assert uses("active_transfer_own") == ([said.format("active_transfer_own")], None)
    what, labeled = uses("active_transfer", "sampler.stages.0.score.of=training")
    assert what == [] and labeled == {"image_features"}
    with pytest.raises(ConfigError, match="own head learns its errors from validation images"):
        checked("active_transfer_own", "sampler.stages.0.score.of=training")


def test_a_reselected_set_is_not_compared_with_itself(checked):
    with pytest.raises(ConfigError, match="compares candidates with the labeled images"):
        checked("discriminative_own", "training.data=reselect")
