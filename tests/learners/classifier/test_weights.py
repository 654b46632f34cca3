"""Starting weights: stand-in files of torchvision's and al's form, nothing is downloaded."""

import hashlib
import io
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

from al_cli.errors import ModelError
from al_cli.learners.classifier import weights
from al_cli.learners.classifier.learner import ClassifierLearner
from al_cli.learners.classifier.networks import build
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.classifier.weights import (
    load_starting_weights,
    published_file,
    require_kept_outputs,
    require_outputs,
)
from al_cli.learners.pytorch.checkpoint import write_checkpoint
from al_cli.types import Checkpoint

TINY = ClassifierSpec("tiny_cnn", "tiny_cnn")
RESNET = ClassifierSpec("resnet18", "resnet18", stem="imagenet")
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def stock():
    torch.manual_seed(7)
    return torchvision.models.resnet18(num_classes=3).eval()


@pytest.fixture(scope="module")
def stock_file(stock, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(stock.state_dict(), path)
    return str(path)


def checkpoint(tmp_path, names=NAMES, channels=3, **settings):
    """A file as al writes it, of a tiny_cnn that has seen its images."""
    network = build(replace(TINY, **settings), len(names), channels)
    network.normalize_by(torch.full((channels, 1, 1), 0.25), torch.full((channels, 1, 1), 0.5))
    path = tmp_path / "al.pth"
    write_checkpoint(Checkpoint(network.state_dict(), (), {}, None), path, names)
    return str(path), network


def loaded(spec, classes=3, channels=3, names=None, device="cpu"):
    """A network with its starting weights. On the device meta it has shapes alone: for what is refused before."""
    torch.manual_seed(1)
    with torch.device(device):
        network = build(spec.check(), classes, channels).eval()
    load_starting_weights(network, spec, names)
    return network


# ---- torchvision's files


def test_a_state_dict_of_torchvision_gives_its_logits_where_outputs_are_kept(stock, stock_file):
    network = loaded(replace(RESNET, weights=stock_file, outputs="kept", normalize="none"))
    x = torch.rand(2, 3, 40, 40)
    with torch.inference_mode():
        assert torch.allclose(network(x), stock(x), atol=1e-5)


def test_new_outputs_keep_the_trunk_and_draw_the_last_layer(stock, stock_file, caplog):
    caplog.set_level("INFO")
    spec = replace(RESNET, weights=stock_file, normalize="none")
    network, drawn = loaded(spec, classes=5), loaded(replace(spec, weights="none"), classes=5)
    assert torch.equal(network.trunk.layer4[1].bn2.running_var, stock.layer4[1].bn2.running_var)
    assert torch.equal(network.head.last.weight, drawn.head.last.weight)
    assert "the head's last drawn from the seed" in caplog.text


@pytest.mark.parametrize("network", ["vgg16", "resnet50"])
def test_every_tensor_of_torchvisions_models_has_its_place(network):
    """Same order, same shapes: so no layer is mistaken for another of its shape."""
    with torch.device("meta"):
        theirs = weights._renamed(torchvision.models.get_model(network).state_dict(), network)
        ours = build(replace(RESNET, network=network), 1000, 3).state_dict()
    shapes = [(key, value.shape) for key, value in ours.items() if key not in ("mean", "deviation")]
    assert [(key, value.shape) for key, value in theirs.items()] == shapes


def test_vgg16_keeps_its_two_hidden_layers_when_the_last_is_new():
    with torch.device("meta"):
        theirs = weights._renamed(torchvision.models.vgg16().state_dict(), "vgg16")
        spec = replace(RESNET, network="vgg16")
        taken = weights._fitting_head(build(spec, 7, 3).state_dict(), theirs, "file", spec, None, NAMES)
    assert sorted(taken) == [f"head.linear{n}.{what}" for n in (1, 2) for what in ("bias", "weight")]


def test_grey_images_get_the_answer_that_they_would_get_as_rgb(stock_file):
    spec = replace(RESNET, weights=stock_file, outputs="kept", normalize="none")
    grey, rgb = loaded(spec, channels=1), loaded(spec, channels=3)
    x = torch.rand(2, 1, 40, 40)
    with torch.inference_mode():
        assert torch.allclose(grey(x), rgb(x.expand(-1, 3, -1, -1)), atol=1e-4)


def test_further_bands_begin_like_the_first_as_in_fsdls_program(stock, stock_file):
    network = loaded(replace(RESNET, weights=stock_file), channels=11)
    conv, theirs = network.trunk.conv1.weight, stock.conv1.weight
    assert torch.equal(conv[:, :3], theirs)
    assert all(torch.equal(conv[:, band], theirs[:, 0]) for band in range(3, 11))


def test_weights_of_another_first_layer_or_network_are_refused_by_the_layers_name(stock_file, tmp_path):
    with pytest.raises(
        ModelError, match=r"layer conv1 is \(64, 3, 7, 7\) in the weights and \(64, 3, 3, 3\) here.*imagenet"
    ):
        loaded(replace(RESNET, weights=stock_file, stem="small"), device="meta")
    with pytest.raises(ModelError, match=r"layer layer1\.0\.conv1 is \(64, 64, 3, 3\) .* \(64, 64, 1, 1\) here"):
        loaded(replace(RESNET, network="resnet50", weights=stock_file), device="meta")
    with pytest.raises(ModelError, match=r"tiny_cnn has no layer conv1.*choose that one"):
        loaded(replace(TINY, weights=stock_file), device="meta")
    with pytest.raises(ModelError, match=r"head.last is \(3, 512\) in the weights and \(5, 512\) here.*outputs=new"):
        loaded(replace(RESNET, weights=stock_file, outputs="kept"), classes=5, device="meta")
    with torch.device("meta"):
        ours, deeper = (build(RESNET, 3, 3).state_dict() for _ in range(2))
    with pytest.raises(ModelError, match=r"resnet18 has no layer layer1\.2\.conv1, and the weights do"):
        weights._fitting_trunk(ours, deeper | {"trunk.layer1.2.conv1.weight": torch.zeros(1)}, "file", RESNET)


# ---- al's checkpoints


def test_a_checkpoint_of_the_same_classes_is_the_same_network(tmp_path):
    path, before = checkpoint(tmp_path)
    after = loaded(replace(TINY, weights=path, dropout=0.2), names=NAMES)  # dropout adds no weights
    assert all(torch.equal(value, before.state_dict()[key]) for key, value in after.state_dict().items())
    assert after.normalized and after.mean.flatten().tolist() == [0.25] * 3


@pytest.mark.parametrize("classes, names", [(3, ("c", "b", "a")), (2, ("a", "b"))])
def test_a_checkpoint_of_other_classes_gives_all_but_its_last_layer(tmp_path, classes, names):
    path, before = checkpoint(tmp_path, hidden=[6])
    after = loaded(replace(TINY, weights=path, hidden=[6]), classes, names=names)
    assert torch.equal(after.trunk.block3[0].weight, before.trunk.block3[0].weight)
    assert torch.equal(after.head.linear1.weight, before.head.linear1.weight)
    assert classes != 3 or not torch.equal(after.head.last.weight, before.head.last.weight)


def test_another_head_is_drawn_whole(tmp_path, caplog):
    caplog.set_level("INFO")
    path, _ = checkpoint(tmp_path, hidden=[6])
    loaded(replace(TINY, weights=path, hidden=[7]), names=NAMES)
    assert "the head's last, linear1, norm1 drawn from the seed" in caplog.text


def test_none_leaves_the_network_as_it_is_drawn():
    torch.manual_seed(1)
    drawn = build(TINY, 3, 3).state_dict()
    assert all(torch.equal(value, drawn[key]) for key, value in loaded(TINY).state_dict().items())


@pytest.mark.parametrize("content", [{}, {"model": {}}, {"model": {"a": 1}}, {1: torch.zeros(1)}, [torch.zeros(1)]])
def test_a_file_without_weights_is_one_sentence(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"this file holds no weights .*w.pth"):
        loaded(replace(TINY, weights=str(tmp_path / "w.pth")))


def test_a_file_that_would_run_something_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("canary").touch, ())

    torch.save({"model": {"a": Evil()}}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="nothing of it was run"):
        loaded(replace(TINY, weights=str(tmp_path / "w.pth")))
    assert not (tmp_path / "canary").exists()


