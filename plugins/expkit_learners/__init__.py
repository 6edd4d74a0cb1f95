"""Built-in learners of expkit, one component per file; found by entry points like anyone's."""
