"""`cascade report`: what it writes, says and refuses."""

import json

import pytest
from typer.testing import CliRunner

import cascade_components as cc
from cascade_cli.main import app
from tests.cascade_components.reporting.reading import Page
from tests.toy import make_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    outcomes = cc.load_outcomes(make_rows(90))
    outcomes.save(place / "test.jsonl")
    cc.fit(outcomes, clusters=3, quality=None, retention=0.9, progress=False).save(place / "policy")
    return place


def cascade(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_report_has_the_numbers_of_evaluate(folder, tmp_path):
    place = ["report", folder / "policy", folder / "test.jsonl", "--out", tmp_path / "report.html"]
    done = cascade(*place, "--png", tmp_path / "png", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    expected = json.loads(cascade("evaluate", folder / "policy", folder / "test.jsonl", "--json").stdout)
    page = Page((tmp_path / "report.html").read_text())
    assert told["evaluation"] == page.data["evaluation"] == expected
    assert told["page"] == str(tmp_path / "report.html")
    assert sorted(told["pngs"]) == sorted(str(path) for path in (tmp_path / "png").iterdir())
    assert "front.png" in {path.name for path in (tmp_path / "png").iterdir()}
    assert cascade(*place).stdout == f"{tmp_path / 'report.html'}\n"


@pytest.mark.parametrize("point", [("--retention", 0.99), ("--budget", 0.002), ("--cost-weight", 0.5)])
def test_it_can_be_about_another_operating_point(folder, tmp_path, point):
    out = tmp_path / "report.html"
    done = cascade("report", folder / "policy", folder / "test.jsonl", "--out", out, *point, "--json")
    assert done.exit_code == 0, done.output
    expected = json.loads(cascade("evaluate", folder / "policy", folder / "test.jsonl", *point, "--json").stdout)
    assert json.loads(done.stdout)["evaluation"] == expected
    (name, value) = point
    policy = cc.CascadePolicy.load(folder / "policy").at(**{name[2:].replace("-", "_"): value})
    assert f"Policy {policy.fingerprint}, planned for {policy.target}." in out.read_text()


def test_two_operating_points_are_refused(folder, tmp_path):
    out = ["--out", tmp_path / "report.html"]
    done = cascade("report", folder / "policy", folder / "test.jsonl", *out, "--budget", 1, "--retention", 0.9)
    assert isinstance(done.exception, ValueError)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused(folder, tmp_path):
    done = cascade("report", folder / "policy", folder / "test.jsonl", "--out", tmp_path)
    assert isinstance(done.exception, IsADirectoryError)
    assert "name the file" in str(done.exception)
    assert not list(tmp_path.iterdir())
