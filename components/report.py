"""Self-contained HTML pages: what every step's report is made of.

A page must work inside the KFP UI, which shows it in an iframe with `sandbox="allow-scripts"`:
no request leaves the page, so style and plots are inline.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jinja2
import markupsafe
import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

_INK, _SOFT, _LINE, _ACCENT = "#1d2733", "#5c6b7a", "#e3e8ee", "#2563eb"

_PAGE = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { --ink:#1d2733; --soft:#5c6b7a; --line:#e3e8ee; --good:#15803d; --bad:#b91c1c }
* { box-sizing:border-box }
body { margin:0; background:#f6f8fa; color:var(--ink); font:15px/1.55 system-ui,sans-serif }
main { max-width:1080px; margin:0 auto; padding:32px 20px 64px }
h1 { font-size:26px; margin:0 0 4px } .lead { color:var(--soft); margin:0 0 24px }
section { background:#fff; border:1px solid var(--line); border-radius:10px;
  padding:18px 22px; margin:0 0 18px }
h2 { font-size:18px; margin:0 0 10px } p { margin:0 0 10px }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums }
th,td { text-align:left; padding:6px 10px; border-bottom:1px solid var(--line); vertical-align:top }
th { color:var(--soft); font-weight:600 } td.n, th.n { text-align:right }
.good { color:var(--good); font-weight:600 } .bad { color:var(--bad); font-weight:600 }
.scroll { overflow-x:auto } svg { max-width:100%; height:auto; display:block }
.note { color:var(--soft); font-size:13px }
</style></head><body><main>
<h1>{{ title }}</h1><p class="lead">{{ lead }}</p>
{% for heading, body in sections %}<section><h2>{{ heading }}</h2>{{ body }}</section>
{% endfor %}</main></body></html>
"""
)
_TABLE = jinja2.Environment(autoescape=True).from_string(
    """<div class="scroll"><table><thead><tr>
{% for name in header %}<th class="{{ 'n' if loop.index0 in numeric }}">{{ name }}</th>{% endfor %}
</tr></thead><tbody>
{% for row in rows %}<tr>{% for cell in row %}
<td class="{{ 'n' if loop.index0 in numeric }}">{{ cell }}</td>
{% endfor %}</tr>{% endfor %}</tbody></table></div>"""
)


def paragraph(text: str, *, css: str = "") -> markupsafe.Markup:
    """Return escaped text as a paragraph; `css` may be "note", "good" or "bad"."""
    return markupsafe.Markup('<p class="{}">{}</p>').format(css, text)


def verdict(text: str, *, good: bool) -> markupsafe.Markup:
    """Return text coloured as good news or bad news, for use in a table cell."""
    return markupsafe.Markup('<span class="{}">{}</span>').format("good" if good else "bad", text)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> markupsafe.Markup:
    """Return an HTML table; a column whose cells are all numbers is aligned to the right.

    Args:
        header: Column names, length [columns].
        rows: Cells by row; int gets thousands separators, float four significant digits, None "–".
    """
    numeric = {
        column
        for column in range(len(header))
        if rows and all(isinstance(row[column], int | float | None) for row in rows)
    }
    shown = [[_cell(cell) for cell in row] for row in rows]
    return markupsafe.Markup(_TABLE.render(header=header, rows=shown, numeric=numeric))


def _cell(value: object) -> object:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return value


def line_plot(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    x_ticks: Mapping[float, str] | None = None,
) -> markupsafe.Markup:
    """Return a line plot as inline SVG.

    Args:
        series: Name → (x values, y values), each of length [points].
        x_label: Text under the x axis, with its unit.
        y_label: Text above the y axis, with its unit.
        log_x: Whether the x axis is logarithmic; points ≤ 0 are then left out.
        log_y: The same for the y axis.
        x_ticks: Own tick labels by x value (dates, for example).
    """
    figure, axes = _figure(height=3.2)
    for name, (x, y) in series.items():
        axes.plot(
            x, y, label=name, linewidth=1.6, marker="o" if len(x) < 20 else None, markersize=3
        )
    _scale(axes.xaxis, axes.set_xscale, [x for x, _ in series.values()], logarithmic=log_x)
    _scale(axes.yaxis, axes.set_yscale, [], logarithmic=log_y)
    if x_ticks is not None:
        axes.set_xticks(list(x_ticks), labels=list(x_ticks.values()))
    axes.set_xlabel(x_label)
    axes.set_title(y_label, loc="left", fontsize=9, color=_SOFT)
    axes.grid(visible=True, color=_LINE)
    if len(series) > 1:
        axes.legend(frameon=False)
    return _svg(figure)


