"""The main job: months of a company's receivables, played day by day against the running services, and checked.

| file | does |
|---|---|
| `__main__.py` | the command line, and the order of it all |
| `stage.py` | where the services are, and a client for each |
| `play.py` | one day: documents, money, talk, statement |
| `settle.py` | waits until every event has been handled and the day's work is done, or says what is not |
| `truth.py` | compares what the services say with what the world knows, to the cent |
| `report.py` | asks the services for the figures of the report |
| `view.py` | the terminal: while it runs, and at the end |
"""
