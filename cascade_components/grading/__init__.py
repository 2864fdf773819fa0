"""Graders: what an answer is worth, by the right answer, by a rule, or by what another model says."""

from cascade_components.grading.grader import Grader, UngradableError, worth
from cascade_components.grading.naming import GRADERS, named_grader
from cascade_components.grading.question import Question

__all__ = ["GRADERS", "Grader", "Question", "UngradableError", "named_grader", "worth"]
