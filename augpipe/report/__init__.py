"""What a run leaves behind: tables, sample grids, and one self-contained HTML page.

`collect` loads the stored results, `results` makes tables of them, `answer` the sentences, `page` and `figures` the
page; `write` writes the out folder. `balanced_set` with `forms`: the images of an arm; `saved_models`: single files.
"""
