import pytest

from al_cli.datasets import headers


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Nothing that another test read; and what was read is remembered, however new the files are."""
    monkeypatch.setattr(headers, "SETTLED_NS", -(10**18))
    monkeypatch.setenv("AL_CACHE", str(tmp_path_factory.mktemp("cache")))
