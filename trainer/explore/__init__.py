"""Describes a dataset before anything is trained on it.

`material` reads it; `measure`, `words`, `duplicates` and `images` compute statistics; `charts`
draws them; `sections` and `page` write one HTML page. `rayon.ipynb` calls the same functions step
by step.
"""
