import json
import threading

import pytest

from cascade_components.grading import Question, UngradableError, named_grader, worth
from cascade_components.grading.similarity import Semantic


def question(*answers, **given):
    return Question("q", "?", answers=answers, **given)


CITIES = ("Berlin", "Warsaw", "New York", "York")


@pytest.mark.parametrize(
    ("name", "asked", "output", "right"),
    [
        ("exact", question("New York"), " “new   york.” ", True),
        ("exact", question("4", "four"), "Four", True),
        ("exact", question("4"), "It is 4", False),
        ("exact", question("-"), "-", True),
        ("exact", question("4"), "", False),
        ("contains", question("York"), "In New York, I think.", True),
        ("contains", question("C++"), "I like C++ best", True),
        ("contains", question("cat"), "concatenate", False),
        ("regex", question(r"^\d{3}$"), "123", True),
        ("regex", question(r"^\d{3}$"), "1234", False),
        (r"regex:\bparis\b", question(), "It is paris", True),
        (r"regex:(?i)answer:\s*(\w+)", question("Paris"), "Answer: Rome? No. answer: PARIS", True),
        (r"regex:(?i)answer:\s*(\w+)", question("So my answer: Paris"), "Answer: Paris", True),
        (r"regex:(?i)answer:\s*(\w+)", question("Paris"), "Paris", False),
        ("numeric", question("1234"), "That makes $1,234.00.", True),
        ("numeric", question("0.5"), r"Thus \boxed{\frac{1}{2}}", True),
        ("numeric", question("72"), "First 72, then 73.", False),
        ("numeric", question("72"), "no idea", False),
        ("numeric", question("3 + 4 = 7\n#### 7"), "I get 7", True),
        ("choice", question("B"), "Let me think: A is wrong. The answer is (B).", True),
        ("choice", question("B"), "b", True),
        ("choice", question("B"), "**B.** Warsaw", True),
        ("choice", question("B"), r"Hence \boxed{B}", True),
        ("choice", question("B"), "Both A and B", False),
        ("choice", question("A"), "A dog barks at me", False),
        ("choice", question("B"), "The answer is a good one", False),
        ("choice", question("1", choices=CITIES), "Answer: B", True),
        ("choice", question("warsaw", choices=CITIES), "It is Warsaw, of course", True),
        ("choice", question("D", choices=CITIES), "It is New York", False),
        ("json-schema", question(schema={"type": "array"}), "Here:\n```json\n[1]\n```", True),
        ("json-schema", question(schema={"required": ["a"], "type": "object"}), '{"b": 1}', False),
        ("exact", question("4"), "<think>5? 4?</think>\n4", True),
        ("json:loads", question(), "irrelevant", None),
    ],
)
def test_what_each_grader_calls_right(name, asked, output, right):
    grader = named_grader(name)
    if right is None:  # a function that does not take a question and an output
        with pytest.raises(UngradableError, match="json:loads raised TypeError"):
            worth(grader, asked, output)
        return
    assert worth(grader, asked, output) == float(right)


def test_a_function_of_the_users_own_may_give_partial_credit(tmp_path, monkeypatch):
    (tmp_path / "my_grader.py").write_text(
        "class Rules:\n    @staticmethod\n    def half(question, output): return 0.5 if output else 7\n"
    )
    monkeypatch.chdir(tmp_path)
    grader = named_grader("my_grader:Rules.half")
    assert worth(grader, question(), "something") == 0.5
    with pytest.raises(ValueError, match=r"my_grader:Rules.half says 7 of the answer to 'q'; it must say 0…1"):
        worth(grader, question(), "")


def test_meaning_is_compared_with_the_nearest_right_answer():
    vectors = {"yes": [1, 0], "sure": [0.9, 0.4], "no": [-1, 0.2], "": [1, 0]}
    grader = Semantic(0.85, lambda texts: [vectors[text] for text in texts])
    assert grader(question("no", "yes"), "sure")
    assert not grader(question("no"), "sure")
    assert not grader(question("yes"), "")


def test_what_cannot_be_graded_is_neither_right_nor_wrong():
    for name, asked in (
        ("numeric", question("no number")),
        ("choice", question("none of them")),
        ("regex", question("[")),
    ):
        with pytest.raises(UngradableError):
            worth(named_grader(name), asked, "7")


def test_formulas_are_read_outside_the_main_thread_too():
    found = []
    grader = named_grader("numeric")
    thread = threading.Thread(target=lambda: found.append(worth(grader, question("1/3"), r"$\frac{2}{6}$")))
    thread.start()
    thread.join()
    assert found == [1.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "There is no grader 'nonsense'; there are exact, contains"),
        ("exact:x", "The grader exact takes no setting, found 'exact:x'"),
        ("regex:(", r"'\(' is no regular expression"),
        ("semantic:high", "semantic needs a threshold"),
        ("semantic:2", "semantic needs a threshold"),
        ("json-schema:broken.json", "broken.json holds no JSON schema: line 1 is not valid JSON"),
        ("json-schema:list.json", "list.json is no JSON schema"),
        ("json-schema:wrong.json", "wrong.json is no JSON schema: 3 is not valid"),
        ("no_such_module:f", r"no_such_module cannot be imported, or has no f \(ModuleNotFoundError"),
        ("json:nothing", r"json cannot be imported, or has no nothing \(AttributeError"),
        ("json:__name__", "is no function of"),
    ],
)
def test_an_unknown_grader_or_setting_is_told(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{oh")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "wrong.json").write_text(json.dumps({"type": 3}))
    with pytest.raises(ValueError, match=message):
        named_grader(name)
