"""The HTTP edge that every service's API stands on: strict input, problems, callers, replays, pages, versions."""
