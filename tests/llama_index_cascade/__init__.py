import pytest

# Pytest explains failed assertions of test modules only, unless it is told of others before they are imported.
CHECKS = ("answers", "tools", "structures", "events", "objects")
pytest.register_assert_rewrite(f"{__name__}.contract", *(f"{__name__}.checks_{name}" for name in CHECKS))
