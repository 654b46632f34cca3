import torch

from al_cli.learners.detectron.doctor import check_detectron2


def test_check_says_what_worked():
    assert check_detectron2(torch.device("cpu")).startswith("yes: ")