# ---- published ones


class Standin:
    """What torchvision says of published weights."""

    def __init__(self, digest):
        self.meta = {"categories": list(NAMES)}
        self.url = f"https://weights.example/models/resnet18-{digest}.pth"


@pytest.fixture
def published(stock_file, tmp_path, monkeypatch):
    """Weights of three classes as if torchvision published them; torch's cache is an empty folder."""
    digest = hashlib.sha256(Path(stock_file).read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(weights.PUBLISHED, "resnet18", Standin(digest))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def unreachable(request, timeout):
    raise OSError("no route to host")


def test_published_weights_are_torchs_file_and_nothing_is_asked_where_it_lies_in_its_cache(
    published, stock, stock_file, monkeypatch
):
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    spec = replace(RESNET, weights="imagenet", outputs="kept")
    place = published_file(spec)
    assert place.parent == published
    published.mkdir(parents=True)
    place.symlink_to(stock_file)
    assert torch.equal(loaded(spec).head.last.weight, stock.fc.weight)
    place.unlink()
    place.write_bytes(b"half")
    with pytest.raises(ModelError, match="this is not the file that torchvision publishes"):
        loaded(spec, device="meta")


def test_what_cannot_be_downloaded_is_one_error_with_file_address_and_folder(published, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    spec = replace(RESNET, weights="imagenet")
    with pytest.raises(ModelError) as said:
        loaded(spec, device="meta")
    for part in (published_file(spec).name, weights.PUBLISHED["resnet18"].url, str(published), "no route to host"):
        assert part in str(said.value)
    assert not published.exists() or not list(published.iterdir())


def test_a_download_goes_into_torchs_cache(published, stock_file, monkeypatch):
    class Answer:
        def __init__(self):
            self.file, self.headers = io.BytesIO(Path(stock_file).read_bytes()), {"Content-Length": "5"}
            self.read, self.close = self.file.read, self.file.close

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.close()

    monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: Answer())
    assert weights._downloaded(RESNET) == published_file(RESNET)
    assert published_file(RESNET).read_bytes() == Path(stock_file).read_bytes() and len(list(published.iterdir())) == 1


def test_the_published_files_are_the_first_versions_with_their_digests_in_their_names():
    names = {name: found.url.rpartition("/")[2] for name, found in weights.PUBLISHED.items()}
    assert names == {
        "resnet18": "resnet18-f37072fd.pth",
        "vgg16": "vgg16-397923af.pth",
        "resnet50": "resnet50-0676ba61.pth",
    }


# ---- initial=0: the starting weights choose


def test_drawn_weights_may_choose_and_a_checkpoint_of_these_classes(tmp_path):
    require_outputs(TINY, NAMES)
    path, _ = checkpoint(tmp_path)
    require_outputs(replace(TINY, weights=path), NAMES)
    with pytest.raises(ModelError, match="class 0 is a in these weights and c here"):
        require_outputs(replace(TINY, weights=path), NAMES[::-1])
    with pytest.raises(ModelError, match="know 3 classes and the dataset has 2"):
        require_outputs(replace(TINY, weights=path), NAMES[:2])
    with pytest.raises(ModelError, match=r"hidden layers of \[\] in their head, and model.hidden is \[6\]"):
        require_outputs(replace(TINY, weights=path, hidden=[6]), NAMES)


def test_imagenets_weights_choose_among_imagenets_classes_in_their_order(stock_file):
    kept = replace(RESNET, network="vgg16", weights="imagenet", outputs="kept")
    numbers = [str(n) for n in range(1000)]
    recipe = ClassifierTraining(5, optimizer="sgd", lr=0.1, schedule="constant", batch_size=8, weight_decay=0.0)
    require_outputs(kept, numbers)
    require_outputs(kept, weights.PUBLISHED["vgg16"].meta["categories"])
    require_outputs(kept, [f"n{n:08}" for n in range(1000)])
    with pytest.raises(ModelError, match="the last layer would be drawn"):
        require_outputs(replace(kept, outputs="new"), numbers)
    with pytest.raises(ModelError, match="class 2 is great white shark in these weights and 10 here"):
        require_outputs(kept, sorted(numbers))
    with pytest.raises(ModelError, match="know 1000 classes and the dataset has 3"):
        require_outputs(kept, NAMES)
    with pytest.raises(
        ModelError, match=r"know 1000 classes and the dataset has 3, .*outputs=kept.*model\.outputs=new"
    ):
        ClassifierLearner(kept, recipe, NAMES, iterations=1)
    require_kept_outputs(replace(kept, outputs="new"), NAMES)
    require_kept_outputs(kept, numbers)
    require_outputs(replace(RESNET, weights=stock_file, outputs="kept"), NAMES)
