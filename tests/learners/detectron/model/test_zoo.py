"""Configs and weights of Detectron2's zoo, as they lie in the installed package. Nothing here needs a network."""

import logging
import time

import detectron2.data.transforms as T
import pytest
import torch
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.utils.file_io import PathManager

from al_cli.errors import ConfigError, ModelError
from al_cli.experiment.job import jobs_of
from al_cli.learners.detectron.model.weights import load_weights, locate
from al_cli.learners.detectron.model.zoo import build, flatten_overrides, open_config
from al_cli.learners.pytorch.device import choose_device
from al_cli.learners.spec import ModelSpec

CPU = torch.device("cpu")
ZOO = {
    "c4": "COCO-Detection/faster_rcnn_R_50_C4_3x.yaml",
    "fpn": "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml",
    "retinanet": "COCO-Detection/retinanet_R_50_FPN_3x.yaml",
    "fcos": "COCO-Detection/fcos_R_50_FPN_1x.py",
}


def spec(config: str, **more) -> ModelSpec:
    return ModelSpec("m", config, **{"weights": "none", **more})


def tiny(**more) -> ModelSpec:
    return spec("tiny_faster_rcnn", **more)


@pytest.mark.parametrize(
    "config, logits",
    [
        (ZOO["c4"], lambda m: m.roi_heads.box_predictor.cls_score.out_features - 1),  # and background
        (ZOO["fpn"], lambda m: m.roi_heads.box_predictor.cls_score.out_features - 1),
        (ZOO["retinanet"], lambda m: m.head.cls_score.out_channels // m.anchor_generator.num_anchors[0]),
        (ZOO["fcos"], lambda m: m.head.cls_score.out_channels),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml", lambda m: m.roi_heads.num_classes),
        (
            "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.py",
            lambda m: m.roi_heads.box_predictor.cls_score.out_features - 1,
        ),
    ],
)
def test_every_head_has_the_datasets_classes_and_no_masks(config, logits):
    chosen = spec(config)
    model = build(open_config(chosen, 7, CPU), chosen)
    assert logits(model) == 7
    assert not getattr(getattr(model, "roi_heads", None), "mask_on", False)


def test_with_80_classes_the_model_is_the_zoos_own():
    chosen = spec(ZOO["c4"])
    ours = build(open_config(chosen, 80, CPU), chosen)
    cfg = get_cfg()
    cfg.merge_from_file(model_zoo.get_config_file(ZOO["c4"]))
    cfg.MODEL.DEVICE = "cpu"
    assert str(ours) == str(build_model(cfg)), "another layer, normalisation or size"


def test_overrides_reach_the_config_in_detectrons_types():
    yaml_style = {"SOLVER": {"BASE_LR": 1}, "INPUT.MIN_SIZE_TRAIN": [64, 96], "MODEL": {"RPN": {"NMS_THRESH": 0.5}}}
    cfg = open_config(spec(ZOO["fpn"], overrides=yaml_style), 3, CPU).cfg
    assert cfg.SOLVER.BASE_LR == 1.0 and isinstance(cfg.SOLVER.BASE_LR, float)
    assert cfg.INPUT.MIN_SIZE_TRAIN == (64, 96)
    assert cfg.MODEL.RPN.NMS_THRESH == 0.5
    lazy = open_config(spec(ZOO["fcos"], overrides={"model": {"test_score_thresh": 0.07}}), 3, CPU)
    assert lazy.model().test_score_thresh == 0.07


@pytest.mark.parametrize(
    "config, overrides, words",
    [
        (ZOO["fpn"], {"SOLVER": {"BASE_LT": 1e-4}}, "did you mean SOLVER.BASE_LR"),
        (ZOO["fpn"], {"SOLVER": {"BASE_LR": "fast"}}, "give a value like its default, 0.02"),
        (ZOO["fpn"], {"SOLVER": {"MAX_ITER": 10}}, "set training.iterations"),
        (ZOO["fpn"], {"MODEL.DEVICE": "cuda"}, "set device"),
        (ZOO["fcos"], {"model.test_score_tresh": 0.1}, "did you mean model.test_score_thresh"),
        (ZOO["fcos"], {"optimizer": {"lr": {"peak": 1}}}, "no key optimizer.lr.peak"),
        (ZOO["fcos"], {"model.num_classes": 4}, "set dataset"),
    ],
)
def test_wrong_overrides(config, overrides, words):
    with pytest.raises(ConfigError) as error:
        open_config(spec(config, overrides=overrides), 3, CPU)
    assert words in str(error.value)


RESIZE = "dataloader.train.mapper.augmentations.0"


def test_overrides_reach_into_the_lists_of_lazy_configs():
    """As a person types them; ISAL's one size, 800, for Detectron2's six."""
    [job] = jobs_of(["model=fcos_R50_FPN_1x", f"model.overrides.{RESIZE}.short_edge_length=[800]"])
    opened = open_config(job.experiment.model, 3, CPU)
    resize, flip = opened.augmentations(train=True, flip=True)
    assert (resize.short_edge_length, resize.max_size, resize.sample_style) == ([800], 1333, "choice")
    assert isinstance(flip, T.RandomFlip)
    [six, _] = open_config(spec(ZOO["fcos"]), 3, CPU).augmentations(train=True, flip=True)
    assert len(six.short_edge_length) == 6
    scaled = open_config(spec(ZOO["fcos"], overrides={"model.pixel_std.0": 57.0}), 3, CPU)
    assert scaled.cfg.model.pixel_std[0] == 57


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("dataloader.train.mapper.augmentations.2.short_edge_length", f"did you mean {RESIZE}.short_edge_length"),
        (f"{RESIZE}.short_edge", f"did you mean {RESIZE}.short_edge_length"),
        ("dataloader.train.mapper.augmentations.first", "has no key dataloader.train.mapper.augmentations.first"),
        ("model.pixel_std.3", "has no key model.pixel_std.3"),
        (f"{RESIZE}._target_", "would name a function"),
    ],
)
def test_overrides_of_items_that_are_not_there_or_name_code_are_refused(key, words):
    with pytest.raises(ConfigError) as error:
        open_config(spec(ZOO["fcos"], overrides={key: 800}), 3, CPU)
    assert words in str(error.value)


