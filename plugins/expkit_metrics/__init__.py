"""Built-in metrics of expkit, one component per file; found by entry points like anyone's."""
