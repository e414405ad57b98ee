import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lexor.errors import CaseError
from lexor.evaluation.automatic import AutomaticRun
from lexor.evaluation.boxes import METHODS, Row
from lexor.evaluation.results import CaseResult, Record, result_from_dict, write_challenge_csv
from lexor.evaluation.rounds import Run
from lexor.evaluation.scores import Scores

CLICKS = {1: ((3, 4, 5), True), 2: None}
ROW = Row(
    "CT_a_1",
    "CT",
    "CT_a",
    1,
    100,
    ("tiny", "thin"),
    dict(zip(METHODS, (0.1, 0.2, 0.3, 0.4), strict=True)),
    dict(zip(METHODS, (0.5, 0.6, 0.7, 0.8), strict=True)),
)
RESULT = CaseResult(
    "CT_a_1",
    "CT",
    "CT_a",
    2,
    Run(Scores(0.5, 0.25), 1.5),
    (Run(Scores(0.6, 0.5), 2.0, CLICKS), Run(Scores(0.8, 0.75), 3.0, {1: ((0, 0, 0), False), 2: None})),
    AutomaticRun(Scores(0.1, 0.0), 0.3, 2, 0.5),
    (ROW,),
)
BARE = replace(RESULT, case="MR_b_2", modality="MR", box_run=None, automatic=None, rows=(), n_labels=1)
SETTINGS = {"clicks": 2, "weights": "ab"}


def test_areas_last_run_and_seconds() -> None:
    assert RESULT.auc == Scores(pytest.approx(0.7), 0.625)
    assert RESULT.final == Scores(0.8, 0.75)
    assert RESULT.seconds == 6.5
    assert BARE.seconds == 5
    box_only = replace(RESULT, click_runs=())
    assert box_only.auc is None
    assert replace(RESULT, click_runs=RESULT.click_runs[:1]).auc is None
    assert box_only.final == Scores(0.5, 0.25)
    assert replace(BARE, click_runs=()).final == Scores(0, 0)


def test_summary() -> None:
    assert RESULT.summary() == (
        "CT_a_1: 2 labels, DSC 0.500 (Otsu in the box 0.300), clicks 0.600 0.800, automatic 0.300 of label 2, 6.5 s"
    )
    assert BARE.summary() == "MR_b_2: 1 label, clicks 0.600 0.800, 5.0 s"


@pytest.mark.parametrize("result", [RESULT, BARE])
def test_a_result_survives_json(result: CaseResult) -> None:
    assert result_from_dict(json.loads(json.dumps(asdict(result)))) == result


def test_a_record_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    record = Record(path, SETTINGS)
    assert record.finished == {}
    record.add(RESULT)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"case": "MR_b_2", "moda')
    again = Record(path, SETTINGS)
    assert again.finished == {"CT_a_1": RESULT}
    assert path.read_bytes() == whole
    again.add(BARE)
    assert Record(path, SETTINGS).finished == {"CT_a_1": RESULT, "MR_b_2": BARE}
    assert len(path.read_text().splitlines()) == 3


def test_a_record_cut_off_in_its_first_line_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"settings": {"cli')
    Record(path, SETTINGS).add(BARE)
    assert Record(path, SETTINGS).finished == {"MR_b_2": BARE}


def test_a_record_of_other_settings_is_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    Record(path, SETTINGS).add(RESULT)
    before = path.read_bytes()
    with pytest.raises(CaseError, match=r"r\.jsonl: holds results for weights 'ab', not 'cd'; remove it"):
        Record(path, SETTINGS | {"weights": "cd"})
    assert path.read_bytes() == before
    path.write_text("CaseName,DSC_AUC\n")
    with pytest.raises(CaseError, match=r"r\.jsonl: line 1 is no result"):
        Record(path, SETTINGS)


def test_without_a_path_nothing_is_kept() -> None:
    record = Record(None, SETTINGS)
    record.add(BARE)
    assert record.finished == {"MR_b_2": BARE}


def test_an_area_that_there_is_not_is_empty_in_the_csv(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_challenge_csv(path, [replace(RESULT, click_runs=RESULT.click_runs[:1])], 1)
    with path.open(newline="") as file:
        (only,) = csv.DictReader(file)
    assert [only[key] for key in ("DSC_AUC", "NSD_AUC", "DSC_Final", "DSC_2")] == ["", "", "0.6", "0.6"]


def test_the_csv_has_the_columns_of_the_organisers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_challenge_csv(path, [RESULT, BARE], 2)
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.csv"]
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "CaseName": "CT_a_1.npz",
        "TotalRunningTime": "6.5",
        "RunningTime_1": "1.5",
        "RunningTime_2": "2.0",
        "RunningTime_3": "3.0",
        "DSC_AUC": "0.7",
        "NSD_AUC": "0.625",
        "DSC_Final": "0.8",
        "NSD_Final": "0.75",
        "DSC_1": "0.5",
        "DSC_2": "0.6",
        "DSC_3": "0.8",
        "NSD_1": "0.25",
        "NSD_2": "0.5",
        "NSD_3": "0.75",
        "num_class": "2",
        "runtime_upperbound": "180",
    }
    assert [float(second[key]) for key in ("RunningTime_1", "DSC_1", "NSD_1", "DSC_2")] == [0, 0, 0, 0.6]
