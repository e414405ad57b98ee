import html
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lexor.cli import app
from lexor.evaluation.scores import score_case
from lexor.geometry import Box
from lexor.inference.runlog import CaseRecord, Run, RunLog, head_of, write_run
from lexor.io.case import Case, write_case, write_segmentation
from lexor.viewing.report_cases import ReportedCase, label_scores, prompts_of, reported
from lexor.viewing.report_page import named_runs, page

HOSTILE = """CT_<script>document.title='owned'</script>"'&<img src=x onerror=alert(1)>"""
HEAD = head_of("mobilenet3d", {"file": "a.safetensors", "sha256": "ab" * 32}, "cpu", {"prompt": "given"})


@pytest.fixture
def run(tmp_path: Path, ball_case: Case) -> Path:
    """A run of three answers, from right to wrong, and a failure; the cases hold their truths."""
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()
    z, y, x = np.ogrid[:24, :48, :48]
    truth = (((z - 12) / 7) ** 2 + ((y - 22) / 9) ** 2 + ((x - 25) / 9) ** 2 <= 1).astype(np.uint8)
    log = RunLog(outputs, HEAD)
    for number, name in enumerate(("CT_right", "CT_shifted", "CT_wrong")):
        write_case(inputs / f"{name}.npz", replace(ball_case, name=name), truth)
        write_segmentation(outputs / f"{name}.npz", np.roll(truth, (0, 3, 11)[number], axis=2))
        box = ball_case.boxes[0]
        assert box is not None
        log.add(
            CaseRecord(
                name,
                inputs / f"{name}.npz",
                outputs / f"{name}.npz",
                True,
                warnings=(f"{HOSTILE}: a warning",) * number,
                seconds=number + 0.5,
                shape=(24, 48, 48),
                prompts=({"label": 1, "from": "box", "box": box.to_dict()},),
                names=((1, HOSTILE),),
            )
        )
    log.add(CaseRecord(HOSTILE, inputs / "bad.npz", outputs / "bad.npz", False, f"{HOSTILE}: cannot be read"))
    return outputs


def report(run: Path, *options: str) -> str:
    out = run.parent / "page.html"
    result = CliRunner().invoke(app, ["report", str(run), str(out), *options])
    assert result.exit_code == 0, result.output
    return out.read_text("utf-8")


def names_in(text: str) -> list[str]:
    return [html.unescape(name) for name in re.findall(r'<span class="name">(.*?)</span>', text)]


def test_cases_come_worst_first_with_scores_and_volumes(run: Path) -> None:
    text = report(run, "--truth", str(run.parent / "in"))
    assert names_in(text) == [HOSTILE, "CT_wrong", "CT_shifted", "CT_right"]
    assert "<b>3 of 4</b> cases answered" in text
    volume = re.findall(r'data-label="Volume, ml" data-value="([\d.]*)"', text)
    assert volume[0] == ""
    assert [float(value) for value in volume[1:]] == [2.379] * 3  # of 2379 voxels of 1 mm
    scores = [
        float(value)
        for value in re.findall(r'<td class="number" data-label="DSC" data-value="([\d.]+)"', text)
    ]
    assert scores == sorted(scores)
    assert scores[-1] == 1
    assert "ab" * 32 in text


def test_without_truth_the_page_has_no_scores(run: Path) -> None:
    text = report(run, "--title", HOSTILE)
    assert "DSC</th>" not in text
    assert f"<title>{html.escape(HOSTILE)}</title>" in text
    # Those with most remarks first.
    assert names_in(text) == [HOSTILE, "CT_wrong", "CT_shifted", "CT_right"]


def test_nothing_of_a_name_is_markup_and_the_page_loads_nothing(run: Path) -> None:
    text = report(run, "--truth", str(run.parent / "in"))
    assert "<script>document" not in text
    assert "<img src=x" not in text
    assert text.count("<script>") == 1
    assert re.findall(r"""(?:src|href)=["'](?!data:image/jpeg;base64,)[^"']*""", text) == []
    assert "default-src 'none'" in text
    assert "://" not in re.sub(r"base64,[^\"]*", "", text)


def test_a_report_can_be_made_of_several_runs_and_of_a_run_json(run: Path) -> None:
    other = run.parent / "run.json"
    records = [CaseRecord("CT_late", run / "x.npz", run / "y.npz", False, "CT_late: odd")]
    write_run(other, Run(HEAD, tuple(records)))
    out = run.parent / "page.html"
    result = CliRunner().invoke(app, ["report", str(run), str(other), str(out)])
    assert result.exit_code == 0, result.output
    text = out.read_text("utf-8")
    assert "<b>0 of 1</b>" in text
    assert 'data-label="Run" data-value="out"' in text
    names = [name for name, _ in named_runs([(run, Run({}, ())), (other, Run({}, ())), (run, Run({}, ()))])]
    assert names[0] == "out (1)"
    assert names[1].endswith("/run.json")
    assert len(set(names)) == 3


