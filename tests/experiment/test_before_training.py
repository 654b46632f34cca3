"""What can be known without training is refused before it; a run that fails keeps its reason."""

import pytest

from al_cli.errors import ConfigError, DatasetError, ModelError
from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import give_way, keep_reason
from al_cli.records import RunFolder, find_runs
from al_cli.sweep.execute import check_data, state
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


def test_a_weights_file_that_is_not_there_ends_the_check(tmp_path):
    jobs = jobs_of([f"model.weights={tmp_path}/none.pth", f"outputs={tmp_path}"])
    with pytest.raises(ModelError, match="no such weights file"):
        check_data(jobs)


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
