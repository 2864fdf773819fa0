"""The families: each makes its questions from facts or from random numbers."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from cascade_cli.questions.facts import (
    ANTONYMS,
    CAPITAL_DECOYS,
    CAPITALS,
    CITIES,
    JOBS,
    NAMES,
    PAST_TENSES,
    PLURALS,
    REVIEWS,
    STATEMENTS,
    WEEKDAYS,
    WORDS,
)
from cascade_cli.questions.question import Kind, Question

PER_FAMILY = 40
"""Questions of each family."""

Split = Literal["train", "validation", "test"]

Draft = tuple[str, str, Kind, tuple[str, ...], tuple[str, ...]]
"""Text, answer, kind, other right words, words that rule an answer out."""


def generate_questions(seed: int = 0) -> list[Question]:
    """The whole set, the same for the same seed; no text stands twice.

    Example:
        >>> questions = generate_questions()
        >>> len({question.text for question in questions}) == len(questions)
        True
    """
    questions = []
    for family, make in FAMILIES.items():
        drafts = make(random.Random(f"{family}:{seed}"))
        seen: set[str] = set()
        while len(seen) < PER_FAMILY:
            text, answer, kind, accepted, wrong = next(drafts)
            if text not in seen:
                seen.add(text)
                name = f"{family}-{len(seen):02d}"
                questions.append(Question(name, family, text, answer, kind, accepted, wrong))
    return questions


def split_questions(questions: Sequence[Question]) -> dict[Split, list[Question]]:
    """Half of each family for training, 15 % for validation, 35 % for the test, in the order of hashed ids.

    Within the family, so that a split asks what the others ask.
    """
    parts: dict[Split, list[Question]] = {"train": [], "validation": [], "test": []}
    for family in FAMILIES:
        group = [question for question in questions if question.family == family]
        group.sort(key=lambda question: hashlib.sha256(question.id.encode()).digest())
        first, second = round(0.5 * len(group)), round(0.65 * len(group))
        parts["train"] += group[:first]
        parts["validation"] += group[first:second]
        parts["test"] += group[second:]
    return parts


def _sums(rng: random.Random) -> Iterator[Draft]:
    while True:
        a, b = rng.randint(2, 12), rng.randint(2, 9)
        text, answer = rng.choice(
            [(f"What is {a} + {b}?", a + b), (f"What is {a + b} - {b}?", a), (f"What is {a} times {b}?", a * b)]
        )
        yield text, str(answer), "number", (), ()


def _large_sums(rng: random.Random) -> Iterator[Draft]:
    while True:
        a, b, c = rng.randint(110, 900), rng.randint(15, 99), rng.randint(11, 29)
        text, answer = rng.choice(
            [(f"What is {a} + {b}?", a + b), (f"What is {a} - {b}?", a - b), (f"What is {c} times {b}?", c * b)]
        )
        yield text, str(answer), "number", (), ()


def _units(rng: random.Random) -> Iterator[Draft]:
    factors = {
        ("centimetres", "metres"): 100, ("minutes", "hours"): 60, ("grams", "kilograms"): 1000,
        ("metres", "kilometres"): 1000, ("seconds", "minutes"): 60, ("hours", "days"): 24, ("days", "weeks"): 7,
        ("months", "years"): 12, ("millimetres", "centimetres"): 10, ("millilitres", "litres"): 1000,
    }  # fmt: skip
    while True:
        (small, large), factor = rng.choice(list(factors.items()))
        count = rng.randint(2, 15)
        text = f"How many {small} are {count} {large}? Answer in one short line."
        yield text, str(count * factor), "number", (), ()


def _word_problems(rng: random.Random) -> Iterator[Draft]:
    things = ("books", "eggs", "stamps", "shells", "tickets", "marbles", "cards", "plants")
    while True:
        name, thing = rng.choice(NAMES), rng.choice(things)
        a, b, c = rng.randint(4, 30), rng.randint(2, 9), rng.randint(2, 6)
        question, answer = rng.choice(
            [
                (f"{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have?", a + b),
                (f"{name} had {a + b} {thing} and gave {b} away. How many {thing} are left?", a),
                (f"A shelf holds {b} {thing}. How many {thing} are on {c} shelves?", b * c),
                (f"{name} packs {b * c} {thing} into {c} equal bags. How many {thing} are in each bag?", b),
                (f"{name} buys {c} boxes of {b} {thing} and finds {a} more. How many {thing} is that?", b * c + a),
            ]
        )
        yield f"{question} Answer in one short line.", str(answer), "number", (), ()


def _comparisons(rng: random.Random) -> Iterator[Draft]:
    while True:
        scale = rng.choice([1, 1, 100])
        a, b = (rng.randint(11, 999) / scale for _ in range(2))
        if a == b:
            continue
        word, answer = rng.choice([("larger", max(a, b)), ("smaller", min(a, b))])
        other = a if answer == b else b
        text = f"Which number is {word}, {a:g} or {b:g}? Answer with the number only."
        yield text, f"{answer:g}", "word", (), (f"{other:g}",)


def _letters(rng: random.Random) -> Iterator[Draft]:
    while True:
        word = rng.choice(WORDS)
        letter = rng.choice(word)
        kind = rng.randrange(4)
        if kind == 0:
            text = f'How many times does the letter "{letter}" occur in the word "{word}"? Answer with a number.'
            yield text, str(word.count(letter)), "number", (), ()
        elif kind == 1:
            yield f'How many letters has the word "{word}"? Answer with a number.', str(len(word)), "number", (), ()
        else:
            place, answer = ("first", word[0]) if kind == 2 else ("last", word[-1])
            yield f'What is the {place} letter of the word "{word}"?', answer, "word", (), ()


def _capitals(rng: random.Random) -> Iterator[Draft]:
    for country in rng.sample(list(CAPITALS), len(CAPITALS)):
        text = rng.choice(
            ["What is the capital of {}?", "Name the capital city of {}.", "Which city is the capital of {}?"]
        )
        yield text.format(country), CAPITALS[country], "word", (), CAPITAL_DECOYS.get(country, ())


def _antonyms(rng: random.Random) -> Iterator[Draft]:
    for word in rng.sample(list(ANTONYMS), len(ANTONYMS)):
        text = rng.choice(['What is the opposite of "{}"?', 'What is the antonym of "{}"?'])
        yield text.format(word), ANTONYMS[word][0], "word", ANTONYMS[word][1:], ()


def _yes_or_no(rng: random.Random) -> Iterator[Draft]:
    for question in rng.sample(list(STATEMENTS), len(STATEMENTS)):
        right, wrong = ("yes", "no") if STATEMENTS[question] else ("no", "yes")
        yield f"{question} Answer yes or no.", right, "word", (), (wrong,)


def _sentiment(rng: random.Random) -> Iterator[Draft]:
    labelled = [(review, label) for label, reviews in REVIEWS.items() for review in reviews]
    for review, label in rng.sample(labelled, len(labelled)):
        other = "negative" if label == "positive" else "positive"
        text = f'Is this review positive or negative? "{review}" Answer with one word.'
        yield text, label, "word", (), (other,)


def _past_tense(rng: random.Random) -> Iterator[Draft]:
    for verb in rng.sample(list(PAST_TENSES), len(PAST_TENSES)):
        yield f'What is the past tense of the verb "{verb}"?', PAST_TENSES[verb], "word", (), ()


def _plurals(rng: random.Random) -> Iterator[Draft]:
    for noun in rng.sample(list(PLURALS), len(PLURALS)):
        yield f'What is the plural of "{noun}"?', PLURALS[noun], "word", (), ()


def _extraction(rng: random.Random) -> Iterator[Draft]:
    while True:
        name, city, number = rng.choice(NAMES), rng.choice(CITIES), rng.randint(10000, 99999)
        email = f"{name.lower()}@{city.lower()}-mail.com"
        weekday = rng.choice(WEEKDAYS)
        simple, question, answer = rng.choice(
            [
                (f"My order {number} has not arrived.", "What is the order number", str(number)),
                (f"Please write to {email}.", "What is the e-mail address", email),
                (f"Our shop is closed on {weekday}.", "Which weekday is named", weekday),
                (f"The parcel was sent to {city}.", "Which city is named", city),
            ]
        )
        message = rng.choice(
            [
                simple,
                simple,
                f"Order {number} was sent to {city} on {weekday}. Questions? Write to {email}.",
                f"{name} from {city} ({email}) ordered on {weekday}, number {number}.",
            ]
        )
        others = tuple(value for value in (str(number), email, weekday, city) if value.lower() not in answer.lower())
        yield f'{question} in this message? "{message}"', answer, "text", (), others


def _reading(rng: random.Random) -> Iterator[Draft]:
    while True:
        (name, other), (city, home) = rng.sample(NAMES, 2), rng.sample(CITIES, 2)
        (job, former), (day, free) = rng.sample(JOBS, 2), rng.sample(WEEKDAYS, 2)
        drafts: list[Draft] = [
            (f"{name} moved to {city} last year. Where does {name} live now?", city, "word", (), ()),
            (f"{name} will arrive on {day}. On which day will {name} arrive?", day, "word", (), ()),
            (f"{name} lives in {city} and works as a {job}. What is the job of {name}?", job, "word", (), ()),
            (f"{name} moved from {home} to {city}. Where does {name} live now?", city, "word", (), (home,)),
            (f"{name} is a {job} and {other} is a {former}. What is the job of {name}?", job, "word", (), (former,)),
            (
                f"{name} arrives on {day} and {other} on {free}. On which day does {other} arrive?",
                free,
                "word",
                (),
                (day,),
            ),
        ]
        yield rng.choice(drafts)


def _json(rng: random.Random) -> Iterator[Draft]:
    while True:
        person = {"name": rng.choice(NAMES), "age": rng.randint(19, 80), "city": rng.choice(CITIES)}
        sentence = rng.choice(
            [
                "{name} is {age} years old and lives in {city}.",
                "{name} is {age} years old and lives in {city}.",
                "{name} is {age} years old, works as a {job} and lives in {city}.",
                "At {age}, {name} moved to {city} and became a {job}.",
            ]
        ).format(job=rng.choice(JOBS), **person)
        text = f'Write this as a JSON object with the keys "name", "age" and "city": {sentence}'
        yield text, json.dumps(person), "json", (), ()


FAMILIES: dict[str, Callable[[random.Random], Iterator[Draft]]] = {
    "sums": _sums,
    "large sums": _large_sums,
    "units": _units,
    "word problems": _word_problems,
    "comparisons": _comparisons,
    "letters": _letters,
    "capitals": _capitals,
    "antonyms": _antonyms,
    "yes or no": _yes_or_no,
    "sentiment": _sentiment,
    "past tense": _past_tense,
    "plurals": _plurals,
    "extraction": _extraction,
    "reading": _reading,
    "json": _json,
}
