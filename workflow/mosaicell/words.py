"""Numbers as people read them: few digits, round steps, units that fit."""

from math import floor, log10

TIMES = " \N{MULTIPLICATION SIGN} "
MINUS = "\N{MINUS SIGN}"


def nice_above(value: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is not less than a positive number."""
    power = 10.0 ** floor(log10(value))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= value * (1 - 1e-9))


def nice_below(value: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not more than a positive number."""
    power = 10.0 ** floor(log10(value))
    return next(m * power for m in (5, 2, 1) if m * power <= value * (1 + 1e-9))


def number(value: float) -> str:
    """A number for people: whole ones as they are, others with three digits."""
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        digits = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{float(mantissa):g}{TIMES}10{digits}".replace("-", MINUS)
    if value == int(value):
        return f"{int(value):,}".replace("-", MINUS)
    decimals = 2 - floor(log10(size))
    text = f"{round(value, decimals):,.{max(0, decimals)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", MINUS)


def length(um: float) -> str:
    """A length given in um, in the unit that suits it."""
    if um >= 1000:
        return f"{number(um / 1000)} mm"
    return f"{number(um)} µm" if um >= 1 or um == 0 else f"{number(1000 * um)} nm"


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def memory(mb: float) -> str:
    """A size given in MB, in MB or GB."""
    return f"{mb / 1024:.1f} GB" if mb >= 1024 else f"{mb:.0f} MB"


def estimate(found: dict) -> str:
    """What `diameter.estimate_diameter` gave."""
    if found["diameter"] is None:
        return "no diameter was confirmed: as null, that is, the image as it is"
    in_um = f" ({length(found['diameter_um'])})" if found["diameter_um"] else ""
    return (
        f"{number(found['diameter'])} voxels along y and x{in_um}, by {found['n_cells']} cells "
        f"with peaks of {found['confidence']:.2f}"
    )
