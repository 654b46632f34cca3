"""What a dry run says of the trainings: one line for all arms alike, or one for each recipe."""

SWEEP = """
base: {dataset: yolo, model: tiny_retinanet, rounds: 1, training.iterations: 20}
arms:
  - {name: entropy, sampler: entropy}
  - {name: long, sampler: entropy, training.iterations: 40}
"""


def lines(done) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("Each training")]


def test_each_recipe_is_said_once_and_names_its_arms(al, yolo_root):
    (al.cwd / "mine.yaml").write_text(SWEEP)
    one, other = lines(al("sweep", "mine.yaml", f"dataset.root={yolo_root}", "--dry-run"))
    assert one.startswith(
        "Each training of random and entropy: 20 steps, 8 images a step, rate 0.004 at the most, in one cycle;"
    )
    assert other.startswith("Each training of long: 40 steps, ")
    [alone] = lines(al("run", "dataset=yolo", f"dataset.root={yolo_root}", "training.iterations=20", "--dry-run"))
    assert alone.startswith("Each training: 20 steps, ") and alone.endswith(
        "images as they are; boxes from score 0.05."
    )


def test_the_fake_learner_has_no_recipe(al, fake):
    assert lines(al(*fake, "--dry-run")) == []
