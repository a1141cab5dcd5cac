"""The price of energy: pure functions of integers. No Django, no clock, no floats, no tables.

`parse.tariff` makes a `Tariff` of a plain definition, `split.split` cuts the energy between two readings into slices,
`price.charge` prices slices into lines that add up exactly, `units` rounds once, `expand` lays a version out for SQL.
docs/tariffs.md explains it to people.
"""
