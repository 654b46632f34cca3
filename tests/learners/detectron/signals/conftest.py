"""What the tests of signals share: narrow models, and one thread."""

import pytest
import torch
from narrow_models import narrow


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Layers of a few channels: on a busy machine a second thread makes them ten times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Narrow(dict):
    """Models by name, made when first asked for."""

    def __missing__(self, name):
        self[name] = narrow(name)
        return self[name]


@pytest.fixture(scope="module")
def models(one_thread):
    """C4, FPN, RETINANET and FCOS_LAZY of `narrow_models`."""
    return Narrow()
