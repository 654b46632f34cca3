"""training.stop_on: refused where there is no such metric, judged by the run's task, whose code is in the store's key."""

from pathlib import Path

import pytest
from shapes import write_yolo

from al_cli.errors import ConfigError
from al_cli.experiment.build import judge_of, judging_code, load_dataset, through_store
from al_cli.experiment.job import jobs_of
from al_cli.learners.fake import FakeLearner
from al_cli.store.disk import Store

MINE = """
from al_cli.tasks import Cost, Evaluation, Metric, Task


def evaluate(predictions, dataset):
    return Evaluation({"found": float(len(predictions.scores))})


TASK = Task("mine", metrics=(Metric("found"),), costs=(Cost("images"),), evaluate=evaluate)
"""


def experiment(root: Path, *words: str):
    [job] = jobs_of(["dataset=yolo", f"dataset.root={root}", "training=lund", "model=fake", "sampler=random", *words])
    return job.experiment


def test_an_unknown_metric_is_refused_with_those_there_are(yolo_root):
    with pytest.raises(ConfigError, match=r"training.stop_on is 'AP5'.*AP50.*AP75"):
        experiment(yolo_root, "training.stop_on=AP5")
    with pytest.raises(ConfigError, match=r"training.stop_on is 'found'.*loss"):
        experiment(yolo_root, "training.stop_on=found")


@pytest.mark.parametrize("word", ["stop_on=loss", "stop_on=AP", "patience=3"])
def test_nothing_watches_a_training_of_a_given_length(yolo_root, word):
    with pytest.raises(ConfigError, match=f"training.{word} would do nothing"):
        experiment(yolo_root, "training.duration=epochs", f"training.{word}")


def test_it_needs_validation_images(al, tmp_path):
    root = write_yolo(tmp_path / "two", {"train": 20, "test": 5})
    words = ["run", "dataset=yolo", f"dataset.root={root}", "model=fake", "sampler=random"]
    assert "goes by AP50 on validation images" in al(*words, "training=lund", "training.stop_on=AP50", code=2).stderr


def test_the_task_of_the_run_judges_and_its_code_is_in_the_key(yolo_root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "my_own_task.py"
    path.write_text(MINE)
    mine = experiment(yolo_root, "task=my_own_task.TASK", "training.stop_on=found")
    splits, store = load_dataset(mine.config["dataset"]), Store(tmp_path / "store")
    learner = FakeLearner(splits.train.class_names)
    learner.fit(splits.train, val=None, seed=0, init=None)
    table, judge = learner.infer(splits.val), judge_of(mine)
    assert judge is not None and judge(table, splits.val) == len(table.scores) > 0

    def key(chosen) -> str:
        stored, _ = through_store(chosen, splits, store, learner)
        return store.key(stored.about_training(splits.train, splits.val, 0, None, None))

    by_loss = experiment(yolo_root, "task=my_own_task.TASK")
    assert judge_of(by_loss) is None and judging_code(by_loss) == {}
    before, loss_before = key(mine), key(by_loss)
    path.write_text(MINE.replace("def evaluate", "# how many\ndef evaluate"))
    assert (key(mine), key(by_loss)) == (before, loss_before), "a comment judges nothing"
    path.write_text(MINE.replace("float(len(predictions.scores))", "-float(len(predictions.scores))"))
    assert key(mine) != before and key(by_loss) == loss_before
