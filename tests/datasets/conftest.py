import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Nothing that another test read."""
    monkeypatch.setenv("AL_CACHE", str(tmp_path_factory.mktemp("cache")))
