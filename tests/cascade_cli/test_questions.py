import itertools
from collections import Counter

import pytest

from cascade_cli.questions import FAMILIES, Question, generate_questions, grade, split_questions

QUESTIONS = generate_questions()
BY_FAMILY = {family: [q for q in QUESTIONS if q.family == family] for family in FAMILIES}


def test_the_set_is_the_same_every_time_and_no_text_stands_twice():
    assert generate_questions() == QUESTIONS
    assert len({question.text for question in QUESTIONS}) == len(QUESTIONS) == 40 * len(FAMILIES)
    assert len({question.id for question in QUESTIONS}) == len(QUESTIONS)
    assert generate_questions(seed=1) != QUESTIONS


def test_every_family_is_in_every_split():
    parts = split_questions(QUESTIONS)
    shares = {"train": 20, "validation": 6, "test": 14}
    for name, share in shares.items():
        assert Counter(question.family for question in parts[name]) == dict.fromkeys(FAMILIES, share)
    assert {question.id for part in parts.values() for question in part} == {question.id for question in QUESTIONS}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_the_right_answer_is_right_alone_and_in_a_sentence(question):
    assert grade(question, question.answer)
    assert grade(question, f" {question.answer}.\n")
    assert grade(question, f"The answer is {question.answer}.")
    assert not grade(question, "I don't know.")
    assert not grade(question, "")


@pytest.mark.parametrize("family", FAMILIES)
def test_another_questions_answer_is_wrong(family):
    group = BY_FAMILY[family]
    for question, other in itertools.pairwise(group):
        if other.answer not in (question.answer, *question.accepted):
            assert not grade(question, other.answer)


def number(answer):
    return Question("q", "sums", "?", answer, "number")


@pytest.mark.parametrize(
    ("answer", "output", "right"),
    [
        ("12", "4 + 8 = 12", True),
        ("12", "4 + 8 = 12\n\nQuestion: what is 3 + 3?", True),
        ("12", "Let us add four and eight step by step, carefully now.\n4 + 8 = 12", True),
        ("4000", "4,000 grams", True),
        ("2.5", "It is 2.50", True),
        ("12", "112", False),
        ("12", "twelve", False),
        ("-3", "-3", True),
    ],
)
def test_numbers(answer, output, right):
    assert grade(number(answer), output) is right


@pytest.mark.parametrize(
    ("output", "right"),
    [("The capital is PARIS!", True), ("Paris or Lyon", False), ("Comparison", False), ("parisian", False)],
)
def test_words(output, right):
    assert grade(Question("q", "capitals", "?", "Paris", "word", wrong=("Lyon",)), output) is right


@pytest.mark.parametrize(
    ("output", "right"),
    [
        ('Sure: {"name": "Ann", "age": "30"} there you are', True),
        ('{"name": "Ann", "age": 31}', False),
        ('{"name": "Ann"}', False),
        ('{"name": "Ann", "age": 30, "city": "Rome"}', False),
        ('{"name": "Ann", "age": 30', False),
        ("[1]", False),
    ],
)
def test_json(output, right):
    assert grade(Question("q", "json", "?", '{"name": "Ann", "age": 30}', "json"), output) is right


def test_a_copy_of_the_whole_message_is_no_extraction():
    whole = [q for q in BY_FAMILY["extraction"] if q.answer.isdigit() and any(o in q.text for o in q.wrong)]
    question = whole[0]
    message = question.text.split('"')[1]
    assert not grade(question, message)
    assert grade(question, f"The order number in this message is {question.answer}.")
