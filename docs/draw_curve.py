"""Draw the curve of a run as SVG: `python docs/draw_curve.py RUN/log.jsonl local_bound OUT.svg`.

The line is the mean of each hundredth of the run; epochs across, nats (or whatever it is) up.
"""

import json
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 320, 56, 24, 16, 44
POINTS = 100


def read_curve(log: Path, key: str) -> list[tuple[float, float]]:
    """Return (epoch, mean of `key`) for each hundredth of the run."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    size = max(1, len(lines) // POINTS)
    parts = [lines[start : start + size] for start in range(0, len(lines), size)]
    return [(p[-1]["epoch"], sum(line[key] for line in p) / len(p)) for p in parts]


def draw(curve: list[tuple[float, float]], key: str) -> str:
    """Return the SVG of one curve with axes, ticks and the last value written out."""
    last_epoch, last = curve[-1]
    low = min(0.0, *(value for _, value in curve))
    high = max(value for _, value in curve) * 1.05

    def x(epoch: float) -> float:
        return LEFT + epoch / last_epoch * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def text(at_x: float, at_y: float, words: str, anchor: str) -> str:
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}">{words}</text>'

    marks = []
    for tick in range(6):
        epoch, value = last_epoch * tick / 5, low + (high - low) * tick / 5
        marks += [
            text(x(epoch), HEIGHT - BOTTOM + 18, f"{epoch:.0f}", "middle"),
            text(LEFT - 8, y(value) + 4, f"{value:.1f}", "end"),
            f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>',
        ]
    points = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in curve)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return "\n".join(
        [
            f'{head} font-family="sans-serif" font-size="12" fill="#333">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            *marks,
            f'<polyline points="{points}" fill="none" stroke="#1f6feb" stroke-width="2"/>',
            text(WIDTH - RIGHT, y(last) - 8, f"{last:.2f}", "end"),
            text(LEFT, 16, key.replace("_", " "), "start"),
            text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "epochs", "middle"),
            "</svg>",
        ]
    )


if __name__ == "__main__":
    log_file, name, out = sys.argv[1:]
    Path(out).write_text(draw(read_curve(Path(log_file), name), name) + "\n")
