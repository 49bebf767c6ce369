"""The two jobs, step by step: the clips of an episode, and the shorts of a long video."""
