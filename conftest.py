"""The fixtures that all tests share."""

pytest_plugins = ["shared.testing.fixtures"]
