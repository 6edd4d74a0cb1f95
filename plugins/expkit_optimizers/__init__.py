"""Built-in optimizers of expkit, one component per file; found by entry points like anyone's."""
