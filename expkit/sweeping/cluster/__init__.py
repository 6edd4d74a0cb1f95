"""The places of a Ray cluster: actors on its nodes, each with a slot's resources, to which a sweep hands its jobs."""
