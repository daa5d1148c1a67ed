"""The benchmark: `make bench`. It lives beside the e2e tests because it, too, sees the system from outside."""
