"""Our own question set: a dozen families of short questions, generated, with exact graders."""

from cascade_cli.questions.families import FAMILIES, generate_questions, split_questions
from cascade_cli.questions.question import Question, grade

__all__ = ["FAMILIES", "Question", "generate_questions", "grade", "split_questions"]
