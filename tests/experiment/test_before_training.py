"""What can be known without training is refused before it; a run that fails keeps its reason."""

import re

import pytest

from al_cli.errors import ConfigError, DatasetError, ModelError
from al_cli.experiment import build
from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import give_way, keep_reason
from al_cli.records import RunFolder, find_runs
from al_cli.sweep.execute import state
from al_cli.sweep.outcomes import why


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sampler=learning_loss", "training.batch_size=1"], "comparing the images of a batch"),
        (["sampler=learning_loss", "+model.overrides.SOLVER.IMS_PER_BATCH=1"], "comparing the images of a batch"),
        (["training.amp=true", "device=cpu"], "needs a GPU"),
    ],
)
def test_what_the_learner_would_refuse_is_refused_with_the_words(words, said):
    with pytest.raises(ConfigError, match=said):
        jobs_of(words)


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["model.weights=nowhere.pth"], ModelError, "no such weights file"),
        (["model.overrides.SOLVER.BASE_RL=1"], ConfigError, "SOLVER.BASE_LR"),
        (["model.overrides.SOLVER.IMS_PER_BATCH=0"], ConfigError, "batch of 0 images"),
        (["model=faster_rcnn_R50_FPN_3x", "model.config=COCO-Detection/nix.yaml"], ConfigError, "no such config"),
        (["model.family=retinanet"], ModelError, "not of the family retinanet"),
        (["model=faster_rcnn_R50_FPN_3x", "model.family=fcos"], ModelError, "not of the family fcos"),
        (["model=fake", "model.overrides.nix=1"], ConfigError, "unexpected keyword argument 'nix'"),
    ],
)
def test_what_a_learner_cannot_be_built_from_is_known_without_building_it(words, error, said):
    [job] = jobs_of([*words, "device=cpu"])
    with pytest.raises(error, match=said):
        build.check_learner(job.experiment, ("a", "b"))


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["initial=10,1000"], "_initial1000_fake_s0: .*1000"),
        (["model.overrides.nix=1", "seed=0,1"], "unexpected keyword argument 'nix'"),
    ],
)
def test_no_run_of_several_starts_where_one_cannot_work(al, fake, words, said, dry):
    done = al(*fake, "-m", *words, *dry, code=2)
    assert re.search(said if not dry else said.rpartition(": ")[2], done.stderr)
    assert [path for path in al.cwd.rglob("*") if path.is_file() and "cache" not in path.parts] == []


@pytest.mark.slow
def test_a_detector_is_looked_at_in_a_process_of_its_own(al, fake):
    words = [word for word in fake if word != "model=fake"]
    done = al(*words, "-m", "seed=0,1", "model.overrides.SOLVER.BASE_RL=1", code=2)
    assert "SOLVER.BASE_LR" in done.stderr and not (al.cwd / "outputs").exists()


def test_a_run_that_failed_before_its_folder_keeps_its_reason_and_can_be_corrected(tmp_path):
    [job] = jobs_of(["model=fake", f"outputs={tmp_path}", "initial=1000"])
    assert "run.log" not in why(OSError("full"), job.folder)
    keep_reason(job, DatasetError("no images", where="a [1]"))
    [run] = find_runs(tmp_path)
    assert (run.state, run.error) == ("failed", "no images (a [1])")
    assert "no images" in (job.folder / "run.log").read_text()
    [corrected] = jobs_of(["model=fake", f"outputs={tmp_path}", "initial=10", f"run_name={job.name}"])
    assert state(corrected) == "failed"
    give_way(corrected)
    with RunFolder.create(corrected.folder, corrected.experiment.recorded, {}):
        pass
