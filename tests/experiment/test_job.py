"""Words become jobs once: one composition and one check a run, and a folder that the same words always name."""

import pytest

from al_cli.errors import ConfigError
from al_cli.experiment import compose, settings
from al_cli.experiment.job import jobs_of


@pytest.fixture
def counted(monkeypatch):
    """How often a configuration was composed and checked."""
    counts = {"composed": 0, "checked": 0}

    def counting(module, name, what):
        original = getattr(module, name)

        def call(*args, **options):
            counts[what] += 1
            return original(*args, **options)

        monkeypatch.setattr(module, name, call)

    counting(compose, "compose", "composed")
    counting(settings, "check", "checked")
    return counts


def test_a_run_is_composed_once_and_checked_once(al, fake, counted):
    al(*fake, "rounds=1")
    assert counted == {"composed": 1, "checked": 1}


def test_a_dry_run_of_42_runs_makes_42_checks(al, fake, counted, monkeypatch):
    monkeypatch.setattr("al_cli.sweep.forecast.trainings", lambda *_: [])  # following the rounds takes seconds
    al("sweep", "thesis_digits", *fake[1:], "--dry-run")
    assert counted == {
        "composed": 14,
        "checked": 42,
    }  # an arm is composed once: its seeds differ in seed and name alone


def test_a_multirun_is_composed_and_checked_a_run_at_a_time(al, fake, counted):
    al(*fake, "-m", "seed=0,1", "sampler=random,entropy", "rounds=1", "--dry-run")
    assert counted == {"composed": 4, "checked": 4}


SAME = [
    (["sampler=random", "training.iterations=9"], ["training.iterations=9", "sampler=random"]),
    (["seed=3", "store=false", "plots=false"], ["seed=3"]),
    (
        ["dataset=yolo", "dataset.root=."],
        ["dataset=coco", "dataset.root=.", "dataset.train={images: a/b, annotations: c}"],
    ),
    (["initial=8", "budget=8", "rounds=2"], ["initial=8", "budget=8", "rounds=6"]),  # more rounds of the same run
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=str)
def test_what_does_not_matter_is_not_in_the_name(one, other):
    [a], [b] = jobs_of(one), jobs_of(other)
    assert a.folder.name == b.folder.name


DIFFERENT = [
    (["rounds=2"], ["rounds=6"]),  # equal parts of the pool: other sizes
    (["training.iterations=5"], ["training.iterations=9"]),
    (["sampler=ccms", "ud_split=0.5"], ["sampler=ccms", "ud_split=0.25"]),
    (["seed=1"], ["seed=2"]),
    (["dataset.val=10%"], ["dataset.val=20%"]),
    (["dataset.val=10%"], ["dataset.val=10% of initial"]),
    (["dataset.test=10%"], []),
    (["evaluate=val"], []),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=str)
def test_what_matters_is(one, other):
    [a], [b] = jobs_of(one), jobs_of(other)
    assert a.folder.name != b.folder.name


def test_a_name_holds_no_path(tmp_path):
    (tmp_path / "picks.csv").write_text("round,image_id\n1,2\n")
    [job] = jobs_of(["sampler=imported", f"sampler.file={tmp_path}/picks.csv", "rounds=1", "model=fake", "seed=4"])
    assert job.folder.name == "imported_fake_rounds1_picks_s4"
    [job] = jobs_of(["model=tiny_faster_rcnn", f"model.weights={tmp_path}/old.pth"])
    assert job.folder.name == "ccms_tiny-faster-rcnn_weightsold_s0"


def test_the_same_words_name_the_same_folder_in_run_and_multirun():
    alone = [jobs_of([f"seed={seed}", "sampler=entropy", "budget=8"])[0].folder for seed in (0, 1)]
    assert [job.folder for job in jobs_of(["seed=0,1", "sampler=entropy", "budget=8"], many=True)] == alone
    alone = [jobs_of([f"measure_loss={value}"])[0].folder for value in ("true", "false")]
    assert [job.folder for job in jobs_of(["measure_loss=true,false"], many=True)] == alone


def test_two_runs_of_one_folder_are_refused():
    with pytest.raises(ConfigError, match="would share the folder"):
        jobs_of(["seed=0,0"], many=True)
    for word in ("stop.at=20,30", "rounds=1,2"):
        with pytest.raises(
            ConfigError, match=f"goes further is the same run: type {word.partition('=')[0]} of the longest"
        ):
            jobs_of([word, "initial=4", "budget=4"], many=True)


def test_the_wrong_run_of_several_is_named():
    with pytest.raises(ConfigError, match="run 2 of 2: budget is 0"):
        jobs_of(["budget=8,0"], many=True)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dataset.format=vco", "dataset.format is 'vco'"),
        ("+model._target_=my.Learner", "model has no setting _target_"),
        ("+training.lerning_rate=1", "training has no setting lerning_rate"),
    ],
)
def test_an_unknown_format_or_key_is_one_sentence_with_the_valid_ones(word, said):
    with pytest.raises(ConfigError, match=said):
        jobs_of([word])


def test_a_job_travels_to_another_process_with_a_strategy_made_on_the_spot():
    import pickle

    [job] = jobs_of(["sampler=half_random", "model=fake"])
    there = pickle.loads(pickle.dumps(job))
    assert there.config == job.config and there.folder == job.folder
    assert [stage.name for stage in there.experiment.strategy.stages] == [
        s.name for s in job.experiment.strategy.stages
    ]
