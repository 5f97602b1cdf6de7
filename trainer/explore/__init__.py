"""Shows what a dataset is like, before anything is trained on it.

`material` reads it; `measure`, `languages`, `words`, `duplicates` and `images` count; `charts`
draws; `page` puts it all on one page. `rayon.ipynb` calls the same, step by step.
"""
