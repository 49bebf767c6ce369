"""A day of clips and shorts on ECS, simulated with SimPy from what was measured.

`parameters` has what each step takes, and its source; `prices` what AWS charges; `world` what runs
share; `jobs` the steps of clips and videos, and how they arrive; `results` the numbers that come of
it, and what is full first; `document` the video that others have published; `page` writes
docs/scale.md.
"""
