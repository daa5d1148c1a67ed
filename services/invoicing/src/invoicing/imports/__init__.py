"""Files that an ERP exports, read by a mapping that its user wrote once: CSV, XLSX, e-invoices, and archives of them.

A mapping (`mapping.py`) says how a file is written and which column is which field (`fields.py`); `csvfile.py`,
`spreadsheet.py` and `archive.py` turn bytes into records a slice at a time; `invoices.py` and `customers.py` turn records
into what the API's own batch route takes. Nothing here reads or writes the database.
"""
