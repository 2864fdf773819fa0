import json
import sys
from dataclasses import replace

import pytest

import cascade_components as cc
from cascade_components.reporting.figures import PNG_NAME
from tests.cascade_components.reporting.reading import Page
from tests.toy import make_rows, toy_encoder


def as_read(evaluation):
    return json.loads(json.dumps(evaluation.to_dict()))


def test_the_numbers_are_those_of_evaluate(page, policy, held_out, written):
    expected = cc.evaluate(policy, held_out)
    assert page.data["evaluation"] == page.data["points"][page.data["chosen"]]["evaluation"] == as_read(expected)
    assert page.shown["accuracy"] == f"{expected.accuracy:.1%}"
    assert page.shown["retention"] == f"{expected.retention:.1%}"
    assert page.shown["escalation_rate"] == f"{expected.escalation_rate:.1%}"
    assert page.shown["cost"] == f"${1000 * expected.cost:.3f}"
    assert written.evaluation == expected


def test_every_operating_point_is_one_of_the_policys(page, policy, held_out):
    points = page.data["points"]
    assert len(points) > 3
    for number, point in enumerate(points):
        if number != page.data["chosen"]:
            there = policy.at(cost_weight=point["evaluation"]["cost_weight"])
            assert point["evaluation"] == as_read(cc.evaluate(there, held_out))
            assert [row[0]["text"] for row in point["rows"]] == [plan.start for plan in there.plans()]


def test_it_needs_nothing_else(page, written):
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#")[0] == "#" or attributes[name] == "data:,"
    assert "http:" not in page.text
    assert "https:" not in page.text
    assert len(page.text) < 1_000_000
    assert {path.name for path in written.pngs} == {path.name for path in written.path.parent.glob("figures/*")}
    assert len(written.pngs) == len(page.tags("figure")) == len(page.tags("svg")) > 6
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written.pngs)


def test_ids_are_there_once(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_same_input_makes_the_same_page(written, policy, held_out, tmp_path):
    again = cc.report(policy, held_out, tmp_path / "again.html")
    assert again.path.read_bytes() == written.path.read_bytes()
    assert again.pngs == ()


HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> &amp; {{ 7 * 7 }}'


def test_outcomes_are_text_wherever_they_stand(tmp_path):
    names = {"small": "<b>$x_{</b>", "medium": "a' onclick='alert(3)", "large": "</svg><script>alert(4)</script>"}
    rows = [
        {
            **row,
            "model": names[row["model"]],
            "query": f"{row['query']} {HOSTILE}",
            "output": f"{row['output']} {HOSTILE}",
        }
        for row in make_rows(75)
    ]
    policy = cc.fit(rows, encoder=toy_encoder, clusters=3, quality="margins", retention=0.9)
    page = Page(cc.report(policy, rows, tmp_path / "report.html", tmp_path).path.read_text())
    assert len(page.tags("script")) == 2
    assert page.tags("img") == page.tags("b")[len(page.tags("b")) :] == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "alert(1)" in page.text
    assert "49" not in page.shown["target"]
    assert [one["name"] for one in page.data["baselines"][:3]] == list(policy.models)


def test_a_policy_without_gates_says_so(stage1_policy, held_out, tmp_path):
    text = cc.report(stage1_policy, held_out, tmp_path / "report.html", tmp_path).path.read_text()
    assert "No gate is set" in text
    assert not list(tmp_path.glob("thresholds*"))


def test_gates_that_are_not_shown_are_counted(page, policy, held_out, tmp_path, monkeypatch):
    assert page.data["gates"] == len(page.data["thresholds"]) == len(page.data["escalations"]) == 3
    assert "gates of the policy; shown" not in page.text
    monkeypatch.setattr("cascade_components.reporting.gates.MOST_GATES", 2)
    some = Page(cc.report(policy, held_out, tmp_path / "report.html").path.read_text())
    assert some.text.count("come to 3 gates of the policy; shown are the 2 that most of them come to.") == 2
    assert some.data["gates"] == 3
    for part in ("thresholds", "escalations"):
        assert some.data[part] == page.data[part][:2]


def test_figures_of_an_earlier_report_go_and_other_files_stay(policy, stage1_policy, held_out, tmp_path):
    before = cc.report(policy, held_out, tmp_path / "before.html", tmp_path / "png")
    others = {"mine.png", "map-2.png", "reliability-1.svg", "reliability-09.png"}
    for name in others:
        (tmp_path / "png" / name).write_text("mine")
    (tmp_path / "png" / "thresholds-99.png").mkdir()
    after = cc.report(stage1_policy, held_out, tmp_path / "after.html", tmp_path / "png")
    assert {"reliability-1.png", "thresholds-1.png", "escalations.png"} <= {path.name for path in before.pngs}
    made = {path.name for path in after.pngs}
    assert "front.png" in made
    assert {path.name for path in (tmp_path / "png").iterdir()} == made | others | {"thresholds-99.png"}


def test_every_figure_has_a_name_by_which_it_is_known_again(written):
    assert all(PNG_NAME.fullmatch(path.name) for path in written.pngs)


def test_the_strongest_model_may_be_missing(stage1_policy, held_out, tmp_path):
    cheap = stage1_policy.at(cost_weight=100.0)
    some = [row for row in held_out if row["model"] == "small"]
    page = Page(cc.report(cheap, some, tmp_path / "report.html").path.read_text())
    assert page.shown["retention"] == "–"
    assert page.data["evaluation"]["retention"] is None
    assert page.shown["accuracy"] == f"{cc.evaluate(cheap, some).accuracy:.1%}"


def test_a_certificate_is_shown(stage1_policy, held_out, tmp_path):
    certified, certificate = cc.certify(stage1_policy, held_out, retention=0.8, confidence=0.9, progress=False)
    text = cc.report(replace(certified, certificate=certificate), held_out, tmp_path / "r.html").path.read_text()
    assert str(certificate).splitlines()[0].replace("'", "&#39;") in text


@pytest.mark.parametrize(
    ("path", "png", "message"),
    [
        (".", None, "is a folder; name the file"),
        ("none/report.html", None, "there is no folder"),
        ("report.html", "taken", "taken is no folder"),
        ("taken/report.html", None, "there is no folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_first(policy, tmp_path, path, png, message):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(OSError, match=message):
        cc.report(policy, "not even read", tmp_path / path, None if png is None else tmp_path / png)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("taken", "mine")]


def test_a_write_that_fails_leaves_the_page_before(stage1_policy, held_out, tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cascade_components.atomic.sync", full)
    with pytest.raises(OSError, match="No space left"):
        cc.report(stage1_policy, held_out, tmp_path / "report.html")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("report.html", "before")]


def test_bad_outcomes_are_told_and_nothing_is_written(policy, held_out, tmp_path):
    unlabelled = [{name: value for name, value in row.items() if name != "correct"} for row in held_out]
    with pytest.raises(ValueError, match="row 1: correct"):
        cc.report(policy, unlabelled, tmp_path / "report.html", tmp_path / "png")
    with pytest.raises(ValueError, match="check the models' names"):
        cc.report(policy, [{**row, "model": f"other-{row['model']}"} for row in held_out], tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_a_missing_extra_is_named(policy, held_out, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"needs {missing}: pip install \"cascade-components\[report\]\""):
        cc.report(policy, held_out, tmp_path / "report.html")
