"""Words for seconds, the same in forecasts, the store and the report."""

from al_cli.progress import duration


def test_durations_have_two_units_and_are_rounded():
    shown = {
        0: "0.0 s",
        4.21: "4.2 s",
        59.96: "1 min 00 s",
        75: "1 min 15 s",
        3599: "59 min 59 s",
        3599.7: "1 h 00 min",
    }
    shown |= {4000: "1 h 07 min", 7505: "2 h 05 min", 90000: "25 h 00 min"}
    assert {seconds: duration(seconds) for seconds in shown} == shown
