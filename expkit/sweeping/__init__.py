"""Many runs at once: where each one trains, what becomes of it, and how a sweep that was interrupted goes on."""