def scatter_plot(
    groups: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    steps: tuple[str, Sequence[float], Sequence[float]] | None = None,
    height: float = 3.2,
) -> markupsafe.Markup:
    """Return points as inline SVG, each group with a marker of its own.

    Args:
        groups: Name → (x values, y values), each of length [points].
        x_label: Text under the x axis, with its unit.
        y_label: Text above the y axis, with its unit.
        log_x: Whether the x axis is logarithmic.
        steps: A line in steps besides: its name, x values and y values.
        height: Of the plot, in inches.
    """
    figure, axes = _figure(height=height)
    for marker, (name, (x, y)) in zip("oxs^", groups.items(), strict=False):
        axes.plot(x, y, label=name, linestyle="", marker=marker, markersize=6)
    if steps is not None:
        name, x, y = steps
        axes.step(x, y, where="post", label=name, color=_SOFT, linewidth=1.2)
    _scale(axes.xaxis, axes.set_xscale, [x for x, _ in groups.values()], logarithmic=log_x)
    if log_x:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.set_xlabel(x_label)
    axes.set_title(y_label, loc="left", fontsize=9, color=_SOFT)
    axes.grid(visible=True, color=_LINE)
    axes.legend(frameon=False)
    return _svg(figure)


def bar_plot(
    bars: Mapping[str, float],
    *,
    x_label: str,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> markupsafe.Markup:
    """Return horizontal bars as inline SVG, in the order given.

    Args:
        bars: Name → value.
        x_label: What the length of a bar is, with its unit.
        intervals: Name → (low, high), drawn as a whisker.
    """
    figure, axes = _figure(height=0.6 + 0.3 * len(bars))
    names, values = list(bars), list(bars.values())
    axes.barh(range(len(bars)), values, color=_ACCENT, height=0.62)
    for row, (name, value) in enumerate(bars.items()):
        low, high = (intervals or {}).get(name, (value, value))
        axes.errorbar(
            value, row, xerr=[[max(value - low, 0)], [max(high - value, 0)]], color=_INK, capsize=3
        )
        label = f" {value:,.0f}" if value >= 1000 else f" {value:.4g}"
        end = (max(value, high), row)
        axes.annotate(
            label, end, xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(range(len(bars)), labels=names)
    axes.invert_yaxis()
    axes.margins(x=0.14)
    if min([*values, *(low for low, _ in (intervals or {}).values())], default=0) >= 0:
        axes.set_xlim(left=0)
    axes.axvline(0, color=_SOFT, linewidth=0.8)
    axes.set_xlabel(x_label)
    return _svg(figure)


def _figure(*, height: float) -> tuple[Figure, Axes]:
    """Return a figure of the page's width; the object interface, so no state is shared."""
    figure = Figure(figsize=(9.6, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=_INK)
    axes.set_prop_cycle(color=[_ACCENT, "#d97706", "#15803d", "#9333ea", "#be123c", "#0e7490"])
    return figure, axes


def _scale(
    axis: Axis,
    set_scale: Callable[[str], None],
    values: Sequence[Sequence[float]],
    *,
    logarithmic: bool,
) -> None:
    """Make an axis logarithmic; where every value is a whole number, let it tick only at those."""
    if logarithmic:
        set_scale("log")
        # Plain numbers at the powers of ten: easier to read, and drawn in half the time.
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_locator(NullLocator())
    elif values and all(float(value).is_integer() for some in values for value in some):
        axis.set_major_locator(MaxNLocator(integer=True))


def _svg(figure: Figure) -> markupsafe.Markup:
    """Return the figure as an <svg> element; a fixed hash salt keeps equal plots byte-equal."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "shopflow", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return markupsafe.Markup(buffer.getvalue()[buffer.getvalue().index("<svg") :])


def write_page(
    path: Path, *, title: str, lead: str, sections: Sequence[tuple[str, markupsafe.Markup]]
) -> None:
    """Write one self-contained page.

    Args:
        path: File to write; its folder is made when missing.
        title: Heading and window title.
        lead: The one sentence a hurried reader needs.
        sections: (heading, body) in order; bodies come from the functions of this module.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_PAGE.render(title=title, lead=lead, sections=sections), encoding="utf-8")