def test_what_is_gone_or_does_not_fit_is_said_on_the_page(run: Path) -> None:
    (run / "CT_right.npz").unlink()
    write_segmentation(run / "CT_wrong.npz", np.ones((2, 2, 2), np.uint8))
    text = report(run)
    assert "CT_right.npz" in text
    assert "CT_wrong.npz: has shape (2, 2, 2), CT_wrong (24, 48, 48); give one shape" in text
    truths = run.parent / "truths"
    truths.mkdir()
    text = report(run, "--truth", str(truths))
    assert text.count("holds no labels of that name") == 1
    assert names_in(text)[0] == HOSTILE


def test_wrong_arguments_are_answered_in_words(run: Path, tmp_path: Path) -> None:
    for arguments, expected in (
        (
            [str(run)],
            f"error: PAGE.html is missing: give it last, for example lexor report {run} report.html",
        ),
        ([str(run), str(run)], "PAGE.html is missing: give it last"),
        ([], "PAGE.html is missing: give it last, for example lexor report ANSWERS report.html"),
        (
            ["p.html"],
            "RUN is missing: give a folder of answers first, for example lexor report ANSWERS p.html",
        ),
        ([str(tmp_path / "none"), "p.html"], "no such file; give a folder of answers, or a run.json"),
        ([str(run), str(tmp_path / "no" / "p.html")], "there is no folder"),
        ([str(run), str(tmp_path / "p.html"), "--truth", str(tmp_path / "no")], "--truth"),
    ):
        result = CliRunner().invoke(app, ["report", *arguments])
        assert result.exit_code == 2
        assert expected in result.output.replace("\n", "")
        assert not (tmp_path / "p.html").exists()


def test_scores_of_labels_have_the_means_of_the_challenge() -> None:
    rng = np.random.default_rng(1)
    truth = np.zeros((8, 20, 20), np.uint8)
    truth[2:6, 3:9, 3:9], truth[2:6, 11:18, 11:18] = 1, 2
    for shift in (0, 1, 4):
        labels = np.roll(truth, shift, 2) * (rng.random(truth.shape) < 0.9)
        found = label_scores(labels, truth, (2.0, 1.0, 1.0))
        whole = score_case(labels, truth, (2.0, 1.0, 1.0))
        assert np.mean([scores.dsc for scores in found.values()]) == pytest.approx(whole.dsc)
        assert np.mean([scores.nsd for scores in found.values()]) == pytest.approx(whole.nsd)


def test_a_class_that_only_the_truth_has_is_shown_empty(run: Path) -> None:
    case = reported(
        CaseRecord("CT_right", run.parent / "in" / "CT_right.npz", run / "CT_right.npz", True), "out"
    )
    assert case.scores is None
    write_segmentation(run / "CT_right.npz", np.zeros((24, 48, 48), np.uint8))
    case = reported(case.record, "out", run.parent / "in")
    (one,) = case.classes
    assert (one.statistics.voxels, one.statistics.volume_ml) == (0, 0.0)
    assert case.scores is not None
    assert case.scores.dsc == 0
    assert case.remarks == ("class 1: empty",)


def test_prompts_of_a_log_that_are_none_are_left_out() -> None:
    good = Box((1, 2, 3), (4, 6, 8), 2)
    record = CaseRecord(
        "CT_a",
        Path("a"),
        Path("b"),
        True,
        prompts=(
            {"label": 2, "box": good.to_dict(), "clicks": {"fg": [[1, 2, 3], [99, 0, 0], "x"], "bg": 3}},
            {"label": 1, "box": {"z_min": "x"}},
            {"label": "3", "box": good.to_dict()},
            {"label": 10**9, "clicks": {"fg": [[0, 0, 0]]}},
            {},
        ),
    )
    boxes, clicks = prompts_of(record, (9, 9, 9))
    assert boxes[:2] == (None, good)
    assert clicks[1].points == ((1, 2, 3),)
    assert len(boxes) == 10_000


