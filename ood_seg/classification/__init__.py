"""Image-level track: classification networks, their data and protocols; no formula of its own.

Scores, losses and metrics are those of the core, which take logits `(N, C)` as well as maps.
"""
