"""Figures from made-up records: what they draw, and that they return the numbers they drew."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from vestige.report import bars, figures, paper, svg
from vestige.report.record import (
    ChartRow,
    Figure,
    Line,
    LineChart,
    Null,
    Panel,
    Point,
    RowChart,
    SampleChart,
    Sampled,
    Taken,
)

ARMS = (("with", "with similar images in training"), ("without", "without them"))


def rows(*found: ChartRow) -> RowChart:
    return RowChart("Mean NCC", ARMS, found)


def test_row_chart_returns_the_numbers_it_drew() -> None:
    points = (Point("with", 0.8, 0.7, 1.2, 3, 1), Point("without", 0.3, None, None, 3, 1))
    drawn, numbers = figures.draw(
        rows(ChartRow("R0", "what", points, Null(0.2, 0.4, 0.6, 90)), ChartRow("R1", "what", (), None))
    )
    assert numbers == [
        {"stage": "R0", "kind": "null", "low": 0.2, "mean": 0.4, "high": 0.6, "n": 90},
        {"stage": "R0", "kind": "with", "mean": 0.8, "low": 0.7, "high": 1.2, "n": 3, "seeds": 1},
        {"stage": "R0", "kind": "without", "mean": 0.3, "low": None, "high": None, "n": 3, "seeds": 1},
    ]
    assert len(re.findall("<circle", drawn)) == 2  # the legend and one mark
    assert len(re.findall('class="whisker"', drawn)) == 1  # no interval, no whisker
    assert "not computed" in drawn


def test_an_interval_beyond_the_scale_is_cut_at_its_edge() -> None:
    inside = rows(ChartRow("R0", "", (Point("with", 0.8, 0.7, 1.0, 3, 1),), None))
    beyond = rows(ChartRow("R0", "", (Point("with", 0.8, 0.7, 1.4, 3, 1),), None))
    whiskers = [re.findall(r'class="whisker" x1="\S+" x2="\S+"', figures.draw(chart)[0]) for chart in (inside, beyond)]
    assert whiskers[0] == whiskers[1] != []


def sampled(count: int) -> SampleChart:
    """So many targets of one seed with two stages, and one kept sample."""
    samples = [Sampled("a/kept", "kept", "seed 0", True, {"before": 0.9, "R0": 0.9})]
    samples += [Sampled(f"a/{i}", str(i), "seed 0", False, {"before": 0.8, "R0": 0.4}) for i in range(count)]
    means = {"before": Point("with", 0.8, 0.7, 0.9, count, 5), "R0": Point("with", 0.4, None, None, count, 5)}
    return SampleChart("SSIM", ("before", "R0"), (Panel("With", tuple(samples), means, Null(0.1, 0.2, 0.3, 9)),))


def test_few_samples_are_bars_of_their_height() -> None:
    drawn, numbers = figures.draw(sampled(3))
    heights = [float(value) for value in re.findall(r'class="bar tone-\S+(?: kept)?" .*? height="([\d.]+)"', drawn)]
    kept, first = heights[2:4], heights[4:6]  # after the two of the legend
    assert kept == pytest.approx([0.9 * bars.PLOT] * 2, abs=0.1)
    assert first == pytest.approx([0.8 * bars.PLOT, 0.4 * bars.PLOT], abs=0.1)
    assert numbers[0] == {
        "panel": "With",
        "kind": "kept",
        "sample": "a/kept",
        "family": "seed 0",
        "before": 0.9,
        "R0": 0.9,
    }
    assert numbers[-1] == {"panel": "With", "kind": "null", "mean": 0.2, "low": 0.1, "high": 0.3, "n": 9}
    assert len(numbers) == 5


def test_many_samples_are_lines_with_their_mean() -> None:
    drawn, numbers = figures.draw(sampled(60))
    assert len(re.findall('class="thread', drawn)) == 61
    assert "bar tone" not in drawn
    assert len(re.findall('class="whisker"', drawn)) == 1  # R0 has no interval
    assert len(numbers) == 62


def test_a_stage_that_a_sample_lacks_is_said() -> None:
    chart = sampled(1)
    lacking = Sampled("a/0", "0", "seed 0", False, {"before": 0.8})
    panel = Panel("With", (chart.panels[0].samples[0], lacking), {}, None)
    assert "a/0, R0: not computed" in figures.draw(SampleChart("NCC", chart.stages, (panel,)))[0]


def test_line_chart_returns_the_numbers_it_drew() -> None:
    dots = ((0.0, Point("", 0.9, 0.8, 1.0, 3, 2)), (10.0, Point("", 0.3, None, None, 3, 2)))
    marks, nulls = ((0.0, "RF"), (10.0, "1+10")), ((0.0, Null(0.1, 0.2, 0.3, 9)),)
    chart = LineChart("NCC", "k", marks, (Line("targets", dots),), nulls, (("R1", 0.25),))
    drawn, numbers = figures.draw(chart)
    assert numbers == [
        {"at": "RF", "kind": "targets", "mean": 0.9, "low": 0.8, "high": 1.0, "n": 3, "seeds": 2},
        {"at": "1+10", "kind": "targets", "mean": 0.3, "low": None, "high": None, "n": 3, "seeds": 2},
        {"at": "RF", "kind": "null", "mean": 0.2, "low": 0.1, "high": 0.3, "n": 9},
        {"kind": "R1", "mean": 0.25},
    ]
    assert drawn.count("<circle") == 2
    assert drawn.count('class="whisker"') == 1
    assert drawn.count("<polygon") == 1
    # The names of the target's line (0.3), of R1 (0.25) and of the null (0.2) would touch: they are moved apart.
    places = [float(y) for y in re.findall(r'<text x="736\.0" y="([\d.]+)"', drawn)]
    assert len(places) == 3
    assert min(b - a for a, b in pairwise(places)) >= 16


def test_a_written_value_stands_where_no_other_line_passes() -> None:
    def dots(*means: float) -> tuple[tuple[float, Point], ...]:
        return tuple((float(at), Point("", mean, None, None, 3, 2)) for at, mean in enumerate(means))

    marks = ((0.0, "0"), (1.0, "1"))
    for other, side in ((0.56, "below"), (0.44, "above")):  # lines just above, just below the one that rises to 0.5
        lines = (Line("R0", dots(0.49, 0.5)), Line("before", dots(other, other)))
        drawn, _ = figures.draw(LineChart("NCC", "k", marks, lines, valued="R0"))
        dot = float(re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawn)[1])
        written = float(re.findall(r'y="([\d.]+)" class="value halo end">0.50', drawn)[0])
        assert (written > dot) == (side == "below")


def test_taken_returns_the_numbers_it_drew() -> None:
    drawn, numbers = figures.draw(Taken((("RF-1+7", 5.0, 2.0), ("RF-1+10", 4.5, 5.5))))
    assert numbers[1] == {"stage": "RF-1+10", "constructed copies": 4.5, "natural neighbours": 5.5}
    assert "5 constructed copies, 2 natural neighbours" in drawn
    assert "4.5 constructed copies, 5.5 natural neighbours" in drawn


def test_a_file_holds_all_charts_of_a_figure() -> None:
    file = figures.to_file(Figure("bars", "Bars <&>", "", (sampled(2), sampled(60))), ".figure { fill: red; }")
    root = ElementTree.fromstring(file)
    inner = root.findall("{http://www.w3.org/2000/svg}svg")
    assert [float(one.get("y", -1)) for one in inner] == [0, float(inner[0].get("height", 0)) + figures.BETWEEN]
    assert root.find("{http://www.w3.org/2000/svg}style") is not None
    total = sum(float(one.get("height", 0)) for one in inner) + figures.BETWEEN + 2 * svg.MARGIN
    assert float(root.get("height", 0)) == pytest.approx(total)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-0.1, 1, [-0.2, 0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 0.13, [0, 0.05, 0.1, 0.15]),
     (0, 40, [0, 10, 20, 30, 40])],
)  # fmt: skip
def test_ticks_are_round_and_span_the_values(low: float, high: float, expected: list[float]) -> None:
    assert svg.ticks(low, high) == pytest.approx(expected)


def test_every_kind_of_counterpart_is_numbered() -> None:
    for known in paper.COUNTERPARTS.values():
        assert all(re.match("Fig\\.\u00a0\\d+", figure) for figure in known.values())


def test_a_band_is_drawn_whole_though_all_marks_lie_to_one_side_of_it() -> None:
    point = Point("with", 0.3, None, None, 1, 1)
    drawn, _ = figures.draw(rows(ChartRow("Answer", "", (point,), Null(-1.0, 0.0, 1.0, 9))))
    band, middle = (
        re.search(r'class="band" x="([\d.]+)" y="\d+" width="([\d.]+)"', drawn),
        re.search(r'class="null" x1="([\d.]+)"', drawn),
    )
    assert band is not None
    assert middle is not None
    assert float(band[1]) + float(band[2]) / 2 == pytest.approx(float(middle[1]), abs=0.2)
