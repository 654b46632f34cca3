"""What a run's data was: where it differs from now, the sentence names what happened."""

from al_cli.records.data import DataRecord

ROW = ("8", "8", "labels", "content")


def test_an_image_that_is_gone_is_not_another_split_s_image_of_that_name():
    began = DataRecord(("a", "b"), {("pool", "a/3.png"): ROW, ("test", "a/3.png"): ROW, ("pool", "a/4.png"): ROW})
    gone = DataRecord(began.classes, {key: ROW for key in began.images if key != ("pool", "a/3.png")})
    assert began.difference(gone) == "image a/3.png of the pool is not there any more"
    moved = DataRecord(began.classes, {("pool", "a/3.png"): ROW, ("test", "a/3.png"): ROW, ("val", "a/4.png"): ROW})
    assert began.difference(moved) == "image a/4.png of the pool is in the val now"
