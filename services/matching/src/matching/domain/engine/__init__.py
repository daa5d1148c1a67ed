"""The matching engine: what a payment settles, how sure that is, and why. Pure: clues and candidate items in, a decision out.

Reading order: `records` (what goes in and comes out), `index` (where candidates are looked up), `text` (document numbers in
what a payer wrote), `days` (what it says of when), `percents` (what it says is kept back), `cut` (whether it was cut off), `amounts`
and `itemised` (how much it says is for which item), `parties` (who paid), `combinations` (which items add up), `readings` and
`hypotheses` (every reading of a payment), `ties` (whether other items of the amounts would do as well), `features` (the
evidence for one reading), `confidence` (how probable it is), `decision` (automatic, review or unmatched).
"""
