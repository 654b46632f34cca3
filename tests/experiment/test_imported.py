"""Selections from a file: looked up by hand, run like any other, and every mistake named with its line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from shapes import random_dataset, tree_bytes, with_words

from al_cli.errors import AlError, ConfigError
from al_cli.experiment import imported, replay
from al_cli.types import Dataset


def named(names):
    """A pool of these files, with ids from 10 on."""
    images = random_dataset(len(names), first_id=10).images
    renamed = [replace(image, path=Path(name), name="") for image, name in zip(images, names, strict=True)]
    return Dataset(("circle", "square", "star"), tuple(renamed))


POOL = named(["data/a/1.jpg", "data/b/1.jpg", "data/a/2.jpg", "data/a/3.jpg", "data/a/4.jpg"])


def rows(tmp_path, text):
    path = tmp_path / "picks.csv"
    path.write_text(text)
    return imported.read_picks(path)


def test_names_folders_and_ids_find_their_images_in_the_files_order(tmp_path):
    found = rows(
        tmp_path, "round,image,image_id,note\n2,3.jpg,,x\n1,b/1.jpg,,\n0,4.jpg,14,\n1,,10,\n0,data/a/2.jpg,,\n"
    )
    assert found.picks(POOL, drawn=[13]) == ((14, 12), (11, 10), (13,))
    found.check_rounds(2)


def test_an_id_alone_is_the_one_of_the_data_itself(tmp_path):
    """COCO's ids are not al's numbers: taken for those, such a file would choose other images without a word."""
    images = [replace(image, source_id=13 - n) for n, image in enumerate(POOL.images)]
    pool = Dataset(POOL.class_names, images)
    assert rows(tmp_path, "round,image_id\n1,13\n").picks(pool, drawn=[14]) == ((14,), (10,))
    with pytest.raises(ConfigError, match="no image with image_id 14"):
        rows(tmp_path, "round,image_id\n1,14\n").picks(pool, drawn=[10])


def test_a_name_in_als_spelling_finds_the_file_in_the_disks(tmp_path):
    """A disk of another system may spell é as e and an accent; al's tables, which a replay reads, have é."""
    images = [replace(image, path=Path("data/e\u0301.jpg"), name="\u00e9.jpg") for image in POOL.images[:1]]
    pool = Dataset(POOL.class_names, (*images, *POOL.images[1:]))
    for text in (
        "round,image\n1,\u00e9.jpg\n",
        "round,image_id,image\n1,10,\u00e9.jpg\n",
        "round,image\n1,e\u0301.jpg\n",
    ):
        assert rows(tmp_path, text).picks(pool, drawn=[14]) == ((14,), (10,))


def test_without_round_0_the_drawn_images_are_the_initial_set(tmp_path):
    assert rows(tmp_path, "round,image\n1,2.jpg\n").picks(POOL, drawn=[14, 13]) == ((14, 13), (12,))


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    (tmp_path / "picks.csv").write_bytes(b"\xef\xbb\xbfround,image\r\n1,a\\2.jpg\r\n")
    assert imported.read_picks(tmp_path / "picks.csv").picks(POOL, drawn=[10]) == ((10,), (12,))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("image\n2.jpg\n", "", "columns round and image"),
        ("", "", "the columns are missing"),
        ("round,image\none,2.jpg\n", ":2", "round is 'one'"),
        ("round,image\n1,2.jpg\n-1,3.jpg\n", ":3", "round is '-1'"),
        ("round,image\n1,2.jpg\n1,\n", ":3", "names no image"),
        ("round,image_id\n1,x7\n", ":2", "image_id is 'x7'"),
        ("round,image\n1,2.jpg\n1,9.jpg\n", ":3", "the pool has no image 9.jpg"),
        ("round,image\n1,b/2.jpg\n", ":2", "the pool has no image b/2.jpg"),
        ("round,image_id\n1,99\n", ":2", "no image with image_id 99"),
        ("round,image\n1,1.jpg\n", ":2", "2 images of the pool are called 1.jpg"),
        ("round,image,image_id\n1,2.jpg,13\n", ":2", "image_id 13 is 3.jpg here, not 2.jpg"),
        ("round,image\n1,2.jpg\n2,2.jpg\n", ":3", "named in line 2 already"),
        ("round,image\n1,4.jpg\n", ":2", "in the initial set that the seed draws"),
        ("round,image\n1,2.jpg\n3,3.jpg\n", "", "round 2 has no row"),
        ("round,image\n1,2.jpg\n", "", "1 active rounds, and rounds=2"),
        ("round,image\n0,2.jpg\n", "", "0 active rounds"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path, text, line, words):
    with pytest.raises(ConfigError) as error:
        found = rows(tmp_path, text)
        found.check_rounds(2) if not line else found.picks(POOL, drawn=[14])
    assert words in str(error.value)
    assert f"picks.csv{line}" in str(error.value)


