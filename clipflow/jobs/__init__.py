"""The steps of the two jobs: the clips of an episode, and the shorts of a long video."""
