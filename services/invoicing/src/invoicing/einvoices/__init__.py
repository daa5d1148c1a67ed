"""E-invoices: from the bytes of a file to its verdict, the rules it breaks and what it says.

`reader.read` is the one entrance; it runs in the worker processes of `pool`, which is what the API and the command line call.
"""