def test_a_training_set_selected_anew_may_name_images_again_but_not_twice_in_a_round(tmp_path):
    text = "round,image\n0,2.jpg\n1,2.jpg\n1,3.jpg\n2,3.jpg\n"
    assert rows(tmp_path, text).picks(POOL, drawn=(), again=True) == ((12,), (12, 13), (13,))
    with pytest.raises(ConfigError, match="line 2 already"):
        rows(tmp_path, text).picks(POOL, drawn=())
    with pytest.raises(ConfigError, match="line 5 already"):
        rows(tmp_path, text + "2,3.jpg\n").picks(POOL, drawn=(), again=True)


def records(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("round_*/record.json"))]


def test_a_run_labels_what_the_file_says(al, fake):
    picks = {0: ["0003", "0001", "0030"], 1: ["0002"], 2: ["0020", "0010"]}
    names = {path.stem[-4:]: path.name for path in Path(fake[2].split("=")[1]).glob("images/train/*")}
    assert len(names) == 40
    lines = [f"{round},{names[stem]}" for round, stems in picks.items() for stem in stems]
    Path("picks.csv").write_text("\n".join(["round,image", *lines, ""]))
    words = [*fake, "study=s", "sampler=imported", "sampler.file=picks.csv", "run_name=mine"]
    assert "add sampler.file=" in al(*fake, "sampler=imported", code=2).stderr
    assert "rounds=2" in al(*words, code=2).stderr
    assert "8 by initial" in al(*words, "rounds=2", "initial=8", code=2).stderr
    assert (
        "round 2 has 2 images in the file and 1 by budget"
        in al(*with_words(words, "study=u"), "rounds=2", "budget=1", code=2).stderr
    )
    assert "budget_unit" in al(*words, "rounds=2", "budget_unit=boxes", code=2).stderr
    assert "would do nothing" in al(*words, "rounds=2", "ud_split=0.5", code=2).stderr
    al(*with_words(words, "study=t"), "rounds=2")
    found = records(al.cwd / "outputs/t/mine")
    chosen = [[name.split(",")[2] for name in path.read_text().splitlines()[1:]]
              for path in sorted((al.cwd / "outputs/t/mine").glob("round_*/selection.csv"))]  # fmt: skip
    assert chosen == [[names[stem] for stem in stems] for stems in picks.values()]
    assert [r["images"] for r in found] == [3, 4, 6]
    assert found[1]["stages"] == [{"name": "imported", "candidates": 37, "kept": 1, "skipped": ""}]


def test_replaying_with_the_same_detector_gives_the_same_bytes(al, fake):
    """But for what the selection was made by: the log of the stages, the scores and what became of the others."""
    al(*fake, "study=s", "sampler=entropy", "rounds=2", "seed=4", "initial=5", "budget=6", "store=false")
    [run] = (al.cwd / "outputs/s").iterdir()
    al("replay", str(run), "store=false")
    again = al.cwd / "outputs/s_replay" / run.name
    a, b = tree_bytes(run), tree_bytes(again)
    same = [
        name for name in a if name.endswith((".npz", "metrics.csv", "per_class.csv", "losses.csv", "class_counts.csv"))
    ]
    assert len(same) == 15
    assert all(a[name] == b[name] for name in same)
    assert [r["picked"] for r in records(run)] == [r["picked"] for r in records(again)]
    assert "is done already" in al("replay", str(run), "store=false").stderr
    done = al("replay", str(run), "sampler=random", code=2)
    assert "cannot change sampler" in done.stderr


def test_a_replay_takes_model_and_training_from_the_words_and_the_rest_from_the_run(al, fake):
    al(*fake, "study=s", "sampler=random", "training=thesis", "rounds=2", "seed=3", "seeds.training=9")
    [run] = (al.cwd / "outputs/s").iterdir()
    plan = replay.plan_replay(run, ["model=tiny_retinanet", "training.iterations=30", "device=cpu"])
    assert plan.job.folder.parent.name == "s_replay" and plan.job.folder.name.endswith(
        "_tiny-retinanet_iterations30_s3"
    )
    config = OmegaConf.create(plan.job.config)
    assert (config.model.config, config.training.optimizer, config.training.iterations) == (
        "tiny_retinanet",
        "adamw",
        30,
    )
    assert (config.training.data, config.training.init) == ("new", "continue"), "what a round trains on stays"
    assert (config.seed, config.seeds.training, config.rounds, config.dataset.format) == (3, 9, 2, "yolo")
    same = replay.plan_replay(run, ["training.iterations=30"]).job.experiment
    assert (same.model.family, same.training.lr, same.training.iterations) == ("fake", 1e-4, 30)
    other = replay.plan_replay(run, ["training=ppal"]).job.experiment
    assert (other.model.family, other.training.data, other.training.iterations) == ("fake", "cumulative", 3000)
    al("replay", str(run), "--training", "ppal", "model.overrides.iterations=5")
    [folder] = (al.cwd / "outputs/s_replay").iterdir()
    assert [r["picked"] for r in records(folder)] == [r["picked"] for r in records(run)]
    assert len((folder / "round_02/losses.csv").read_text().splitlines()) == 6, "five iterations, and the header"