def test_overrides_that_no_model_can_have():
    chosen = tiny(overrides={"MODEL.ROI_BOX_HEAD.POOLER_TYPE": "Pool"})
    with pytest.raises(ModelError, match=r"cannot build this model.*check model.overrides"):
        build(open_config(chosen, 3, CPU), chosen)


def test_unknown_config_names_near_ones():
    with pytest.raises(ConfigError, match=r"did you mean .*COCO-Detection/retinanet_R_50_FPN_3x.yaml"):
        open_config(spec("COCO-Detection/retinanet_R50_FPN_3x.yaml"), 3, CPU)
    with pytest.raises(ConfigError, match="no whole experiment"):
        open_config(spec("common/models/fcos.py"), 3, CPU)


def test_family_must_be_the_models():
    chosen = tiny(family="retinanet")
    with pytest.raises(ModelError, match="builds a GeneralizedRCNN"):
        build(open_config(chosen, 3, CPU), chosen)


def test_tiny_models_take_images_as_they_are_and_zoo_models_resize():
    assert not open_config(tiny(), 3, CPU).resizes
    assert open_config(tiny(overrides={"INPUT.MIN_SIZE_TEST": 64}), 3, CPU).resizes
    assert all(open_config(spec(config), 3, CPU).resizes for config in ZOO.values())


