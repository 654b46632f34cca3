"""Every sampler of conf/sampler runs a round with both tiny detectors, or is refused at the start with the reason."""

import pytest

from al_cli.experiment.compose import shipped
from al_cli.samplers.catalog import sampler_files

SHORT = ["training.iterations=12", "training.val_every=12", "rounds=1", "initial=16", "budget=6"]
MODELS = ["tiny_faster_rcnn", "tiny_retinanet"]
FAST = ["ccms", "influence"]  # in every `make test`; the others in `make test-all`
NAMES = [path.stem for path in sampler_files(shipped("conf") / "sampler")]
EVERY = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


@pytest.mark.parametrize("sampler", EVERY)
@pytest.mark.parametrize("model", MODELS)
def test_a_round_for_real(al, yolo_root, model, sampler):
    words = ["run", "dataset=yolo", f"dataset.root={yolo_root}", f"model={model}", f"sampler={sampler}", *SHORT]
    if sampler in ("bald", "mc_least_confidence", "mc_margin", "mc_ratio", "mc_entropy"):
        assert "model.dropout=0.2" in al(*words, code=2).stderr
        words.append("model.dropout=0.2")
    if sampler == "localization_tightness" and model == "tiny_retinanet":
        assert "a dense detector refines no proposals" in al(*words, code=2).stderr
        return
    if sampler in ("active_transfer_own", "discriminative_own"):
        assert "a detector's head cannot learn that" in al(*words, code=2).stderr
        return
    assert "Best AP" in al(*words).stdout
    [run] = (al.cwd / "outputs").glob("[!.]*/*")  # not the store
    assert len((run / "round_01" / "selection.csv").read_text().splitlines()) == 1 + 6
