"""Synthetic images: drawn from a generator, checked, and measured.

`draw` draws them and `curation` rejects bad ones; `embeddings` and `extractors` compute the features in which
`fidelity/` compares them with real images; `gates` decides whether a balanced set may be published.
"""
