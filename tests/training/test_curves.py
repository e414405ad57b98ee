from pathlib import Path

from matplotlib.image import imread

from lexor.training.curves import draw_curve


def test_a_curve_is_drawn_of_any_number_of_rows(tmp_path: Path) -> None:
    row = {"samples": 4.0, "loss": 0.9, "dice": 0.4, "lr": 0.1}
    for count in (1, 30):
        rows = [row | {"samples": 4.0 * i, "loss": 0.9 - 0.01 * i} for i in range(count)]
        picture = imread(draw_curve(rows, tmp_path / "curve.png"))
        assert picture.shape[:2] == (352, 1100)
        assert picture.std() > 0.01
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]
