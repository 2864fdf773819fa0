from hypothesis import settings

# The same examples every time: a test that fails does so for the code's sake.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
