"""A chaos suite: cascades over servers that fail in every way, under many callers at once; docs/chaos.md has more.

`python -m tests.chaos --calls 20000` runs its long form.
"""
