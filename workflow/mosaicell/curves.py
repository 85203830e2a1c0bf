"""The course of a training: a table for the log, and loss and validation F1 as a picture.

Idea: two panels above each other share the axis of steps. All a reader needs is the shape of a
curve and the numbers at its ends, so ticks stand at the ends, and the best F1 is marked.
"""

from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

WIDTH, PANEL, LEFT, MARGIN = 640, 220, 70, 30  # pixels
INK, GREY, BEST = (30, 30, 30), (190, 190, 190), (200, 60, 30)


class Look(NamedTuple):
    """What a validation has seen."""

    step: int
    loss: float | None  # mean since the look before; None before the first step
    f1: float


def best_of(looks: list[Look]) -> int:
    """Number of the look with the best F1: the first one of equals."""
    return max(range(len(looks)), key=lambda i: looks[i].f1)


def table(looks: list[Look]) -> str:
    """The looks as lines of text."""
    lines = [
        f"{step:>8}{'-' if loss is None else f'{loss:.4f}':>10}{f1:>8.3f}"
        for step, loss, f1 in looks
    ]
    return "\n".join([f"{'step':>8}{'loss':>10}{'F1':>8}", *lines])


def draw_curves(looks: list[Look], path: Path) -> None:
    """Draw loss and F1 against steps.

    Parameters
    ----------
    looks : list of Look
        At least one.
    path : Path
        PNG file.
    """
    picture = Image.new("RGB", (WIDTH, 2 * PANEL), "white")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    best, last = looks[best_of(looks)].step, looks[-1].step
    losses = {look.step: look.loss for look in looks if look.loss is not None}
    panels = [
        ("loss", losses, max(losses.values(), default=0.0)),
        ("F1", {look.step: look.f1 for look in looks}, 1.0),
    ]
    for row, (name, values, top) in enumerate(panels):
        high, low = row * PANEL + MARGIN, (row + 1) * PANEL - MARGIN
        points = {
            step: (
                LEFT + (WIDTH - LEFT - MARGIN) * step / max(last, 1),
                low - (low - high) * value / (top or 1.0),
            )
            for step, value in values.items()
        }
        for height, value in ((high, top), (low, 0.0)):
            pen.line([(LEFT, height), (WIDTH - MARGIN, height)], fill=GREY)
            pen.text((LEFT - 8, height), f"{value:.3g}", fill=INK, font=font, anchor="rm")
        pen.text((LEFT - 8, (high + low) / 2), name, fill=INK, font=font, anchor="rm")
        pen.line(list(points.values()), fill=INK, width=2)
        if best in points:
            x, y = points[best]
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=BEST)
            said = f"{values[best]:.3f}"
            pen.text((x - 8, max(y - 8, high + 8)), said, fill=BEST, font=font, anchor="rs")
        pen.text((LEFT, low + 4), "0", fill=INK, font=font, anchor="mt")
        said = f"{last} steps"
        pen.text((WIDTH - MARGIN, low + 4), said, fill=INK, font=font, anchor="rt")
    picture.save(path)
