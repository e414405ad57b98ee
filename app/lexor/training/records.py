"""What a run tells: a row of OUT/log.csv and of TensorBoard's events every so many steps, OUT/curve.png."""

from __future__ import annotations

import csv
from pathlib import Path

from lexor.training.curves import draw_curve

COLUMNS = ("step", "samples", "seconds", "lr", "loss", "dice", "waiting")
LOG, CURVE = "log.csv", "curve.png"


class Records:
    """The records of a run, of its first process.

    Args:
        out: the run's folder.
        step: of the state the run goes on from; later rows, of steps that were not saved, are dropped.
    """

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.out, self.path = out, out / LOG
        rows = [row for row in read_log(self.path) if row["step"] <= step]
        with self.path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([_shown(row) for row in rows])
        self._events = SummaryWriter(str(out), purge_step=step + 1)

    def add(self, row: dict[str, float]) -> None:
        """Appends a row of COLUMNS and prints it."""
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow(_shown(row))
        for name in ("lr", "loss", "dice", "waiting"):
            self._events.add_scalar(name, row[name], int(row["step"]))
        print(
            f"step {row['step']:.0f}  {row['seconds']:.0f} s  loss {row['loss']:.4f}  dice {row['dice']:.4f}"
            f"  waiting {row['waiting']:.0%}",
            flush=True,
        )

    def draw(self) -> None:
        """Brings the curve up to date."""
        self._events.flush()
        rows = read_log(self.path)
        if rows:
            draw_curve(rows, self.out / CURVE)

    def close(self) -> None:
        """Ends TensorBoard's file."""
        self._events.close()


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a log.csv, by column; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _shown(row: dict[str, float]) -> list[str]:
    """Losses to the last digit: a resumed run is compared with them."""
    exact = {"loss", "dice"}
    return [repr(row[name]) if name in exact else f"{row[name]:.6g}" for name in COLUMNS]
