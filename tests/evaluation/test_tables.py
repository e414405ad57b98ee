import csv
import json
from pathlib import Path

import pytest

from lexor.evaluation.boxes import METHODS, Row
from lexor.evaluation.tables import (
    by_source,
    by_stratum,
    group_table,
    mean_over_sources,
    modality_means,
    modality_table,
    scores_of,
    source_table,
    tables_of,
    write_rows,
)


def row(case: str, label: int, strata: tuple[str, ...], ours: float) -> Row:
    """Lexor has DSC `ours` and NSD half of it; the baselines .1, .2, .3 and .4, .5, .6."""
    modality, name, _ = case.split("_")
    return Row(
        case,
        modality,
        f"{modality}_{name}",
        label,
        100 * label,
        strata,
        dict(zip(METHODS, (0.1, 0.2, 0.3, ours), strict=True)),
        dict(zip(METHODS, (0.4, 0.5, 0.6, ours / 2), strict=True)),
    )


ROWS = [
    row("MR_b_1", 1, ("none of these",), 0.4),
    row("CT_a_1", 1, ("tiny", "thin"), 0.6),
    row("CT_a_1", 2, ("none of these",), 0.8),
    row("CT_c_1", 1, ("tiny",), 1.0),
]


def test_macro_is_the_mean_over_modalities() -> None:
    assert modality_means(ROWS)["Lexor"] == pytest.approx({"CT": 0.8, "MR": 0.4, "macro": 0.6})
    assert modality_means(ROWS, "NSD")["Lexor"] == pytest.approx({"CT": 0.4, "MR": 0.2, "macro": 0.3})
    assert modality_means(ROWS, "NSD")["filled box"]["macro"] == pytest.approx(0.4)


def test_table_by_modality() -> None:
    assert modality_table(ROWS, "NSD").splitlines() == [
        "| NSD | CT (n=3) | MR (n=1) | macro (n=4) |",
        "|---|---|---|---|",
        "| filled box | 0.400 | 0.400 | 0.400 |",
        "| inscribed ellipsoid | 0.500 | 0.500 | 0.500 |",
        "| Otsu in the box | 0.600 | 0.600 | 0.600 |",
        "| Lexor | 0.400 | 0.200 | 0.300 |",
    ]
    assert modality_table(ROWS).splitlines()[-1] == "| Lexor | 0.800 | 0.400 | 0.600 |"


def test_tables_by_stratum_and_source() -> None:
    head = "n | DSC inscribed ellipsoid | DSC Lexor | NSD inscribed ellipsoid | NSD Lexor |"
    assert group_table("stratum", by_stratum(ROWS)).splitlines() == [
        f"| stratum | {head}",
        "|---|---|---|---|---|---|",
        "| tiny | 2 | 0.200 | 0.800 | 0.500 | 0.400 |",
        "| thin | 1 | 0.200 | 0.600 | 0.500 | 0.300 |",
        "| none of these | 2 | 0.200 | 0.600 | 0.500 | 0.300 |",
    ]
    assert group_table("source", by_source(ROWS)).splitlines()[2:] == [
        "| CT_a | 2 | 0.200 | 0.700 | 0.500 | 0.350 |",
        "| CT_c | 1 | 0.200 | 1.000 | 0.500 | 0.500 |",
        "| MR_b | 1 | 0.200 | 0.400 | 0.500 | 0.200 |",
    ]
    heads = [
        [table.split(" ")[1] for table in tables_of(ROWS, by)] for by in ("modality", "stratum", "source")
    ]
    assert heads == [["DSC", "NSD"], ["stratum"], ["source", "mean"]]
    assert [table.split(" ")[1] for table in tables_of(ROWS)] == ["DSC", "NSD", "stratum", "source", "mean"]


def test_every_source_of_a_modality_counts_alike() -> None:
    """CT_a has .7 of two labels, CT_c 1.0 of one, MR_b .4."""
    assert modality_means(ROWS, mean=mean_over_sources)["Lexor"] == pytest.approx(
        {"CT": 0.85, "MR": 0.4, "macro": 0.625}
    )
    assert source_table(ROWS).splitlines() == [
        "| mean over sources | sources | DSC inscribed ellipsoid | DSC Lexor | NSD inscribed ellipsoid | NSD Lexor |",
        "|---|---|---|---|---|---|",
        "| CT | 2 | 0.200 | 0.850 | 0.500 | 0.425 |",
        "| MR | 1 | 0.200 | 0.400 | 0.500 | 0.200 |",
        "| macro | 3 | 0.200 | 0.625 | 0.500 | 0.312 |",
    ]
    found = scores_of(ROWS)["mean over sources"]
    assert found["DSC"]["Lexor"] == {"CT": 0.85, "MR": 0.4, "macro": 0.625}
    assert found["NSD"]["inscribed ellipsoid"] == {"CT": 0.5, "MR": 0.5, "macro": 0.5}


def test_scores_for_a_card() -> None:
    scores = scores_of(ROWS)
    assert json.loads(json.dumps(scores)) == scores
    assert set(scores) == {"labels", "DSC", "NSD", "strata", "sources", "mean over sources"}
    assert scores["labels"] == {"CT": 3, "MR": 1, "macro": 4}
    assert scores["DSC"]["Lexor"] == {"CT": 0.8, "MR": 0.4, "macro": 0.6}
    assert scores["NSD"]["Otsu in the box"] == {"CT": 0.6, "MR": 0.6, "macro": 0.6}
    assert scores["strata"]["tiny"]["labels"] == 2
    assert scores["strata"]["tiny"]["DSC"]["Lexor"] == 0.8
    assert scores["sources"]["CT_a"] == {
        "labels": 2,
        "DSC": dict(zip(METHODS, (0.1, 0.2, 0.3, 0.7), strict=True)),
        "NSD": dict(zip(METHODS, (0.4, 0.5, 0.6, 0.35), strict=True)),
    }


def test_the_csv_holds_everything(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", ROWS)
    with (tmp_path / "rows.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4
    assert list(lines[1].items())[:6] == [
        ("case", "CT_a_1"),
        ("modality", "CT"),
        ("source", "CT_a"),
        ("label", "1"),
        ("voxels", "100"),
        ("strata", "tiny; thin"),
    ]
    assert lines[1]["DSC Lexor"] == "0.600000"
    assert lines[1]["NSD inscribed ellipsoid"] == "0.500000"
    assert len(lines[1]) == 6 + 2 * len(METHODS)