def test_a_replay_of_an_unfinished_run_says_so(al, fake):
    al(*fake, "study=s", "sampler=random", "rounds=3", "run_name=r_s0")
    run = al.cwd / "outputs/s/r_s0"
    for round in (2, 3):
        (run / f"round_0{round}/record.json").unlink()
    done = al("replay", str(run))
    assert "2 of 4 rounds so far" in done.stderr
    assert len(records(al.cwd / "outputs/s_replay/r_s0")) == 2
    (run / "round_01/record.json").unlink()
    assert "no active round" in al("replay", str(run), "study=t", code=2).stderr
    assert "no run here" in al("replay", "outputs/nothing", code=2).stderr


def test_a_replay_of_training_sets_selected_anew(al, fake):
    words = [
        "study=s",
        "sampler=entropy",
        "training.data=reselect",
        "rounds=2",
        "initial=6",
        "budget=5",
        "run_name=r_s1",
    ]
    al(*fake, *words, "seed=1", "store=false")
    al("replay", "outputs/s/r_s1", "store=false")
    run, again = al.cwd / "outputs/s/r_s1", al.cwd / "outputs/s_replay/r_s1"
    assert [sorted(r["labeled"]) for r in records(run)] == [sorted(r["labeled"]) for r in records(again)]
    for round in (0, 1, 2):
        a, b = (folder / f"round_0{round}" / "predictions.npz" for folder in (run, again))
        assert a.read_bytes() == b.read_bytes()
    found = replay.plan_replay(run, ["training.data=cumulative"]).picks.splitlines()[1:]
    assert [int(row.split(",")[1]) for row in found] == records(run)[-1]["labeled"], "those newly labeled, in order"


ODD_PICKS = {
    "round,image\n\u00b2,2.jpg\n": "round is '\u00b2'",
    f"round,image\n{'9' * 5000},2.jpg\n": "round is a text of 5,000 characters",
    "round,image\n999999999,2.jpg\n": "round is '999999999'",
    "round,image\n10000,2.jpg\n": "round 1 has no row, and round 10000 has",
    "round,image_id\n1,99999999999999999999999\n": "image_id is '99999999999999999999999'",
    "round,image_id\n1,-1\n": "image_id is '-1'",
    "round,image\n1,.\n": "no image .",
    "round,image\n1,/\n": "no image /",
    "round,image\n1,../..\n": "no image ../..",
    "round,image,image_id\n1,.,10\n": "image_id 10 is 1.jpg here, not .",
    "round,image,image\n1,2.jpg,3.jpg\n": "the column image is there twice",
    "round,image\n1,2.jpg,3.jpg\n": "more cells",
    "": "columns are missing",
    "round": "columns are round",
}


@pytest.mark.parametrize("text", ODD_PICKS, ids=lambda text: ascii(text)[:40])
def test_odd_picks_are_one_sentence(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        found = rows(tmp_path, text)
        found.check_rounds(1)
        found.picks(POOL, drawn=[14])
    assert ODD_PICKS[text] in str(caught.value) and len(str(caught.value)) < 300


def test_empty_cells_behind_the_columns_do_no_harm(tmp_path):
    assert rows(tmp_path, "round,image\n1,2.jpg,,\n").picks(POOL, drawn=[14]) == ((14,), (12,))


def test_picks_that_are_no_file_are_refused(tmp_path):
    (tmp_path / "endless").symlink_to("/dev/zero")
    for place in (tmp_path, tmp_path / "endless"):
        with pytest.raises(ConfigError, match="it is no file"):
            imported.read_picks(place)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_picks_in_any_of_unicodes_encodings_are_read(tmp_path, encoding):
    place = tmp_path / "picks.csv"
    place.write_bytes("round, image\n1, é.png\n".encode(encoding))
    assert imported.read_picks(place).rows[0].image == "é.png"


@pytest.mark.parametrize(
    ("text", "said"),
    [("round,image\n1,é.png\n", "save it as UTF-8"), ("round;image\n1;a.png\n", "commas, not with ';'")],
)
def test_picks_of_other_programs_are_told_what_to_change(tmp_path, text, said):
    place = tmp_path / "picks.csv"
    place.write_bytes(text.encode("latin-1"))
    with pytest.raises(AlError, match=said):
        imported.read_picks(place)