@pytest.mark.parametrize("config", [ZOO["fpn"], ZOO["fcos"]])
def test_flip_is_the_trainings_choice_and_never_inferences(config):
    opened = open_config(spec(config), 3, CPU)

    def steps(**which):
        return [type(step).__name__ for step in opened.augmentations(**which)]

    assert steps(train=True, flip=True) == ["ResizeShortestEdge", "RandomFlip"]
    assert steps(train=True, flip=False) == ["ResizeShortestEdge"]
    assert steps(train=False, flip=False) == ["ResizeShortestEdge"]


def test_devices():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="valid: auto, cpu, cuda"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="torch sees no GPU"):
            choose_device("cuda")


def test_flatten():
    assert flatten_overrides({"A": {"B": 1, "C": {}}, "D.E": (2, 3)}) == {"A.B": 1, "D.E": (2, 3)}


# ---- weights


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty download cache."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_without_a_network_one_error_says_which_file_goes_where(cache):
    url = "https://localhost:1/detectron2/R-50.pkl"  # nobody listens there
    start = time.monotonic()
    with pytest.raises(ModelError) as error:
        locate(tiny(weights=url))
    assert time.monotonic() - start < 20
    for words in (url, str(cache / "detectron2/R-50.pkl"), "model.weights=/path/to/R-50.pkl"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    "config, weights", [(ZOO["fpn"], "zoo"), (ZOO["fcos"], "detectron2://ImageNetPretrained/MSRA/R-50.pkl")]
)
def test_a_file_put_into_the_cache_is_used(cache, config, weights):
    """The place the error names is the place Detectron2 itself looks in."""
    url = model_zoo.get_checkpoint_url(config) if weights == "zoo" else weights
    there = cache / (
        url.split("fbaipublicfiles.com/")[1] if "https" in url else url.replace("detectron2://", "detectron2/")
    )
    there.parent.mkdir(parents=True)
    there.write_bytes(b"weights")
    assert locate(spec(config, weights=weights)) == there
    assert PathManager.get_local_path(url) == str(there)


def test_weights_that_do_not_exist(tmp_path):
    assert locate(tiny()) is None
    with pytest.raises(ModelError, match=r"publishes no trained weights for .*fcos"):
        locate(spec(ZOO["fcos"], weights="zoo"))
    with pytest.raises(ModelError, match="no such weights file"):
        locate(tiny(weights=str(tmp_path / "none.pth")))


def test_heads_of_other_classes_keep_their_drawn_values_and_the_rest_is_loaded(tmp_path, caplog):
    other = build(open_config(tiny(), 5, CPU), tiny())
    path = tmp_path / "five.pth"
    torch.save({"model": other.state_dict()}, path)
    model = build(open_config(tiny(), 3, CPU), tiny())
    drawn = {key: value.clone() for key, value in model.state_dict().items()}
    with caplog.at_level(logging.INFO):
        load_weights(model, path)
    heads = {key for key, value in drawn.items() if value.shape != other.state_dict()[key].shape}
    assert "roi_heads.box_predictor.cls_score.weight" in heads
    for key, value in model.state_dict().items():
        assert torch.equal(value, drawn[key] if key in heads else other.state_dict()[key]), key
    expected = [key for key in drawn if not key.endswith("num_batches_tracked")]
    lines = [
        record.getMessage() for record in caplog.records if record.name == "al" or record.levelno >= logging.WARNING
    ]
    assert len(lines) == 1, lines
    assert lines[0].endswith("roi_heads.box_predictor.cls_score")
    assert f"{len(expected) - len(heads)} of {len(expected)} tensors" in lines[0]


def test_weights_that_fit_nothing_or_are_no_weights(tmp_path):
    model = build(open_config(tiny(), 3, CPU), tiny())
    torch.save({"model": {"backbone.elsewhere": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="belong to another model"):
        load_weights(model, tmp_path / "other.pth")
    for suffix in ("pth", "pkl"):
        (tmp_path / f"text.{suffix}").write_text("<html>404</html>")
        with pytest.raises(ModelError, match="cannot be read"):
            load_weights(model, tmp_path / f"text.{suffix}")
