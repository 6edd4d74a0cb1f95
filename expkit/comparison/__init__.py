"""Many runs side by side, one run on a page, and two of them compared."""
