"""What a day of clips and shorts takes on ECS: a simulation over what was measured.

`engine` runs processes on a clock, `parameters` says what each step takes and where that is from,
`work` is what the flows do, `days` simulates a day of it, `limits` says what fills up first, and
`page` writes all of it into docs/scale.md.
"""
