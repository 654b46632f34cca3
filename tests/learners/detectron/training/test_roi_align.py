"""ROIAlign's faster backward pass has every bit of torchvision's, and only takes its place on a CPU."""

import pytest
import torch
from detectron2.layers import ROIAlign
from torch import nn

from al_cli.learners.detectron import learner
from al_cli.learners.detectron.training.roi_align import BOXES, RowROIAlign, use_row_backward
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec


def rois(count: int, images: int, side: float) -> torch.Tensor:
    """Boxes of all sizes, some on one another, some that leave the image far on every side, some without extent."""
    low = torch.rand(count, 2) * side * 1.4 - 0.2 * side
    size = torch.rand(count, 2) ** 2 * side
    size[::7] = 0
    return torch.cat([torch.randint(images, (count, 1)).float(), low, low + size], 1)


def gradient(layer: nn.Module, features: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    features = features.clone().requires_grad_()
    pooled = layer(features, boxes)
    pooled.backward(torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1)))
    assert features.grad is not None
    return pooled.detach(), features.grad


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("size", "ratio"), [(7, 1), ((3, 5), 2), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_bit_of_torchvisions_gradient(threads, aligned, size, ratio, dtype) -> None:
    torch.set_num_threads(threads)  # the fixture sets them back
    torch.manual_seed(0)
    stock = ROIAlign(size, 1 / 8, ratio, aligned=aligned)
    features = torch.randn(3, 6, 11, 17, dtype=dtype)
    for count in (0, 1, BOXES + 5):
        boxes = rois(count, 3, 130)
        for ours, theirs in zip(
            gradient(RowROIAlign(size, 1 / 8, ratio, aligned), features, boxes),
            gradient(stock, features, boxes),
            strict=True,
        ):
            assert torch.equal(ours, theirs)
            assert theirs.any() or not count


def test_takes_the_place_of_what_it_can_replace() -> None:
    model = nn.ModuleDict({"a": ROIAlign(7, 0.25, 1), "b": nn.Sequential(ROIAlign(7, 0.25, 0))})
    before = list(model.state_dict())
    use_row_backward(model)
    use_row_backward(model)
    assert type(model["a"]) is RowROIAlign
    assert type(model["b"][0]) is ROIAlign
    assert list(model.state_dict()) == before
    assert model["a"](torch.zeros(1, 2, 8, 8), torch.zeros(0, 5)).shape == (0, 2, 7, 7)


def test_the_same_weights_as_a_training_without_it(shapes, monkeypatch) -> None:
    """What the learner trains has the layer, and ends with the bytes that it would have with Detectron2's."""
    used = []

    def counted(model: nn.Module) -> None:
        use_row_backward(model)
        used.append(sum(type(layer) is RowROIAlign for layer in model.modules()))

    spec = TrainingSpec(iterations=4, batch_size=4, optimizer="adamw", lr=2e-3)
    states = []
    for replace in (counted, used.append):
        monkeypatch.setattr(learner, "use_row_backward", replace)
        names = ("circle", "square", "star")
        one = learner.DetectronLearner(ModelSpec("tiny", "tiny_faster_rcnn", "none"), spec, names, iterations=4)
        states.append(one.fit(shapes, val=None, seed=0, init=None).state)
    assert used[0] == 1
    assert len(used) == 2
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
