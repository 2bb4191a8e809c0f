"""The root of all tests: pytest takes plugins for tests of plugins only from here."""

pytest_plugins = ["pytester"]
