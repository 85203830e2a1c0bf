"""Exports: what other programs read, made from the table of cells and the label image.

A module a format. Each gives one function that fills an empty folder, a row group of the table or
a plane of the labels at a time, and raises before it writes anything if the format cannot hold
the cells. A format that is only the table as it is needs no module: see `docs/trackers.md`.
"""