def test_a_run_json_of_odd_values_and_odd_files_makes_a_page(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "run.json").write_text(
        """{"started": 1, "weights": 3, "versions": [], "options": [1], "cases": [{"case": "<b>a", "source":
        "pipe.npz", "output": "pipe.npz", "answered": true, "error": null, "warnings": [3],
        "seconds": NaN, "shape": [],
        "prompts": [{"label": 1, "confidence": 1e999, "kind": "<b>", "clicks": {"fg": 3}},
        {"label": {}}],
        "input": "", "answer": "", "key": "", "names": [[1, "<b>"]]}]}""",
        "utf-8",
    )
    text = report(tmp_path / "run.json")
    assert names_in(text) == ["<b>a"]
    assert "pipe.npz: " in text
    assert "<b>a" not in text


@pytest.fixture
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    switches = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    arguments = ["--headless", *switches.split(), "--disable-component-update", "--disable-sync"]
    system = Path("/usr/bin/chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=str(system) if system.exists() else None, args=arguments
        )
        yield chromium
        chromium.close()


@pytest.mark.slow
def test_the_page_in_a_browser(run: Path, browser: Any) -> None:
    report(run, "--truth", str(run.parent / "in"))
    address = (run.parent / "page.html").as_uri()
    errors: list[str] = []

    def shown(**options: Any) -> Any:
        opened = browser.new_context(**options).new_page()
        opened.on("console", lambda message: errors.append(message.text))
        opened.on("pageerror", lambda problem: errors.append(str(problem)))
        opened.on(
            "request",
            lambda request: (
                errors.append(request.url)
                if "file:" not in request.url and "data:" not in request.url
                else None
            ),
        )
        opened.goto(address)
        return opened

    def order(opened: Any) -> list[str]:
        return list(opened.locator(".name").all_inner_texts())

    desktop = shown(viewport={"width": 1280, "height": 900})
    assert desktop.title() == "Lexor: answers"
    assert order(desktop) == [HOSTILE, "CT_wrong", "CT_shifted", "CT_right"]
    assert desktop.evaluate("[...document.images].every(i => i.complete && i.naturalWidth === 720)")
    desktop.get_by_role("button", name="Seconds").click()
    assert order(desktop) == [HOSTILE, "CT_right", "CT_shifted", "CT_wrong"]
    desktop.get_by_role("button", name="Seconds").click()
    assert order(desktop) == ["CT_wrong", "CT_shifted", "CT_right", HOSTILE]
    assert desktop.locator("th[aria-sort=descending]").inner_text() == "Seconds"
    desktop.get_by_role("button", name="NSD").click()
    assert order(desktop)[-1] == HOSTILE  # what has no number comes last, either way
    desktop.get_by_role("button", name="NSD").click()
    assert order(desktop)[-1] == HOSTILE

    phone = shown(viewport={"width": 390, "height": 844}, is_mobile=True)
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    phone.get_by_label("Sort by").select_option("Case, falling")
    assert order(phone)[0] == "CT_wrong"
    phone.get_by_label("Sort by").select_option("worst first")
    assert order(phone)[0] == HOSTILE
    phone.locator("summary").filter(has_text="1 class").first.click()
    assert phone.locator(".classes").first.is_visible()
    assert phone.evaluate("document.documentElement.scrollWidth") == 390

    plain = shown(viewport={"width": 1280, "height": 900}, java_script_enabled=False)
    assert order(plain) == [HOSTILE, "CT_wrong", "CT_shifted", "CT_right"]
    assert plain.locator("button").count() == 0
    assert errors == []


def test_the_page_of_nothing_is_a_page() -> None:
    text = "".join(page([], [("out", Run(HEAD, ()))], "empty"))
    assert "0 cases" in text
    assert text.endswith("</html>\n")


def test_a_case_without_spacing_has_no_volume_and_no_nsd(run: Path, ball_case: Case) -> None:
    source = run.parent / "in" / "CT_right.npz"
    write_case(source, replace(ball_case, spacing=None))
    case: ReportedCase = reported(CaseRecord("CT_right", source, run / "CT_right.npz", True), "out")
    assert case.volume_ml is None
    assert case.summary() == "CT_right: no spacing, so no volume"


def test_a_case_opens_to_the_remarks_that_its_row_counts(run: Path) -> None:
    labels = np.zeros((24, 48, 48), np.uint8)
    labels[5:20, 10:30, :20] = 1
    write_segmentation(run / "CT_shifted.npz", labels)
    text = report(run)
    (body,) = [part for part in text.split("<tbody") if 'data-value="CT_shifted"' in part]
    assert 'data-label="Remarks" data-value="2">2<' in body
    assert "<summary>2 remarks</summary>" in body
    first, second = re.findall("<li>(.*?)</li>", body)
    assert first == f"{html.escape(HOSTILE)}: a warning"
    assert second == f"{html.escape(HOSTILE)}: touches the border"
