import json
import sys

import numpy as np
import pytest
from cre_router.artifacts import RouterArtifacts

import cascade_components as cc
from cascade_cli.main import run
from cascade_components.encoders import SentenceTransformerEncoder
from tests.cascade_components.quality.tiny import make_classifier

# The AIME pool of arXiv 2606.27457, as `cre fit --budget 20` leaves it.
SMALL, LARGE = "VibeThinker-1.5B", "Qwen3-30B-A3B"
STATS = {
    "cluster_sizes": {"0": 194, "1": 405, "2": 322},
    "models": {
        SMALL: {
            "errors": {"0": 0.130, "1": 0.083, "2": 0.182},
            "cluster_tpot_ms": {"0": 9.282, "1": 9.348, "2": 8.825},
        },
        LARGE: {
            "errors": {"0": 0.063, "1": 0.031, "2": 0.083},
            "cluster_tpot_ms": {"0": 23.419, "1": 24.070, "2": 26.620},
        },
        "spare": {"errors": {"0": 0.5, "1": 0.5, "2": 0.5}, "tpot_ms": 12.0},
    },
}
QUESTIONS = ("How many primes lie below 50?", "A triangle has sides 3, 4 and 5.", "Two dice are thrown.")


@pytest.fixture
def artifacts(tmp_path):
    RouterArtifacts(
        centroids=np.asarray(SentenceTransformerEncoder()(list(QUESTIONS))),
        routing_table={"0": LARGE, "1": SMALL, "2": LARGE},
        lambda_star=0.06,
        budget_ms=20.0,
        escalation_target=LARGE,
        gated_clusters={"1": SMALL},
        stats=STATS,
    ).save(tmp_path / "artifacts")
    return tmp_path / "artifacts"


def cascade(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["cascade", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        run()
    return ended.value.code or 0, *capsys.readouterr()


def test_the_policy_routes_as_the_artifacts_do(artifacts, tmp_path, monkeypatch, capsys):
    code, out, _ = cascade(monkeypatch, capsys, "import-cre", artifacts, "--output", tmp_path / "policy")
    assert code == 0
    assert "sequential, budget 20; cost is tpot_ms" in out
    assert "accuracy 0.921" in out
    last = out.splitlines()[-1]
    assert last.startswith(f"Not gated, for want of a quality estimator: cluster 1 ({SMALL} → {LARGE}).")
    assert f"--estimator {SMALL}=FOLDER" in last
    policy = cc.CascadePolicy.load(tmp_path / "policy")
    asked = [cc.Cascade(policy).start(question).model for question in QUESTIONS]
    assert asked == [LARGE, SMALL, LARGE]
    assert policy.point.cost_weight == 0.06


def test_as_json(artifacts, tmp_path, monkeypatch, capsys):
    target = tmp_path / "policy"
    _, out, _ = cascade(monkeypatch, capsys, "import-cre", artifacts, "--output", target, "--json", "--served-only")
    found = json.loads(out)
    assert found["models"] == [SMALL, LARGE]
    assert (found["metric"], found["budget"], found["cost_weight"]) == ("tpot_ms", 20.0, 0.06)
    assert found["routing"] == {"0": LARGE, "1": SMALL, "2": LARGE}
    assert found["gated"] == {}
    assert found["ungated"] == {"1": {"start": SMALL, "target": LARGE, "reason": "no estimator"}}
    assert found["fingerprint"] == cc.CascadePolicy.load(target).fingerprint
    assert (round(found["accuracy"], 3), round(found["cost"], 1)) == (0.921, 18.4)


class Sure:
    def predict_proba(self, queries, answers):
        return [0.9 if "sure" in str(answer) else 0.1 for answer in answers]


def test_what_the_note_says_works(artifacts):
    policy = cc.read_cre_artifacts(str(artifacts), quality={SMALL: Sure()})
    trace = cc.Cascade(policy).start(QUESTIONS[1])
    assert cc.Cascade(policy).judge(trace, "perhaps 15").model == LARGE


def test_a_checkpoint_gates_and_is_saved_with_the_policy(artifacts, tmp_path, monkeypatch, capsys):
    folder, target = make_classifier(tmp_path / "checkpoint"), tmp_path / "policy"
    options = ["--output", target, "--estimator", f"{SMALL}={folder}", "--estimator", f"{LARGE}={folder}"]
    code, out, _ = cascade(monkeypatch, capsys, "import-cre", artifacts, *options)
    assert code == 0
    assert f"{SMALL} → {LARGE} below 0.50" in out
    assert "Not gated" not in out
    assert out.splitlines()[-1] == f"No gate of the artifacts asks the estimator of {LARGE}; another budget may."
    policy = cc.CascadePolicy.load(target)
    assert policy.estimators[SMALL].estimator.max_length == 4096
    _, out, _ = cascade(monkeypatch, capsys, "import-cre", artifacts, *options[:4], "--json", "--max-length", "64")
    found = json.loads(out)
    assert found["gated"] == {"1": {"start": SMALL, "target": LARGE, "threshold": 0.5}}
    assert found["ungated"] == {}
    assert cc.CascadePolicy.load(target).estimators[SMALL].estimator.max_length == 64


def test_a_gate_towards_a_weaker_model_is_told_as_that(artifacts, tmp_path, monkeypatch, capsys):
    """`cre fit --escalate-to` can ask for it; an estimator would change nothing."""
    stored = json.loads((artifacts / "router.json").read_text())
    stored |= {"escalation_target": "spare", "gated_clusters": {"1": SMALL}}
    (artifacts / "router.json").write_text(json.dumps(stored))
    for options in ([], ["--estimator", f"{SMALL}={make_classifier(tmp_path / 'checkpoint')}"]):
        _, out, _ = cascade(monkeypatch, capsys, "import-cre", artifacts, "--output", tmp_path / "policy", *options)
        assert "no more accurate on the stored statistics: cluster 1 (VibeThinker-1.5B → spare)" in out
        assert "want of a quality estimator" not in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["small"], "--estimator must be MODEL=FOLDER, found 'small'"),
        (["gpt=folder"], f"there is no model 'gpt', only {SMALL}, {LARGE}, spare"),
        ([f"{SMALL}=one", f"{SMALL}=two"], f"--estimator is given twice for {SMALL}: one and two"),
        ([f"{SMALL}=nothing"], "The checkpoint 'nothing' could not be loaded"),
    ],
)
def test_a_bad_estimator_is_one_clear_line(artifacts, tmp_path, monkeypatch, capsys, options, message):
    given = [part for option in options for part in ("--estimator", option)]
    code, out, err = cascade(monkeypatch, capsys, "import-cre", artifacts, "--output", tmp_path / "policy", *given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "policy").exists()


def test_bad_input_is_one_clear_line(artifacts, tmp_path, monkeypatch, capsys):
    stored = json.loads((artifacts / "router.json").read_text())
    stored["stats"]["models"][SMALL]["errors"]["1"] = 83
    (artifacts / "router.json").write_text(json.dumps(stored))
    code, out, err = cascade(monkeypatch, capsys, "import-cre", artifacts, "--output", tmp_path / "policy")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert f"router.json['stats']['models']['{SMALL}']['errors']['1']: " in err
    code, _, err = cascade(monkeypatch, capsys, "import-cre", tmp_path / "none", "--output", tmp_path / "policy")
    assert (code, "none holds no router.json" in err) == (2, True)
    assert not (tmp_path / "policy").exists()
