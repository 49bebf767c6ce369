"""A simulation of a day of clips and shorts on ECS, with SimPy, from measured durations.

`parameters` has the duration of each step and its source, and `prices` the prices of AWS. `world`
has the resources that runs share, and `jobs` the steps of clips and videos, and their arrival.
`results` has the resulting numbers and the first bottleneck, and `document` the video of the
reference document. `page` writes docs/scale.md.
"""
