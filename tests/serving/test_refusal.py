"""What the terminal of a server says of requests that were refused."""

from __future__ import annotations

import warnings

import httpx
import numpy as np
import pytest
from running import SHAPE, get, scene, served

from lexor.inference.engine import Engine
from lexor.serving.refusal import Refusal, Refusals

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession as Client


def test_at_most_one_line_a_second_is_told_and_the_next_counts_the_others() -> None:
    now, told = [10.0], []
    refusals = Refusals(told.append, lambda: now[0])
    for _ in range(1000):
        refusals.note("/a", Refusal(400, "one"))
    now[0] = 10.9
    refusals.note("/a", Refusal(400, "one"))
    now[0] = 11.0
    refusals.note("/b", Refusal(410, "two"))
    now[0] = 20.0
    refusals.note("/c", Refusal(413, "three"))
    assert told == [
        "refused /a (400): one",
        "refused /b (410): two (and 1000 more before)",
        "refused /c (413): three",
    ]


def test_no_name_harms_the_terminal_or_fills_it() -> None:
    told: list[str] = []
    refusals = Refusals(told.append, iter(range(0, 100, 5)).__next__)
    refusals.note("/\x1b[2J\n/" + "a" * 100_000, Refusal(400, "x\x1b]0;owned\x07\n" + "b" * 100_000))
    (line,) = told
    assert line.isprintable()
    assert len(line) < 700
    assert line.startswith("refused /\\x1b[2J\\n/aaa")


def test_the_reason_is_in_the_terminal_and_in_the_clients_error(bright: Engine) -> None:
    with served(bright) as running, Client(running.url) as client:
        client.set_image(scene()[None])
        client.set_target_buffer(np.zeros(SHAPE, np.uint8))
        with pytest.raises(httpx.HTTPStatusError) as error:
            client.add_point_interaction([1000, 5, 5], True)
        (line,) = [line for line in running.told if line.startswith("refused ")]
        assert line == f"refused /add_point_interaction (400): {error.value.response.json()['detail']}"
        assert "1000" in line
        assert "1000" in error.value.response.text


def test_who_sends_a_wrong_token_is_told_of(bright: Engine) -> None:
    with served(bright, token="long enough") as running:
        assert get(f"{running.url}/capabilities", Authorization="Bearer \x1b wrong").status_code in (400, 401)
        assert get(f"{running.url}/capabilities").status_code == 401
        lines = [line for line in running.told if line.startswith("refused ")]
        assert len(lines) == 1
        assert lines[0].startswith("refused /capabilities (401): ")
