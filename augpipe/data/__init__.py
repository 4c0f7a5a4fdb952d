"""Images in, three image sets out: source → intake → split → imbalance.

`sources/` (one file a kind) lists images, `intake` decodes and checks them, `clean` divides them with `split` and
removes duplicates across the splits, `imbalance` thins train. `leaks` refuses held-out images before each training;
`inspect` describes a source before a run.
"""
