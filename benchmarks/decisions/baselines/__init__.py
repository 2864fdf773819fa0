"""Other ways to decide, one idea a module."""
