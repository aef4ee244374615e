"""The only place that draws charts as SVG (https://www.w3.org/TR/SVG11/): a picture that any browser shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from modelsyncd.ctl.chart import Chart, marks, share
from modelsyncd.ctl.numbers import value
from modelsyncd.escapes import plain

WIDTH, HEIGHT = 720, 360  # of one chart, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 24, 40, 56
_COLOURS = ("#1f5fa8", "#b3402a", "#2f7d4f", "#7a4a9e", "#1f8a99", "#9a7413")
_LABELS = 8  # names on the lower axis at most
_NAME = 8  # pixels that a letter of a name takes, rather more than less
_STYLE = (
    "text{font:12px sans-serif;fill:#333}.title{font-size:15px;font-weight:bold}"
    ".grid{stroke:#ddd}.axis{stroke:#333}polyline{fill:none;stroke-width:2}"
)


def picture(charts: Sequence[Chart]) -> str:
    """All charts, one below another."""
    height = HEIGHT * len(charts)
    parts = [part for place, chart in enumerate(charts) for part in _chart(chart, HEIGHT * place)]
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            f"<style>{_STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _chart(chart: Chart, top: int) -> Iterator[str]:
    xs, ys = chart.xs, marks(min(chart.ys), max(chart.ys))
    upper, lower = top + _TOP, top + HEIGHT - _BOTTOM

    def across(x: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * share(x, xs[0], xs[-1]), 1)

    def down(y: float) -> float:
        return round(lower - (lower - upper) * share(y, ys[0], ys[-1]), 1)

    yield f'<text class="title" x="{_LEFT}" y="{top + 24}">{_text(chart.title)}</text>'
    for y in ys:
        yield f'<line class="grid" x1="{_LEFT}" y1="{down(y)}" x2="{WIDTH - _RIGHT}" y2="{down(y)}"/>'
        yield f'<text x="{_LEFT - 8}" y="{down(y) + 4}" text-anchor="end">{value(y)}</text>'
    yield f'<line class="axis" x1="{_LEFT}" y1="{lower}" x2="{WIDTH - _RIGHT}" y2="{lower}"/>'
    for x in xs[:: -(-len(xs) // _LABELS)]:
        yield f'<text x="{across(x)}" y="{lower + 18}" text-anchor="middle">{_text(chart.x_text(x))}</text>'
    place = _LEFT
    for index, one in enumerate(chart.series):
        colour = _COLOURS[index % len(_COLOURS)]
        line = " ".join(f"{across(x)},{down(y)}" for x, y in one.points)
        yield f'<polyline points="{line}" stroke="{colour}"/>'
        for x, y in one.points:
            told = _text(f"{one.name} {chart.x_text(x)}: {value(y)}".strip())
            yield f'<circle cx="{across(x)}" cy="{down(y)}" r="4" fill="{colour}"><title>{told}</title></circle>'
        if one.name:
            yield f'<text x="{place}" y="{lower + 42}" style="fill:{colour}">{_text(one.name)}</text>'
            place += _NAME * (len(one.name) + 2)


def _text(words: str) -> str:
    return escape(plain(words))
