"""Stage 2: quality estimation. Reads a query and an answer and estimates P(correct)."""
