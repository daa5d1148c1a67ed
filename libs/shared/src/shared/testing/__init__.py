"""What the tests of every service stand on: fresh databases with the true roles, topics of their own, tokens, waiting."""
