"""Numbers as people read them: fractions as per cent, areas in hectares, thousands set apart; a dash where there is none."""

NONE = "–"
THIN = "\u202f"
"""Narrow no-break space between groups of thousands, as SI writes numbers in every language."""


def percent(value: float | None, half: float | None = None, digits: int = 1) -> str:
    """Return a fraction as per cent, with the half-width of its interval where there is one: ``93.2 ± 1.1 %``."""
    if value is None:
        return NONE
    text = f"{100 * value:.{digits}f}"
    return f"{text} ± {100 * half:.{digits}f} %" if half else f"{text} %"


def share(value: float) -> str:
    """Return a fraction as whole per cent; little is not written as nothing."""
    return "<1 %" if 0 < value < 0.005 else f"{100 * value:.0f} %"


def points(value: float | None, half: float | None = None) -> str:
    """Return a difference of fractions in percentage points, always with its sign."""
    if value is None:
        return NONE
    text = f"{100 * value:+.1f}".replace("-", "−")
    return f"{text} ± {100 * half:.1f} points" if half else f"{text} points"


def count(value: float | None) -> str:
    """Return a whole number with thousands set apart; an estimated count keeps one decimal."""
    if value is None:
        return NONE
    return (f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}").replace(",", THIN)


def hectares(value: float | None, half: float | None = None) -> str:
    """Return an area; decimals only where they matter."""
    if value is None:
        return NONE
    digits = 0 if value >= 100 else 1
    text = f"{value:,.{digits}f}".replace(",", THIN)
    return f"{text} ± {half:,.{digits}f} ha".replace(",", THIN) if half else f"{text} ha"


def gigabytes(size: float) -> str:
    """Return bytes in GB with three significant figures, so that small areas do not read as nothing."""
    value = size / 1e9
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1e-4 else f"{value:.1g}"


def duration(seconds: float | None) -> str:
    """Return a time in the units that suit it."""
    if seconds is None:
        return NONE
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
